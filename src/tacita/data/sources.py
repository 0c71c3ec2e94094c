"""Where MNIST comes from: the user's folder, the cache, the network, or a stand-in."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch

from tacita.data.bundled import bundled_digits
from tacita.data.digits import CLASSES, SIDE, Digits
from tacita.data.download import Downloader, OfflineError
from tacita.data.files import PublicFile, read_verified
from tacita.data.idx import parse_gzipped_idx
from tacita.errors import DataError

FOLDER_VARIABLE = "TACITA_DATA"

TRAIN_IMAGES = PublicFile(
    "train-images-idx3-ubyte.gz",
    9_912_422,
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
)
TRAIN_LABELS = PublicFile(
    "train-labels-idx1-ubyte.gz",
    28_881,
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
)
TEST_IMAGES = PublicFile(
    "t10k-images-idx3-ubyte.gz",
    1_648_877,
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
)
TEST_LABELS = PublicFile(
    "t10k-labels-idx1-ubyte.gz",
    4_542,
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
MNIST_FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)


def mnist(train: bool, *, download: bool = True, downloader: Downloader | None = None) -> Digits:
    """The MNIST images of handwritten digits (LeCun, Cortes, Burges; CC BY-SA 3.0).

    They are taken from the first of:

    1. the folder ``mnist/`` inside the one that the environment variable TACITA_DATA names;
    2. the user's cache;
    3. the public mirrors, over HTTPS, into the cache;
    4. where no mirror can be reached: scikit-learn's small digits, with a warning.

    Every file's SHA-256 is checked every time, wherever it lies.

    Args:
        train: the 60,000 images for training, else the 10,000 for testing.
        download: False never asks a mirror.
        downloader: another way to the mirrors.

    Raises:
        DataError: TACITA_DATA names no such folder; a file in it is missing, cut or altered; a
            mirror sent something else; the stand-in is needed and scikit-learn is missing.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return _read(_folder_named(named), train)
    folder = cache_folder()
    lacks = {file: lack for file in MNIST_FILES if (lack := _lack(folder / file.name, file))}
    if lacks:
        try:
            if not download:
                raise OfflineError("downloads were declined (download=False)")
            # All four, so that training and testing never come from different sources.
            (downloader or Downloader(MNIST_MIRRORS)).fetch(lacks, folder)
        except OfflineError as reason:
            digits = bundled_digits(train)
            damage = [lack for file, lack in lacks.items() if (folder / file.name).exists()]
            warnings.warn(
                f"MNIST is not at hand, using {digits.source} instead ({len(digits)} images). "
                f"Let {FOLDER_VARIABLE} name a folder with mnist/ to use the real one. "
                f"Reason: {'; '.join([*damage, str(reason)])}",
                UserWarning,
                stacklevel=2,
            )
            return digits
    return _read(folder, train)


def cache_folder(name: str = "mnist") -> Path:
    """The user's cache of the data set `name`, or of MNIST's four files; it need not exist."""
    from platformdirs import user_cache_path

    return user_cache_path("tacita") / name


def _folder_named(named: str) -> Path:
    folder = Path(named).expanduser() / "mnist"
    if not folder.is_dir():
        raise DataError(
            f"{FOLDER_VARIABLE} is {named!r}, and {folder} is no folder; it must hold "
            f"{', '.join(file.name for file in MNIST_FILES)}"
        )
    return folder


def _lack(path: Path, file: PublicFile) -> str | None:
    """Why the cache cannot serve the file; what is altered there is fetched again."""
    try:
        read_verified(path, file)
    except DataError as lack:
        return str(lack)
    return None


def _read(folder: Path, train: bool) -> Digits:
    images_file, labels_file = MNIST_FILES[:2] if train else MNIST_FILES[2:]
    count = 60_000 if train else 10_000
    images = parse_gzipped_idx(
        read_verified(folder / images_file.name, images_file),
        str(folder / images_file.name),
        (count, SIDE, SIDE),
    )
    labels = parse_gzipped_idx(
        read_verified(folder / labels_file.name, labels_file),
        str(folder / labels_file.name),
        (count,),
    )
    if labels.max() >= CLASSES:
        raise DataError(f"{folder / labels_file.name}: label {labels.max()} is no digit")
    return Digits(
        torch.from_numpy(images.copy()),
        torch.from_numpy(labels.copy()).long(),
        source=f"MNIST, {folder}",
    )
