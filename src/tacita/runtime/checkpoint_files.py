"""Checkpoints on a disk: one sealed file for each version.

The files have the format of `sealing.py`, under the party's own secret. `<id>`, in hex, has

    about     the checkpoint, MessagePack, in pieces of 1 MiB; the number of its form comes first
    words     the shares of all tensors, one after the other, 1 MiB a record

and appears under its name when it is whole and on the disk. A file is never written to again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from tacita.errors import MaterialError, UsageError
from tacita.program.readings import Array
from tacita.runtime.checkpoint import Checkpoint, encode
from tacita.runtime.checkpoints import Unreadable, replaced, size_of
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

SAVED = Form(
    b"tacita saved\r\n\x1a\n",
    b"tacita saved",
    "file of saved shares",
    "restore it, or delete it at every party and save again",
)
ABOUT, WORDS = 1, 2
ON_DISK = np.dtype("<u8")
LARGEST_ABOUT = 64 << 20  # bytes
PART = ".part"


class InFolder:
    """Implements `checkpoints.Cabinet`.

    folder: made if it is not there, and this process's own. secret: `at_rest.own_secret`'s.
    Memory: what is read or written, and two records of 1 MiB.
    """

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        self._secret = secret

    def all(self) -> list[Checkpoint | Unreadable]:
        """What can be read of each file, be it why it cannot; what a crash left is deleted.

        Raises MaterialError for a folder that cannot be listed.
        """
        found: list[Checkpoint | Unreadable] = []
        with on_disk(self._folder):
            if not self._folder.is_dir():
                return found
            paths = sorted(self._folder.iterdir())
        for path in paths:
            try:
                if path.suffix == PART:
                    with on_disk(path):
                        path.unlink()
                elif path.suffix == "":
                    with on_disk(path), path.open("rb") as file:
                        found.append(self._about(self._reader(file, path), path))
            except MaterialError as error:
                found.append(Unreadable(path.name, _size(path), str(error)))
        return found

    def write(self, checkpoint: Checkpoint, shares: Sequence[Array]) -> None:
        path = self._path(checkpoint)
        part = path.with_suffix(PART)
        about = encode(checkpoint)
        if len(about) > LARGEST_ABOUT:
            raise UsageError(f"{checkpoint.about.name!r} has too much beside its tensors")
        with on_disk(path):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
            try:
                with os.fdopen(made, "wb") as file:
                    sealed = SealedWriter(file, checkpoint.version.id, self._secret, SAVED)
                    sealed.write_whole(ABOUT, about)
                    for words in joined_and_split(shares):
                        sealed.write(WORDS, words)
                    sealed.end()
                    file.flush()
                    os.fsync(file.fileno())
                os.link(part, path)  # unlike renaming, never in the place of another
            finally:
                part.unlink(missing_ok=True)
            try:
                sync(self._folder)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def read(self, checkpoint: Checkpoint) -> list[Array]:
        path = self._path(checkpoint)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise replaced(checkpoint) from None
        with on_disk(path), file:
            reader = self._reader(file, path)
            if self._about(reader, path) != checkpoint:
                raise altered(path, "it holds another checkpoint", SAVED)
            if size_of(checkpoint) > reader.bytes_left:
                raise altered(path, "its tensors are longer than the file", SAVED)
            return _shares(reader, checkpoint, path)

    def delete(self, checkpoint: Checkpoint) -> None:
        path = self._path(checkpoint)
        with on_disk(path):
            path.unlink(missing_ok=True)
            sync(self._folder)

    def _path(self, checkpoint: Checkpoint) -> Path:
        return self._folder / checkpoint.version.id.hex()

    def _reader(self, file: BinaryIO, path: Path) -> SealedReader:
        header = read_header(file, path, SAVED)
        if header.label.hex() != path.name:
            raise altered(path, "it is the file of another checkpoint", SAVED)
        return SealedReader(file, path, header, self._secret)

    @staticmethod
    def _about(reader: SealedReader, path: Path) -> Checkpoint:
        about = reader.read_whole(ABOUT, LARGEST_ABOUT)
        if about is None:
            raise altered(path, "it does not begin with what was saved", SAVED)
        try:
            checkpoint = _decode(about)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise altered(path, "what was saved cannot be read", SAVED) from None
        if checkpoint.version.id.hex() != path.name:
            raise altered(path, "it speaks of another checkpoint", SAVED)
        return checkpoint


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _shares(reader: SealedReader, checkpoint: Checkpoint, path: Path) -> list[Array]:
    shapes = [tensor.shape for tensor in checkpoint.about.tensors]
    words = np.empty(sum(map(prod, shapes)), ON_DISK)
    into = words.view(np.uint8)
    while into.size:
        due = min(into.size, LARGEST_PAYLOAD)
        record = reader.read()
        if record is None or record[0] != WORDS or len(record[1]) != due:
            raise altered(path, f"no record of {due} bytes where one was due", SAVED)
        into[:due] = np.frombuffer(record[1], np.uint8)
        into = into[due:]
    if reader.read() is not None:
        raise altered(path, "it goes on after its tensors", SAVED)
    flat, shares = words.astype(np.uint64, copy=False), []
    for shape in shapes:
        share, flat = flat[: prod(shape)], flat[prod(shape) :]
        # Each of its own, so that a wire that is forgotten gives its memory back.
        shares.append(share.reshape(shape).copy())
    return shares


_decode = msgspec.msgpack.Decoder(Checkpoint).decode
