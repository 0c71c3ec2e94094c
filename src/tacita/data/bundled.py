"""The stand-in for MNIST on a machine without a network: scikit-learn's 1,797 small digits."""

from __future__ import annotations

import torch
from torch.nn import functional

from tacita.data.digits import SIDE, Digits
from tacita.errors import DataError

BOX = 20
"""MNIST's digits fill a box of 20×20 pixels in the middle of the image; so do these."""
TESTED = 1750
"""Every fifth of the first so many images is for testing: 350, whole batches of the usual sizes."""


def bundled_digits(train: bool) -> Digits:
    """Scikit-learn's 8×8 digits, enlarged to 28×28; the same split on every machine.

    Returns:
        1,447 images for training or 350 for testing.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(
            "MNIST is not at hand and scikit-learn, whose digits would stand in, is not installed: "
            "pip install 'tacita[digits]', or let TACITA_DATA name a folder with mnist/"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8)
    large = functional.interpolate(small, (BOX, BOX), mode="bilinear", align_corners=False)
    margin = (SIDE - BOX) // 2
    images = functional.pad(large * (255 / 16), (margin,) * 4).round().to(torch.uint8).squeeze(1)

    place = torch.arange(len(images))
    chosen = ((place % 5 == 4) & (place < TESTED)) ^ train
    return Digits(
        images[chosen],
        torch.from_numpy(labels).long()[chosen],
        source="scikit-learn's bundled digits, 8×8 enlarged to 28×28",
        is_mnist=False,
    )
