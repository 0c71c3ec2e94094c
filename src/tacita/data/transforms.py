"""The two image transforms of the classification notebook, under the names its users know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tacita.errors import ShapeError

Transform = Callable[[torch.Tensor], torch.Tensor]


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        for transform in self.transforms:
            image = transform(image)
        return image


class ToTensor:
    """A grey image, uint8 [H, W], becomes float32 [1, H, W] with values in 0…1."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        if image.dtype != torch.uint8 or image.dim() != 2:
            raise ShapeError(
                f"ToTensor takes one grey image, uint8 [H, W]; got {image.dtype} "
                f"{tuple(image.shape)}"
            )
        return image.unsqueeze(0).float().div_(255)


class Normalize:
    """Each channel of a float image [C, H, W] less its mean, divided by its deviation."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != len(std) or not all(deviation > 0 for deviation in std):
            raise ShapeError(
                f"Normalize takes one mean and one positive deviation for each channel; got "
                f"{tuple(mean)} and {tuple(std)}"
            )
        self.mean = torch.tensor(tuple(mean)).view(-1, 1, 1)
        self.std = torch.tensor(tuple(std)).view(-1, 1, 1)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        if image.dim() != 3 or image.shape[0] != len(self.mean):
            raise ShapeError(
                f"Normalize has {len(self.mean)} channels; the image is {tuple(image.shape)}"
            )
        return (image - self.mean) / self.std
