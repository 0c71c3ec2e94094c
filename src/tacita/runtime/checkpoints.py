"""The checkpoints that one party keeps: names, their versions, and how much room they take.

Versions keep a crash from losing what was saved. A new one is written beside the old, and the old
goes once every party is known to have the new one on its disk (`saving.py`). So whenever a party
dies, there is a version that all have, and the newest of those is what a load gives. What else lies
there, of saves that ended halfway, goes at the next save of that name.

What cannot be read keeps nobody from anything else. It stays where it is, under its id, and says so
to the other parties when they speak of a version with that id (`saving.py`): then the name that it
belongs to, which nobody can read here, can be neither loaded nor saved over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from threading import Lock
from typing import NamedTuple, Protocol

import numpy as np

from tacita.errors import AlreadyUsed, MaterialError, UsageError
from tacita.program.readings import Array
from tacita.runtime.checkpoint import ID_BYTES, Checkpoint, Version, encode

WORD_BYTES = 8
MOST_DESCRIBED = 64 << 20  # bytes of all descriptions, which stay in memory


class Unreadable(NamedTuple):
    """A file that may be somebody's checkpoint. size: in bytes. why: with its path, for people."""

    file: str
    size: int
    why: str

    @property
    def id(self) -> bytes | None:
        """Of the version that it should have; None for a name that is no version's."""
        try:
            id_ = bytes.fromhex(self.file)
        except ValueError:
            return None
        return id_ if len(id_) == ID_BYTES and id_.hex() == self.file else None


class Cabinet(Protocol):
    """Where the shares lie; called by several threads, never for one checkpoint at once."""

    def all(self) -> Sequence[Checkpoint | Unreadable]:
        """What lay there before this process began."""
        ...

    def write(self, checkpoint: Checkpoint, shares: Sequence[Array]) -> None:
        """All or nothing, and to stay when it returns. Raises MaterialError."""
        ...

    def read(self, checkpoint: Checkpoint) -> list[Array]:
        """Raises MaterialError, for what is gone as well."""
        ...

    def delete(self, checkpoint: Checkpoint) -> None: ...


class InMemory:
    """Implements `Cabinet`; gone with the process."""

    def __init__(self) -> None:
        self._shares: dict[bytes, list[Array]] = {}

    def all(self) -> list[Checkpoint]:
        return []

    def write(self, checkpoint: Checkpoint, shares: Sequence[Array]) -> None:
        self._shares[checkpoint.version.id] = [np.array(share) for share in shares]

    def read(self, checkpoint: Checkpoint) -> list[Array]:
        shares = self._shares.get(checkpoint.version.id)
        if shares is None:
            raise replaced(checkpoint)
        return [share.copy() for share in shares]

    def delete(self, checkpoint: Checkpoint) -> None:
        self._shares.pop(checkpoint.version.id, None)


class Checkpoints:
    """All checkpoints of one party; for many threads.

    room: bytes of shares that they may have together, and of what cannot be read; None: any.
    unreadable: what lay there and could not be read when this was made. It is never touched.
    Raises MaterialError for a cabinet that cannot be read at all.
    """

    def __init__(self, cabinet: Cabinet, room: int | None = None) -> None:
        self._cabinet = cabinet
        self._room = room
        self._lock = Lock()
        self._saving: set[str] = set()
        self._by_name: dict[str, list[Checkpoint]] = {}
        self._sizes: dict[bytes, tuple[int, int]] = {}  # of shares and description, by the id
        self._bytes = self._described = 0
        found = cabinet.all()
        self.unreadable = tuple(each for each in found if isinstance(each, Unreadable))
        self._bytes += sum(each.size for each in self.unreadable)
        for each in found:
            if isinstance(each, Checkpoint):
                self._by_name.setdefault(each.about.name, []).append(each)
                self._count(each, len(encode(each)))

    @property
    def unreadable_ids(self) -> tuple[bytes, ...]:
        return tuple(each.id for each in self.unreadable if each.id is not None)

    @contextmanager
    def saving(self, name: str) -> Iterator[None]:
        """A block in which no other session saves under this name, here.

        Nobody waits for it: two sessions whose parties each let in another one would wait for ever.
        Raises AlreadyUsed.
        """
        with self._lock:
            if name in self._saving:
                raise AlreadyUsed(f"{name!r} is being saved by another session: save it again")
            self._saving.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._saving.discard(name)

    def of(self, name: str) -> list[Checkpoint]:
        """All versions of a name that are here whole, in ascending order."""
        with self._lock:
            return sorted(self._by_name.get(name, ()), key=lambda each: each.version)

    def put(self, checkpoint: Checkpoint, shares: Sequence[Array]) -> None:
        """Adds a version, which stays when this returns. Its id is taken from the beginning on.

        shares: uint64, one of each tensor's shape. Raises UsageError where they are not,
        AlreadyUsed for an id that is there, MaterialError where room or disk are full.
        """
        about = checkpoint.about
        fits = len(shares) == len(about.tensors) == len(checkpoint.terms)
        for share, tensor in zip(shares, about.tensors, strict=False):
            fits = fits and share.shape == tensor.shape and share.dtype == np.uint64
        if not fits:
            raise UsageError(f"what is to be saved as {about.name!r} is not what was described")
        size, described = size_of(checkpoint), len(encode(checkpoint))
        with self._lock:
            if checkpoint.version.id in self._sizes:
                raise AlreadyUsed(f"{about.name!r} has the id of another checkpoint: save it again")
            if self._described + described > MOST_DESCRIBED:
                raise MaterialError(
                    f"too much is saved here: there is no room for the names of {about.name!r} and "
                    "what is public of it; remove some"
                )
            if self._room is not None and self._bytes + size > self._room:
                raise MaterialError(
                    f"what is saved may have {self._room} bytes here, and there are {self._bytes}: "
                    f"{size} more do not fit; remove some"
                )
            self._count(checkpoint, described)
        try:
            self._cabinet.write(checkpoint, shares)
        except BaseException:
            with self._lock:
                self._discount(checkpoint)
            raise
        with self._lock:
            self._by_name.setdefault(about.name, []).append(checkpoint)

    def shares(self, checkpoint: Checkpoint) -> list[Array]:
        """Raises MaterialError where they cannot be read, or are gone."""
        return self._cabinet.read(checkpoint)

    def keep_only(self, name: str, version: Version | None) -> None:
        """Deletes all versions of a name but this one; None: all.

        Raises MaterialError for what cannot be deleted, which stays in the list, and what follows.
        """
        for each in self.of(name):
            if each.version != version:
                self._cabinet.delete(each)  # first: a file without a name would come back one day
                with self._lock:
                    self._drop(each)

    def _drop(self, checkpoint: Checkpoint) -> None:
        name = checkpoint.about.name
        left = [each for each in self._by_name.get(name, ()) if each.version != checkpoint.version]
        self._by_name[name] = left
        if not left:
            del self._by_name[name]
        self._discount(checkpoint)

    def _count(self, checkpoint: Checkpoint, described: int) -> None:
        size = size_of(checkpoint)
        self._sizes[checkpoint.version.id] = (size, described)
        self._bytes += size
        self._described += described

    def _discount(self, checkpoint: Checkpoint) -> None:
        size, described = self._sizes.pop(checkpoint.version.id, (0, 0))
        self._bytes -= size
        self._described -= described


def size_of(checkpoint: Checkpoint) -> int:
    return WORD_BYTES * sum(prod(tensor.shape) for tensor in checkpoint.about.tensors)


def replaced(checkpoint: Checkpoint) -> MaterialError:
    return MaterialError(
        f"version {checkpoint.version.sequence} of {checkpoint.about.name!r} is not there any "
        "more, since another was saved: load it again"
    )
