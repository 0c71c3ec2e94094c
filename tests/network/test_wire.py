"""Bytes over TLS between two wires, below frames."""

import os
import socket
import time

import pytest

from tacita.network.identity import hostname_of
from tacita.network.wire import RECEIVE_BYTES, RECORD_BYTES, Wire

from .conftest import LIMIT, Task, eventually

RECORDS = 5


@pytest.fixture
def wires(identities):
    """alice's, who listens, and bob's, after their handshake; and the socket below alice's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        dialed = socket.create_connection(server.getsockname(), LIMIT)
        below, _ = server.accept()
    alice = Wire(below, identities("party", "alice").server_context())
    bob = Wire(
        dialed,
        identities("party", "bob").client_context(),
        server_hostname=hostname_of("party", "alice"),
    )
    until = time.monotonic() + LIMIT
    waiting = Task(alice.handshake, until)
    bob.handshake(until)
    waiting.result()
    yield alice, bob, below
    for each in (alice, bob):
        each.close()


def arrived(below, count):
    return len(below.recv(RECEIVE_BYTES, socket.MSG_PEEK)) >= count


def sent(wires, data):
    """Returns when all of it waits to be read."""
    _, bob, below = wires
    before = bob.sent_bytes
    assert bob.write([data], time.monotonic() + LIMIT)
    eventually(lambda: arrived(below, bob.sent_bytes - before))


def test_all_records_that_have_come_are_read_at_once(wires):
    data = os.urandom(RECORDS * RECORD_BYTES)
    sent(wires, data)
    into = memoryview(bytearray(2 * len(data)))
    assert wires[0].read(into, time.monotonic() + LIMIT) == len(data)
    assert into[: len(data)] == data


@pytest.mark.parametrize("room", [1000, RECORD_BYTES, RECORD_BYTES + 1000])
def test_what_there_is_no_room_for_comes_with_the_next_reading(wires, room):
    data = os.urandom(RECORDS * RECORD_BYTES)
    sent(wires, data)
    found, into = b"", memoryview(bytearray(room))
    while len(found) < len(data):
        count = wires[0].read(into, time.monotonic() + LIMIT)
        assert count == min(room, len(data) - len(found))
        found += bytes(into[:count])
    assert found == data


def test_the_end_comes_after_what_was_sent_before_it(wires):
    alice, bob, _ = wires
    data = os.urandom(RECORDS * RECORD_BYTES)
    sent(wires, data)
    bob.stop()
    into = memoryview(bytearray(2 * len(data)))
    assert alice.read(into, time.monotonic() + LIMIT) == len(data)
    assert alice.read(into, time.monotonic() + LIMIT) == 0
    assert into[: len(data)] == data


def test_a_reader_waits_where_nothing_has_come(wires):
    alice, _, _ = wires
    sent(wires, b"first")
    into = memoryview(bytearray(100))
    assert alice.read(into, time.monotonic() + LIMIT) == 5
    with pytest.raises(TimeoutError):
        alice.read(into, time.monotonic())
    sent(wires, b"second")
    assert alice.read(into, time.monotonic() + LIMIT) == 6
