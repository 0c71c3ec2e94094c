"""Pseudo-random streams that two roles share, each block of which is drawn once.

A party and the dealer share a key from the operating system's generator. An instruction has a
stream of its own: AES-128 in counter mode with the instruction's number as the nonce. Streams open
in ascending order only, and a stream only moves forward, so no block can be drawn twice for two
purposes: both ends check it without talking. A whole program's streams are reserved together and
then open in any order, each once.

Streams are also of what both ends were told until then (`bind`). A mask is safe only as long as
nobody else is handed what it was drawn from, and a dealer that was told to draw something else from
the same stream might publish it. So who was told something else draws something else.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from threading import Lock
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from tacita.errors import MaskReused
from tacita.ring import kernels

Array = NDArray[np.uint64]
KEY_BYTES = 16
BRANCHES = 256
WORDS_PER_BLOCK = 2


def fresh_key() -> bytes:
    """A key from the operating system's generator."""
    return os.urandom(KEY_BYTES)


class OneTime:
    """What must not exist twice: a copy would draw the same randomness again."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise MaskReused(f"a {type(self).__name__} cannot be copied or pickled")


class Stream(OneTime):
    """The stream of one instruction (or a branch of it) under one key; draws move it forward."""

    __slots__ = ("_block", "_key", "_nonce")

    def __init__(self, key: bytes, nonce: int) -> None:
        self._key = key
        self._nonce = nonce
        self._block = 0

    def draw(self, shape: tuple[int, ...]) -> Array:
        """Uniform ring elements, or planes of uniform bits."""
        out = np.empty(shape, np.uint64)
        kernels.aes_ctr(self._key, self._nonce, self._advance(out.size), out)
        return out

    def add_to(self, out: Array) -> None:
        """out += a draw of its shape, in Z_2^64."""
        kernels.aes_ctr_add(self._key, self._nonce, self._advance(out.size), out)

    def xor_to(self, out: Array) -> None:
        """out ^= a draw of its shape."""
        kernels.aes_ctr_xor(self._key, self._nonce, self._advance(out.size), out)

    def _advance(self, words: int) -> int:
        block = self._block
        self._block += -(-words // WORDS_PER_BLOCK)
        return block


class StreamKey(OneTime):
    """A key and the streams it has opened; each (instruction, branch) opens once, in order."""

    __slots__ = ("_bound", "_key", "_last", "_process", "_root")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a stream key has {KEY_BYTES} bytes, not {len(key)}")
        self._root = key
        self._bound = b""
        self._key = key  # of the streams that open next
        self._last = -1
        self._process = os.getpid()

    def __repr__(self) -> str:
        return "StreamKey(hidden)"

    def bind(self, told: bytes) -> None:
        """Streams from here on are those of whoever was told this, after all it was told before."""
        self._bound = hashlib.sha256(self._bound + hashlib.sha256(told).digest()).digest()
        self._key = hmac.digest(self._root, self._bound, "sha256")[:KEY_BYTES]

    def open(self, number: int, branch: int = 0) -> Stream:
        """The stream of instruction `number`; numbers ascend, and branches within a number."""
        if not 0 <= branch < BRANCHES or not 0 <= number < 1 << 56:
            raise ValueError(f"no stream has number {number}, branch {branch}")
        if os.getpid() != self._process:
            raise MaskReused("this process was forked, and its parent draws from the same key")
        nonce = number * BRANCHES + branch
        if nonce <= self._last:
            raise MaskReused(f"stream {number}.{branch} was opened before, or a later one was")
        self._last = nonce
        return Stream(self._key, nonce)

    def reserve(self, first: int, count: int) -> StreamRange:
        """The streams of `count` instructions from `first` on, to be opened in any order."""
        last = first + count - 1
        if first < 0 or count < 0 or last >= 1 << 56:
            raise ValueError(f"no streams have numbers {first} to {last}")
        if os.getpid() != self._process:
            raise MaskReused("this process was forked, and its parent draws from the same key")
        if count and first * BRANCHES <= self._last:
            raise MaskReused(f"stream {first} was opened before, or a later one was")
        if count:
            self._last = last * BRANCHES + BRANCHES - 1
        return StreamRange(self._key, first, count)


class StreamRange(OneTime):
    """The streams of consecutive instructions; each opens once, its branches in ascending order.

    Instructions that run side by side open theirs in whatever order the program's data flow has.
    """

    __slots__ = ("_first", "_key", "_last", "_lock", "_process")

    def __init__(self, key: bytes, first: int, count: int) -> None:
        self._key = key
        self._first = first
        self._last = [-1] * count  # of each instruction, the branch that was opened last
        self._lock = Lock()  # a dealer's threads open the streams of different instructions
        self._process = os.getpid()

    def __repr__(self) -> str:
        return "StreamRange(hidden)"

    def open(self, number: int, branch: int = 0) -> Stream:
        """The stream of instruction `number`, which lies in the range."""
        place = number - self._first
        if not 0 <= place < len(self._last) or not 0 <= branch < BRANCHES:
            raise ValueError(f"no stream of this range has number {number}, branch {branch}")
        if os.getpid() != self._process:
            raise MaskReused("this process was forked, and its parent draws from the same key")
        with self._lock:
            if branch <= self._last[place]:
                raise MaskReused(f"stream {number}.{branch} was opened before, or a later branch")
            self._last[place] = branch
        return Stream(self._key, number * BRANCHES + branch)


class SharingSource(OneTime):
    """One-time shares for whoever owns an input, from a key of the owner's own."""

    def __init__(self) -> None:
        self._key = StreamKey(fresh_key())
        self._inputs = 0

    def split(self, values: Array, parties: int) -> list[Array]:
        """`parties` arrays that sum to `values`; any parties - 1 of them are uniform."""
        stream = self._key.open(self._inputs)
        self._inputs += 1
        shares = [stream.draw(values.shape) for _ in range(parties - 1)]
        last = values.copy()
        for share in shares:
            np.subtract(last, share, out=last)
        return [*shares, last]
