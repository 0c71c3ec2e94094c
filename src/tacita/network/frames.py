"""The frame format: what the bytes of a link mean. Nothing here does I/O.

A link carries frames, one after the other, in each direction. All integers are little-endian:

    offset  bytes
      0       4    length of all that follows, 24 + payload
      4       1    version of the format, 1
      5       1    kind
      6       1    flags of a DATA frame: 1 the first piece of a message, 2 the last; otherwise 0
      7       1    0
      8      16    id of the stream; sixteen zero bytes for frames of the link itself
     24       4    sequence number, per stream and direction: 0, 1, 2, … without a gap
     28       …    payload

    kind       payload
    1 HELLO    msgpack [tacita version, window, message bytes], see `Hello`; stream 0, the first
               frame each way
    2 OPEN     nothing; its sender begins the stream, the other side may send from then on
    3 DATA     a piece of a message, 1 byte to 256 KiB
    4 CREDIT   u64: so much of what was sent has been consumed, see below
    5 CLOSE    why the stream ends, UTF-8, at most 512 bytes; its sender sends nothing after it
    6 PING     u64 of the sender's choice; stream 0
    7 PONG     the u64 of the PING that it answers; stream 0
    8 BYE      why the link ends, UTF-8, at most 512 bytes; stream 0, the last frame

A message is cut into pieces anywhere; put together they are

    u32        length of the head
    head       msgpack [kind, header, shapes]: text, bytes, list of lists of dimensions
    words      the elements of all arrays, in order, row by row, 8 bytes each

and nothing after that: the shapes say how many words there are.

*Flow control.* A message costs its bytes and a fixed amount for itself and for each array (see
`cost`), so that a flood of empty ones has a price as well. A sender adds up what it sent on a
stream and takes off what CREDIT frames give back. It may begin a message when the sum is at most a
quarter of the receiver's window, or does not exceed the window with the message. So a message
larger than the window can pass, and a receiver may keep back credit of less than a quarter of its
window: small messages do not need a CREDIT each.

Whatever is not as said here raises FrameError, whose text has positions, sizes and names, never
payload.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod
from typing import Annotated, Any, cast, get_args

import msgspec
import numpy as np

from tacita.errors import FrameError, UsageError
from tacita.runtime.transport import Array, Kind, Message

VERSION = 1
HEADER = struct.Struct("<IBBBB16sI")
HEADER_BYTES = HEADER.size
LENGTH_BYTES = 4
PIECE_BYTES = 256 << 10  # longer pieces would keep other streams waiting
LINK_STREAM = bytes(16)
FIRST, LAST = 1, 2
VERSION_AT = 4  # the place of the version in every version of the format
REASON_BYTES = 512
HELLO_BYTES = 256
SEQUENCE_END = 1 << 32

BLOCK_BYTES = 4 << 10  # in which memory for a head grows
MESSAGE_COST = 1024  # about what Python needs for an empty message
ARRAY_COST = 256
MOST_ARRAYS = 1 << 16  # what decoding allows at all; Limits may say less
MOST_DIMENSIONS = 32  # NumPy has no more on any version
WORD = np.dtype("<u8")

MESSAGE_KINDS: frozenset[str] = frozenset(get_args(Kind))


class FrameKind(IntEnum):
    HELLO = 1
    OPEN = 2
    DATA = 3
    CREDIT = 4
    CLOSE = 5
    PING = 6
    PONG = 7
    BYE = 8


OF_LINK = frozenset({FrameKind.HELLO, FrameKind.PING, FrameKind.PONG, FrameKind.BYE})
# smallest and largest payload
SIZES: dict[FrameKind, tuple[int, int]] = {
    FrameKind.HELLO: (1, HELLO_BYTES),
    FrameKind.OPEN: (0, 0),
    FrameKind.DATA: (1, PIECE_BYTES),
    FrameKind.CREDIT: (8, 8),
    FrameKind.CLOSE: (0, REASON_BYTES),
    FrameKind.PING: (8, 8),
    FrameKind.PONG: (8, 8),
    FrameKind.BYE: (0, REASON_BYTES),
}
KINDS = {kind.value: kind for kind in FrameKind}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one end of a link accepts, and how long it waits.

    header, arrays, dimensions, message: of one message; bytes, counts, bytes in all.
    window: bytes that may wait in one stream until they are consumed.
    link: bytes that may wait in all streams of a link.
    streams: open at once in a link.
    remembered: ids of closed streams that a link still knows.
    handshake: seconds for TLS and HELLO.
    farewell: seconds that a link which ends waits for the other side to take note.
    """

    header: int = 16 << 20
    arrays: int = 1 << 14
    dimensions: int = 16
    message: int = 1 << 30
    window: int = 64 << 20
    link: int = 4 << 30
    streams: int = 1024
    remembered: int = 8192
    handshake: float = 10.0
    farewell: float = 1.0

    @property
    def slack(self) -> int:
        return slack(self.window)


def slack(window: int) -> int:
    """What may be waiting when a message of any size begins; less is what credit is kept back."""
    return window // 4


def may_begin(waiting: int, cost: int, window: int) -> bool:
    """Whether flow control allows a message of this cost, with so much waiting already."""
    return waiting <= slack(window) or waiting + cost <= window


# ---- frames ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame's header, checked; `size` is that of the payload in bytes."""

    kind: FrameKind
    flags: int
    stream: bytes
    sequence: int
    size: int


def header(kind: FrameKind, flags: int, stream: bytes, sequence: int, size: int) -> bytes:
    """The 28 bytes before a payload of `size` bytes."""
    if sequence >= SEQUENCE_END:
        raise FrameError(f"stream {stream.hex()} has used up its 2^32 sequence numbers")
    return HEADER.pack(
        HEADER_BYTES - LENGTH_BYTES + size, VERSION, kind, flags, 0, stream, sequence
    )


def decode_header(data: bytes | bytearray | memoryview) -> Frame:
    """The header in 28 bytes; everything that can be wrong about it without knowing the streams.

    Raises FrameError for another version, an unknown kind or flag, a size that the kind does not
    have, and a frame of the link on a stream or the other way round.
    """
    length, version, number, flags, zero, stream, sequence = HEADER.unpack(data)
    if version != VERSION:
        raise FrameError(f"a frame of format version {version}; this is version {VERSION}")
    kind = KINDS.get(number)
    if kind is None:
        raise FrameError(f"a frame of the unknown kind {number}")
    if zero or flags & ~(FIRST | LAST) or (flags and kind is not FrameKind.DATA):
        raise FrameError(f"a {kind.name} frame with the flags {flags} {zero}")
    size = length - (HEADER_BYTES - LENGTH_BYTES)
    least, most = SIZES[kind]
    if not least <= size <= most:
        raise FrameError(
            f"a {kind.name} frame with {size} bytes of payload; it has {least} to {most}"
        )
    if (stream == LINK_STREAM) != (kind in OF_LINK):
        raise FrameError(f"a {kind.name} frame on stream {stream.hex()}")
    return Frame(kind, flags, stream, sequence, size)


def encode_number(number: int) -> bytes:
    return number.to_bytes(8, "little")


def decode_number(payload: bytes) -> int:
    return int.from_bytes(payload, "little")


def encode_reason(why: str) -> bytes:
    """Cut to what a frame may hold, between characters."""
    return why.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore").encode()


def decode_reason(payload: bytes) -> str:
    """What the other side wrote, fit for one line of a log."""
    text = payload.decode("utf-8", "replace")
    return "".join(each if each.isprintable() else "·" for each in text)


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """tacita: the version of the package. window, message: of the sender's Limits, in bytes."""

    tacita: Annotated[str, msgspec.Meta(max_length=64)]
    window: Annotated[int, msgspec.Meta(ge=1, le=2**62)]
    message: Annotated[int, msgspec.Meta(ge=1, le=2**62)]


def encode_hello(hello: Hello) -> bytes:
    return msgspec.msgpack.encode(hello)


def decode_hello(payload: bytes) -> Hello:
    """Raises FrameError."""
    try:
        return msgspec.msgpack.decode(payload, type=Hello)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(f"a HELLO that does not decode: {error}") from None


# ---- messages ----------------------------------------------------------------------------------

Shape = Annotated[
    tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(max_length=MOST_DIMENSIONS)
]


class Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All of a message but its words."""

    kind: str
    header: bytes
    shapes: Annotated[tuple[Shape, ...], msgspec.Meta(max_length=MOST_ARRAYS)]

    @property
    def words(self) -> int:
        count = 0
        for shape in self.shapes:
            count += prod(shape)
        return count


HEAD_ENCODER = msgspec.msgpack.Encoder()
HEAD_DECODER = msgspec.msgpack.Decoder(Head)


def cost(size: int, arrays: int) -> int:
    """What a message of `size` bytes counts in flow control."""
    return size + MESSAGE_COST + ARRAY_COST * arrays


@dataclass(frozen=True, slots=True)
class Content:
    """A message, ready to be cut: `parts` in order are its bytes, `size` in all."""

    parts: tuple[memoryview, ...]
    size: int
    cost: int


def encode_message(message: Message, limits: Limits, kinds: frozenset[str]) -> Content:
    """The bytes of a message; those of its arrays are not copied where they are contiguous.

    Raises UsageError for a message over the limits: nothing has been sent then.
    """
    if message.kind not in kinds:
        raise UsageError(f"a message of the kind {message.kind!r} cannot be sent over this link")
    if len(message.header) > limits.header:
        raise UsageError(
            f"the header of a {message.kind!r} message has {len(message.header)} bytes; "
            f"the limit is {limits.header}"
        )
    if len(message.arrays) > limits.arrays:
        raise UsageError(
            f"a {message.kind!r} message has {len(message.arrays)} arrays; "
            f"the limit is {limits.arrays}"
        )
    parts = []
    for number, array in enumerate(message.arrays):
        if array.dtype != np.uint64 or array.ndim > limits.dimensions:
            raise UsageError(
                f"array {number} of a {message.kind!r} message: {array.dtype}, {array.ndim} "
                f"dimensions; it takes uint64 and at most {limits.dimensions}"
            )
        if array.size:
            flat = np.ascontiguousarray(array, WORD).reshape(-1)
            parts.append(memoryview(cast(Any, flat)).cast("B"))
    head = HEAD_ENCODER.encode(
        (message.kind, message.header, [array.shape for array in message.arrays])
    )
    head = len(head).to_bytes(4, "little") + head
    size = len(head) + sum(part.nbytes for part in parts)
    if size > limits.message:
        raise UsageError(
            f"a {message.kind!r} message has {size} bytes; the limit is {limits.message}"
        )
    return Content((memoryview(head), *parts), size, cost(size, len(message.arrays)))


def pieces(
    content: Content, most: int = PIECE_BYTES
) -> Iterator[tuple[int, int, list[memoryview]]]:
    """(flags, bytes, parts) of every DATA frame."""
    flags, size, gathered = FIRST, 0, list[memoryview]()
    left = content.size
    for part in content.parts:
        start = 0
        while start < part.nbytes:
            taken = min(part.nbytes - start, most - size)
            gathered.append(part[start : start + taken])
            start, size, left = start + taken, size + taken, left - taken
            if size == most or not left:
                yield (flags if left else flags | LAST), size, gathered
                flags, size, gathered = 0, 0, []


@dataclass(slots=True)
class Assembly:
    """A message that is being received: says where the next bytes go, and what they were.

    Memory follows the bytes: a head is grown piece by piece, and the words' memory is asked for
    when the head has passed every limit; the system hands out its pages as they are written to.
    """

    limits: Limits
    kinds: frozenset[str]
    head: Head | None = None
    size: int = 0  # of the whole message, once the head is there
    _blocks: list[bytearray] = field(default_factory=list)  # the length, the head
    _wanted: int = 4  # bytes of them
    _allocated: int = 0
    _filled: int = 0  # bytes of them, or of the words when the head is there
    _words: Array | None = None
    _view: memoryview = field(default_factory=lambda: memoryview(b""))  # of the words

    def room(self, count: int) -> memoryview:
        """Memory for at most `count` bytes that are about to arrive; call `took` with how many did.

        Raises FrameError where the message has no more bytes.
        """
        if self.head is not None:
            if self._filled == self._view.nbytes:
                raise FrameError(f"{count} bytes after the end of a {self.head.kind!r} message")
            return self._view[self._filled : self._filled + count]
        if self._filled == self._allocated:
            # Not a block for every byte that comes alone, nor all that was announced.
            size = min(max(count, BLOCK_BYTES), self._wanted - self._filled)
            self._blocks.append(bytearray(size))
            self._allocated += size
        block = self._blocks[-1]
        start = len(block) - (self._allocated - self._filled)
        return memoryview(block)[start : start + count]

    def took(self, count: int) -> bool:
        """`count` bytes were written to what `room` returned. True if they completed the head.

        Raises FrameError for a head that does not decode or is over a limit.
        """
        self._filled += count
        if self.head is not None or self._filled < self._wanted:
            return False
        if self._wanted == 4:
            length = int.from_bytes(self._blocks[0], "little")
            # kind and shapes beside the header: nine bytes a dimension at most, and their frames
            most = self.limits.header + 1024 + self.limits.arrays * (9 * self.limits.dimensions + 5)
            if not 0 < length <= most:
                raise FrameError(f"a message head of {length} bytes; the limit is {most}")
            self._wanted += length
            return False
        self._begin(decode_head(b"".join(self._blocks[1:]), self.limits, self.kinds))
        return True

    def _begin(self, head: Head) -> None:
        words = head.words
        self.size = self._wanted + 8 * words
        if self.size > self.limits.message:
            raise FrameError(
                f"a {head.kind!r} message of {self.size} bytes; the limit is {self.limits.message}"
            )
        self.head = head
        self._blocks = []
        self._filled = 0
        self._words = np.empty(words, WORD)
        if words:
            self._view = memoryview(cast(Any, self._words)).cast("B")

    @property
    def cost(self) -> int:
        return cost(self.size, len(self.head.shapes) if self.head else 0)

    def finish(self) -> Message:
        """The message. Its arrays are writable and share no element.

        Raises FrameError where bytes are missing.
        """
        if self.head is None:
            raise FrameError(f"a message that ends after {self._filled} bytes, within its head")
        if self._filled < self._view.nbytes:
            raise FrameError(
                f"a {self.head.kind!r} message whose arrays take {self._view.nbytes} bytes "
                f"ends after {self._filled}"
            )
        assert self._words is not None
        words = self._words.astype(np.uint64, copy=False)
        arrays, start = [], 0
        for shape in self.head.shapes:
            end = start + prod(shape)
            arrays.append(words[start:end].reshape(shape))
            start = end
        return Message(cast(Kind, self.head.kind), self.head.header, tuple(arrays))


def decode_head(data: bytes | memoryview, limits: Limits, kinds: frozenset[str]) -> Head:
    """The head of a message, within every limit but that of its words.

    Raises FrameError.
    """
    try:
        head = HEAD_DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"a message head that does not decode: {error}") from None
    if head.kind not in kinds:
        raise FrameError(f"a message of the unknown kind {head.kind[:32]!r}")
    if len(head.header) > limits.header:
        raise FrameError(
            f"the header of a {head.kind!r} message has {len(head.header)} bytes; "
            f"the limit is {limits.header}"
        )
    if len(head.shapes) > limits.arrays:
        raise FrameError(
            f"a {head.kind!r} message has {len(head.shapes)} arrays; the limit is {limits.arrays}"
        )
    for number, shape in enumerate(head.shapes):
        if len(shape) > limits.dimensions:
            raise FrameError(
                f"array {number} of a {head.kind!r} message has {len(shape)} dimensions; "
                f"the limit is {limits.dimensions}"
            )
        # A dimension of 0 may not hide others that no array can have.
        if 8 * prod(max(each, 1) for each in shape) > limits.message:
            raise FrameError(
                f"array {number} of a {head.kind!r} message has dimensions over the limit of "
                f"{limits.message} bytes a message"
            )
    return head
