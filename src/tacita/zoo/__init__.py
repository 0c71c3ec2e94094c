"""Networks by name: the architectures that secure inference is measured on, untrained.

    from tacita import zoo
    model = zoo.network("resnet20").eval()
    image = torch.rand(1, *zoo.input_shape("resnet20"))

Each is an ordinary module in plain PyTorch, which `torch.export.export` takes in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from tacita.errors import UsageError
from tacita.zoo.lenet import LeNet
from tacita.zoo.mlp import MLP
from tacita.zoo.resnet import CifarResNet, ResNet, resnet18, resnet18_32, resnet20, resnet50
from tacita.zoo.sentence_encoder import EncoderSize, SentenceEncoder

__all__ = [
    "MLP",
    "CifarResNet",
    "EncoderSize",
    "LeNet",
    "ResNet",
    "SentenceEncoder",
    "input_shape",
    "names",
    "network",
    "resnet18",
    "resnet18_32",
    "resnet20",
    "resnet50",
]


@dataclass(frozen=True)
class Entry:
    """A network of the zoo: how it is built, and the shape of one of its inputs."""

    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]


NETWORKS = {
    "mlp": Entry(MLP, (1, 28, 28)),
    "lenet": Entry(LeNet, (1, 28, 28)),
    "resnet20": Entry(resnet20, (3, 32, 32)),
    "resnet18_32": Entry(resnet18_32, (3, 32, 32)),
    "resnet18": Entry(resnet18, (3, 224, 224)),
    "resnet50": Entry(resnet50, (3, 224, 224)),
}


def names() -> tuple[str, ...]:
    """The names that `network` knows, in ascending order of work for an image."""
    return tuple(NETWORKS)


def network(name: str) -> nn.Module:
    """A new network of that name, float32, with freshly drawn weights, in training mode.

    Batch normalisation starts with mean 0 and variance 1, which are not those of its inputs: until
    a checkpoint is loaded or the network has been trained, activations in eval mode grow from
    block to block.

    Raises:
        UsageError: there is no such network; the message lists those there are.
    """
    return _entry(name).build()


def input_shape(name: str) -> tuple[int, ...]:
    """The shape of one input of that network, (channels, height, width), without the batch.

    Raises:
        UsageError: as `network`.
    """
    return _entry(name).input_shape


def _entry(name: str) -> Entry:
    try:
        return NETWORKS[name]
    except KeyError:
        raise UsageError(f"no network is named {name!r}; there are {', '.join(NETWORKS)}") from None
