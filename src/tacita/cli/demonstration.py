"""What `tacita up` publishes: a small network that knows digits, and digits to ask it about."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import chain, islice, repeat

import torch
from torch.nn import functional as F

from tacita import zoo
from tacita.data.digits import Digits
from tacita.data.sources import mnist
from tacita.errors import DataError
from tacita.torch.whole.model import Model, export

NETWORK = "mlp"
IMAGES = 12_000  # for training
STEPS = 300  # a few seconds
BATCH = 64
ROWS = 4  # of a query
SAMPLES = 200


@dataclass(frozen=True)
class Demonstration:
    """input: float32 [ROWS, 1, 28, 28]. labels: what they show, if known. source: in words."""

    model: Model
    input: torch.Tensor
    labels: list[int] | None
    source: str


def demonstration() -> Demonstration:
    """Trained on digits that are at hand, which nothing is downloaded for; else untrained."""
    module = zoo.network(NETWORK)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is the stand-in is said below
            training, testing = (mnist(train, download=False) for train in (True, False))
    except DataError:
        images = torch.rand(SAMPLES, *zoo.input_shape(NETWORK))
        return _ready(module.eval(), images, images[:ROWS], None, "random weights, random images")
    train(module, training.first(IMAGES))
    samples, _ = next(iter(training.loader(SAMPLES)))
    images, labels = next(iter(testing.loader(ROWS)))
    correct = _correct(module, testing.first(1000))
    source = f"trained on {training.source}; right for {correct:.0%} of images in the clear"
    return _ready(module, samples, images, labels.tolist(), source)


def train(module: torch.nn.Module, digits: Digits) -> None:
    """Leaves it in eval mode."""
    module.train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    passes = chain.from_iterable(repeat(digits.loader(BATCH, shuffle=True)))
    for images, labels in islice(passes, STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(module(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    module.eval()


def _correct(module: torch.nn.Module, digits: Digits) -> float:
    images, labels = next(iter(digits.loader(len(digits))))
    with torch.no_grad():
        return float((module(images).argmax(1) == labels).float().mean())


def _ready(
    module: torch.nn.Module,
    samples: torch.Tensor,
    images: torch.Tensor,
    labels: list[int] | None,
    source: str,
) -> Demonstration:
    model = export(module, images, samples=samples)
    return Demonstration(model, images, labels, source)
