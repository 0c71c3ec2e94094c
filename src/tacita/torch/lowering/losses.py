"""Losses of two tensors, and their gradients: mean squared, Huber's and the smooth absolute error.

The difference is kept with the loss's input, so that the backward pass opens nothing anew.
"""

from __future__ import annotations

from weakref import ref

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering import arithmetic
from tacita.torch.lowering.arithmetic import mul, scaled, sub
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, Operand
from tacita.torch.lowering.reduction import mean, sum_
from tacita.torch.lowering.selection import abs_, between, sign_

NONE, MEAN, SUM = 0, 1, 2  # as torch counts reductions


def reduced(low: Lowering, losses: Handle, reduction: int) -> Handle:
    if reduction == NONE:
        return losses
    return mean(low, losses) if reduction == MEAN else sum_(low, losses)


def spread(low: Lowering, gradient: Operand, slope: Handle, reduction: int) -> Handle:
    """gradient·slope, by the number of elements where the loss was their mean."""
    if reduction == MEAN and slope.wire.size:
        slope = arithmetic.by_fraction(low, slope, 1, slope.wire.size, "loss")
    return mul(low, slope, gradient)


def difference(low: Lowering, x: Operand, target: Operand) -> Handle:
    """x - target, remembered for the backward pass with whichever of the two is private."""
    first, second = (x, target) if isinstance(x, Handle) else (target, x)
    assert isinstance(first, Handle)
    kept = low.derived(first)
    key = ("difference", isinstance(x, Handle))
    if isinstance(second, Handle):
        found = kept.get(key)
        if found is not None and found[0]() is second:
            remembered: Handle = found[1]
            return remembered
    out = sub(low, x, target)
    if isinstance(second, Handle):
        kept[key] = (ref(second), out)
    return out


# ---- (x - target)² -----------------------------------------------------------------------------


def mse_loss(low: Lowering, x: Operand, target: Operand, reduction: int = MEAN) -> Handle:
    return reduced(low, arithmetic.square(low, difference(low, x, target)), reduction)


def mse_loss_backward(
    low: Lowering, gradient: Operand, x: Operand, target: Operand, reduction: int
) -> Handle:
    slope = scaled(low, difference(low, x, target), 2)
    return spread(low, gradient, slope, reduction)


# ---- quadratic near zero, linear beyond --------------------------------------------------------


def huber_loss(
    low: Lowering, x: Operand, target: Operand, reduction: int = MEAN, delta: Number = 1.0
) -> Handle:
    """z²/2 where |z| <= delta, else delta·(|z| - delta/2): c·(z - c/2) for c = clamp(z, ±delta)."""
    z = difference(low, x, target)
    near = _clamped(low, z, delta)
    rest = sub(low, z, scaled(low, near, 0.5))
    return reduced(low, arithmetic.multiplied(low, near, rest), reduction)


def huber_loss_backward(
    low: Lowering, gradient: Operand, x: Operand, target: Operand, reduction: int, delta: Number
) -> Handle:
    near = _clamped(low, difference(low, x, target), delta)
    return spread(low, gradient, near, reduction)


def smooth_l1_loss(
    low: Lowering, x: Operand, target: Operand, reduction: int = MEAN, beta: Number = 1.0
) -> Handle:
    """Huber's loss by beta; the absolute error where beta is 0."""
    if beta == 0:
        return reduced(low, abs_(low, difference(low, x, target)), reduction)
    return scaled(low, huber_loss(low, x, target, reduction, beta), 1 / beta)


def smooth_l1_loss_backward(
    low: Lowering, gradient: Operand, x: Operand, target: Operand, reduction: int, beta: Number
) -> Handle:
    if beta == 0:
        return spread(low, gradient, sign_(low, difference(low, x, target)), reduction)
    slope = huber_loss_backward(low, gradient, x, target, reduction, beta)
    return scaled(low, slope, 1 / beta)


def _clamped(low: Lowering, z: Handle, limit: Number) -> Handle:
    """clamp(z, ±limit), remembered for the backward pass."""
    if limit <= 0:
        raise UnsupportedOperation("a loss with a delta of 0 or less has no meaning")
    kept = low.derived(z)
    key = ("clamped", float(limit))
    if key not in kept:
        kept[key] = between(low, z, -limit, limit, "loss", exact=True)
    near: Handle = kept[key]
    return near
