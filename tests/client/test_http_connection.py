"""What a party's front might answer, well or badly, byte by byte; and when a connection is kept."""

import asyncio
import socket
import threading
import time

import pytest

from tacita.client.connection import PartyConnection
from tacita.client.http_connection import HEAD_BYTES, PIECE, request_head
from tacita.errors import PeerFailed, PeerTimeout, Refused, UsageError
from tacita.service.config import Limits, PartyEntry

from .fronts import WAIT

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def request_on(connection):
    """The head and the body of the next request; empty where there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(1 << 16)):
            return b"", b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        body += connection.recv(1 << 16)
    return head, body


class Scripted:
    """A TLS server with alice's certificate; each connection is handed to `serve` in a thread."""

    def __init__(self, credentials, serve):
        self.connections = 0
        self.requests = []
        self._serve = serve
        self._context = credentials.server_context()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._handle, args=(plain,), daemon=True).start()

    def _handle(self, plain):
        plain.settimeout(WAIT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                self._serve(self, connection)
        except OSError:
            plain.close()

    def close(self):
        self._listening.close()


def always(answer):
    """Answers each request with these bytes, and keeps the connection."""

    def serve(server, connection):
        while (request := request_on(connection))[0]:
            server.requests.append(request)
            connection.sendall(answer)

    return serve


def once(answer):
    """Answers one request with these bytes, and hangs up."""

    def serve(server, connection):
        server.requests.append(request_on(connection))
        connection.sendall(answer)

    return serve


@pytest.fixture
def script(certificates):
    """script(serve): a server, and run(question) to ask it with a connection to the party alice."""
    servers = []

    def start(serve, **limits):
        server = Scripted(certificates.alice, serve)
        servers.append(server)
        entry = PartyEntry(name="alice", front=f"https://127.0.0.1:{server.port}", peers="h:1")

        def run(question):
            async def asking():
                context = certificates.carol.client_context()
                party = PartyConnection(entry, 0, context, Limits(**limits))
                try:
                    return await asyncio.wait_for(question(party), WAIT)
                finally:
                    await party.close()

            return asyncio.run(asking())

        server.run = run
        return server

    yield start
    for server in servers:
        server.close()


def get(party):
    return party.request("GET", "/v2", WAIT)


BAD = {
    "no HTTP": (b"hello\r\n\r\n", "what is no answer in HTTP/1.1"),
    "an older HTTP": (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "no answer in HTTP/1.1"),
    "one more to come": (b"HTTP/1.1 100 Continue\r\n\r\n" + FINE, "no answer in HTTP/1.1"),
    "a status of four": (b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "no answer in"),
    "a folded line": (
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "headers that are none",
    ),
    "a space in a name": (b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n", "headers that are"),
    "a line feed alone": (b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 0\r\n\r\n", "headers that"),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\n{}", "does not say how long it is"),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "does not say how long it is",
    ),
    "both": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
        "does not say how long it is",
    ),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "the header 'content-length' twice",
    ),
    "less than nothing": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "does not say"),
    "too much": (b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", "more than 1048576 bytes"),
    "more than it said": (FINE + b"{}", "more than it said"),
    "a long head": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n", "headers of more"),
    "an endless head": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (HEAD_BYTES + 100), "headers of more"),
}


@pytest.mark.parametrize(("answer", "words"), BAD.values(), ids=BAD)
def test_what_no_front_answers_is_refused(script, answer, words):
    server = script(always(answer))
    with pytest.raises(PeerFailed) as caught:
        server.run(get)
    assert str(caught.value).startswith("alice sent ")
    assert words in str(caught.value)
    assert str(caught.value).endswith("a party's front?")


@pytest.mark.parametrize("size", [0, 10, len(FINE) - 1])
def test_an_answer_that_breaks_off_is_none(script, size):
    server = script(once(FINE[:size]))
    with pytest.raises(PeerFailed, match=r"alice at https://.* broke the connection"):
        server.run(get)


def test_an_answer_may_come_in_any_pieces(script):
    def serve(server, connection):
        request_on(connection)
        for byte in FINE:
            connection.sendall(bytes([byte]))

    assert bytes(script(serve).run(get).body) == b"{}"


def test_a_body_is_not_needed_where_there_can_be_none(script):
    server = script(always(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert bytes(server.run(get).body) == b""


# ---- what is sent --------------------------------------------------------------------------------


def test_a_request_is_what_it_should_be(script):
    server = script(always(FINE))
    body = [b"ab", memoryview(bytearray(b"cd"))]

    def question(party):
        return party.request("POST", "/v2/a%20b", WAIT, headers={"X-One": "1"}, body=body)

    assert server.run(question).headers == {"content-length": "2"}
    ((head, sent),) = server.requests
    first, *fields = head.decode().split("\r\n")
    assert first == "POST /v2/a%20b HTTP/1.1"
    assert dict(each.split(": ") for each in fields) == {
        "Host": f"127.0.0.1:{server.port}",
        "Accept-Encoding": "identity",
        "X-One": "1",
        "Content-Length": "4",
    }
    assert sent == b"abcd"


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\rb"])
def test_no_header_becomes_two(value):
    with pytest.raises(UsageError, match="no line breaks"):
        request_head("GET", "/v2", "alice", {"X": value})


@pytest.mark.parametrize(
    "target",
    [
        "/v2 HTTP/1.1", "/a\tb", "/a\r\nX: b", "/a\nb", "/a\n", "/a\x7f", "/\u00e9", "/\u2028", "",
        "v2", "//\x00",
    ],
)  # fmt: skip
def test_a_target_ends_where_it_should(target):
    with pytest.raises(UsageError, match="percent-encode"):
        request_head("GET", target, "alice", {})


def test_a_target_that_is_quoted_goes_as_it_is():
    head = request_head("GET", "/v2/models/a%20b%2F~!?x=1", "alice", {})
    assert head.startswith(b"GET /v2/models/a%20b%2F~!?x=1 HTTP/1.1\r\n")


def test_large_bodies_go_in_pieces_that_are_told_of(script):
    server = script(always(FINE))
    body = [bytes(range(256)) * 10_000, b"end"]  # two pieces and a half, and one more
    told = []
    server.run(lambda party: party.request("PUT", "/v2", WAIT, body=body, sent=told.append))
    assert server.requests[0][1] == b"".join(body)
    assert told == [PIECE, PIECE, len(body[0]) - 2 * PIECE, 3]


def test_a_refusal_that_comes_early_ends_the_sending(script):
    sizes = []

    def serve(server, connection):
        connection.recv(1 << 10)
        connection.sendall(b'HTTP/1.1 403 No\r\nContent-Length: 14\r\n\r\n{"error":"no"}')
        threading.Event().wait(1)  # what was under way is under way
        while piece := connection.recv(1 << 20):
            sizes.append(len(piece))

    body = [bytes(256 * PIECE)]  # more than sockets take at once
    with pytest.raises(Refused, match="alice answered 403: no"):
        script(serve).run(lambda party: party.request("PUT", "/v2", WAIT, body=body))
    assert sum(sizes) < len(body[0])


# ---- connections that are kept -------------------------------------------------------------------


async def twice(party):
    return [bytes((await get(party)).body) for _ in range(2)]


def test_a_connection_is_kept(script):
    server = script(always(FINE))
    assert server.run(twice) == [b"{}", b"{}"]
    assert server.connections == 1


def test_requests_at_once_have_connections_of_their_own(script):
    both = threading.Barrier(2)

    def serve(server, connection):
        request_on(connection)
        both.wait(WAIT)
        connection.sendall(FINE)

    server = script(serve)
    server.run(lambda party: asyncio.gather(get(party), get(party)))
    assert server.connections == 2


def test_a_connection_that_will_be_closed_is_not_kept(script):
    server = script(always(FINE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    assert server.run(twice) == [b"{}", b"{}"]
    assert server.connections == 2


def test_a_connection_that_was_closed_meanwhile_is_noticed_before_it_is_used(script):
    hang_up = threading.Event()

    def serve(server, connection):
        once(FINE)(server, connection)
        assert hang_up.wait(WAIT)

    server = script(serve)

    async def question(party):
        await get(party)
        (kept,) = party._idle
        hang_up.set()
        # The other side hangs up while this event loop, which blocks here, does not come round.
        deadline = time.monotonic() + WAIT
        while kept.reusable and time.monotonic() < deadline:
            time.sleep(0.01)
        return await get(party)

    assert bytes(server.run(question).body) == b"{}"
    assert server.connections == 2


def test_what_nobody_asked_for_spoils_a_connection(script):
    said = threading.Event()

    def serve(server, connection):
        while request_on(connection)[0]:
            connection.sendall(FINE)
            if server.connections == 1:
                connection.sendall(FINE)
                said.set()

    server = script(serve)

    async def question(party):
        try:
            first = await get(party)
        except PeerFailed:  # both came at once
            return await get(party)
        assert await asyncio.to_thread(said.wait, WAIT)
        assert bytes(first.body) == b"{}"
        deadline = time.monotonic() + WAIT
        while any(each.reusable for each in party._idle) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)  # what was said is on its way
        return await get(party)

    assert bytes(server.run(question).body) == b"{}"
    assert server.connections == 2


def test_a_request_that_is_given_up_takes_its_connection_along(script):
    ended = threading.Event()

    def serve(server, connection):
        request_on(connection)
        if server.connections > 1:
            connection.sendall(FINE)
        elif not request_on(connection)[0]:
            ended.set()

    server = script(serve)

    async def question(party):
        with pytest.raises(PeerTimeout, match="did not answer within"):
            await party.request("GET", "/v2", 0.5)
        assert await asyncio.to_thread(ended.wait, WAIT)
        return await get(party)

    assert bytes(server.run(question).body) == b"{}"


def test_a_handshake_that_does_not_come_has_a_limit(script, certificates):
    silent = socket.create_server(("127.0.0.1", 0))
    entry = PartyEntry(
        name="alice", front=f"https://127.0.0.1:{silent.getsockname()[1]}", peers="h:1"
    )

    async def asking():
        context = certificates.carol.client_context()
        await get(PartyConnection(entry, 0, context, Limits(connect=0.3)))

    with silent, pytest.raises(PeerFailed, match=r"cannot be reached: no connection after 0\.3 s"):
        asyncio.run(asking())
