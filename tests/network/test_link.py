"""Streams over a link: messages, interleaving, flow control, time-outs and how things end."""

import contextlib
import os
import threading

import numpy as np
import pytest

from tacita.errors import FrameError, PeerFailed, PeerTimeout, SessionClosed, UsageError
from tacita.network import frames
from tacita.network.endpoint import StreamEndpoint
from tacita.network.frames import Limits
from tacita.network.turns import Turns
from tacita.runtime.transport import Message

LIMIT = 30.0
SHORT = 0.05  # seconds that a test waits for what must not happen
WINDOW = 1 << 20


def words(count, start=0):
    return np.arange(start, start + count, dtype=np.uint64)


def message(count, start=0, kind="open", header=b""):
    return Message(kind, header, (words(count, start),))


SHAPES = [(), (0,), (3, 0, 2), (1,), (5, 7), (2, 3, 4, 5), (40_000,), (3, 50_000)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_arrays_arrive_as_they_were_sent(pair, shape):
    array = words(int(np.prod(shape))).reshape(shape)
    pair.near.send(Message("material", b"\x00header", (array, words(3), array)), LIMIT)
    found = pair.far.receive(LIMIT)
    assert (found.kind, found.header) == ("material", b"\x00header")
    for got, sent in zip(found.arrays, (array, words(3), array), strict=True):
        assert got.dtype == np.uint64
        assert got.shape == sent.shape
        assert got.flags.writeable
        np.testing.assert_array_equal(got, sent)


def test_both_ends_know_each_other(pair):
    assert str(pair.link.peer) == "party:alice"
    assert str(pair.far_link.peer) == "party:bob"
    assert pair.link.peer_version == pair.far_link.peer_version != ""
    assert pair.far.id == pair.near.id


def test_messages_keep_their_order_both_ways(pair):
    for number in range(200):
        pair.near.send(message(number % 7, number), LIMIT)
        pair.far.send(message(number % 5, number), LIMIT)
    for number in range(200):
        np.testing.assert_array_equal(pair.far.receive(LIMIT).arrays[0], words(number % 7, number))
        np.testing.assert_array_equal(pair.near.receive(LIMIT).arrays[0], words(number % 5, number))


def test_a_sent_array_may_be_written_to(pair):
    array = words(100_000)
    pair.near.send(Message("open", b"", (array,)), LIMIT)
    array[:] = 0
    np.testing.assert_array_equal(pair.far.receive(LIMIT).arrays[0], words(100_000))


def test_a_long_header_arrives(pair):
    header = os.urandom(700_001)
    pair.near.send(Message("deploy", header), LIMIT)
    assert pair.far.receive(LIMIT).header == header


def test_many_arrays_arrive(pair):
    arrays = tuple(words(number % 90) for number in range(1000))
    pair.near.send(Message("open", b"", arrays), LIMIT)
    for got, sent in zip(pair.far.receive(LIMIT).arrays, arrays, strict=True):
        np.testing.assert_array_equal(got, sent)


def test_both_ends_count_the_same_bytes(pair, until):
    pair.near.send(message(100_000), LIMIT)
    pair.far.receive(LIMIT)
    assert pair.far.received_bytes == pair.near.sent_bytes
    # OPEN, four pieces, the head, the words
    head = 4 + len(b"\x93\xa4open\xc4\x00\x91\x91\xce....")
    assert pair.near.sent_bytes == 5 * frames.HEADER_BYTES + head + 800_000
    assert (pair.near.sent_messages, pair.far.sent_messages) == (1, 0)


def test_streams_interleave(pair, background):
    """A small message of one stream passes while a large one of another is on its way."""
    slow = message(8 << 20)
    near, far = pair.streams()
    sending = background(pair.near.send, slow, LIMIT)
    near.send(message(1), LIMIT)
    assert far.receive(LIMIT).arrays[0].shape == (1,)
    sending.result()
    np.testing.assert_array_equal(pair.far.receive(LIMIT).arrays[0], slow.arrays[0])


def test_many_streams_at_once(pair, background):
    def send(stream, start):
        for number in range(10):
            stream.send(message(9000 * (number % 4), start + number), LIMIT)

    def receive(stream, start):
        for number in range(10):
            found = stream.receive(LIMIT).arrays[0]
            np.testing.assert_array_equal(found, words(9000 * (number % 4), start + number))

    both = [pair.streams() for _ in range(6)]
    tasks = []
    for number, (near, far) in enumerate(both):
        tasks += [background(send, near, 100 * number), background(receive, far, 100 * number)]
        tasks += [background(send, far, 999 * number), background(receive, near, 999 * number)]
    for task in tasks:
        task.result()


def test_both_ends_may_send_much_at_once(connect, background):
    """Neither reads until it has sent everything, in many streams: more than any socket takes."""
    limits = Limits(window=32 << 20, handshake=LIMIT)
    pair = connect(limits, limits)
    ends = [end for _ in range(3) for end in pair.streams()]
    senders = [background(end.send, message(3 << 20), LIMIT) for end in ends]
    for sender in senders:
        sender.result()
    for end in ends:
        np.testing.assert_array_equal(end.receive(LIMIT).arrays[0], words(3 << 20))


# ---- flow control ------------------------------------------------------------------------------


def send_many(stream, piece, count):
    for _ in range(count):
        stream.send(piece, SHORT)


def test_a_sender_is_held_back_until_the_receiver_consumes(connect, background):
    pair = connect(far=Limits(window=WINDOW, handshake=LIMIT))
    piece = message(WINDOW // 64)  # an eighth of the window
    with pytest.raises(PeerTimeout, match=r"party:alice took nothing for 0.05 s"):
        send_many(pair.near, piece, 9)
    sent = pair.near.sent_messages
    assert 1 < sent < 8
    sending = background(pair.near.send, piece, LIMIT)
    for _ in range(sent + 1):  # the message that was held back is lost, the stream goes on
        np.testing.assert_array_equal(pair.far.receive(LIMIT).arrays[0], piece.arrays[0])
    sending.result()


def test_small_messages_are_held_back_as_well(connect):
    pair = connect(far=Limits(window=WINDOW, handshake=LIMIT))
    with pytest.raises(PeerTimeout):
        send_many(pair.near, Message("open"), WINDOW // frames.MESSAGE_COST + 1)


def test_the_other_streams_go_on_while_one_is_held_back(connect):
    pair = connect(far=Limits(window=WINDOW, handshake=LIMIT))
    near, far = pair.streams()
    pair.near.send(message(WINDOW // 8), LIMIT)
    with pytest.raises(PeerTimeout):
        pair.near.send(message(1), SHORT)
    near.send(message(5), LIMIT)
    assert far.receive(LIMIT).arrays[0].shape == (5,)


def test_a_message_may_be_larger_than_the_window(connect, background):
    pair = connect(far=Limits(window=WINDOW, handshake=LIMIT))
    for number in range(3):
        sending = background(pair.near.send, message(WINDOW, number), LIMIT)
        np.testing.assert_array_equal(pair.far.receive(LIMIT).arrays[0], words(WINDOW, number))
        sending.result()


def test_the_smallest_window_works(connect, background):
    pair = connect(Limits(window=1, handshake=LIMIT), Limits(window=1, handshake=LIMIT))

    def send():
        for number in range(50):
            pair.near.send(message(number), LIMIT)

    sending = background(send)
    for number in range(50):
        assert pair.far.receive(LIMIT).arrays[0].shape == (number,)
    sending.result()


def test_a_message_larger_than_the_peer_takes_is_not_sent(connect):
    pair = connect(far=Limits(message=1 << 16, handshake=LIMIT))
    with pytest.raises(UsageError, match="party:alice takes 65536"):
        pair.near.send(message(1 << 13), LIMIT)
    pair.near.send(message(1), LIMIT)
    assert pair.far.receive(LIMIT).arrays[0].shape == (1,)


def test_what_waits_in_all_streams_has_a_limit(connect):
    pair = connect(far=Limits(link=3 << 20, handshake=LIMIT))
    others = [pair.streams() for _ in range(3)]
    for near, _ in others:
        near.send(message(1 << 16), LIMIT)
    with contextlib.suppress(PeerFailed):  # the end may come before all of it has left
        pair.near.send(message(3 << 17), LIMIT)
    with pytest.raises(PeerFailed, match=r"party:alice closed the stream: .* its limit is 3145728"):
        pair.near.receive(LIMIT)
    for near, far in others:
        assert far.receive(LIMIT).arrays[0].shape == (1 << 16,)
        far.close()
        with pytest.raises(PeerFailed):
            near.receive(LIMIT)
    near, far = pair.streams()  # and there is room again
    near.send(message(1 << 17), LIMIT)
    assert far.receive(LIMIT).arrays[0].shape == (1 << 17,)


# ---- waits and ends ------------------------------------------------------------------------------


def test_receiving_has_a_limit(pair):
    with pytest.raises(PeerTimeout, match=r"party:bob sent nothing for 0.05 s"):
        pair.far.receive(SHORT)
    with pytest.raises(PeerTimeout):
        pair.far.receive(0)
    pair.near.send(message(2), LIMIT)
    assert pair.far.receive(None).arrays[0].shape == (2,)


def test_closing_a_stream_tells_the_peer_after_what_was_sent(pair):
    pair.near.send(message(3), LIMIT)
    pair.near.close("enough")
    assert pair.far.receive(LIMIT).arrays[0].shape == (3,)
    for _ in range(2):
        with pytest.raises(PeerFailed, match=r"^party:bob closed the stream: enough$"):
            pair.far.receive(LIMIT)
    with pytest.raises(PeerFailed, match="enough"):
        pair.far.send(message(1), LIMIT)
    for call in (lambda: pair.near.receive(LIMIT), lambda: pair.near.send(message(1), LIMIT)):
        with pytest.raises(SessionClosed, match="closed here: enough"):
            call()
    assert pair.link.usable
    assert pair.far_link.usable


def test_closing_wakes_those_who_wait(connect, background):
    pair = connect(far=Limits(window=WINDOW, handshake=LIMIT))
    pair.near.send(message(WINDOW // 8), LIMIT)
    sending = background(pair.near.send, message(1), LIMIT)
    receiving = background(pair.near.receive, LIMIT)
    pair.far.close("no more")
    for waiting in (sending, receiving):
        with pytest.raises(PeerFailed, match="no more"):
            waiting.result()


def test_what_comes_late_is_dropped(pair, until):
    near, far = pair.streams()
    pair.far.close("done")
    # bob may not know yet; either way the link goes on
    with contextlib.suppress(PeerFailed):
        pair.near.send(message(100_000), LIMIT)
    with pytest.raises(PeerFailed, match="closed the stream: done"):
        pair.near.receive(LIMIT)
    near.send(message(1), LIMIT)
    assert far.receive(LIMIT).arrays[0].shape == (1,)


def test_the_reason_of_a_link_reaches_all_streams(pair, background):
    streams = [(pair.near, pair.far), *(pair.streams() for _ in range(3))]
    waiting = [background(near.receive, LIMIT) for near, _ in streams]
    pair.far_link.close("the daemon stops")
    for each in waiting:
        with pytest.raises(PeerFailed, match=r"^party:alice closed the link: the daemon stops$"):
            each.result()
    for near, far in streams:
        with pytest.raises(PeerFailed, match="closed here: the daemon stops"):
            far.receive(LIMIT)
        with pytest.raises(PeerFailed, match="party:alice closed the link"):
            near.send(message(1), LIMIT)
    assert not pair.link.usable
    assert pair.link.why == "party:alice closed the link: the daemon stops"
    with pytest.raises(PeerFailed, match="the daemon stops"):
        pair.link.open(os.urandom(16))


def test_a_link_that_ends_leaves_no_thread_and_no_socket(pair, until):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    pair.link.close()
    until(lambda: not any("link with" in each.name for each in threading.enumerate()))
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before - 6  # at each end a socket and a pair


def test_ids_are_used_once(pair):
    for used in (pair.near.id, bytes(16), b"short"):
        with pytest.raises(UsageError):
            pair.link.open(used)
    pair.near.close()
    with pytest.raises(UsageError, match="used before"):
        pair.link.open(pair.near.id)


def test_both_may_open_streams(connect, identities, pair):
    with pytest.raises(PeerFailed, match="party:bob closed the stream: no streams are taken here"):
        pair.far_link.open(os.urandom(16)).receive(LIMIT)  # this dialer takes none


def test_the_number_of_streams_has_a_limit(connect):
    pair = connect(far=Limits(streams=2, handshake=LIMIT))
    pair.streams()
    with pytest.raises(PeerFailed, match="2 streams are open"):
        pair.link.open(os.urandom(16)).receive(LIMIT)
    pair.near.close()
    with pytest.raises(PeerFailed):
        pair.far.receive(LIMIT)
    pair.streams()
    pair = connect(Limits(streams=1, handshake=LIMIT))
    with pytest.raises(UsageError, match="the limit is 1"):
        pair.link.open(os.urandom(16))


def test_the_round_trip_is_measured(pair, background):
    assert 0 < pair.link.round_trip(LIMIT) < LIMIT
    assert 0 < pair.far_link.round_trip(LIMIT) < LIMIT
    pair.link.close()
    with pytest.raises(PeerFailed):
        pair.link.round_trip(LIMIT)


# ---- the endpoint of a session -------------------------------------------------------------------


def test_an_endpoint_reaches_each_role_by_name(pair):
    bob = StreamEndpoint("bob", {"alice": pair.near}, LIMIT)
    alice = StreamEndpoint("alice", {"bob": pair.far}, LIMIT)
    bob.send("alice", message(4))
    assert alice.receive("bob", LIMIT).arrays[0].shape == (4,)
    with pytest.raises(PeerTimeout):
        alice.receive("bob", SHORT)
    alice.send("bob", Message("fail", b"ran out of material"))
    with pytest.raises(PeerFailed, match=r"^alice stopped: ran out of material$") as caught:
        bob.receive("alice", LIMIT)
    assert not isinstance(caught.value, FrameError)


# ---- turns ---------------------------------------------------------------------------------------


def test_turns_come_in_order(background):
    turns, order = Turns(), []
    assert turns.take(0)
    assert not turns.take(0)
    assert not turns.take(SHORT)

    def take(number):
        assert turns.take(LIMIT)
        order.append(number)
        turns.release()

    tasks = []
    for number in range(5):
        tasks.append(background(take, number))
        while len(turns._waiting) <= number:
            pass
    turns.release()
    for task in tasks:
        task.result()
    assert order == [0, 1, 2, 3, 4]
    assert turns.take(0)
