"""Channels: in order, counted, limited."""

import threading
import time

import numpy as np
import pytest
from flows import wait_until, within

from tacita.errors import PeerFailed, PeerTimeout
from tacita.runtime import transport
from tacita.runtime.transport import Channel, MemoryNetwork, Message


def message(number, size=0):
    arrays = (np.full(size // 8, number, np.uint64),) if size else ()
    return Message("open", str(number).encode(), arrays)


@pytest.fixture
def channel(monkeypatch):
    """A channel with room for a hundred words."""
    monkeypatch.setattr(transport, "MOST_WAITING_BYTES", 800)
    return Channel("alice", "bob")


def test_messages_come_in_order(channel):
    for number in range(20):
        channel.put(message(number), 1.0)
    assert [int(channel.get(1.0).header) for _ in range(20)] == list(range(20))


def test_nothing_to_get_is_a_timeout_that_names_the_sender(channel):
    with within(1), pytest.raises(PeerTimeout, match=r"alice sent bob nothing for 0\.05 s"):
        channel.get(0.05)


def test_getting_waits_for_what_is_put_meanwhile(channel):
    threading.Timer(0.05, channel.put, [message(3), 1.0]).start()
    assert channel.get(5.0).header == b"3"


def test_arrays_are_counted_and_headers_are_not(channel):
    channel.put(Message("open", b"header", (np.zeros((2, 3), np.uint64),)), 1.0)
    channel.put(Message("open", b"header", (np.zeros(1, np.uint64), np.zeros(0, np.uint64))), 1.0)
    assert channel.sent_bytes == 56
    channel.get(1.0)
    assert channel.sent_bytes == 56


def test_a_full_channel_is_a_timeout_that_names_the_receiver(channel):
    channel.put(message(0, 800), 1.0)
    with within(1), pytest.raises(PeerTimeout, match=r"bob took nothing from alice for 0\.05 s"):
        channel.put(message(1, 8), 0.05)
    # What did not go is neither counted nor delivered.
    assert channel.sent_bytes == 800
    assert channel.get(1.0).header == b"0"
    with pytest.raises(PeerTimeout):
        channel.get(0.01)


def test_a_full_channel_takes_messages_without_arrays(channel):
    channel.put(message(0, 800), 1.0)
    with within(0.5):
        channel.put(message(1), 5.0)


def test_a_message_larger_than_the_room_goes_alone(channel):
    with within(0.5):
        channel.put(message(0, 8000), 5.0)
    with pytest.raises(PeerTimeout):
        channel.put(message(1, 8), 0.02)


# Much room before, little room before: whoever waits is let on in either case, at once.
@pytest.mark.parametrize("waiting", [80, 400, 800])
def test_putting_goes_on_when_there_is_room(channel, waiting):
    channel.put(message(0, waiting), 1.0)
    done = threading.Event()

    def put():
        channel.put(message(1, 800), 60.0)
        done.set()

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    assert not done.wait(0.05)
    with within(1):
        assert channel.get(1.0).header == b"0"
        assert channel.get(1.0).header == b"1"
    assert done.wait(1)


def test_a_fast_sender_is_held_back_by_a_slow_receiver(channel):
    largest = 0

    def put():
        for number in range(50):
            channel.put(message(number, 200), 10.0)

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    assert wait_until(lambda: channel.sent_bytes == 800)
    for number in range(50):
        taken = 200 * number
        largest = max(largest, channel.sent_bytes - taken)
        assert int(channel.get(5.0).header) == number
    thread.join(5)
    assert not thread.is_alive()
    assert largest <= 800


def test_a_failure_is_raised_where_it_is_received():
    network = MemoryNetwork(["alice", "bob"], 1.0)
    network.endpoint("alice").send("bob", Message("fail", "torn \xe9".encode("latin1")))
    with pytest.raises(PeerFailed, match="alice stopped: torn"):
        network.endpoint("bob").receive("alice", 1.0)


def test_each_direction_is_a_channel_of_its_own():
    network = MemoryNetwork(["alice", "bob"], 1.0)
    alice, bob = network.endpoint("alice"), network.endpoint("bob")
    alice.send("bob", message(1, 8))
    bob.send("alice", message(2, 16))
    assert alice.receive("bob", 1.0).header == b"2"
    assert bob.receive("alice", 1.0).header == b"1"
    assert network.channel("alice", "bob").sent_bytes == 8
    assert network.channel("bob", "alice").sent_bytes == 16


def test_there_is_no_channel_to_oneself():
    endpoint = MemoryNetwork(["alice", "bob"], 1.0).endpoint("alice")
    with pytest.raises(KeyError):
        endpoint.send("alice", message(1))


def test_waiting_takes_no_longer_than_the_limit(channel):
    start = time.monotonic()
    with pytest.raises(PeerTimeout):
        channel.get(0.1)
    assert 0.09 < time.monotonic() - start < 1
