"""Reciprocals of private values, and quotients of two.

Range: 1/b for |b| from one unit of the precision (or SMALLEST, if that is larger) to 2^60 ring
    units, or b's bound. What is smaller in size, zero among it, counts as that smallest divisor,
    with the sign that it has (zero: +): 1/0 is the largest reciprocal that there is, and 0/0 is 0.
    In checked mode it is an error that names the operation. a/b has to be below 2^60 in ring units
    of its scale, which is 2^26 times the precision's up to 16 bits: 2^18 there, 2^24 for three
    decimals; beyond, results are wrong, and in checked mode an error.
Computes: |b| and the sign by one ReLU; the octave e of |b|, 4^e <= |b| < 4^(e+1), m = |b|/4^e
    exactly and f = ±4^-e (octaves.py); 1/m by waves on [1, 4) (waves.py), truncated to WORKING
    bits; its product with f, or with a·f where there is a numerator.
Error: relative 2^-12 by the waves and 2^-16 by what they are truncated to, and for quotients
    2^-8 units of the precision at 16 bits. f is exact down to results of 2^-24.
Cost: eight rounds; twelve where the sign has to be found. One comparison for the sign, one with
    T thresholds for T octaves, and three products.
Opened: nothing but what those open. Leaks: shapes and bounds.
Source: the octave as in the normalisation of Catrina, Saxena (FC 2010); for waves see there.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, prod

import torch

from tacita.compiler.functions import RECIPROCAL
from tacita.program.builder import Handle
from tacita.program.wire import TRUNCATION_BITS
from tacita.ring.fixed_point import Precision
from tacita.torch.lowering.arithmetic import broadcast, exact_product, mul
from tacita.torch.lowering.lowering import Lowering, Shape
from tacita.torch.lowering.octaves import Column, normalised
from tacita.torch.lowering.operands import Operand, need_precision
from tacita.torch.lowering.positive import at_least
from tacita.torch.lowering.scales import (
    SMALLER,
    descaled,
    divisible,
    truncated,
    with_masks_digits,
    within,
)
from tacita.torch.lowering.selection import POSITIVE, exact_relu
from tacita.torch.lowering.shape import expanded
from tacita.torch.lowering.waves import odd_part, waved

WORKING = 18  # bits after the point, of a reciprocal within its octave
LARGEST_FACTOR = 41  # bits, of f
FINEST_FACTOR = 28  # bits after its point
SMALLEST = 2.0**-20  # of a divisor, where the precision has a smaller unit
FINER = 8  # bits beyond those of the precision, of a numerator times f
FINEST = 24  # bits of that in all
LARGEST = 1 << 60  # ring value of a quotient
WHAT = "division"


def reciprocal(low: Lowering, b: Handle) -> Handle:
    """1/b of either sign; see the top of the file. Raises PrecisionError for integers."""
    return with_masks_digits(low, quotient(low, 1, b))


def inverse(low: Lowering, v: Handle, least: int, unit: int) -> Handle:
    """1/v for v > 0, none of whose ring values is below the public `least`; of the shape of v.

    unit: the scale of f = 4^-e. The result's scale is 2^WORKING times that.
    """
    m, f = _octave(low, v, least, unit, (), guarded=False)
    return exact_product(low, _near(low, m), f, v.wire.shape, what=WHAT)


def quotient(low: Lowering, a: Operand, b: Handle) -> Handle:
    """a/b of either sign, a private or public, with broadcasting; see the top of the file.

    Raises PrecisionError for integers.
    """
    need_precision(low, WHAT)
    shape = broadcast(_shape(a), b.wire.shape, WHAT)
    if not prod(shape):
        return low.zeros(shape, low.scale)
    least = max(1, ceil(b.wire.scale * max(SMALLEST, 1 / low.scale)))
    size, sign = _size_and_sign(low, b)
    zero = "division by zero, or by less than one unit"
    size = at_least(low, size, least, zero, "is one; add a small number, or clamp(min=…) it first")
    # The sign goes to the numerator, whose product with f has to wait for that in any case.
    if isinstance(a, Handle):
        (a,) = descaled(low, (a,), WHAT)
        low.mask((size, sign, a), WHAT)
        top = exact_product(low, a, sign, shape, what=WHAT)
    else:
        top = mul(low, sign, a)
    m, f = _octave(low, size, least, _unit(low, size, least), (top,), guarded=True)
    whole = exact_product(low, f, top, shape, what=WHAT)
    if shape == m.wire.shape and _fits(whole):
        return exact_product(low, _near(low, m, whole), whole, shape, what=WHAT)
    low.mask((m, whole), WHAT)
    top = _rounded(low, whole)
    near = expanded(low, _near(low, m, top), shape)
    out = exact_product(low, near, top, shape, what=WHAT)
    return _representable(low, out) if low.builder.checked else out


def _representable(low: Lowering, quotient: Handle) -> Handle:
    """The quotient, with a proof that it is not too large."""
    low.mask((quotient,), WHAT)
    limit = LARGEST / quotient.wire.scale
    outside = f"is above {limit:.6g} in size, which is what fits in the ring; {SMALLER}"
    return within(low, quotient, LARGEST - 1, "quotient", outside)


def _shape(a: Operand) -> Shape:
    if isinstance(a, Handle):
        return a.wire.shape
    return tuple(a.shape) if isinstance(a, torch.Tensor) else ()


def _fits(whole: Handle) -> bool:
    """Whether a numerator times f can be multiplied as it is."""
    bound = whole.wire.bound
    return bound is not None and bound.bit_length() + WORKING < TRUNCATION_BITS - 1


def _size_and_sign(low: Lowering, b: Handle) -> tuple[Handle, Handle]:
    """|b| and the sign, 1 or -1, from one comparison."""
    above = exact_relu(low, b, WHAT, keep=True)
    bit = low.derived(above)[POSITIVE]
    shape = b.wire.shape
    size = low.combine(((above, 2), (b, -1)), shape, b.wire.scale, bound=b.wire.bound)
    return size, low.combine(((bit, 2), (low.number(1), -1)), shape, 1, bound=1)


def _octave(
    low: Lowering,
    v: Handle,
    least: int,
    unit: int,
    beside: tuple[Handle, ...],
    *,
    guarded: bool,
) -> tuple[Handle, Handle]:
    """m, and f = 4^-e at the scale `unit`, which is masked."""
    scale = v.wire.scale
    largest = scale / 4 ** octave_of(least)

    def factor(e: int) -> int:
        return round(Fraction(scale * unit, 4**e))

    column = Column(factor, unit, round(largest * unit), factor=True)
    m, (f,) = normalised(low, v, least, 4, [column], guarded=guarded, beside=beside, what=WHAT)
    return m, f


def octave_of(least: int) -> int:
    """The octave of a ring value: the lowest there is where that is the least."""
    return (max(1, least).bit_length() - 1) // 2


def _unit(low: Lowering, v: Handle, least: int) -> int:
    """The finest scale at which the largest f has room, with the odd factors of the precision's."""
    largest = v.wire.scale / 4 ** octave_of(least)
    unit = odd_part(low.scale)
    while unit * 2 * largest < 1 << LARGEST_FACTOR and unit * 2 <= 1 << FINEST_FACTOR:
        unit *= 2
    return unit


def _near(low: Lowering, m: Handle, *beside: Handle) -> Handle:
    """1/m at WORKING bits, masked together with what it is about to be multiplied with."""
    work = Lowering(low.builder, Precision(2, WORKING))
    (near,) = descaled(work, (waved(low, m, RECIPROCAL),), WHAT)
    low.mask((near, *beside), WHAT)
    return near


def _rounded(low: Lowering, x: Handle) -> Handle:
    """A masked product truncated to FINER bits beyond the precision's, or FINEST in all."""
    bits = max(0, min(FINER, FINEST - (low.scale - 1).bit_length()))
    work = Lowering(low.builder, low.precision, low.scale << bits)
    if x.wire.scale <= work.scale:
        return x
    raised, divisor = divisible(work, x)
    low.mask((raised,), WHAT)
    return truncated(work, raised, divisor, WHAT)
