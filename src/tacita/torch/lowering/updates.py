"""A step of an optimizer: parameter + rate·gradient, written back into the parameter.

A gradient is a product, at the product of two scales, and owes a truncation; the rate is a public
number. Both are one truncation, by scale/(rate·finest), so the step costs one opening of the
gradient. The parameter is kept at the scale of gradients (`Lowering.finest`), where products take
it as it is: nothing of a step is lost beyond one unit of that scale, at random and without bias.

Range: while they are trained, parameters have that scale in products, so |x·w| summed stays below
    2^61 / (scale·finest): 2^21 for 16 bits of precision, 2^17 for 20 bits.
Error: the rate is off by one part in 2^10 at the most; one unit of `finest`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import add
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, check_finite
from tacita.torch.lowering.scales import aligned, settled, shrunk

SUMS = (torch.ops.aten.add.Tensor, torch.ops.aten.sub.Tensor)
STEP = "step of an optimizer"


@dataclass(frozen=True, slots=True)
class Updating:
    """The results of an operation that writes to some of its arguments beside: by place."""

    results: Any
    arguments: dict[int, Handle]


def in_parameter(
    operation: Any,
    lower: Callable[..., Any],
    name: str | None,
    low: Lowering,
    *args: Any,
    **named: Any,
) -> Handle:
    """What an in-place operation, lowered by `lower`, makes of a parameter that is trained.

    name: of the parameter, for errors.
    """
    what = STEP if name is None else f"{STEP}, parameter {name}"
    if operation in SUMS and len(args) == 2 and all(isinstance(each, Handle) for each in args):
        rate = named.get("alpha", 1) * (1 if operation is SUMS[0] else -1)
        if args[0].wire.shape == args[1].wire.shape:
            return stepped(low, args[0], args[1], rate, what)
    return settled(low, lower(low, *args, **named), what)


def stepped(low: Lowering, parameter: Handle, gradient: Handle, rate: Number, what: str) -> Handle:
    """parameter + rate·gradient, at the scale of gradients. Shapes: both the same."""
    low = low.finer
    if low.precision is None or gradient.public or not rate or not gradient.wire.size:
        return settled(low, add(low, parameter, gradient, alpha=rate), what)
    check_finite(float(rate), what)
    step = shrunk(low, gradient, abs(Fraction(rate)), low.scale, what)
    terms, scale = aligned(low, (parameter, step), what)
    (parameter, p), (step, q) = terms
    sign = 1 if rate > 0 else -1
    out = low.combine(((parameter, p), (step, sign * q)), step.wire.shape, scale)
    return settled(low, out, what)
