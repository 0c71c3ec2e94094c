"""Quotients. By a public number they are free: they change the scale of the wire; by a private
tensor they are those of reciprocals.py."""

from __future__ import annotations

from math import gcd
from typing import Any, cast

import torch

from tacita.errors import EncodingError, PrecisionError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import add, broadcast, by_fraction, public_product, sub
from tacita.torch.lowering.comparison import nonnegative
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import (
    Number,
    Operand,
    fraction,
    reciprocal,
    simple,
    tensor_constant,
)
from tacita.torch.lowering.reciprocals import quotient
from tacita.torch.lowering.scales import EVERYTHING, relabelled, truncated


def div(low: Lowering, a: Operand, b: Operand, *, rounding_mode: str | None = None) -> Handle:
    if isinstance(b, Handle):
        if rounding_mode is not None:
            raise UnsupportedOperation(
                "a quotient by a private tensor has no exact rounding; divide without "
                "rounding_mode=, or by a public number"
            )
        return quotient(low, a, b)
    x = cast(Handle, a)
    if rounding_mode == "floor":
        return floor_divide(low, x, b)
    if rounding_mode is not None:
        raise UnsupportedOperation("division rounded towards zero has no protocol; use // instead")
    if low.precision is None:
        raise PrecisionError(
            "division of private integers leaves fractions: use // to round down, or call "
            "fix_precision() before share()"
        )
    b = simple(b)
    if not isinstance(b, torch.Tensor):
        p, q = reciprocal(low, b, "division")
        return by_fraction(low, x, p, q, "division")
    shape = broadcast(x.wire.shape, tuple(b.shape), "division")
    return public_product(low, x, _reciprocals(low, b, low.precision.base), shape)


def _reciprocals(low: Lowering, divisors: torch.Tensor, base: int) -> Handle:
    """1/c for a public tensor, with enough digits for the smallest of them."""
    inverse = divisors.to(torch.float64).reciprocal()
    scale = low.scale
    if inverse.numel():
        smallest = float(inverse.abs().min())
        while 0 < smallest * scale < low.scale and scale < low.widest:
            scale *= base
    return tensor_constant(low, inverse, scale, "division", vanishing=False)


def addcdiv(low: Lowering, x: Operand, a: Operand, b: Operand, *, value: Number = 1) -> Handle:
    between = div(low, a, b) if isinstance(a, Handle) or isinstance(b, Handle) else a / b
    return add(low, x, between, alpha=value)


def floor_divide(low: Lowering, x: Handle, divisor: Any) -> Handle:
    """floor(x / d) for a public d > 0, exact, at scale 1.

    Truncation results in the quotient or the next integer: one comparison decides which.
    """
    d = simple(divisor)
    if isinstance(d, Handle | torch.Tensor) or not isinstance(d, int | float) or d <= 0:
        raise UnsupportedOperation("// and % take a public number above 0 on the right")
    p, q = fraction(low, d, "floor division")
    if d == int(d):
        p, q = int(d), 1
    # floor(ring / scale / (p / q)) = floor(ring·q / (scale·p))
    common = gcd(x.wire.scale * p, q)
    q, by = q // common, x.wire.scale * p // common
    if by >= EVERYTHING:
        raise EncodingError("floor division: the divisor is too large for a 64-bit ring")
    if q > 1:
        x = low.combine(((x, q),), x.wire.shape, x.wire.scale * q)
    if by == 1:
        return relabelled(low, x, 1, x.wire.bound)
    if not x.wire.size:
        return low.zeros(x.wire.shape)
    low.mask((x,), "floor division")
    near = truncated(low, x, by, "floor division")
    shape = x.wire.shape
    remainder = low.combine(((x, 1), (near, -by)), shape, 1, bound=by)
    fits = nonnegative(low, remainder, "floor division")
    bound = None if x.wire.bound is None else x.wire.bound // by + 1
    return low.combine(((near, 1), (fits, 1), (low.number(1), -1)), shape, 1, bound=bound)


def remainder(low: Lowering, x: Handle, divisor: Any) -> Handle:
    """x - d·floor(x / d), as torch.remainder."""
    if isinstance(divisor, Handle) or not isinstance(simple(divisor), int):
        raise PrecisionError("% takes a public integer on the right")
    quotient = floor_divide(low, x, divisor)
    out = sub(low, x, quotient, alpha=int(simple(divisor)))
    return relabelled(low, out, out.wire.scale, int(simple(divisor)) * out.wire.scale)
