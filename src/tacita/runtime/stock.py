"""Stock: material dealt ahead of time, in files, one for each party and batch, each taken once.

A batch serves one use of a program. A party's file holds the key of its streams and, instruction by
instruction, what the dealer publishes; the last party's also holds its corrections.
`stock_folder.py` says what the files are named and how a batch is taken once; `sealing.py` has the
format: who lacks the secret that the dealer and the party share learns the label and the sizes, and
changes nothing unnoticed.
The records in a file are

    key       the key of the party's streams
    entry     of one instruction: its number, and how long each branch's arrays are
    words     all these arrays, one after the other, 1 MiB a record, the last one shorter
    entry …   of the next one
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from tacita.errors import MaskReused, MaterialError, MaterialMismatch, UsageError
from tacita.ring.randomness import BRANCHES, KEY_BYTES, OneTime
from tacita.runtime.sealing import (
    LARGEST_PAYLOAD,
    SealedReader,
    SealedWriter,
    altered,
    check_secret,
    read_header,
)
from tacita.runtime.stock_folder import (
    PRIVATE,
    Label,
    Slot,
    check_label,
    discard,
    encode,
    on_disk,
    waiting,
)

__all__ = ["Label", "StockWriter", "TakenBatch", "discard", "open_spent", "take", "waiting"]

Array = NDArray[np.uint64]

# What a record is.
KEY, ENTRY, WORDS = 1, 2, 3

ON_DISK = np.dtype("<u8")
MOST_NUMBERS = 1 << 56  # as many as there are streams


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Stands before the words of one instruction: how long each branch's arrays are."""

    number: Annotated[int, msgspec.Meta(ge=0, lt=MOST_NUMBERS)]
    sizes: dict[
        Annotated[int, msgspec.Meta(ge=0, lt=BRANCHES)],
        list[Annotated[int, msgspec.Meta(ge=0)]],
    ]

    @property
    def length(self) -> int:
        """Of the words, in bytes."""
        return ON_DISK.itemsize * sum(sum(sizes) for sizes in self.sizes.values())


_decode_entry = msgspec.msgpack.Decoder(Entry).decode


class StockWriter:
    """Writes one party's file of a batch; it appears under its name when it is whole.

    Use it in a `with` block, which publishes the file, or removes it where an error ends the block.

    folder: made if it is not there. secret: at least 16 random bytes that the dealer shares with
    this party. key: 16 fresh bytes, the key of the party's streams. Memory: about two records of
    1 MiB, whatever is added.

    Raises UsageError for a secret or key of a wrong length, MaskReused for a batch that the folder
    knows, and MaterialError where the disk refuses.
    """

    def __init__(self, folder: Path, label: Label, secret: bytes, key: bytes) -> None:
        check_secret(secret)
        if len(key) != KEY_BYTES:
            raise UsageError(f"a stream key has {KEY_BYTES} bytes, not {len(key)}")
        self._label = label
        self._slot = Slot.of(folder, label)
        self._part = self._slot.path("part")
        self._last = -1
        self._process = os.getpid()
        self._published = False
        with on_disk(self._part):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = self._create()
        with self._whole_or_gone():
            if self._slot.path("stock").exists() or self._slot.was_taken:
                raise MaskReused(f"{self._slot.path('stock')} was dealt before; draw a fresh id")
            self._sealed = SealedWriter(self._file, encode(label), secret)
            self._sealed.write(KEY, key)

    def _create(self) -> BinaryIO:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.fdopen(os.open(self._part, flags, PRIVATE), "wb")
        except FileExistsError:
            raise MaskReused(
                f"{self._part} is being written, or was left when a dealer stopped; draw a fresh id"
            ) from None

    def add(self, number: int, dealt: dict[int, list[Array]]) -> None:
        """What the dealer has for the party for one instruction, by branch: what it publishes, and
        for the last party its corrections.

        number: above all before it. dealt: uint64 arrays of any shape, stored flat. Whatever is
        added, be it empty, has to be read. Raises UsageError, and writes nothing, for what does not
        fit; MaterialError where the disk refuses, and then the file is gone.
        """
        self._check_open()
        if not self._last < number < MOST_NUMBERS:
            raise UsageError(
                f"{self._part}: instruction {number} was added after {self._last}; numbers ascend"
            )
        arrays = [array for branch in dealt.values() for array in branch]
        if any(array.dtype != np.uint64 for array in arrays):
            raise UsageError(f"{self._part}: instruction {number} has arrays that are not uint64")
        if not all(0 <= branch < BRANCHES for branch in dealt):
            raise UsageError(f"{self._part}: instruction {number} has branches out of range")
        sizes = {branch: [array.size for array in dealt[branch]] for branch in dealt}
        entry = encode(Entry(number, sizes))
        if len(entry) > LARGEST_PAYLOAD:
            raise UsageError(f"{self._part}: instruction {number} has too many arrays")
        self._last = number
        with self._whole_or_gone():
            self._sealed.write(ENTRY, entry)
            for words in joined_and_split(arrays):
                self._sealed.write(WORDS, words)

    def close(self) -> None:
        """Publishes the file: it is on the disk, under its name. More calls do nothing.

        Raises MaterialError where the disk refuses, or did before.
        """
        if self._published:
            return
        self._check_open()
        with self._whole_or_gone():
            self._sealed.end()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.rename(self._part, self._slot.path("stock"))
            self._published = True
            self._slot.sync()

    def abandon(self) -> None:
        """Removes what was written, unless it has been published."""
        if self._published:
            return
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _check_open(self) -> None:
        if os.getpid() != self._process:  # it would seal other records with the same nonces
            raise MaskReused(f"this process was forked, and its parent writes {self._part}")
        if self._file.closed:
            raise MaterialError(f"{self._part} is closed or was given up; deal a new batch")

    @contextmanager
    def _whole_or_gone(self) -> Iterator[None]:
        try:
            with on_disk(self._part):
                yield
        except BaseException:
            self.abandon()
            raise


def joined_and_split(arrays: Iterable[Array]) -> Iterator[bytearray]:
    """The words of all arrays, one after the other, in pieces that are full but for the last."""
    piece = bytearray()
    for array in arrays:
        data = np.ascontiguousarray(array, ON_DISK).reshape(-1).view(np.uint8)
        while data.size:
            room = LARGEST_PAYLOAD - len(piece)
            piece += data[:room].data
            data = data[room:]
            if len(piece) == LARGEST_PAYLOAD:
                yield piece
                piece = bytearray()
    if piece:
        yield piece


class TakenBatch(OneTime):
    """One party's material of a batch that it has taken; `take` and `open_spent` make it.

    Use it in a `with` block, and call `finish` at the end of it: after the block the file is gone
    in any case. A fork of the process cannot use it. ended: called once, when the file was closed.
    """

    __slots__ = ("_ended", "_entry", "_file", "_key", "_path", "_process", "_reader", "label")

    def __init__(
        self,
        label: Label,
        path: Path,
        file: BinaryIO,
        reader: SealedReader,
        ended: Callable[[], None],
    ) -> None:
        self.label = label
        self._path = path
        self._file = file
        self._reader = reader
        self._ended = ended
        self._entry: Entry | None = None
        self._process = os.getpid()
        first = reader.read()
        if first is None or first[0] != KEY or len(first[1]) != KEY_BYTES:
            raise altered(path, "it does not begin with a key")
        self._key: bytes | None = first[1]

    def __repr__(self) -> str:
        return f"TakenBatch({self._path.name}, hidden)"

    def key(self) -> bytes:
        """The key of the party's streams; once. Raises MaskReused from then on."""
        self._check_usable()
        key, self._key = self._key, None
        if key is None:
            raise MaskReused(f"the key of {self._path} was handed out before")
        return key

    def corrections(self, number: int) -> dict[int, deque[Array]]:
        """What was added for an instruction, by branch: flat arrays, uint64.

        Instructions are to be read in the order in which they were added, none left out. Memory:
        the arrays and about two records of 1 MiB. All of them are verified before any is returned.

        Raises MaterialMismatch where another instruction is next, or the file was altered.
        """
        self._check_usable()
        entry = self._next_entry()
        if entry is None or entry.number != number:
            due = "the end" if entry is None else f"instruction {entry.number}"
            raise MaterialMismatch(
                f"{self._path} has {due} where instruction {number} was asked for; "
                "it has to be read in the order in which it was dealt"
            )
        if entry.length > self._reader.bytes_left:
            raise altered(self._path, f"instruction {number} is longer than the file")
        self._entry = None
        dealt = {
            branch: [np.empty(size, ON_DISK) for size in sizes]
            for branch, sizes in entry.sizes.items()
        }
        self._fill([array for branch in dealt.values() for array in branch], entry.length)
        return {
            branch: deque(array.astype(np.uint64, copy=False) for array in arrays)
            for branch, arrays in dealt.items()
        }

    def finish(self) -> None:
        """Closes the file, all of which has been read, for good.

        Raises MaterialMismatch where corrections are left: then parties and dealer differ about
        the program. The key may be unused, in a program that draws nothing.
        """
        self._check_usable()
        left = self._next_entry()
        if left is not None:
            raise MaterialMismatch(f"{self._path}: instruction {left.number} was never asked for")
        self.close()

    def close(self) -> None:
        """Closes the file, read or not: it is not to be had any more. More calls do nothing."""
        self._key = self._entry = None
        if not self._file.closed:
            self._file.close()
            with on_disk(self._path):
                self._ended()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def _check_usable(self) -> None:
        if os.getpid() != self._process:
            raise MaskReused(f"this process was forked, and its parent uses {self._path}")
        if self._file.closed:
            raise MaskReused(f"{self._path} is finished; take another batch")

    def _next_entry(self) -> Entry | None:
        """The entry that is next, which stays next; None at the end of the file."""
        if self._entry is None and (record := self._reader.read()) is not None:
            kind, payload = record
            try:
                if kind != ENTRY:
                    raise altered(self._path, "words stand where an instruction begins")
                self._entry = _decode_entry(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise altered(self._path, "an instruction that cannot be read") from None
        return self._entry

    def _fill(self, arrays: list[Array], due: int) -> None:
        """Writes the next `due` bytes of the file to the arrays, one after the other."""
        words = np.empty(0, np.uint8)
        for array in arrays:
            rest = array.view(np.uint8)
            while rest.size:
                if not words.size:
                    words = self._words(min(due, LARGEST_PAYLOAD))
                    due -= words.size
                taken = min(words.size, rest.size)
                rest[:taken] = words[:taken]
                rest, words = rest[taken:], words[taken:]

    def _words(self, length: int) -> NDArray[np.uint8]:
        record = self._reader.read()
        if record is None or record[0] != WORDS or len(record[1]) != length:
            raise altered(self._path, f"no record of {length} bytes where one was due")
        return np.frombuffer(record[1], np.uint8)


def take(folder: Path, label: Label, secret: bytes) -> TakenBatch:
    """Takes a party's file of a batch, for this once and never again in this folder.

    secret: the one that it was written with. A file that does not fit or is not whole is refused
    and stays where it is. Of several processes that take one batch, one gets it.

    Raises MaskReused for a batch that was taken before, MaterialMismatch for a file that is not
    there, is of another label, secret or version, or was cut, added to or altered; MaterialError
    where the disk refuses.
    """
    check_secret(secret)
    slot = Slot.of(folder, label)
    stock, taken = slot.path("stock"), slot.path("taken")
    if slot.was_taken:
        raise slot.refusal()
    with on_disk(stock):
        try:
            # Looked at first, so that a wrong secret does not cost the batch. The key and the
            # corrections stay sealed until the batch is this process's alone.
            _open(stock, label, secret)[0].close()
            if not slot.mark_spent():
                raise slot.refusal()
            os.rename(stock, taken)
        except FileNotFoundError:
            raise slot.refusal() from None
        slot.sync()
        file, reader = _open(taken, label, secret)
        try:
            # The marker stays.
            return TakenBatch(label, taken, file, reader, lambda: taken.unlink(missing_ok=True))
        except BaseException:
            file.close()
            raise


def open_spent(
    folder: Path, label: Label, secret: bytes, ended: Callable[[], None] = lambda: None
) -> TakenBatch:
    """Opens a party's file of a batch that the caller has recorded, durably, as spent by itself.

    For callers with a ledger that survives what befalls the folder, in which of all that ask for a
    batch, threads, processes and machines, one gets it, before it calls this. The folder then has
    to remember nothing: no marker is made, nothing renamed or synced. `take` is for all others.

    The file loses its name as soon as it is open and found whole, before its key is read. Why a
    batch is still used once, whatever happens:

    - killed before the record was made: nothing was read, and the batch can be taken;
    - killed after it and before the name goes: the file stays, but the record refuses whoever asks
      for it; what is left over is the caller's to sweep;
    - killed later: there is no file any more, since the system frees it with its last user;
    - the machine fails, a disk or folder is restored, a copy is put back: the name may be there
      again, the record is not undone by it, and refuses;
    - two threads or processes: the record lets one of them come here.

    secret: the one that it was written with. ended: called once, when the file is closed and its
    room on the disk is free.

    Raises MaskReused for a batch that `take` took here, MaterialMismatch for a file that is not
    there, is of another label, secret or version, or was cut, added to or altered; MaterialError
    where the disk refuses. A file that was refused stays where it is. Costs one opening of the
    file, and no sync.
    """
    check_secret(secret)
    slot = Slot.of(folder, label)
    stock = slot.path("stock")
    with on_disk(stock):
        try:
            if slot.was_taken:
                raise slot.refusal()
            file, reader = _open(stock, label, secret)
        except FileNotFoundError:
            raise slot.refusal() from None
        try:
            stock.unlink(missing_ok=True)  # a sweep may have been quicker
            return TakenBatch(label, stock, file, reader, ended)
        except BaseException:
            file.close()
            raise


def _open(path: Path, label: Label, secret: bytes) -> tuple[BinaryIO, SealedReader]:
    """A file whose label and last record are right, and a reader of its records."""
    file = path.open("rb")
    try:
        header = read_header(file, path)
        check_label(header.label, label, path)
        return file, SealedReader(file, path, header, secret)
    except BaseException:
        file.close()
        raise
