"""A warning at export: the network's results drift in fixed point, on the owner's own samples.

One batch of the samples is run through the program's `plain` reading and through the float
network. Two things count: a result that is off by more than DRIFT of its largest value, and a
class that changes. A class is the largest of a row. It counts as changed where the float results
tell the two classes apart by more than three units of the precision: encoding moves each of the
two by up to half a unit and truncation by up to one, in the most exact of programs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from tacita.compiler.work import comparisons, multiply_adds
from tacita.errors import EncodingError
from tacita.program.program import Program
from tacita.runtime.plain import run_plain
from tacita.torch.encoding import reals_from
from tacita.torch.precision_warning import PrecisionWarning
from tacita.torch.whole.explain import DRIFT, explain, without_checks
from tacita.torch.whole.ranges import run

if TYPE_CHECKING:
    from tacita.torch.whole.model import Model

MOST_WORK = 1 << 28  # multiply-adds and comparisons of one batch: about a second
CLOSEST = 3.0  # units: classes that are closer than this may change places by rounding alone


def warn_of_drift(model: Model, inputs: Sequence[torch.Tensor]) -> None:
    """Gives a PrecisionWarning that names the first layer to drift, if the results do.

    inputs: one batch. Cost: one run in the clear, and a second one where there is something to
    warn of; nothing for a program of more than MOST_WORK.
    """
    if work_of(model.program) > MOST_WORK:
        return
    try:
        found = differences(model, inputs)
    except EncodingError as error:
        found = [f"a sample has no fixed-point form: {error}"]
        culprit: list[str] = []
    else:
        culprit = first_to_drift(model, inputs) if found else []
    if found:
        lines = [f"in fixed point ({model.precision}), on the samples:", *found, *culprit]
        warnings.warn("\n  ".join(lines), PrecisionWarning, stacklevel=3)


def work_of(program: Program) -> int:
    return sum(
        multiply_adds(instruction, program) + comparisons(instruction)
        for instruction in program.instructions
    )


def differences(model: Model, inputs: Sequence[torch.Tensor]) -> list[str]:
    """What is wrong with the results, in words."""
    program = model.program
    values = run_plain(without_checks(program), model.weights, model.encode(inputs))
    floats = run(model.network, inputs)
    found = []
    for port, node in zip(program.outputs, model.network.results, strict=True):
        expected = floats[node.name]
        got = reals_from(values[port.wire], program.wires[port.wire].scale)
        got = got.reshape(expected.shape).double()
        found += wrong(port.name, got, expected, 1 / model.precision.scale)
    return found


def wrong(name: str, got: torch.Tensor, expected: torch.Tensor, unit: float) -> list[str]:
    """got: in doubles. expected: what the module gives, in its own type."""
    if not expected.numel():
        return []
    if not expected.is_floating_point():
        changed = int((got != expected.double()).sum())
        return [f"{changed} of {got.numel()} values of '{name}' change"] if changed else []
    expected = expected.double()
    found = []
    error, largest = float((got - expected).abs().max()), float(expected.abs().max())
    if error > DRIFT * (largest or 1.0):
        found.append(f"'{name}' is off by up to {error:.2g}, on values up to {largest:.2g}")
    if expected.dim() == 2:
        chosen = expected.gather(1, got.argmax(1, keepdim=True))
        changed = int((expected.amax(1, keepdim=True) - chosen > CLOSEST * unit).sum())
        if changed:
            found.append(f"the largest of '{name}' is another for {changed} of {len(got)} samples")
    return found


def first_to_drift(model: Model, inputs: Sequence[torch.Tensor]) -> list[str]:
    """Which layer it begins in; where none drifts by itself, the one that is off the most."""
    explanation = explain(model, *inputs)
    told = list(explanation.warnings())
    if not told and explanation.rows:
        row = max(explanation.rows, key=lambda row: row.relative)
        told = [
            f"{row.place} ({row.operation}) is off the most: an error of {row.error:.2g} on "
            f"values up to {row.largest:.2g}. Export with a finer precision."
        ]
    return told
