"""Train a network that nobody sees, on images and labels that nobody sees.

MNIST, 784-128-64-10, SGD with momentum on cross-entropy. Images, labels and first weights are
shared between alice and bob; every step, forward and backward, is on shares. The same training in
the clear goes alongside with the same images in the same order, and both loss curves are drawn.
What is revealed: the losses, to draw them, and in the end the trained network, to test it.

    python examples/private_training.py --steps 469 --picture training.png
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor, nn

import tacita as sy
from tacita.data import mnist, normalise
from tacita.errors import TacitaError

console = Console(highlight=False)
PRECISION = {"base": 2, "precision_fractional": 16}
EPOCH = 469  # steps of 128 images
SETTINGS = {"lr": 0.1, "momentum": 0.5}


def network() -> nn.Module:
    """784-128-64-10 with ReLU between."""
    return nn.Sequential(
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """One step of SGD, the same for private and plain tensors; y: one-hot rows. The loss before."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


def draw(path: Path, losses: dict[str, list[float]]) -> None:
    """Both loss curves, smoothed over ten steps, over the raw ones."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        console.print("no picture: matplotlib is not installed (the extra `charts`)")
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (name, values), style in zip(losses.items(), ("C0-", "C1--"), strict=True):
        smooth = [statistics.fmean(values[max(0, i - 9) : i + 1]) for i in range(len(values))]
        axes.plot(values, style[:2], alpha=0.25, linewidth=0.8)
        axes.plot(smooth, style, label=name)
    axes.set(xlabel="step", ylabel="cross-entropy", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


def main(
    steps: Annotated[int, typer.Option(min=1, help="Steps; 469 are an epoch.")] = EPOCH,
    batch: Annotated[int, typer.Option(min=1, help="Images in a step.")] = 128,
    picture: Annotated[Path | None, typer.Option(help="Where to draw the loss curves.")] = None,
    seed: Annotated[int, typer.Option(help="Of first weights and of the order; no share's.")] = 0,
) -> None:
    """Train on MNIST without seeing it; compare with the same training in the clear."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table says which images they were
        training, testing = mnist(train=True), mnist(train=False)
    hook = sy.TorchHook(torch)
    alice, bob, dealer = (sy.VirtualWorker(hook, id=each) for each in ("alice", "bob", "dealer"))

    def share(secret, **options):
        encoded = secret.fix_precision(**PRECISION)
        return encoded.share(alice, bob, crypto_provider=dealer, **options)

    private = network()
    plain = copy.deepcopy(private)
    share(private, requires_grad=True)
    models = {"private": private, "in the clear": plain}
    optimizers = {
        name: torch.optim.SGD(model.parameters(), **SETTINGS) for name, model in models.items()
    }
    losses: dict[str, list[float]] = {name: [] for name in models}
    seconds = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console,
    ) as progress:  # fmt: skip
        task = progress.add_task("training", total=steps)
        order = torch.randperm(len(training)).repeat(-(-steps * batch // len(training)))
        for number in range(steps):
            chosen = order[number * batch : (number + 1) * batch]
            x = normalise(training.images[chosen]).view(-1, 784)
            y = F.one_hot(training.labels[chosen], 10).float()
            started = time.perf_counter()
            loss = step(private, optimizers["private"], share(x), share(y))
            losses["private"].append(float(loss.get().float_precision()))
            seconds.append(time.perf_counter() - started)
            losses["in the clear"].append(float(step(plain, optimizers["in the clear"], x, y)))
            progress.advance(task)
    private.get().float_precision()

    def right(model: nn.Module) -> str:
        with torch.no_grad():
            classes = model(normalise(testing.images).view(-1, 784)).argmax(dim=1)
        return f"{100 * float((classes == testing.labels).float().mean()):.2f} %"

    table = Table(title=f"{steps} steps of {batch} images, none of them seen", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("right of 10,000 test images, trained privately", right(private))
    table.add_row("trained in the clear", right(plain))
    apart = max(abs(p - q) for p, q in zip(*losses.values(), strict=True))
    table.add_row("losses, at most apart", f"{apart:.4f}")
    table.add_row("a private step, median", f"{1000 * statistics.median(seconds):.0f} ms")
    table.add_row("all private steps", f"{sum(seconds):.1f} s")
    table.add_row("data", training.source)
    console.print(table)
    if picture is not None:
        draw(picture, losses)


if __name__ == "__main__":
    try:
        typer.run(main)
    except TacitaError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}")
        sys.exit(1)
