"""MNIST as a `torch.utils.data.Dataset`, for code that was written for torchvision's."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

from tacita.data.sources import mnist
from tacita.data.transforms import Transform


class MNIST(Dataset[tuple[torch.Tensor, int]]):
    """Single images with their labels; `mnist` tells where they come from.

    Item i is ``(transform(image), label)``, the image uint8 [28, 28] before the transform and the
    label an int. For batches of the usual normalised images, `Digits.loader` is faster.

    Args:
        train: the training images (60,000), else the test images (10,000).
        transform: applied to each image when it is taken.
        download: fetch the images where neither TACITA_DATA nor the cache has them.

    Raises:
        DataError: as `mnist`.
    """

    def __init__(
        self, train: bool = True, transform: Transform | None = None, download: bool = True
    ) -> None:
        digits = mnist(train, download=download)
        self.data = digits.images
        self.targets = digits.labels
        self.source = digits.source
        self.transform = transform
        self._labels = digits.labels.tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
        image = self.data[index]
        return image if self.transform is None else self.transform(image), self._labels[index]
