"""The frame format, without a connection: round trips, and bytes that nobody should have sent."""

import os
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tacita.errors import FrameError, UsageError
from tacita.network import frames
from tacita.network.frames import Assembly, FrameKind, Limits
from tacita.runtime.transport import Message

# Anyone may run more: TACITA_FUZZ_CASES=1000000 pytest tests/network/test_frames.py -k fuzz
FUZZ_CASES = int(os.environ.get("TACITA_FUZZ_CASES", "500"))
fuzz = settings(max_examples=FUZZ_CASES, deadline=None, database=None)

LIMITS = Limits(header=1 << 12, arrays=8, dimensions=4, message=1 << 16)
KINDS = frames.MESSAGE_KINDS
STREAM = bytes(range(16))

arrays = hnp.arrays(np.uint64, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
messages = st.builds(
    Message,
    st.sampled_from(sorted(KINDS)),
    st.binary(max_size=64),
    st.lists(arrays, max_size=8).map(tuple),
)


def received(data, cuts, limits=LIMITS, kinds=KINDS):
    """The message in `data`, arriving in parts of the sizes in `cuts`, over and over."""
    assembly, start, number = Assembly(limits, kinds), 0, 0
    while start < len(data):
        room = assembly.room(min(cuts[number % len(cuts)], len(data) - start))
        assert len(room)
        room[:] = data[start : start + len(room)]
        start, number = start + len(room), number + 1
        assembly.took(len(room))
    return assembly.finish()


def encoded(message, limits=LIMITS):
    return b"".join(frames.encode_message(message, limits, KINDS).parts)


def test_a_header_is_these_bytes():
    data = frames.header(FrameKind.DATA, frames.FIRST | frames.LAST, STREAM, 0x01020304, 5)
    assert data == bytes([29, 0, 0, 0, 1, 3, 3, 0, *range(16), 4, 3, 2, 1])
    frame = frames.decode_header(data)
    assert frame == frames.Frame(FrameKind.DATA, 3, STREAM, 0x01020304, 5)


def test_a_message_is_these_bytes():
    message = Message("open", b"h", (np.array([[1, 2**64 - 1]], np.uint64), np.uint64(7)[...]))
    head = b"\x93\xa4open\xc4\x01h\x92\x92\x01\x02\x90"
    words = struct.pack("<QQQ", 1, 2**64 - 1, 7)
    assert encoded(message) == len(head).to_bytes(4, "little") + head + words


@given(messages, st.lists(st.integers(1, 300), min_size=1, max_size=5))
@settings(deadline=None)
def test_messages_come_back(message, cuts):
    found = received(encoded(message), cuts)
    assert (found.kind, found.header) == (message.kind, message.header)
    assert len(found.arrays) == len(message.arrays)
    for got, sent in zip(found.arrays, message.arrays, strict=True):
        assert got.dtype == np.uint64
        assert got.shape == sent.shape
        assert got.flags.writeable
        np.testing.assert_array_equal(got, sent)


@given(messages, st.integers(1, 200))
@settings(deadline=None)
def test_pieces_are_the_message_in_order(message, most):
    content = frames.encode_message(message, LIMITS, KINDS)
    cut = list(frames.pieces(content, most))
    assert b"".join(part for _, _, parts in cut for part in parts) == b"".join(content.parts)
    assert [sum(map(len, parts)) for _, _, parts in cut] == [size for _, size, _ in cut]
    assert all(size == most for _, size, _ in cut[:-1])
    assert [flags & frames.FIRST for flags, _, _ in cut] == [1] + [0] * (len(cut) - 1)
    assert [flags & frames.LAST for flags, _, _ in cut] == [0] * (len(cut) - 1) + [2]


@pytest.mark.parametrize(
    "array",
    [np.arange(24, dtype=np.uint64).reshape(4, 6)[:, ::2], np.arange(6, dtype=np.uint64)[::-1]],
)
def test_arrays_need_not_be_contiguous(array):
    (found,) = received(encoded(Message("open", b"", (array,))), [7]).arrays
    np.testing.assert_array_equal(found, array)


def test_received_arrays_share_nothing():
    array = np.arange(4, dtype=np.uint64)
    first, second = received(encoded(Message("open", b"", (array, array))), [64]).arrays
    first[:] = 9
    np.testing.assert_array_equal(second, array)


BAD_HEADERS = {
    "another version": ({"version": 2}, "format version 2; this is version 1"),
    "an unknown kind": ({"kind": 9}, "unknown kind 9"),
    "kind 0": ({"kind": 0}, "unknown kind 0"),
    "an unknown flag": ({"flags": 4}, "flags 4"),
    "the byte that is 0": ({"zero": 1}, "flags 0 1"),
    "flags of a CREDIT": ({"kind": 4, "flags": 1, "size": 8}, "CREDIT frame with the flags"),
    "an empty piece": ({"size": 0}, "0 bytes of payload"),
    "a negative size": ({"size": -1}, "-1 bytes of payload"),
    "a length of 0": ({"size": -24}, "-24 bytes of payload"),
    "too long a piece": ({"size": (256 << 10) + 1}, "262145 bytes of payload"),
    "the longest length": ({"size": 2**32 - 25}, "bytes of payload"),
    "a CREDIT of 9 bytes": ({"kind": 4, "size": 9}, "9 bytes of payload"),
    "a long reason": ({"kind": 5, "size": 513}, "513 bytes of payload"),
    "an OPEN with more": ({"kind": 2, "size": 1}, "1 bytes of payload"),
    "data of the link": ({"stream": bytes(16)}, "DATA frame on stream 0000"),
    "a PING of a stream": ({"kind": 6, "size": 8}, "PING frame on stream 0001"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "told"), BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_bad_header_is_refused(change, told):
    fields = {
        "version": 1,
        "kind": 3,
        "flags": 0,
        "zero": 0,
        "stream": STREAM,
        "sequence": 0,
        "size": 1,
    } | change
    size = fields.pop("size")
    data = frames.HEADER.pack(24 + size, *fields.values())
    with pytest.raises(FrameError, match=told):
        frames.decode_header(data)


def head_bytes(*head, words=0):
    data = msgspec.msgpack.encode(head)
    return len(data).to_bytes(4, "little") + data + bytes(8 * words)


BAD_MESSAGES = {
    "an empty head": (bytes(4), "head of 0 bytes"),
    "the longest head": (b"\xff\xff\xff\xff", "head of 4294967295 bytes"),
    "no msgpack": (b"\x01\0\0\0\xc1", "does not decode"),
    "a map": (head_bytes({"kind": "open"}), "does not decode"),
    "one field more": (head_bytes("open", b"", [], 1), "does not decode"),
    "one field less": (head_bytes("open", b""), "does not decode"),
    "bytes after it": (b"\x10\0\0\0\x93\xa4open\xc4\0\x90" + bytes(20), "does not decode"),
    "a negative dimension": (head_bytes("open", b"", [[-1]]), "does not decode"),
    "a dimension of text": (head_bytes("open", b"", [["1"]]), "does not decode"),
    "33 dimensions": (head_bytes("open", b"", [[1] * 33]), "does not decode"),
    "an unknown kind": (head_bytes("shell", b"", []), "unknown kind 'shell'"),
    "a long header": (head_bytes("open", bytes(4097), []), "4097 bytes; the limit is 4096"),
    "too many arrays": (head_bytes("open", b"", [[]] * 9), "9 arrays; the limit is 8"),
    "too many dimensions": (head_bytes("open", b"", [[1] * 5]), "5 dimensions; the limit is 4"),
    "2^60 words": (head_bytes("open", b"", [[2**60]]), "over the limit of 65536"),
    "2^63 words": (head_bytes("open", b"", [[2**62, 2]]), "over the limit of 65536"),
    "2^64 words": (head_bytes("open", b"", [[2**63, 2]]), "over the limit of 65536"),
    "nothing of much": (head_bytes("open", b"", [[2**60, 0]]), "over the limit of 65536"),
    "more in all": (head_bytes("open", b"", [[8000], [8000]]), "message of 1280.. bytes"),
    "missing words": (head_bytes("open", b"", [[3]], words=2), "take 24 bytes ends after 16"),
    "words too many": (head_bytes("open", b"", [[3]], words=4), "8 bytes after the end"),
    "words of nothing": (head_bytes("open", b"", [], words=1), "8 bytes after the end"),
    "a cut head": (head_bytes("open", b"", [[3]])[:9], "ends after 9 bytes, within its head"),
    "a cut length": (b"\x10\0", "ends after 2 bytes, within its head"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "told"), BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_a_bad_message_is_refused(data, told):
    with pytest.raises(FrameError, match=told):
        received(data, [len(data)])
    with pytest.raises(FrameError, match=told if "after the end" not in told else "after the end"):
        received(data, [1])


TOO_MUCH = {
    "kind": (Message("shell"), "kind 'shell' cannot be sent"),
    "header": (Message("open", bytes(4097)), "4097 bytes; the limit is 4096"),
    "arrays": (Message("open", b"", (np.zeros(1, np.uint64),) * 9), "9 arrays; the limit is 8"),
    "dimensions": (Message("open", b"", (np.zeros((1,) * 5, np.uint64),)), "array 0 .* 5 dimen"),
    "dtype": (Message("open", b"", (np.zeros(1),)), "array 0 .* float64"),
    "bytes": (Message("open", b"", (np.zeros(8192, np.uint64),)), "65553 bytes; the limit is"),
}  # fmt: skip


@pytest.mark.parametrize(("message", "told"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_nobody_would_accept_is_not_sent(message, told):
    with pytest.raises(UsageError, match=told):
        frames.encode_message(message, LIMITS, KINDS)


def test_the_kinds_are_those_of_the_transport():
    assert {"open", "material", "fail"} <= KINDS


def test_a_reason_is_cut_between_characters_and_fit_for_a_log():
    cut = frames.encode_reason("€" * 300)
    assert cut.decode() == "€" * 170
    assert frames.decode_reason(b"a\nb\x1b[31m\xff") == "a·b·[31m�"


def test_a_sequence_number_is_never_used_twice():
    frames.header(FrameKind.OPEN, 0, STREAM, 2**32 - 1, 0)
    with pytest.raises(FrameError, match="used up"):
        frames.header(FrameKind.OPEN, 0, STREAM, 2**32, 0)


@given(st.integers(1, 4096), st.lists(st.integers(1, 10000), max_size=40), st.randoms())
@settings(deadline=None)
def test_flow_control_always_goes_on(window, costs, choice):
    """A sender that follows the rule is never refused by a receiver that does, nor stuck once
    everything has been consumed, though credit is kept back and arrives late."""
    outstanding = waiting = kept_back = on_the_way = 0
    unread = []
    for cost in costs:
        while not frames.may_begin(outstanding, cost, window):
            if unread and (not on_the_way or choice.random() < 0.5):
                kept_back += unread.pop(0)
                if kept_back >= max(1, frames.slack(window)):
                    waiting, on_the_way, kept_back = waiting - kept_back, on_the_way + kept_back, 0
            else:
                assert on_the_way, "stuck"
                outstanding, on_the_way = outstanding - on_the_way, 0
        outstanding += cost
        assert frames.may_begin(waiting, cost, window)
        waiting += cost
        unread.append(cost)
        assert waiting <= max(window, frames.slack(window) + cost)


# ---- fuzzing: whatever comes, it is a FrameError or a result that is sound ----------------------


@fuzz
@given(st.binary(min_size=28, max_size=28))
def test_fuzz_headers(data):
    try:
        frame = frames.decode_header(data)
    except FrameError:
        return
    assert frames.header(frame.kind, frame.flags, frame.stream, frame.sequence, frame.size) == data


# Most random bytes are refused at once; these come close to the format and go further.
numbers = st.one_of(st.integers(0, 4), st.sampled_from([-1, 2**32, 2**60, 2**61, 2**64 - 1]))
nearly = st.tuples(
    st.one_of(st.sampled_from(sorted(KINDS)), st.text(max_size=4)),
    st.one_of(st.binary(max_size=8), st.text(max_size=2)),
    st.lists(st.lists(numbers, max_size=6), max_size=10),
).map(msgspec.msgpack.encode)
heads = st.one_of(nearly, st.binary(max_size=40)).map(
    lambda data: len(data).to_bytes(4, "little") + data
)
spoilt = st.tuples(
    st.one_of(heads, st.binary(max_size=60), messages.map(encoded)),
    st.binary(max_size=80),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
)


@fuzz
@given(spoilt, st.integers(1, 64))
@example((head_bytes("open", b"", [[2], [0, 4]], words=2), b"", []), 1)
def test_fuzz_messages(parts, cut):
    start, end, changes = parts
    data = bytearray(start + end)
    for place, value in changes:
        if place < len(data):
            data[place] = value
    try:
        message = received(bytes(data), [cut])
    except FrameError:
        return
    assert message.payload_bytes <= LIMITS.message
    again = received(encoded(message), [cut])
    assert (again.kind, again.header) == (message.kind, message.header)
    for one, other in zip(again.arrays, message.arrays, strict=True):
        assert one.shape == other.shape
        np.testing.assert_array_equal(one, other)


@fuzz
@given(st.binary(max_size=80))
def test_fuzz_hello(data):
    try:
        hello = frames.decode_hello(data)
    except FrameError:
        return
    assert frames.decode_hello(frames.encode_hello(hello)) == hello
