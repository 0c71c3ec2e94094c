"""Choosing between values: relu, abs, sign, clamp, maximum, where; and exact integer quotients."""

from __future__ import annotations

import builtins
from math import ceil, inf

import torch

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.protocols import ReLU
from tacita.protocols.relu import relu_width
from tacita.torch.lowering import arithmetic
from tacita.torch.lowering.comparison import gt, is_bit, nonnegative
from tacita.torch.lowering.hidden import HIDDEN, hide
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, Operand, simple
from tacita.torch.lowering.scales import (
    EVERYTHING,
    divisible,
    relabelled,
    within,
)
from tacita.torch.lowering.shape import expanded, reshaped, split

# In `derived`, for the backward pass: where x, or of a ReLU's result what it was made of, is not
# negative; and where x is above each of two limits, one after the other.
POSITIVE = "positive"
SIDES = "sides"


def relu(low: Lowering, x: Handle, *, keep: bool = False) -> Handle:
    """max(x, 0), together with the truncation that the wire still owes.

    keep: with the bits of the comparison beside it, for the backward pass.
    """
    divisor = 1
    if x.wire.scale > low.scale:
        x, divisor = divisible(low, x)
    return _relu(low, x, divisor, "relu", keep=keep)


def relu_in_training(low: Lowering, x: Handle) -> Handle:
    return relu(low, x, keep=True)


def exact_relu(low: Lowering, x: Handle, what: str, *, keep: bool = False) -> Handle:
    """max(x, 0) at the scale of x, without a rounding."""
    return _relu(low, x, 1, what, keep=keep)


def _relu(low: Lowering, x: Handle, divisor: int, what: str, *, keep: bool = False) -> Handle:
    wire = x.wire
    if not wire.size or divisor >= EVERYTHING:
        return low.zeros(wire.shape, low.scale)
    low.mask((x,), what)
    if divisor > 1:
        x = within(low, x, EVERYTHING - divisor, what)  # room for the carry of truncation
    elif wire.bound is not None:
        x = within(low, x, wire.bound, what)
    bound = wire.bound
    if bound is not None and divisor > 1:
        bound = bound // divisor + 1
    out = low.wire(wire.shape, wire.scale // divisor, bound)
    width = relu_width(wire.bound, wire.size, divisor)
    if not keep:
        return low.emit(ReLU(out.id, x.wire.id, divisor, wire.shape, width), out)
    bit = low.wire(wire.shape, 1, 1, bit=True)
    above = low.emit(ReLU(out.id, x.wire.id, divisor, wire.shape, width, bit.id), out)
    low.derived(above)[POSITIVE] = Handle(low.builder, bit)
    return above


def leaky_relu(
    low: Lowering, x: Handle, negative_slope: Number = 0.01, *, keep: bool = False
) -> Handle:
    """slope·x + (1 - slope)·relu(x)."""
    rectified = relu(low, x, keep=keep)
    if keep and POSITIVE in low.derived(rectified):
        low.derived(x)[POSITIVE] = low.derived(rectified)[POSITIVE]
    above = arithmetic.scaled(low, rectified, 1 - negative_slope)
    return arithmetic.add(low, above, arithmetic.scaled(low, x, negative_slope))


def abs_(low: Lowering, x: Handle) -> Handle:
    """2·relu(x) - x."""
    above = exact_relu(low, x, "abs")
    return low.combine(((above, 2), (x, -1)), x.wire.shape, x.wire.scale, bound=x.wire.bound)


def sign_(low: Lowering, x: Handle) -> Handle:
    """[x >= 0] - [-x >= 0], both in one comparison; at scale 1."""
    n = x.wire.size
    if not n:
        return low.zeros(x.wire.shape)
    flat = reshaped(low, x, (n,))
    both = nonnegative(low, concatenated(low, [flat, arithmetic.neg(low, flat)], 0, "sign"))
    above, below = split(low, both, n)
    out = low.combine(((above, 1), (below, -1)), (n,), 1, bound=1)
    return reshaped(low, out, x.wire.shape)


def maximum(low: Lowering, a: Operand, b: Operand) -> Handle:
    """relu(a - b) + b."""
    return _larger(low, a, b, 1, "maximum")


def minimum(low: Lowering, a: Operand, b: Operand) -> Handle:
    """a - relu(a - b)."""
    return _larger(low, a, b, -1, "minimum")


def _larger(low: Lowering, a: Operand, b: Operand, direction: int, what: str) -> Handle:
    left, right = arithmetic.handle_of(low, a, what), arithmetic.handle_of(low, b, what)
    above = exact_relu(low, arithmetic.sub(low, left, right), what)
    out = arithmetic.add(low, right if direction > 0 else left, above, alpha=direction)
    return _tightened(low, out, left, right)


def _tightened(low: Lowering, out: Handle, a: Handle, b: Handle) -> Handle:
    """The result is one of the two: bounded by the larger bound, not by their sum."""
    bound = 0
    for each in (a.wire, b.wire):
        if each.bound is None:
            return out
        # One more unit of the precision, each way, where a truncation may have rounded.
        slack = 0 if each.scale <= low.scale else 2 * max(1, out.wire.scale // low.scale)
        bound = max(bound, each.bound * -(-out.wire.scale // each.scale) + slack)
    return relabelled(low, out, out.wire.scale, bound)


def clamp(
    low: Lowering,
    x: Handle,
    min: Operand | None = None,
    max: Operand | None = None,
) -> Handle:
    if min is None and max is None:
        raise UnsupportedOperation("clamp takes a min, a max or both")
    least, most = (simple(v) if isinstance(v, torch.Tensor) else v for v in (min, max))
    if isinstance(least, int | float) and isinstance(most, int | float):
        return between(low, x, least, most, "clamp", exact=True)
    if min is not None:
        x = maximum(low, x, min)
    return x if max is None else minimum(low, x, max)


def between(
    low: Lowering,
    x: Handle,
    least: Number,
    most: Number,
    what: str,
    *,
    exact: bool,
    keep: bool = False,
) -> Handle:
    """least + relu(x - least) - relu(x - most), both comparisons at once.

    keep: remember their bits with x, for the backward pass.
    exact: at the scale of x, without a rounding; otherwise with the truncation that x still owes.
    """
    shape, n = x.wire.shape, x.wire.size
    if least >= most:
        # As torch has it: the upper limit decides.
        return expanded(low, arithmetic.handle_of(low, most, what), shape)
    if not n:
        return low.zeros(shape, low.scale)
    flat = reshaped(low, x, (n,))
    beyond = [arithmetic.sub(low, flat, limit) for limit in (least, most)]
    both = concatenated(low, beyond, 0, what)
    above = exact_relu(low, both, what, keep=keep) if exact else relu(low, both, keep=keep)
    if keep and POSITIVE in low.derived(above):
        low.derived(x)[SIDES, float(least), float(most)] = low.derived(above)[POSITIVE]
    first, second = split(low, above, n)
    out = arithmetic.add(low, arithmetic.sub(low, first, second), least)
    # Limits are rounded to a unit, and so is each of the two.
    bound = ceil(builtins.max(abs(least), abs(most)) * out.wire.scale) + 2 * out.wire.scale
    return reshaped(low, relabelled(low, out, out.wire.scale, bound), shape)


def clamp_min(low: Lowering, x: Handle, least: Operand) -> Handle:
    return relu(low, x) if is_zero(least) else clamp(low, x, least)


def is_zero(value: Operand) -> bool:
    return not isinstance(value, Handle | torch.Tensor) and value == 0


def clamp_max(low: Lowering, x: Handle, most: Operand) -> Handle:
    return clamp(low, x, None, most)


def threshold(low: Lowering, x: Handle, threshold: Number, value: Number) -> Handle:
    if threshold == 0 and value == 0:
        return relu(low, x)
    return where(low, gt(low, x, threshold), x, value)


def where(low: Lowering, condition: Operand, a: Operand, b: Operand) -> Handle:
    """b + condition·(a - b); the condition is public, or a private 0 or 1."""
    if isinstance(condition, torch.Tensor):
        # The kinds of `a` and `b` decide the dtype of a public mask: always 0 and 1.
        chosen = arithmetic.handle_of(low, a, "where"), arithmetic.handle_of(low, b, "where")
        mask = condition.to(torch.bool)
        kept = arithmetic.mul(low, chosen[0], mask)
        return _tightened(
            low, arithmetic.add(low, kept, arithmetic.mul(low, chosen[1], ~mask)), *chosen
        )
    if not isinstance(condition, Handle) or not is_bit(condition):
        raise UnsupportedOperation(
            "where: the condition has to be a comparison's result, 0 or 1; compare first, as in "
            "(x != 0)"
        )
    left, right = arithmetic.handle_of(low, a, "where"), arithmetic.handle_of(low, b, "where")
    difference = arithmetic.sub(low, left, right)
    out = arithmetic.add(low, arithmetic.multiplied(low, condition, difference), right)
    return _tightened(low, out, left, right)


def masked_fill(low: Lowering, x: Handle, mask: Operand, value: Operand) -> Handle:
    """x where the mask is 0, the value elsewhere; minus infinity hides (hidden.py)."""
    if isinstance(mask, torch.Tensor) and value == -inf:
        return hide(low, where(low, mask, HIDDEN, x), ~mask.to(torch.bool))
    return where(low, mask, value, x)
