"""The networks that are measured: their weights, the images they see, and samples held out.

Images that are measured and samples that bounds are calibrated on never overlap, and neither was
trained on. Where weights are random, batch norm's statistics are those of a few batches: with the
initial ones activations would grow from block to block, and bounds with them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacita import data, zoo
from tacita.data import cifar

SEED = 1
TRAINED_ON = 12_800  # MNIST images, in one pass
TRAINING_BATCH = 64
STATISTICS_IMAGES, STATISTICS_BATCH = 48, 8


@dataclass(frozen=True, eq=False)
class Subject:
    """images, labels: what is measured; labels is None where the weights are random.
    samples: what bounds are calibrated on.
    weights, source: in words, for the record.
    """

    name: str
    module: nn.Module
    images: Tensor
    labels: Tensor | None
    samples: Tensor
    weights: str
    source: str


def subject(name: str, images: int, samples: int) -> Subject:
    """A network of the zoo in eval mode, with so many images and so many samples."""
    torch.manual_seed(SEED)
    module = zoo.network(name)
    if name in ("mlp", "lenet"):
        return _on_digits(name, module, images, samples)
    if name in ("resnet20", "resnet18_32"):
        return _on_photographs(name, module, images, samples)
    return _on_noise(name, module, images, samples)


def _on_digits(name: str, module: nn.Module, images: int, samples: int) -> Subject:
    train, test = data.mnist(train=True), data.mnist(train=False)
    used = min(TRAINED_ON, len(train) - samples)
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.001)
    for batch, labels in train.first(used).loader(TRAINING_BATCH):
        optimizer.zero_grad()
        F.cross_entropy(module(batch), labels).backward()
        optimizer.step()
    require(images, len(test), name)
    return Subject(
        name,
        module.eval(),
        data.normalise(test.images[:images]),
        test.labels[:images],
        data.normalise(train.images[used : used + samples]),
        f"trained here on {used} images, one pass of Adam",
        "MNIST, test images" if test.is_mnist else "the stand-in for MNIST",
    )


def _on_photographs(name: str, module: nn.Module, images: int, samples: int) -> Subject:
    pictures, labels = data.cifar10()
    require(images + samples, len(pictures), name)
    seen, held_out = cifar.normalised(pictures[:images]), cifar.normalised(pictures[-samples:])
    source = "CIFAR-10, test images"
    if name == "resnet20":
        module.load_state_dict(data.resnet20_weights())
        trained = "trained on CIFAR-10 by Y. Idelbayev"
        return Subject(name, module.eval(), seen, labels[:images], held_out, trained, source)
    settle_statistics(module, held_out)
    return Subject(name, module.eval(), seen, None, held_out, "random", source)


def _on_noise(name: str, module: nn.Module, images: int, samples: int) -> Subject:
    noise = torch.randn(images + samples, *zoo.input_shape(name))
    settle_statistics(module, noise[images:])
    seen, held_out = noise[:images], noise[images:]
    return Subject(name, module.eval(), seen, None, held_out, "random", "normal noise")


def settle_statistics(module: nn.Module, samples: Tensor) -> None:
    """Gives every batch norm the mean and variance that it meets on a few batches."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the plain average of all batches
    module.train()
    with torch.no_grad():
        for batch in samples[:STATISTICS_IMAGES].split(STATISTICS_BATCH):
            module(batch)


def require(wanted: int, there: int, name: str) -> None:
    if wanted > there:
        raise SystemExit(
            f"{name} needs {wanted} images and samples, and there are {there}: ask for a smaller "
            "batch or fewer samples"
        )
