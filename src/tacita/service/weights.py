"""Published models on a disk, so that they outlive their daemon: one sealed file for each model.

A party keeps its shares of the weights, its shares of their masks, and the masked weights that were
opened once; the dealer keeps the keys that the masks come from. Neither can see a weight with that.
The files have the format of `runtime/sealing.py`, each role under its own secret and a magic of its
own. A party's file is `<model id>` in hex, with the records

    about     what was published, MessagePack, in pieces of 1 MiB
    shape     of one weight
    words     its share, what was opened, the mask's share, one after the other, 1 MiB a record
    shape …   of the next one

and a dealer's has the keys, one a record, instead of weights. A file appears under its name when it
is whole, and only once: a weight's mask is for one weight, so a model id is not published again.
The dealer, without whom nothing is published, remembers those that are gone: `<model id>.gone`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from tacita.errors import MaskReused, ShapeError, UsageError
from tacita.ring.randomness import KEY_BYTES
from tacita.runtime.sealing import (
    LARGEST_PAYLOAD,
    Form,
    SealedReader,
    SealedWriter,
    altered,
    read_header,
)
from tacita.runtime.stock import joined_and_split
from tacita.runtime.stock_folder import PRIVATE, on_disk, sync

Array = NDArray[np.uint64]

# What a record is.
ABOUT, SHAPE, WORDS, KEY = 1, 2, 3, 4

ON_DISK = np.dtype("<u8")
ARRAYS = 3  # of one weight
MOST_DIMENSIONS = 32
LARGEST_ABOUT = 64 << 20  # bytes: programs of the largest networks have some
MODEL_BYTES = 16

PUBLISH_AGAIN = "restore it from a backup, or remove it and have the model published again"
HELD = Form(b"tacita model\r\n\x1a\n", b"tacita model", "file of a published model", PUBLISH_AGAIN)
DEALT = Form(b"tacita masks\r\n\x1a\n", b"tacita masks", "file of a model's keys", PUBLISH_AGAIN)


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What everybody who keeps a published model knows about it; nothing here is secret.

    name: what clients call it. model: id, 16 bytes. owner: "owner:name" of who published it, and
    the fingerprint of the certificate. audience: whom the owner lets query it. program: encoded.
    parties: how many hold shares; index: which of them keeps this, or -1 for the dealer. made:
    seconds since 1970.
    """

    name: str
    model: bytes
    owner: str
    fingerprint: str
    audience: tuple[str, ...]
    program: bytes
    parties: Annotated[int, msgspec.Meta(ge=2)]
    index: Annotated[int, msgspec.Meta(ge=-1)]
    made: float

    def __repr__(self) -> str:
        return f"Published({self.name!r}, {self.model.hex()})"


@dataclass(frozen=True, eq=False, repr=False)
class WeightParts:
    """What one party has of one weight, in Z₂⁶⁴: three uint64 arrays of the weight's shape.

    share: of the weight. opened: weight plus mask, the same at every party. mask_share: of the
    mask. Raises ShapeError or UsageError where they are not alike, or not uint64.
    """

    share: Array
    opened: Array
    mask_share: Array

    def __post_init__(self) -> None:
        if any(array.dtype != np.uint64 for array in self.arrays):
            raise UsageError("the parts of a weight are arrays of uint64")
        if len({array.shape for array in self.arrays}) != 1:
            shapes = ", ".join(str(array.shape) for array in self.arrays)
            raise ShapeError(
                f"the parts of one weight have the shapes {shapes}; they must be alike"
            )

    def __repr__(self) -> str:
        return f"WeightParts({self.share.shape}, hidden)"

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        return self.share, self.opened, self.mask_share


Shape = Annotated[
    list[Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]], msgspec.Meta(max_length=MOST_DIMENSIONS)
]
_decode_shape = msgspec.msgpack.Decoder(Shape).decode
_decode_about = msgspec.msgpack.Decoder(Published).decode


def save(folder: Path, published: Published, weights: Iterable[WeightParts], secret: bytes) -> Path:
    """A party's file of a model, whole and on the disk when this returns; returns its path.

    folder: made if it is not there. weights: in the order of the program's; streamed, so memory is
    that of two records of 1 MiB beyond theirs. secret: `own_secret`'s.

    Raises MaskReused for a model that is there, MaterialError where the disk refuses; then nothing
    is left of it.
    """
    with writing(folder, published, secret, HELD) as file:
        for weight in weights:
            file.write(SHAPE, msgspec.msgpack.encode(list(weight.share.shape)))
            for words in joined_and_split(weight.arrays):
                file.write(WORDS, words)
    return folder / published.model.hex()


def load(path: Path, secret: bytes) -> tuple[Published, list[WeightParts]]:
    """What `save` wrote there. Memory: the weights' three arrays and two records.

    Raises MaterialMismatch for a file that is cut, altered, renamed, of another secret or version;
    MaterialError where it is missing or cannot be read.
    """
    with reading(path, secret, HELD) as (reader, published):
        weights = []
        while (record := reader.read()) is not None:
            kind, payload = record
            if kind != SHAPE:
                raise altered(path, "something stands where a weight begins", HELD)
            weights.append(_weight(reader, path, payload))
    return published, weights


def save_dealt(folder: Path, published: Published, keys: Sequence[bytes], secret: bytes) -> Path:
    """The dealer's file of a model: the parties' keys, in their order, of its weights' masks.

    keys: 16 bytes each, one a party. Errors as `save`, and UsageError for other keys.
    """
    if len(keys) != published.parties or any(len(key) != KEY_BYTES for key in keys):
        raise UsageError(
            f"a model of {published.parties} parties has as many keys of {KEY_BYTES} bytes"
        )
    with writing(folder, published, secret, DEALT) as file:
        for key in keys:
            file.write(KEY, key)
    return folder / published.model.hex()


def load_dealt(path: Path, secret: bytes) -> tuple[Published, list[bytes]]:
    """What `save_dealt` wrote there. Errors as `load`."""
    with reading(path, secret, DEALT) as (reader, published):
        keys = []
        while (record := reader.read()) is not None:
            kind, key = record
            if kind != KEY or len(key) != KEY_BYTES:
                raise altered(path, "something stands where a key was due", DEALT)
            keys.append(key)
    if len(keys) != published.parties:
        raise altered(path, f"{len(keys)} keys for {published.parties} parties", DEALT)
    return published, keys


def remove(folder: Path, model: bytes) -> bool:
    """Deletes a model's file, and what a crash left of its writing; whether it was there.

    Raises MaterialError where the disk refuses.
    """
    path = folder / model.hex()
    with on_disk(path):
        there = path.exists()
        for each in (path, draft_of(path)):
            each.unlink(missing_ok=True)
        if folder.exists():
            sync(folder)
    return there


def retire(folder: Path, model: bytes) -> None:
    """Keeps a model's id from being published again, for ever; on the disk when this returns.

    An empty file under the id's name. Raises MaterialError where the disk refuses.
    """
    path = retired_path(folder, model)
    with on_disk(path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=PRIVATE)
        sync(folder)


def is_retired(folder: Path, model: bytes) -> bool:
    """Whether the id was ever retired. Raises MaterialError where the disk refuses."""
    path = retired_path(folder, model)
    with on_disk(path):
        return path.exists()


def retired_path(folder: Path, model: bytes) -> Path:
    return folder / f"{model.hex()}.gone"


# ---- files -----------------------------------------------------------------------------------


@contextmanager
def writing(
    folder: Path, published: Published, secret: bytes, form: Form
) -> Iterator[SealedWriter]:
    """A new file that begins with what was published; leaving the block has it appear."""
    if len(published.model) != MODEL_BYTES:
        raise UsageError(f"a model's id has {MODEL_BYTES} bytes, not {len(published.model)}")
    about = msgspec.msgpack.encode(published)
    if len(about) > LARGEST_ABOUT:
        raise UsageError(f"the program of {published.name!r} is too large to keep")
    path = folder / published.model.hex()
    draft = draft_of(path)
    with on_disk(path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            raise MaskReused(f"{path} is there already; publish under a fresh model id")
        draft.unlink(missing_ok=True)  # of a process that is gone
        made = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        try:
            with os.fdopen(made, "wb") as file:
                sealed = SealedWriter(file, published.model, secret, form)
                sealed.write_whole(ABOUT, about)
                yield sealed
                sealed.end()
                file.flush()
                os.fsync(file.fileno())
            os.rename(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync(folder)


@contextmanager
def reading(path: Path, secret: bytes, form: Form) -> Iterator[tuple[SealedReader, Published]]:
    """A file whose end is right, read up to behind what was published."""
    with on_disk(path), path.open("rb") as file:
        header = read_header(file, path, form)
        if header.label.hex() != path.name:
            raise altered(path, "it is the file of another model", form)
        reader = SealedReader(file, path, header, secret)
        published = _about(reader, path, form)
        if published.model != header.label:
            raise altered(path, "it speaks of another model", form)
        yield reader, published


def _about(reader: SealedReader, path: Path, form: Form) -> Published:
    about = reader.read_whole(ABOUT, LARGEST_ABOUT)
    if about is None:
        raise altered(path, "it does not begin with what was published", form)
    try:
        return _decode_about(about)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise altered(path, "what was published cannot be read", form) from None


def _weight(reader: SealedReader, path: Path, encoded: bytes) -> WeightParts:
    try:
        shape = _decode_shape(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise altered(path, "a weight's shape cannot be read", HELD) from None
    size = math.prod(shape)
    if ARRAYS * ON_DISK.itemsize * size > reader.bytes_left:
        raise altered(path, "a weight is longer than the file", HELD)
    flat = np.empty((ARRAYS, size), ON_DISK)
    into = flat.reshape(-1).view(np.uint8)
    while into.size:
        due = min(into.size, LARGEST_PAYLOAD)
        record = reader.read()
        if record is None or record[0] != WORDS or len(record[1]) != due:
            raise altered(path, f"no record of {due} bytes where one was due", HELD)
        into[:due] = np.frombuffer(record[1], np.uint8)
        into = into[due:]
    share, opened, mask_share = flat.astype(np.uint64, copy=False).reshape(ARRAYS, *shape)
    return WeightParts(share, opened, mask_share)


def draft_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
