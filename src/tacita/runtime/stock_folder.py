"""The folder that stock lies in: what its files are named, and which of them can still be taken.

What becomes of `<batch>.<party>.stock`:

    .part    while the dealer writes it; renamed to .stock when it is whole and on the disk
    .stock   can be taken, if there is no .spent of its name
    .spent   an empty marker, made once and for ever: whoever makes it has the batch
    .taken   the file while its batch is used; deleted afterwards

Making the marker decides, because of several processes only one can create a file. Marker and
rename are on the disk before anything of the batch is used, so after a crash the batch counts as
taken: it is lost, whether anything was used or not. Lost batches cost a little dealing; a mask used
twice costs the secrets under it.

The marker also tells a file that is put back under its folder. It does not tell a copy taken from
another folder, nor a folder that is restored with everything in it as it was before: that takes a
ledger which the party keeps elsewhere, and asks before it takes a batch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tacita.errors import MaskReused, MaterialError, MaterialMismatch, TacitaError, UsageError
from tacita.runtime.sealing import altered, read_header

PRIVATE = 0o600


class Label(msgspec.Struct, frozen=True, array_like=True):
    """What a file is for. It stands in the file's header, for anybody to read.

    program: digest of the program, 32 bytes. model: names the shared weights that the batch fits,
    16 bytes. batch: random id, 16 bytes. party: 0 to parties - 1; the last takes corrections.

    Raises UsageError where a length or number is not so.
    """

    program: bytes
    model: bytes
    batch: bytes
    party: int
    parties: int

    def __post_init__(self) -> None:
        for name, length in (("program", 32), ("model", 16), ("batch", 16)):
            if len(getattr(self, name)) != length:
                raise UsageError(f"a label's {name} has {length} bytes")
        if self.parties < 2 or not 0 <= self.party < self.parties:
            raise UsageError(f"there is no party {self.party} of {self.parties}")

    @property
    def corrected(self) -> bool:
        """Whether it is the party that takes the dealer's corrections."""
        return self.party == self.parties - 1


encode = msgspec.msgpack.encode
_decode_label = msgspec.msgpack.Decoder(Label).decode


def check_label(found: bytes, wanted: Label, path: Path) -> None:
    """Raises MaterialMismatch where the label in a header is another than the wanted one."""
    if found == encode(wanted):
        return
    label = _readable(found)
    if label is not None:
        for field in label.__struct_fields__:
            if getattr(label, field) != getattr(wanted, field):
                what = "number of parties" if field == "parties" else field
                raise MaterialMismatch(
                    f"{path} was dealt for another {what}; take a batch dealt for this one"
                )
    raise altered(path, "a label that cannot be read")


def _readable(label: bytes) -> Label | None:
    try:
        return _decode_label(label)
    except (msgspec.MsgspecError, UnicodeDecodeError, UsageError):
        return None


@dataclass(frozen=True)
class Slot:
    """The names that one party's file of one batch has in its folder."""

    folder: Path
    batch: bytes
    party: int

    @classmethod
    def of(cls, folder: Path, label: Label) -> Slot:
        return cls(folder, label.batch, label.party)

    @classmethod
    def at(cls, path: Path) -> Slot | None:
        """That which has this path among its names, if there is one."""
        parts = re.fullmatch(r"([0-9a-f]{32})\.(0|[1-9][0-9]{0,8})\.[a-z]+", path.name)
        if parts is None:
            return None
        return cls(path.parent, bytes.fromhex(parts[1]), int(parts[2]))

    def path(self, stage: str) -> Path:
        return self.folder / f"{self.batch.hex()}.{self.party}.{stage}"

    @property
    def was_taken(self) -> bool:
        return self.path("spent").exists() or self.path("taken").exists()

    def mark_spent(self) -> bool:
        """Makes the marker; False if it was there, so that of all callers one gets True."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(self.path("spent"), flags, PRIVATE))
        except FileExistsError:
            return False
        return True

    def sync(self) -> None:
        sync(self.folder)

    def refusal(self) -> TacitaError:
        """Why there is nothing to take."""
        path = self.path("stock")
        if self.was_taken:
            return MaskReused(f"{path} was taken already and is for one use; take another batch")
        return MaterialMismatch(f"there is no {path}; have the batch dealt, or take another")


def sync(folder: Path) -> None:
    """Has the folder's names on the disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Gives errors of the file system a place in the tree, and the file's name."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MaterialError(
            f"{path}: {reason}; see that the folder can be written and has room"
        ) from error


def waiting(folder: Path, program: bytes, model: bytes, party: int | None = None) -> list[bytes]:
    """Ids, in ascending order, of the batches for a program and model that can still be taken.

    party: whose files count; None for everybody's, where a folder has those of several. Reads each
    file's header, without a secret, and so without knowing whether the file is whole.
    """
    found = set()
    for path in folder.glob("*.stock"):
        slot = Slot.at(path)
        if slot is None or slot.was_taken or party not in (None, slot.party):
            continue
        try:
            with path.open("rb") as file:
                label = _readable(read_header(file, path).label)
        except (OSError, MaterialMismatch):  # taken by somebody just now, or never to be taken
            continue
        if label is None or slot != Slot.of(folder, label):
            continue
        if (label.program, label.model) == (program, model):
            found.add(label.batch)
    return sorted(found)


def discard(folder: Path) -> list[bytes]:
    """Deletes what a crash has left of taken batches, and files put back; their markers stay.

    Returns the ids of their batches. Deletes the file of a batch in use as well, which does no
    harm: whoever uses it has it open. Unfinished `.part` files are not touched, since a dealer may
    be writing them. Raises MaterialError where the disk refuses.
    """
    found = set()
    with on_disk(folder):
        for path in [*folder.glob("*.taken"), *folder.glob("*.stock")]:
            slot = Slot.at(path)
            if slot is None or not slot.was_taken:
                continue
            slot.mark_spent()  # missing where somebody renamed the file by hand
            slot.sync()
            path.unlink(missing_ok=True)
            found.add(slot.batch)
    return sorted(found)
