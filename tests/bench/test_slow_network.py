"""The slow line: what it carries arrives whole, in order, and never too early."""

import math
import socket
import ssl
import threading
import time
from contextlib import suppress

import pytest

from bench.slow_network import WAITING, Line, SlowNetwork
from tacita.network.authority import create_authority, issue

LIMIT = 60.0


@pytest.fixture
def server():
    """Starts a server that handles each connection by `handle(socket)`; returns its address."""
    stack = []

    def start(handle):
        listener = socket.create_server(("127.0.0.1", 0))
        stack.append(listener)

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.settimeout(LIMIT)
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in stack:
        listener.close()


def echo(connection):
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def received(connection):
    pieces = []
    while data := connection.recv(1 << 16):
        pieces.append(data)
    return b"".join(pieces)


def connected(network, index=0):
    return socket.create_connection(("127.0.0.1", network.ports[index]), timeout=LIMIT)


# ---- the line's arithmetic ----


def test_a_message_arrives_when_its_last_byte_was_sent_and_the_delay_is_over():
    line = Line(delay=0.5, rate=1000)
    assert line.arrival(10.0, 100) == pytest.approx(10.6)


def test_messages_wait_for_those_before_them_and_an_idle_line_for_nobody():
    line = Line(delay=0.5, rate=1000)
    line.arrival(10.0, 100)
    assert line.arrival(10.05, 100) == pytest.approx(10.7)
    assert line.arrival(20.0, 100) == pytest.approx(20.6)  # no credit was saved up meanwhile


def test_the_delay_does_not_depend_on_the_rate():
    line = Line(delay=0.25, rate=math.inf)
    assert line.arrival(1.0, 1 << 40) == 1.25


def test_as_much_may_be_under_way_as_the_line_holds():
    assert Line(delay=0.5, rate=1000).room == 500 + WAITING


@pytest.mark.parametrize(
    ("delay", "rate"), [(-1, 1), (math.inf, 1), (0, 0), (0, -1), (0, math.nan)]
)
def test_what_is_no_line_is_refused(delay, rate):
    with pytest.raises(ValueError, match="line"):
        SlowNetwork(["127.0.0.1:1"], delay=delay, rate=rate)


@pytest.mark.parametrize("address", ["host", "host:", ":80", "host:http"])
def test_what_is_no_address_is_named(address):
    with pytest.raises(ValueError, match="host:port"):
        SlowNetwork([address], delay=0, rate=1)


# ---- the relay ----


def test_bytes_arrive_whole_and_in_order_both_ways_at_once(server):
    sent = bytes(range(256)) * 8192  # 2 MiB: more than may wait
    with (
        SlowNetwork([server(echo)], delay=0.001, rate=50e6) as network,
        connected(network) as client,
    ):

        def send():
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        assert received(client) == sent
        sender.join(LIMIT)


def test_nothing_is_earlier_than_the_line_allows(server):
    # Only from below: how much later it is depends on the machine.
    delay, rate, size = 0.03, 1e6, 50_000
    with (
        SlowNetwork([server(echo)], delay=delay, rate=rate) as network,
        connected(network) as client,
    ):
        client.sendall(b"x")
        client.recv(1)
        began = time.monotonic()
        client.sendall(b"x")
        client.recv(1)
        assert time.monotonic() - began >= 2 * delay
        began = time.monotonic()
        client.sendall(bytes(size))
        got = 0
        while got < size:
            got += len(client.recv(size))
        assert time.monotonic() - began >= 2 * delay + size / rate


def test_connections_of_one_target_share_its_line(server):
    rate, size = 1e6, 60_000

    def swallow(connection):
        with connection:
            while size > len(connection.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)):
                pass
            connection.sendall(b"!")

    with SlowNetwork([server(swallow)], delay=0, rate=rate) as network:
        clients = [connected(network) for _ in range(2)]
        began = time.monotonic()
        for each in clients:
            each.sendall(bytes(size))
        for each in clients:
            assert each.recv(1) == b"!"
            each.close()
        assert time.monotonic() - began >= 2 * size / rate


def test_each_port_leads_to_its_own_target(server):
    def says(word):
        def handle(connection):
            with connection:
                connection.sendall(word)

        return handle

    targets = [server(says(b"one")), server(says(b"two"))]
    with SlowNetwork(targets, delay=0, rate=math.inf) as network:
        assert network.addresses == [f"127.0.0.1:{port}" for port in network.ports]
        for index, word in enumerate((b"one", b"two")):
            with connected(network, index) as client:
                assert received(client) == word


def test_an_answer_to_the_end_of_what_was_sent_still_arrives(server):
    def answer(connection):
        with connection:
            connection.sendall(b"got %d" % len(received(connection)))

    with (
        SlowNetwork([server(answer)], delay=0.005, rate=1e6) as network,
        connected(network) as client,
    ):
        client.sendall(b"abc")
        client.shutdown(socket.SHUT_WR)
        assert received(client) == b"got 3"


def test_a_target_that_is_not_there_ends_the_connection(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with (
            SlowNetwork([address], delay=0, rate=math.inf) as network,
            connected(network) as client,
            suppress(ConnectionError),
        ):
            assert client.recv(1) == b""


def test_a_connection_that_breaks_breaks_on_the_other_side(server):
    broken = threading.Event()

    def watch(connection):
        with connection:
            connection.sendall(b"!")
            try:
                while connection.recv(1):
                    pass
            except ConnectionError:
                broken.set()

    with SlowNetwork([server(watch)], delay=0, rate=math.inf) as network:
        client = connected(network)
        client.recv(1)
        # Without lingering a close is a reset.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert broken.wait(LIMIT)


def test_tls_passes_with_the_target_proving_who_it_is(server, tmp_path):
    create_authority(tmp_path / "authority", "tests")
    alice, bob = (
        issue(tmp_path / "authority", "party", name, out=tmp_path / name, hosts=[], days=1)
        for name in ("alice", "bob")
    )
    context = bob.server_context()

    def answer(connection):
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            echo(secured)

    with SlowNetwork([server(answer)], delay=0.002, rate=10e6) as network:
        with alice.client_context().wrap_socket(
            connected(network), server_hostname="bob.party.tacita"
        ) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            alice.client_context().wrap_socket(
                connected(network), server_hostname="eve.party.tacita"
            )


def test_stopping_breaks_connections_and_frees_the_ports(server):
    network = SlowNetwork([server(echo)], delay=0, rate=math.inf)
    network.start()
    with pytest.raises(RuntimeError, match="before"):
        network.start()
    (port,) = network.ports
    with connected(network) as client:
        client.sendall(b"x")
        client.recv(1)
        network.stop()
        with suppress(ConnectionError):
            assert client.recv(1) == b""
    assert network.ports == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    network.stop()
