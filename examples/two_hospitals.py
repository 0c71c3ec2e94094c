"""Two hospitals train a model on patients of both, and neither sees the other's.

The Cleveland heart-disease data, split in one of two ways: by rows, each hospital has patients of
its own, or by columns, each has some of the findings of all patients. A logistic regression and a
small network are trained on shares of everything; the same training in the clear, by somebody who
sees all, is what they are compared with. Only the scores of the patients kept for the test are
revealed, in the end.

    python examples/two_hospitals.py --split columns
"""

from __future__ import annotations

import copy
import sys
import time
from enum import StrEnum
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor, nn

import tacita as sy
from tacita.data import heart
from tacita.errors import TacitaError

console = Console(highlight=False)
PRECISION = {"base": 2, "precision_fractional": 16}
TESTED = 97  # patients kept for the test


class Split(StrEnum):
    """Who has what: other patients, or other findings of the same ones."""

    rows = "rows"
    columns = "columns"


def area_under_curve(scores: Tensor, ill: Tensor) -> float:
    """The probability that an ill patient has a higher score than a healthy one.

    scores, ill: [n]; ill is 1 or 0.
    """
    higher = scores[ill == 1][:, None] - scores[ill == 0][None, :]
    return float((higher > 0).double().mean() + 0.5 * (higher == 0).double().mean())


def models(findings: int) -> dict[str, nn.Module]:
    """What is trained: scores of illness from findings, [n, findings] to [n, 1]."""
    return {
        "logistic regression": nn.Linear(findings, 1),
        "network 16-1": nn.Sequential(nn.Linear(findings, 16), nn.ReLU(), nn.Linear(16, 1)),
    }


def train(model: nn.Module, x: Tensor, y: Tensor, epochs: int, batch: int, step) -> None:
    """SGD with momentum on binary cross-entropy, the same for private and plain tensors.

    x: [n, findings]; y: [n, 1]. step: called after every step.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, weight_decay=1e-3)
    for _ in range(epochs):
        for first in range(0, len(x), batch):
            part = slice(first, first + batch)
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(x[part]), y[part]).backward()
            optimizer.step()
            step()


def shared_by_both(x: Tensor, split: Split, share) -> Tensor:
    """What the hospitals have, each part shared by its owner and joined as shares."""
    if split is Split.rows:
        middle = len(x) // 2
        return torch.cat([share(x[:middle]), share(x[middle:])])
    middle = x.shape[1] // 2
    return torch.cat([share(x[:, :middle].contiguous()), share(x[:, middle:].contiguous())], dim=1)


def main(
    split: Annotated[Split, typer.Option(help="What each hospital has.")] = Split.rows,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of training.")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Patients in a step.")] = 40,
    seed: Annotated[int, typer.Option(help="Of first weights and of the order; no share's.")] = 0,
) -> None:
    """Train on two hospitals' patients without showing any; compare with training in the clear."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    data = heart()
    order = torch.randperm(len(data.ill))
    x, y = data.features[order], data.ill[order][:, None]
    x_train, x_test, y_train, y_test = x[TESTED:], x[:TESTED], y[TESTED:], y[:TESTED]

    hook = sy.TorchHook(torch)
    alice, bob, dealer = (sy.VirtualWorker(hook, id=each) for each in ("alice", "bob", "dealer"))

    def share(secret, **options):
        encoded = secret.fix_precision(**PRECISION)
        return encoded.share(alice, bob, crypto_provider=dealer, **options)

    table = Table(title=f"{len(x_train)} patients of two hospitals, split by {split.value}")
    table.add_column("model")
    for name in ("AUC, private", "AUC, in the clear", "ms a step, private"):
        table.add_column(name, justify="right")
    with Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        for name, model in models(x.shape[1]).items():
            plain = copy.deepcopy(model)
            train(plain, x_train, y_train, epochs, batch, lambda: None)

            steps = epochs * -(-len(x_train) // batch)
            task = progress.add_task(name, total=steps)
            share(model, requires_grad=True)
            private_x, private_y = shared_by_both(x_train, split, share), share(y_train)
            private_test = shared_by_both(x_test, split, share)
            started = time.perf_counter()
            train(model, private_x, private_y, epochs, batch, lambda t=task: progress.advance(t))
            with torch.no_grad():
                scores = model(private_test).get().float_precision()
                expected = plain(x_test)
            took = time.perf_counter() - started
            table.add_row(
                name,
                f"{area_under_curve(scores[:, 0], y_test[:, 0]):.4f}",
                f"{area_under_curve(expected[:, 0], y_test[:, 0]):.4f}",
                f"{1000 * took / steps:.1f}",
            )
    console.print(table)


if __name__ == "__main__":
    try:
        typer.run(main)
    except TacitaError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}")
        sys.exit(1)
