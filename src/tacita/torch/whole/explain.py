"""Where precision is lost: a network's float results beside those of its program, node by node.

The owner runs it in the clear, on inputs of the owner's own. It answers two questions: which layer
is the first to drift from the float network, and which values leave the bounds that comparisons
rely on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tacita.program.program import Program
from tacita.protocols import Reshape, WithinBound
from tacita.ring.fixed_point import decode, signed
from tacita.runtime.plain import run_plain
from tacita.torch.whole.graph import places
from tacita.torch.whole.ranges import run

if TYPE_CHECKING:
    from tacita.torch.whole.model import Model

DRIFT = 0.01  # of a node's largest value: an error that may change what a network answers


@dataclass(frozen=True)
class Row:
    """One node of the graph.

    place: its module, or its own name where it is in none, as reports have it.
    largest: the largest float value in size. error: the largest difference, in reals.
    bound: what the program relies on, in reals, or None. exceeded: how many values leave it.
    """

    name: str
    place: str
    operation: str
    largest: float
    error: float
    bound: float | None
    exceeded: int

    @property
    def relative(self) -> float:
        """The error as a share of the largest value."""
        return self.error / self.largest if self.largest else self.error


@dataclass(frozen=True)
class Explanation:
    """rows: in the order of the network. unit: what the precision can tell apart."""

    rows: tuple[Row, ...]
    unit: float

    @property
    def first_drift(self) -> Row | None:
        """The first node whose error is more than a hundredth of its largest value."""
        return next((row for row in self.rows if row.relative > DRIFT), None)

    @property
    def first_exceeded(self) -> Row | None:
        """The first node with a value outside the bound that the program relies on."""
        return next((row for row in self.rows if row.exceeded), None)

    def warnings(self) -> Iterator[str]:
        if (row := self.first_exceeded) is not None:
            yield (
                f"{row.exceeded} values of {row.place} ({row.operation}) leave the "
                f"bound of {row.bound:g}: comparisons on them may be wrong. Export with more "
                "samples or a larger margin."
            )
        if (row := self.first_drift) is not None:
            yield (
                f"{row.place} ({row.operation}) is the first to drift: an error of "
                f"{row.error:.2g} on values up to {row.largest:.2g}. Export with a finer precision."
            )

    def conclusion(self) -> list[str]:
        """The warnings; a line that says so where there is none to give."""
        warnings = list(self.warnings())
        if warnings or not self.rows:
            return warnings
        row = max(self.rows, key=lambda row: row.error)
        return [
            "No value leaves its bound, and no layer drifts; the largest error is "
            f"{row.error:.2g}, at {row.place} ({row.operation})."
        ]

    def table(self) -> Table:
        """For rich's console."""
        table = Table(title=f"float against fixed point (unit {self.unit:.2g})")
        for title in ("module", "operation", "largest", "bound", "error", "error / largest"):
            table.add_column(title, justify="left" if title in ("module", "operation") else "right")
        for row in self.rows:
            style = "red" if row.exceeded else "yellow" if row.relative > DRIFT else None
            table.add_row(
                row.place,
                row.operation,
                f"{row.largest:.3g}",
                "-" if row.bound is None else f"{row.bound:.3g}",
                f"{row.error:.2g}",
                f"{row.relative:.1e}",
                style=style,
            )
        return table

    def __str__(self) -> str:
        text = StringIO()
        Console(file=text, width=110).print(self.table())
        return "\n".join([text.getvalue().rstrip(), *self.conclusion()])


def without_checks(program: Program) -> Program:
    """Checks would end it at the first value out of bounds; here they are all to be counted."""
    return replace(
        program,
        instructions=tuple(
            Reshape(each.out, each.x, each.shape) if isinstance(each, WithinBound) else each
            for each in program.instructions
        ),
    )


def explain(model: Model, *inputs: torch.Tensor) -> Explanation:
    """Compares the float network with its program's `plain` reading on these inputs.

    Raises ShapeError and EncodingError where the inputs do not suit the model.
    """
    wires = model.program.wires
    values = run_plain(without_checks(model.program), model.weights, model.encode(inputs))
    floats = run(model.network, inputs)
    rows = []
    place = places(model.network.graph)
    for node in model.network.graph.nodes:
        wire = model.nodes.get(node.name)
        if node.op != "call_function" or wire not in values:
            continue
        expected = floats[node.name]
        if not isinstance(expected, torch.Tensor) or not expected.is_floating_point():
            continue
        about, got = wires[wire], values[wire]
        true = expected.double().numpy()
        error = np.abs(decode(got, about.scale).reshape(true.shape) - true)
        sizes = np.abs(signed(got).astype(np.float64))
        rows.append(
            Row(
                name=node.name,
                place=place[node],
                operation=str(node.target).removeprefix("aten.").split(".")[0],
                largest=float(np.max(np.abs(true), initial=0.0)),
                error=float(np.max(error, initial=0.0)),
                bound=None if about.bound is None else about.bound / about.scale,
                exceeded=0 if about.bound is None else int(np.sum(sizes > about.bound)),
            )
        )
    return Explanation(tuple(rows), 1 / model.precision.scale)
