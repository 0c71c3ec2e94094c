"""Classify MNIST images that nobody sees with a network that nobody sees.

A server trains a network in the clear. Server and client then share weights and images between
alice and bob; a crypto provider deals the randomness. The client alone learns the classes.

    python examples/secure_classification.py --images 1000 --base 10 --precision 3
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import nn

import tacita as sy
from tacita.data import Digits, DigitsLoader, mnist
from tacita.errors import TacitaError

console = Console(highlight=False)


DIGITS_KEPT = {2: 14, 10: 3}
"""Digits after the point by the base of the fixed precision, where the user names none."""


class Net(nn.Module):
    """The notebook's network: 784-500-10 with a ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 500)
        self.fc2 = nn.Linear(500, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images [B, 1, 28, 28] to scores [B, 10]."""
        x = x.view(-1, 784)
        x = nn.functional.relu(self.fc1(x))
        return self.fc2(x)


@dataclass
class Batch:
    """What the private classification of one batch gave and took.

    forward: seconds from the images' shares to the scores' shares, on every role.
    whole: seconds from there to the classes in the client's hands, and `forward`.
    """

    classes: torch.Tensor
    forward: float
    whole: float
    rounds: int
    online_bytes: int
    dealt_bytes: int


@dataclass(frozen=True)
class Parties:
    """Who takes part, and how finely they compute."""

    alice: sy.VirtualWorker
    bob: sy.VirtualWorker
    crypto_provider: sy.VirtualWorker
    base: int
    precision: int

    def share(self, secret: torch.Tensor | nn.Module) -> torch.Tensor | nn.Module:
        """Two shares of a tensor, or in place of every parameter of a module."""
        encoded = secret.fix_precision(base=self.base, precision_fractional=self.precision)
        return encoded.share(self.alice, self.bob, crypto_provider=self.crypto_provider)

    def measure(self):
        """A context that waits for everybody at its end and tells rounds and bytes."""
        return sy.measure(self.alice, self.bob, crypto_provider=self.crypto_provider)


def train(model: Net, images: DigitsLoader, epochs: int, progress: Progress) -> None:
    """Trains in the clear."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    task = progress.add_task("train in the clear", total=epochs * len(images.dataset))
    for _ in range(epochs):
        for data, target in images:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data), target).backward()
            optimizer.step()
            progress.advance(task, len(target))


def classify_in_the_clear(model: Net, images: DigitsLoader) -> torch.Tensor:
    """Classes [N] by the plaintext model."""
    with torch.no_grad():
        return torch.cat([model(data).argmax(dim=1) for data, _ in images])


def classify_privately(
    model: Net, images: DigitsLoader, parties: Parties, progress: Progress
) -> list[Batch]:
    """Shares each batch, lets the parties classify it, reveals the classes to the client."""
    task = progress.add_task("classify privately", total=len(images.dataset))
    batches = []
    with torch.no_grad():
        for data, target in images:
            shared = parties.share(data)
            with parties.measure():
                pass  # the shares are with the parties before the clock starts
            started = time.perf_counter()
            with parties.measure() as traffic:
                scores = model(shared)
            forward = time.perf_counter() - started
            classes = scores.argmax(dim=1).get().float_precision().long()
            whole = time.perf_counter() - started
            batches.append(
                Batch(
                    classes,
                    forward,
                    whole,
                    traffic.rounds,
                    traffic.online_bytes,
                    traffic.dealt_bytes,
                )
            )
            progress.advance(task, len(target))
    return batches


def report(
    digits: Digits, plain: torch.Tensor, batches: list[Batch], parties: Parties, sharing: str
) -> Table:
    """The summary; figures per image are medians over batches."""
    private = torch.cat([batch.classes for batch in batches])

    def right(classes: torch.Tensor) -> str:
        count = int((classes == digits.labels).sum())
        return f"{count:,} of {len(digits):,}  ({100 * count / len(digits):.2f} %)"

    def per_image(name: str) -> float:
        return statistics.median(getattr(batch, name) / len(batch.classes) for batch in batches)

    alike = int((private == plain).sum())
    table = Table(title=f"{len(digits):,} images classified, none of them seen", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("accuracy, private", right(private))
    table.add_row("accuracy, plaintext model", right(plain))
    table.add_row("the same answer as the plaintext model", f"{100 * alike / len(digits):.2f} %")
    table.add_section()
    table.add_row("an image, forward pass", f"{1000 * per_image('forward'):.3f} ms")
    table.add_row("an image, to its class revealed", f"{1000 * per_image('whole'):.3f} ms")
    table.add_row("online, each party, an image", f"{per_image('online_bytes') / 1000:,.1f} kB")
    table.add_row(
        "crypto provider to the last party, an image",
        f"{per_image('dealt_bytes') / 1000:,.1f} kB",
    )
    table.add_row(
        "rounds, a forward pass", f"{statistics.median(batch.rounds for batch in batches):g}"
    )
    table.add_section()
    table.add_row("sharing the model, once", sharing)
    table.add_row("batch size", str(len(batches[0].classes)))
    table.add_row("fixed precision", f"base {parties.base}, {parties.precision} places")
    table.add_row("data", digits.source)
    return table


def main(
    images: Annotated[int, typer.Option(min=1, help="Test images to classify.")] = 10_000,
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 128,
    epochs: Annotated[int, typer.Option(min=0, help="Epochs of training.")] = 2,
    base: Annotated[int, typer.Option(help="Base of the fixed precision, 2 or 10.")] = 2,
    precision: Annotated[
        int | None,
        typer.Option(min=0, help="Digits kept after the point; 14 in base 2 and 3 in base 10."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the training; never of a share.")] = 0,
) -> None:
    """Train a network on MNIST in the clear, then classify test images privately."""
    if base not in DIGITS_KEPT:
        raise typer.BadParameter("must be 2 or 10", param_hint="--base")
    # One thread: torch's own wait for each other in a busy loop, which costs the parties their
    # cores, and on a machine with other work makes the training many times slower.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    with warnings.catch_warnings(record=True) as said:
        training, testing = mnist(train=True), mnist(train=False).first(images)
    if said:  # both splits come from one source: once is enough
        console.print(str(said[0].message), style="yellow", markup=False)

    hook = sy.TorchHook(torch)
    parties = Parties(
        sy.VirtualWorker(hook, id="alice"),
        sy.VirtualWorker(hook, id="bob"),
        sy.VirtualWorker(hook, id="crypto_provider"),
        base,
        DIGITS_KEPT[base] if precision is None else precision,
    )
    model = Net()
    with Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        train(model, training.loader(64, shuffle=True), epochs, progress)
        model.eval()
        plain = classify_in_the_clear(copy.deepcopy(model), testing.loader(1000))

        started = time.perf_counter()
        with parties.measure() as traffic:
            parties.share(model)
        sharing = (
            f"{time.perf_counter() - started:.2f} s, {traffic.online_bytes / 1e6:.1f} MB online"
        )
        batches = classify_privately(model, testing.loader(batch), parties, progress)
    console.print(report(testing, plain, batches, parties, sharing))


if __name__ == "__main__":
    try:
        typer.run(main)
    except TacitaError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}")
        sys.exit(1)
