"""An authority, certificates, and links between roles on this machine."""

import os
import queue
import socket
import threading
import time
from dataclasses import dataclass

import pytest

from tacita.network import frames
from tacita.network.address import Address
from tacita.network.authority import create_authority, issue
from tacita.network.dialer import Dialer
from tacita.network.frames import FrameKind, Limits
from tacita.network.link import Link, Stream
from tacita.network.listener import Listener

LIMIT = 30.0  # seconds for what should happen at once; a test fails after it
LOCAL = Address("127.0.0.1", 0)
QUICK = Limits(handshake=LIMIT)


@pytest.fixture(scope="session")
def identities(tmp_path_factory):
    """identities("party", "alice"): credentials of one authority, made when first asked for."""
    folder = tmp_path_factory.mktemp("authority")
    create_authority(folder / "ca", "the tests")
    made = {}

    def credentials(role, name):
        if (role, name) not in made:
            made[role, name] = issue(folder / "ca", role, name, out=folder / f"{role}-{name}")
        return made[role, name]

    return credentials


@pytest.fixture
def stack():
    """stack(thing): has it closed at the end; the latest first."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in reversed(things):
        thing.close()


class Server:
    """alice, who listens: her links, the streams that peers open, and whom she refused."""

    def __init__(self, credentials, limits, **options):
        self.links = queue.SimpleQueue()
        self.streams = queue.SimpleQueue()
        self.refused = queue.SimpleQueue()
        self.listener = Listener(
            LOCAL,
            credentials,
            self._accept_link,
            limits,
            refused=lambda _, error: self.refused.put(error),
            **options,
        )
        self.address = self.listener.start()
        self.close = self.listener.close

    def _accept_link(self, link):
        self.links.put(link)
        return self.streams.put


@pytest.fixture
def serve(identities, stack):
    """serve(limits=…): alice, listening."""

    def start(limits=QUICK, **options):
        return stack(Server(identities("party", "alice"), limits, **options))

    return start


@dataclass
class Pair:
    """bob dialed alice; stream `near` is his end and `far` hers."""

    server: Server
    dialer: Dialer
    link: Link
    far_link: Link
    near: Stream
    far: Stream

    def streams(self):
        near = self.link.open(os.urandom(16))
        return near, self.server.streams.get(timeout=LIMIT)


@pytest.fixture
def connect(serve, identities, stack):
    """connect(near limits, far limits): a Pair."""

    def join(near=QUICK, far=QUICK):
        server = serve(far)
        dialer = stack(
            Dialer(server.address, "party", "alice", identities("party", "bob"), None, near)
        )
        link = dialer.link(LIMIT)
        stream = link.open(os.urandom(16))
        return Pair(
            server, dialer, link, server.links.get(timeout=LIMIT), stream,
            server.streams.get(timeout=LIMIT),
        )  # fmt: skip

    return join


@pytest.fixture
def pair(connect):
    return connect()


class Raw:
    """A peer that speaks TLS and says whatever a test wants it to."""

    def __init__(self, address, credentials, hostname="alice.party.tacita"):
        plain = socket.create_connection((address.host, address.port), LIMIT)
        self.socket = credentials.client_context().wrap_socket(plain, server_hostname=hostname)
        self.sequence = 0
        self.close = self.socket.close

    def greet(self):
        hello = frames.Hello("0", 1 << 20, 1 << 20)
        self.frame(FrameKind.HELLO, frames.LINK_STREAM, frames.encode_hello(hello), 0)
        assert self.next()[0].kind is FrameKind.HELLO
        return self

    def send(self, data):
        self.socket.sendall(data)

    def frame(self, kind, stream, payload, sequence, flags=0):
        self.send(frames.header(kind, flags, stream, sequence, len(payload)) + payload)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def next(self):
        """(frame, payload), or EOFError."""
        frame = frames.decode_header(self.exactly(frames.HEADER_BYTES))
        return frame, self.exactly(frame.size)

    def farewell(self):
        """Why the other side ended the link."""
        while True:
            frame, payload = self.next()
            if frame.kind is FrameKind.BYE:
                return payload.decode()


@pytest.fixture
def raw(identities, stack):
    """raw(server): mallory's TLS connection, as the client of that name."""

    def dial(server):
        return stack(Raw(server.address, identities("client", "mallory")))

    return dial


def eventually(condition):
    """Waits until it holds."""
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


class Task(threading.Thread):
    """Runs something beside the test; `result` waits for it, and raises what it raised."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self._call = lambda: function(*arguments)
        self._result = self._error = None
        self.start()

    def run(self):
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    def result(self):
        self.join(LIMIT)
        assert not self.is_alive(), "it did not end"
        if self._error is not None:
            raise self._error
        return self._result


@pytest.fixture
def background():
    """background(function, *arguments): a Task."""
    return Task


@pytest.fixture
def until():
    return eventually
