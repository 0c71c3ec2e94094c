"""Public operands: numbers and plain tensors that meet a private wire.

In sums and comparisons a public value is encoded as private data are, to the nearest multiple of
1/scale. As a factor it keeps its relative accuracy instead: a number becomes a fraction p/q, so
that the wire is multiplied by the integer p while q joins its scale. 0.5 is 1/2 and costs nothing.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import isfinite

import torch

from tacita.errors import EncodingError, PrecisionError
from tacita.program.builder import Handle
from tacita.ring.fixed_point import LARGEST, Array, Precision
from tacita.torch.encoding import integers_of, is_integer, public_of
from tacita.torch.lowering.lowering import Lowering

Number = int | float | bool
Public = Number | torch.Tensor
Operand = Handle | Public

FITTING = 1 << 10  # and a factor in a gradient this many times as close as it is large
CLOSE = 2.0**-24  # the accuracy of a float32: a fraction as close as that is the number itself


def simple(value: Public) -> Public:
    """A plain 0-d tensor as the number that it holds; anything else as it is."""
    if not isinstance(value, torch.Tensor) or value.ndim or value.device.type != "cpu":
        return value
    return value.item()


def summand(low: Lowering, value: Public, what: str) -> Handle:
    """A public value as a constant that can be added to or compared with private ones."""
    value = simple(value)
    if isinstance(value, torch.Tensor):
        return tensor_constant(low, value, low.scale, what, vanishing=True)
    if isinstance(value, int):
        return low.number(_in_range(int(value), what))
    check_finite(value, what)
    if value == int(value):
        return low.number(_in_range(int(value), what))
    need_precision(low, what)
    return low.number(_in_range(round(value * low.scale), what), low.scale)


def factor(low: Lowering, value: torch.Tensor, what: str) -> Handle:
    """A public tensor that private values are multiplied by."""
    scale = low.scale if low.precision is None else low.precision.scale
    return tensor_constant(low, value, scale, what, vanishing=False)


def tensor_constant(
    low: Lowering, value: torch.Tensor, scale: int, what: str, *, vanishing: bool
) -> Handle:
    if is_integer(value):
        return low.constant(integers_of(value), 1)
    if low.precision is None:
        # Whole numbers in a float tensor are integers all the same.
        whole = public_of(value, 1, what, vanishing=True)
        if not torch.equal(value.to(torch.float64), value.to(torch.float64).round()):
            need_precision(low, what)
        return low.constant(whole, 1)
    named = f"{low.precision} ({what})"
    stored: Array = public_of(value, scale, named, vanishing=vanishing)
    return low.constant(stored, scale)


def fraction(low: Lowering, value: Number, what: str) -> tuple[int, int]:
    """(p, q) with value = p/q to the accuracy of the precision, both small where possible."""
    if isinstance(value, int):
        return _in_range(int(value), what), 1
    check_finite(value, what)
    if value == int(value):
        return _in_range(int(value), what), 1
    precision = need_precision(low, what)
    p, q = _approximation(float(value), low.scale, precision.base)
    return _in_range(p, what), q


@lru_cache(maxsize=1024)
def _approximation(value: float, scale: int, base: int) -> tuple[int, int]:
    exact = Fraction(value)
    if abs(value) < 1:
        near = 1 / (1 / exact).limit_denominator(scale)
    else:
        near = exact.limit_denominator(scale)
    # In base 2 scales stay powers of two: truncation by those is cheaper.
    fits = base != 2 or near.denominator & (near.denominator - 1) == 0
    if fits and abs(float(near) - value) <= CLOSE * abs(value):
        return near.numerator, near.denominator
    q = scale
    while abs(value) * q < scale:
        q *= base
    return round(exact * q), q


def fitting(value: Number | Fraction, room: int, base: int) -> tuple[int, int] | None:
    """(p, q) with value = p/q for the largest power q of the base that is not above `room`.

    None where that is further from the value than one part in 2^10.
    """
    q = 1
    while q * base <= room:
        q *= base
    p = round(Fraction(value) * q)
    return (p, q) if abs(p - Fraction(value) * q) <= abs(Fraction(value) * q) / FITTING else None


def reciprocal(low: Lowering, value: Number, what: str) -> tuple[int, int]:
    """(p, q) with 1/value = p/q; q is positive."""
    if value == 0:
        raise EncodingError(f"{what}: division by zero")
    p, q = fraction(low, value, what)
    return (q, p) if p > 0 else (-q, -p)


def check_finite(value: float, what: str) -> None:
    if not isinstance(value, float):
        raise EncodingError(f"{what}: a {type(value).__name__} has no fixed-point form")
    if not isfinite(value):
        raise EncodingError(f"{what}: fixed point has no infinity and no NaN")


def need_precision(low: Lowering, what: str) -> Precision:
    if low.precision is None:
        raise PrecisionError(
            f"{what}: private integers take integers only; call fix_precision() before share() "
            "to compute with fractions"
        )
    return low.precision


def _in_range(value: int, what: str) -> int:
    if abs(value) >= LARGEST:
        raise EncodingError(f"{what}: a public number is too large for a 64-bit ring (2**61)")
    return value
