"""Backward passes of activations: the gradient where a comparison of the forward pass says so.

The forward pass keeps the bits of its comparisons where a gradient will be asked for (`keep`); they
are compared again where it did not. At a corner the derivative is that of the side above it, where
torch has that of the side below.
"""

from __future__ import annotations

from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import add, by_fraction, mul, multiplied, scaled, sub
from tacita.torch.lowering.comparison import complement, gt, marked, nonnegative
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, Operand
from tacita.torch.lowering.selection import POSITIVE, SIDES
from tacita.torch.lowering.shape import reshaped, split


def positive(low: Lowering, x: Handle) -> Handle:
    """[x >= 0], from the forward pass where that kept it."""
    kept = low.derived(x)
    if POSITIVE not in kept:
        kept[POSITIVE] = nonnegative(low, x)
    bit: Handle = kept[POSITIVE]
    return bit


def inside(low: Lowering, x: Handle, least: Number, most: Number) -> tuple[Handle, Handle]:
    """[least <= x < most] and [x >= most]."""
    kept, key = low.derived(x), (SIDES, float(least), float(most))
    if key not in kept:
        flat = reshaped(low, x, (x.wire.size,))
        beyond = [sub(low, flat, limit) for limit in (least, most)]
        kept[key] = nonnegative(low, concatenated(low, beyond, 0, "gradient"))
    above, over = (
        reshaped(low, half, x.wire.shape) for half in split(low, kept[key], max(1, x.wire.size))
    )
    between = low.combine(((above, 1), (over, -1)), x.wire.shape, 1, bound=1)
    return marked(between), over


def threshold_backward(low: Lowering, gradient: Handle, x: Handle, threshold: Number) -> Handle:
    """The gradient where x is above the threshold; x is what ReLU resulted in."""
    if threshold == 0 and POSITIVE in low.derived(x):
        return mul(low, gradient, positive(low, x))
    return mul(low, gradient, gt(low, x, threshold))


def leaky_relu_backward(
    low: Lowering, gradient: Handle, x: Handle, negative_slope: Number, _self_is_result: bool
) -> Handle:
    above = scaled(low, mul(low, gradient, positive(low, x)), 1 - negative_slope)
    return add(low, above, scaled(low, gradient, negative_slope))


def prelu_backward(
    low: Lowering, gradient: Handle, x: Handle, weight: Operand
) -> tuple[Handle, Handle]:
    """The gradients of x and of the weight, before torch sums the latter."""
    below = multiplied(low, gradient, complement(low, positive(low, x)))
    by_weight = mul(low, below, weight)
    return add(low, sub(low, gradient, below), by_weight), multiplied(low, below, x)


def hardtanh_backward(
    low: Lowering, gradient: Handle, x: Handle, min_val: Number, max_val: Number
) -> Handle:
    return mul(low, gradient, inside(low, x, min_val, max_val)[0])


def hardsigmoid_backward(low: Lowering, gradient: Handle, x: Handle) -> Handle:
    out = mul(low, gradient, inside(low, x, -3, 3)[0])
    return by_fraction(low, out, 1, 6, "gradient")


def hardswish_backward(low: Lowering, gradient: Handle, x: Handle) -> Handle:
    """The gradient times x/3 + 1/2 between -3 and 3, and times 1 above."""
    between, over = inside(low, x, -3, 3)
    rising = add(low, by_fraction(low, x, 1, 3, "gradient"), 0.5)
    return mul(low, gradient, add(low, multiplied(low, rising, between), over))
