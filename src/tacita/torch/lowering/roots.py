"""Private roots: 1/sqrt(v) and sqrt(v), from the octave of v and waves on one octave.

Range: v > 0, with a ring value V = v·scale below 2^60 (or below v's bound, where there is one), and
    results times the scale they come out at below 2^39. A v of 0, or a negative one, counts as the
    least there is, one unit: sqrt results in 0 for it; in checked mode a negative one is an error,
    for 1/sqrt one of 0 too, and so is one that is too large.
Computes: the octave e of V, 4^e <= V < 4^(e+1), and m = V/4^e exactly (octaves.py); 1/sqrt(m) or
    sqrt(m) by waves on [1, 4) (waves.py), truncated to WORKING bits; its product with 2^-e or 2^e.
Error: the approximation is within ROOT_ERROR, relatively (compiler/functions.py); a truncation to
    2^-20, of a number that is 1/2 at the least, adds 2^-19: together less than 2^-17 of the result.
    To that comes the rounding of the power of two and of the product with it, 1.5 units of the
    result's scale together.
Cost: nine rounds for any number of values, where v is not masked yet: one to mask v, those of a
    comparison (three), one each for the power, for m, for the waves, for what they are truncated
    to, and for the product's own truncation.
Opened: nothing but what those open. Leaks: shapes and the range.
Source: the octave as in the normalisation of Catrina, Saxena (FC 2010); for waves see there.
"""

from __future__ import annotations

from math import floor, log2, sqrt

from tacita.compiler.functions import INVERSE_ROOT, ROOT, Function
from tacita.program.builder import Handle
from tacita.ring.fixed_point import Precision
from tacita.torch.lowering.arithmetic import exact_product
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.octaves import Column, normalised
from tacita.torch.lowering.operands import need_precision
from tacita.torch.lowering.positive import in_range
from tacita.torch.lowering.scales import SMALLER, descaled, relabelled, with_masks_digits
from tacita.torch.lowering.waves import waved

WORKING = 20  # bits after the point, of a root within its octave
OCTAVES = 60  # the widest V
WIDEST = (1 << OCTAVES) - 1
FINER = 12  # bits that a result may have beyond the precision's scale
ROOM = 46  # bits of a product of a result with a value of size 1, at the most
MARGIN = 5  # octaves may be off by this: the approximations hold from 1 - 2^-MARGIN on
WHAT = "root"


def inverse_root(low: Lowering, v: Handle, least: int = 1) -> Handle:
    """1/sqrt(v) for v > 0; see the top of the file. Shape: any.

    least: a public number that no ring value of v is below; the larger, the fewer comparisons.
    The result's scale is up to 2^12 times that of the precision, so that small results keep their
    digits. Raises PrecisionError for integers.
    """
    need_precision(low, WHAT)
    scale, lowest = v.wire.scale, (max(1, least).bit_length() - 1) // 2
    finer = finer_bits(low, sqrt(scale) / 2**lowest)
    unit = low.scale << finer
    # Where nothing is promised of v, zero is met as well.
    guarded = least <= 1
    if guarded:
        v = _in_range(low, v, 1, "rsqrt of a number that is not positive")
    return _by_octave(
        low, v, INVERSE_ROOT, least, finer,
        Column(lambda e: round(sqrt(scale) / 2**e * unit), 1, round(sqrt(scale) * unit)),
        guarded=guarded,
    )  # fmt: skip


def root(low: Lowering, v: Handle) -> Handle:
    """sqrt(v) for v >= 0; see the top of the file. Shape: any; the scale as that of `inverse_root`.

    Raises PrecisionError for integers.
    """
    need_precision(low, WHAT)
    scale = v.wire.scale
    bits = OCTAVES if v.wire.bound is None else min(OCTAVES, max(2, v.wire.bound.bit_length()))
    finer = finer_bits(low, 2 ** (bits / 2) / sqrt(scale))
    unit = low.scale << finer
    v = _in_range(low, v, 0, "sqrt of a negative number")
    column = Column(lambda e: round(2**e / sqrt(scale) * unit), 1)
    return _by_octave(low, v, ROOT, 1, finer, column, guarded=True)


def _in_range(low: Lowering, v: Handle, least: int, what: str) -> Handle:
    """v, which in checked mode fails where it has no root: a sum of squares that is too large may
    have become a negative number, so both ends are one check."""
    most = WIDEST if v.wire.bound is None else min(v.wire.bound, WIDEST)
    outside = f"is one; clamp(min=…) it first, or else: {SMALLER}"
    above = f"{what}, or of one above {most / v.wire.scale:.6g}"
    return in_range(low, v, least, max(most, least + 1), above, outside)


def _by_octave(
    low: Lowering,
    v: Handle,
    function: Function,
    least: int,
    finer: int,
    column: Column,
    *,
    guarded: bool,
) -> Handle:
    """function(m)·column(e) for v = m·4^e, at the precision's scale and `finer` bits."""
    shape = v.wire.shape
    if not v.wire.size:
        return low.zeros(shape, low.scale)
    m, (power,) = normalised(
        low, v, least, 4, [column], margin=MARGIN, guarded=guarded, what=function.name
    )
    low.mask((m, power), function.name)
    work = Lowering(low.builder, Precision(2, WORKING))
    (near,) = descaled(work, (waved(low, m, function),), function.name)
    out = exact_product(low, near, power, shape, what=function.name)
    out = relabelled(low, out, 1 << (2 * WORKING), out.wire.bound)
    (out,) = descaled(work, (out,), function.name)
    return relabelled(low, out, low.scale << finer, out.wire.bound)


def finer_bits(low: Lowering, largest: float) -> int:
    """How many bits the result's scale is larger than the precision's; largest: of a result."""
    room = min(
        OCTAVES - WORKING - 1 - floor(log2(largest * low.scale)), ROOM - floor(2 * log2(low.scale))
    )
    return max(0, min(FINER, room))


def rsqrt(low: Lowering, v: Handle) -> Handle:
    return with_masks_digits(low, inverse_root(low, v))


def sqrt_(low: Lowering, v: Handle) -> Handle:
    return with_masks_digits(low, root(low, v))
