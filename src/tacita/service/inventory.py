"""What a storehouse has, in memory, so that nobody asks the ledger or the disk for every query.

It is counted once, when a storehouse opens, and followed from then on. It decides nothing: which
batch is used is for the ledger to say, and one that waits here although it is spent or void there
is refused, and then forgotten. Bytes are counted from when they are reserved, before they are
written, to when their file is deleted, or closed by the last who reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock


@dataclass
class Arrival:
    """A batch between `receive` and `ready`."""

    model: bytes
    whole: bool = False


class Inventory:
    """Batches that arrive, wait or are in use, and the bytes of all files; for many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._arriving: dict[bytes, Arrival] = {}
        # In the order in which they became ready, and the model of each.
        self._waiting: dict[bytes, dict[bytes, None]] = {}
        self._model_of: dict[bytes, bytes] = {}
        self._taking: Counter[bytes] = Counter()  # by how many threads, of which one gets it
        self._in_use: set[bytes] = set()
        self._sizes: dict[bytes, int] = {}
        self._bytes = 0

    # ---- bytes ---------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes of all files, and of what will be written to those that arrive."""
        with self._lock:
            return self._bytes

    def reserve(self, batch: bytes, more: int, room: int) -> bool:
        """Counts what is about to be written; False, and nothing is counted, without room."""
        with self._lock:
            if self._bytes + more > room:
                return False
            self._set_size(batch, self._sizes.get(batch, 0) + more)
            return True

    def sizes(self) -> dict[bytes, int]:
        with self._lock:
            return dict(self._sizes)

    def recount(self, before: dict[bytes, int], found: dict[bytes, int]) -> None:
        """Agrees with the folder. before: `sizes` when looking began; found: what it has."""
        with self._lock:
            now = set(self._sizes)
            for batch in found.keys() - before.keys() - now:
                self._set_size(batch, found[batch])
            for batch in (before.keys() & now) - found.keys():
                if batch not in self._arriving and batch not in self._in_use:
                    self._set_size(batch, 0)

    def deleted(self, batch: bytes) -> None:
        """Its file has no name any more; it counts until who has it open closes it."""
        with self._lock:
            self._forget(batch)
            if batch not in self._in_use:
                self._set_size(batch, 0)

    def _set_size(self, batch: bytes, size: int) -> None:
        self._bytes += size - self._sizes.pop(batch, 0)
        if size:
            self._sizes[batch] = size

    # ---- a batch's life ------------------------------------------------------------------------

    def arrives(self, batch: bytes, model: bytes) -> None:
        with self._lock:
            self._arriving[batch] = Arrival(model)

    def whole(self, batch: bytes, size: int) -> None:
        """Its file is published, and counts by its own size."""
        with self._lock:
            if batch in self._arriving:  # else it was given up meanwhile
                self._arriving[batch].whole = True
                self._set_size(batch, size)

    def arriving(self, batch: bytes) -> Arrival | None:
        with self._lock:
            return self._arriving.get(batch)

    def all_arriving(self) -> set[bytes]:
        with self._lock:
            return set(self._arriving)

    def ready(self, batch: bytes, model: bytes) -> None:
        """It waits from now on."""
        with self._lock:
            self._arriving.pop(batch, None)
            self._waiting.setdefault(model, {})[batch] = None
            self._model_of[batch] = model

    def forget(self, batches: Iterable[bytes]) -> None:
        """They neither arrive nor wait; their files count until they are deleted."""
        with self._lock:
            for batch in batches:
                self._forget(batch)

    def _forget(self, batch: bytes) -> None:
        self._arriving.pop(batch, None)
        model = self._model_of.pop(batch, None)
        if model is not None:
            del self._waiting[model][batch]
            if not self._waiting[model]:
                del self._waiting[model]

    def take(self, batch: bytes) -> None:
        """A thread tries to have it: nobody is to sweep its file meanwhile."""
        with self._lock:
            self._taking[batch] += 1

    def taken(self, batch: bytes) -> None:
        """This thread has it, and its file is in use until `used`."""
        with self._lock:
            self._forget(batch)
            self._in_use.add(batch)

    def tried(self, batch: bytes) -> None:
        """The end of `take`, whatever came of it."""
        with self._lock:
            self._taking[batch] -= 1
            if not self._taking[batch]:
                del self._taking[batch]

    def used(self, batch: bytes) -> None:
        """Its file is closed and gone. More calls do nothing."""
        with self._lock:
            if batch in self._in_use:
                self._in_use.discard(batch)
                self._set_size(batch, 0)

    def busy(self, batch: bytes) -> bool:
        """Whether a thread takes it, or uses it, at the moment."""
        with self._lock:
            return batch in self._taking or batch in self._in_use

    # ---- what waits ----------------------------------------------------------------------------

    def level(self, model: bytes) -> int:
        with self._lock:
            return len(self._waiting.get(model, ()))

    def waiting(self, model: bytes) -> list[bytes]:
        """In the order in which they became ready."""
        with self._lock:
            return list(self._waiting.get(model, ()))

    def next(self, model: bytes, besides: set[bytes]) -> bytes | None:
        """The first that waits and is not among `besides`."""
        with self._lock:
            return next(
                (each for each in self._waiting.get(model, ()) if each not in besides), None
            )
