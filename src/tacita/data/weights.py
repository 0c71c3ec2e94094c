"""Trained weights, by SHA-256, without unpickling anything that could act.

A checkpoint of PyTorch is a pickle, and a pickle may run any code when it is opened. Two things
keep that away here: nothing is opened before its SHA-256 has been compared, on the very bytes that
are opened then; and torch opens them with ``weights_only=True``, which builds tensors and plain
containers and refuses whatever else a pickle might ask for. The first tells that the weights are
the published ones, the second that they can do nothing even if the publisher meant harm.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from torch import Tensor

from tacita.data.download import Downloader
from tacita.data.files import PublicFile, read_verified
from tacita.data.lookup import lookup
from tacita.errors import DataError

FOLDER = "weights"
RESNET20 = PublicFile(
    "resnet20-12fca82f.th",
    1_099_231,
    "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
)
RESNET20_MIRRORS = (
    "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/master/pretrained_models/",
)
WRAPPER = "module."
"""What `torch.nn.DataParallel`, in which the network was trained, puts before every name."""


def resnet20_weights(
    *, download: bool = True, downloader: Downloader | None = None
) -> dict[str, Tensor]:
    """The state dict of ResNet-20, trained on CIFAR-10 by Y. Idelbayev (BSD-2-Clause).

    The file, of 1.1 MB, is taken from the first of:

    1. the folder ``weights/`` inside the one that the environment variable TACITA_DATA names;
    2. the user's cache;
    3. its public home, over HTTPS, into the cache.

    Its SHA-256 is checked every time. The network is `tacita.zoo.resnet20`; it takes images that
    went through `tacita.data.cifar.normalised`, and has 91.7 % of CIFAR-10's test images right.

    Args:
        download: False never asks the network.
        downloader: another way to the mirrors.

    Returns:
        float32 tensors by the names of their parameters and buffers.

    Raises:
        OfflineError: neither the folder nor the cache has the file, and its home is not reached.
        DataError: TACITA_DATA names a folder without the file; the file is cut or altered, or holds
            something else than weights; its home sent something else.
    """
    path = lookup(RESNET20, FOLDER, RESNET20_MIRRORS, download=download, downloader=downloader)
    return _state(read_verified(path, RESNET20), str(path))


def _state(content: bytes, name: str) -> dict[str, Tensor]:
    """The tensors under `state_dict` in a checkpoint, by their names in the bare network."""
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # the formats are many, and so are the ways to break them
        # Of torch's message only the kind: it quotes the file, and advises to trust it.
        raise DataError(
            f"{name}: not a checkpoint of plain weights ({type(error).__name__})"
        ) from None
    state = checkpoint.get("state_dict") if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping):
        raise DataError(f"{name}: has no state_dict")
    for key, value in state.items():
        if not (isinstance(key, str) and key.startswith(WRAPPER) and isinstance(value, Tensor)):
            raise DataError(f"{name}: {key!r} in its state_dict is no tensor named {WRAPPER}…")
    return {key.removeprefix(WRAPPER): value for key, value in state.items()}
