"""A party's dealt batches on its own disk, each used once: the ledger decides, the files obey.

A batch arrives from the dealer and is written to a sealed file (`runtime/stock.py`), under a secret
that this party alone has. The ledger says what may be done with it:

    receive   entered as dealing, then written; the file lies whole on the disk
    ready     the dealer said that every party has its own
    take      spent in the ledger, durably, and its file open and nameless, before a byte is used
    void      never used, and the file is gone; so is a batch whose receiving fails

Whatever is interrupted between two steps can at worst lose a batch. `sweep` deletes what is left:
files of batches that are spent, void or unknown to the ledger, and of dealings that a crash cut
short. The folder is one process's own; replicas of a party share a ledger and not a folder. What
waits, and how many bytes there are, is kept in memory (`inventory.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tacita.errors import (
    MaskReused,
    MaterialError,
    MaterialMismatch,
    TacitaError,
)
from tacita.runtime.sealing import LARGEST_PAYLOAD
from tacita.runtime.stock import StockWriter, TakenBatch, open_spent
from tacita.runtime.stock_folder import Label, Slot, on_disk
from tacita.service.inventory import Inventory
from tacita.service.ledger import Ledger

Array = NDArray[np.uint64]

STAGES = ("part", "stock", "taken", "spent")
# What a file, and each record in it, needs beside the words, generously: header, tag, counter.
FILE_OVERHEAD = 512
RECORD_OVERHEAD = 64


class Arriving:
    """A batch that is being written; `Storehouse.receive` makes it."""

    __slots__ = ("_house", "_writer", "batch")

    def __init__(self, house: Storehouse, writer: StockWriter, batch: bytes) -> None:
        self._house = house
        self._writer = writer
        self.batch = batch

    def add(self, number: int, dealt: dict[int, list[Array]]) -> None:
        """What the dealer sends for one instruction, by branch; numbers ascend.

        Raises MaterialError where the room or the disk is full, UsageError for what does not fit.
        """
        self._house._reserve(self.batch, size_of(dealt))
        self._writer.add(number, dealt)


class Storehouse:
    """The batches of all models that one process of a party has; for many threads.

    folder: made if it is not there. party: index among `parties`; the last takes corrections.
    secret: `own_secret`'s. room: bytes that all files may have together.

    Raises MaterialError where ledger or disk refuse, UsageError for a secret that is too short.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        *,
        party: int,
        parties: int,
        secret: bytes,
        room: int,
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._party = party
        self._parties = parties
        self._secret = secret
        self._room = room
        self._inventory = Inventory()
        with on_disk(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._inventory.recount({}, self._sizes())
        for model, states in ledger.counts().items():
            if states["ready"]:
                for batch in self.waiting(model):
                    self._inventory.ready(batch, model)

    def __repr__(self) -> str:
        return f"Storehouse({self._folder}, party {self._party} of {self._parties})"

    # ---- one batch -----------------------------------------------------------------------------

    @contextmanager
    def receive(self, model: bytes, program: bytes, batch: bytes, key: bytes) -> Iterator[Arriving]:
        """A block in which what the dealer sends is added; leaving it publishes the file.

        model, batch: 16 bytes. program: its digest, 32 bytes. key: of the party's streams, 16
        bytes. After the block the batch is dealing still, until `ready`. An error in the block, or
        of the disk, leaves it void and without a file.

        Raises MaskReused for a batch that the ledger knows, which is left as it is, or of which
        the folder has a file, which goes; MaterialError where the room or the disk is full.
        Memory: about two records of 1 MiB.
        """
        label = self._label(model, program, batch)
        self._ledger.enter(batch, model, program)
        self._inventory.arrives(batch, model)
        try:
            self._reserve(batch, FILE_OVERHEAD)
            with StockWriter(self._folder, label, self._secret, key) as writer:
                yield Arriving(self, writer, batch)
            path = self._slot(batch).path("stock")
            with on_disk(path):
                self._inventory.whole(batch, path.stat().st_size)
        except BaseException:
            self._abandon(batch)
            raise

    def ready(self, batch: bytes) -> None:
        """All parties have theirs: it may be taken. If the ledger refuses, it is void.

        Raises MaterialMismatch for one that is not dealing, or not yet wholly received, here.
        """
        arrival = self._inventory.arriving(batch)
        if arrival is None:
            if self._ledger.states([batch]).get(batch) == "dealing":
                raise MaterialMismatch(
                    f"{self._slot(batch).path('stock')} was not received by this process; "
                    "have another batch dealt"
                )
        elif not arrival.whole:
            raise MaterialMismatch(
                f"{self._slot(batch).path('part')} is being written still; wait until it is whole"
            )
        try:
            self._ledger.ready(batch)
        except TacitaError:
            if arrival is not None:
                self._abandon(batch)
            raise
        if arrival is not None:
            self._inventory.ready(batch, arrival.model)

    def void(self, batch: bytes) -> None:
        """It will not be used, and its file is deleted. Raises MaskReused if it was spent."""
        try:
            self._ledger.void(batch)
        except (MaskReused, MaterialMismatch):
            self._inventory.forget([batch])
            raise
        self._delete([batch])

    def take(
        self, model: bytes, program: bytes, batch: bytes, taker: str, query: str = ""
    ) -> TakenBatch:
        """A ready batch, for this once; use it in a `with` block. Costs one sync of the ledger.

        The ledger has it as spent before its file is opened, so it is used up even where the file
        then turns out to be missing, cut or altered. `open_spent` says why nothing else is needed.

        Raises MaskReused for a batch that was spent, MaterialMismatch for one that is not ready, of
        another model or program, or whose file does not fit, MaterialError where the disk refuses.
        """
        label = self._label(model, program, batch)
        self._inventory.take(batch)
        try:
            try:
                self._ledger.spend(batch, taker, model=model, program=program, query=query)
            except (MaskReused, MaterialMismatch):
                # Not where it was asked for too early, or for another model: it waits still.
                if self._ledger.states([batch]).get(batch) not in ("dealing", "ready"):
                    self._inventory.forget([batch])
                raise
            self._inventory.taken(batch)
            try:
                return open_spent(
                    self._folder, label, self._secret, lambda: self._inventory.used(batch)
                )
            except BaseException:
                with suppress(MaterialError):  # what is left goes at the next sweep
                    self._delete([batch])
                    self._inventory.used(batch)
                raise
        finally:
            self._inventory.tried(batch)

    # ---- all of them ---------------------------------------------------------------------------

    def level(self, model: bytes) -> int:
        """How many batches are ready, and here. Costs no look at ledger or disk."""
        return self._inventory.level(model)

    def next(self, model: bytes, besides: set[bytes]) -> bytes | None:
        """The batch that has been ready for longest and is not among `besides`; None without one.

        Costs no look at ledger or disk. `take` decides: it refuses one that another replica spent
        or gave up, which is not offered again, and the next is to be asked for.
        """
        return self._inventory.next(model, besides)

    def waiting(self, model: bytes) -> list[bytes]:
        """Ids of the batches that are ready and have their file in this folder, oldest first.

        Looks at the ledger and at each file, and forgets what does not wait any more; for when
        parties compare their stocks.
        """
        before = self._inventory.waiting(model)
        there = [
            batch
            for batch in self._ledger.waiting(model)
            if self._slot(batch).path("stock").exists()
        ]
        self._inventory.forget(set(before).difference(there))
        return there

    def dealing(self, model: bytes) -> list[bytes]:
        """Ids of the batches that are being received, or wait for other parties, oldest first."""
        return self._ledger.dealing(model)

    def void_all_but(self, model: bytes, keep: set[bytes]) -> list[bytes]:
        """Gives up the ready ones that other parties do not have; returns their ids."""
        gone = self._ledger.void_all_but(model, keep)
        self._delete(gone)
        return gone

    def forget_model(self, model: bytes) -> list[bytes]:
        """Gives up all batches of a model that is gone; returns their ids."""
        gone = self._ledger.forget_model(model)
        self._delete(gone)
        return gone

    @property
    def bytes_on_disk(self) -> int:
        """Of all files of batches, those in use and what is reserved included."""
        return self._inventory.size

    def discard(self, batches: Iterable[bytes]) -> None:
        """Gives up these batches, unless they are spent, and deletes their files."""
        chosen = list(batches)
        states = self._ledger.states(chosen)
        for batch in chosen:
            if states.get(batch) in ("dealing", "ready"):
                self._ledger.void(batch)
        self._delete(chosen)

    def sweep(self) -> list[bytes]:
        """Deletes what is left of batches that nobody can take any more; returns their ids.

        Those are spent, void or unknown to the ledger, or were being received by a process that is
        gone. Batches that this process receives, takes or uses at the moment are left alone.
        """
        # The files first: one that appears later is not looked at, and one whose receiving ends
        # after the ledger was asked is still among those that arrive.
        before = self._inventory.sizes()
        sizes = self._sizes()
        self._inventory.recount(before, sizes)
        found = set(sizes)
        arriving = self._inventory.all_arriving()
        states = self._ledger.states(found)
        gone = []
        for batch in sorted(found - arriving):
            state = states.get(batch)
            if state == "ready":
                continue
            if state == "dealing":
                self._ledger.void(batch)
            if not self._inventory.busy(batch):
                gone.append(batch)
        self._delete(gone)
        return gone

    # ---- files ---------------------------------------------------------------------------------

    def _label(self, model: bytes, program: bytes, batch: bytes) -> Label:
        return Label(program, model, batch, self._party, self._parties)

    def _slot(self, batch: bytes) -> Slot:
        return Slot(self._folder, batch, self._party)

    def _sizes(self) -> dict[bytes, int]:
        """How many bytes the files of each of this party's batches have."""
        sizes: dict[bytes, int] = {}
        with on_disk(self._folder), os.scandir(self._folder) as entries:
            for entry in entries:
                slot = Slot.at(Path(entry.path))
                if slot is None or slot.party != self._party:
                    continue
                with suppress(FileNotFoundError):  # whoever had it is done with it
                    sizes[slot.batch] = sizes.get(slot.batch, 0) + entry.stat().st_size
        return sizes

    def _reserve(self, batch: bytes, more: int) -> None:
        """Counts what is about to be written. Raises MaterialError where it is too much."""
        if not self._inventory.reserve(batch, more, self._room):
            raise MaterialError(
                f"{self._folder} may hold {self._room} bytes of dealt batches and has "
                f"{self.bytes_on_disk}; let queries use some, or give the stock more room"
            )

    def _abandon(self, batch: bytes) -> None:
        """After an error: void, as far as the ledger can be written; the next sweep tries again."""
        with suppress(TacitaError):
            self._ledger.void(batch)
        self._inventory.forget([batch])
        with suppress(MaterialError):
            self._delete([batch])

    def _delete(self, batches: Iterable[bytes]) -> None:
        """All files of these; the ledger, not a marker, keeps them from being used again."""
        with on_disk(self._folder):
            for batch in batches:
                for stage in STAGES:
                    self._slot(batch).path(stage).unlink(missing_ok=True)
                self._inventory.deleted(batch)


def size_of(dealt: dict[int, list[Array]]) -> int:
    """At least what was dealt for one instruction needs in a file."""
    arrays = [array for branch in dealt.values() for array in branch]
    words = sum(array.nbytes for array in arrays)
    records = 2 + words // LARGEST_PAYLOAD
    return words + records * RECORD_OVERHEAD + 9 * (len(arrays) + len(dealt))
