"""CIFAR-10's test images: 10,000 colour photographs of 32×32 pixels in ten classes.

A record of the binary version is one byte for the class, then 1,024 bytes each of red, green and
blue, row by row.

Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009),
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tacita.data.download import Downloader, OfflineError
from tacita.data.files import PublicFile, read_verified
from tacita.data.sources import FOLDER_VARIABLE, cache_folder
from tacita.errors import DataError, ShapeError

MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green and blue. They are ImageNet's: what the trained ResNet-20 was trained with."""
STD = (0.229, 0.224, 0.225)
"""Their standard deviations, ImageNet's as well."""
CLASSES = 10
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
"""Bytes of one image with its label."""

ARCHIVE = PublicFile(
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
ARCHIVE_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
ARCHIVE_FOLDER = "cifar-10-batches-bin"
TEST_BATCH = PublicFile(
    "test_batch.bin",
    10_000 * RECORD,
    "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
)
FIRST_FOLDER = "cifar10"
FIRST_2000 = PublicFile(
    "test_first2000.bin",
    2_000 * RECORD,
    "a365c883b8727b5960b1f88c468d807bb5487294a2fb9b0aa2fb8a93024384c3",
)
"""The first 2,000 records of the test batch, for machines that need not have all."""


def cifar10(
    count: int | None = None, *, download: bool = True, downloader: Downloader | None = None
) -> tuple[Tensor, Tensor]:
    """CIFAR-10's test images in their published order, with their classes.

    They are taken from the first of:

    1. ``cifar-10-batches-bin/test_batch.bin``, as the original archive has it, in the folder that
       the environment variable TACITA_DATA names, or ``cifar10/test_first2000.bin`` there, which
       has the first 2,000 only;
    2. the user's cache;
    3. their public home, over HTTPS: an archive of 170 MB, of which the cache keeps 31 MB.

    The file's SHA-256 is checked every time, wherever it lies.

    Args:
        count: how many, from the first on; None for all that are there.
        download: False never asks the network.
        downloader: another way to the mirror.

    Returns:
        Images, float32 [n, 3, 32, 32] in 0…1, and labels, int64 [n] in 0…9.

    Raises:
        ShapeError: `count` is less than 1.
        OfflineError: neither the folder nor the cache has them, and their home is not reached.
        DataError: TACITA_DATA names a folder without them; they are cut or altered; there are fewer
            than `count`; their home sent something else.
    """
    if count is not None and count < 1:
        raise ShapeError(f"count must be at least 1, got {count}")
    path, file = _located(download, downloader)
    images, labels = parse_records(read_verified(path, file), str(path))
    if count is not None and count > len(labels):
        raise DataError(
            f"{path}: has {len(labels)} images, {count} were asked for; all 10,000 are in "
            f"{ARCHIVE_FOLDER}/{TEST_BATCH.name} of {ARCHIVE.name}"
        )
    return images[:count].float().div_(255), labels[:count].long()


def normalised(images: Tensor) -> Tensor:
    """Colours as the trained ResNet-20 takes them: ``(value − MEAN) / STD``, by channel.

    Args:
        images: floating point [..., 3, H, W] in 0…1.

    Returns:
        The same shape and dtype.

    Raises:
        ShapeError: the images do not have three channels.
    """
    if images.dim() < 3 or images.shape[-3] != len(MEAN):
        raise ShapeError(f"images of shape [..., 3, H, W] are needed, got {tuple(images.shape)}")
    mean, std = (
        torch.tensor(each, dtype=images.dtype, device=images.device).view(-1, 1, 1)
        for each in (MEAN, STD)
    )
    return (images - mean) / std


def parse_records(content: bytes, name: str) -> tuple[Tensor, Tensor]:
    """The images and labels in `content`, records of CIFAR-10's binary version.

    Args:
        content: whole records, one after the other.
        name: what error messages call them.

    Returns:
        Images, uint8 [n, 3, 32, 32], and labels, uint8 [n].

    Raises:
        DataError: a record is cut, or its label is none of the ten.
    """
    if len(content) % RECORD:
        raise DataError(
            f"{name}: cut short, {len(content)} bytes are not whole records of {RECORD} bytes"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CLASSES)
    if wrong.size:
        raise DataError(
            f"{name}: the label of record {wrong[0]} is none of 0…{CLASSES - 1}; these are no "
            "records of CIFAR-10, or some bytes of them are lost"
        )
    images = torch.from_numpy(records[:, 1:].copy()).view(-1, *SHAPE)
    return images, torch.from_numpy(records[:, 0].copy())


def _located(download: bool, downloader: Downloader | None) -> tuple[Path, PublicFile]:
    """The file to read, and which it must be; fetched if the cache has none that is sound."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return _in_folder_named(named)
    path = cache_folder(FIRST_FOLDER) / TEST_BATCH.name
    try:
        read_verified(path, TEST_BATCH)
    except DataError as lack:
        try:
            if not download:
                raise OfflineError("downloads were declined (download=False)")
            _fetch(downloader or Downloader(ARCHIVE_MIRRORS), path)
        except OfflineError as reason:
            raise OfflineError(
                f"{lack}. It cannot be fetched: {reason}. Let {FOLDER_VARIABLE} name a folder with "
                f"{ARCHIVE_FOLDER}/{TEST_BATCH.name}"
            ) from reason
    return path, TEST_BATCH


def _in_folder_named(named: str) -> tuple[Path, PublicFile]:
    folder = Path(named).expanduser()
    whole = folder / ARCHIVE_FOLDER / TEST_BATCH.name
    first = folder / FIRST_FOLDER / FIRST_2000.name
    if whole.is_file():
        return whole, TEST_BATCH
    if first.is_file():
        return first, FIRST_2000
    raise DataError(
        f"{FOLDER_VARIABLE} is {named!r}, and there is neither {whole} nor {first}; put one there, "
        f"or unset {FOLDER_VARIABLE} to have it fetched"
    )


def _fetch(downloader: Downloader, path: Path) -> None:
    """Put the test batch out of the archive at `path`, verified; the archive is not kept."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the cache itself, because the folder for temporary files may be a small one in memory.
        with tempfile.TemporaryDirectory(prefix=".archive.", dir=path.parent) as folder:
            downloader.fetch([ARCHIVE], Path(folder))
            batch = Path(folder) / TEST_BATCH.name
            batch.write_bytes(_unpacked(Path(folder) / ARCHIVE.name))
            read_verified(batch, TEST_BATCH)
            batch.replace(path)
    except OSError as error:
        raise DataError(
            f"{path.parent}: CIFAR-10 cannot be kept there: {error.strerror or error}"
        ) from error


def _unpacked(archive: Path) -> bytes:
    """The test batch's bytes, of which there are never more than one too many.

    Only one member is read, and nothing is written where the archive would have it: names, links
    and modes in it have no effect.
    """
    wanted = f"{ARCHIVE_FOLDER}/{TEST_BATCH.name}"
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                if member.name == wanted and member.isreg():
                    stream = members.extractfile(member)
                    assert stream is not None
                    return stream.read(TEST_BATCH.size + 1)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive.name}: not a sound archive: {error}") from error
    raise DataError(f"{archive.name}: has no file {wanted}")
