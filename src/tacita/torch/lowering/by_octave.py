"""A smooth function of a private positive value over several octaves, one approximation for each.

Range: least <= V <= most for ring values V, both public; a V that is 2^-MARGIN below `least` counts
    as well. What lies further outside makes nonsense: who relies on samples checks (positive.py).
Computes: for every octave of base 4 that V may be in, the function as if V were in it: waves
    (waves.py) of V·4^(top - e), which is m·4^top with m = V/4^e of [1, 4) where e is the octave of
    V, and anything where it is not. One staircase finds the octave in the meantime, as one row an
    octave that is a public factor within it and 0 elsewhere (protocols/staircase.py); the products
    of rows and approximations, summed, are the one that counts. So it is octaves.py in fewer
    rounds for more work an octave: for few values, such as one a row, and a range that is known.
Error: the approximation's (compiler/functions.py), and 2^-bits for what it is truncated to,
    both relative to a value of [1/4, 1], as 1/m and 1/sqrt(m) are.
Cost: three to five rounds, of which the staircase takes one to three, from a value that is not
    masked to a result that is not. Dealt: a staircase, and about 100 bytes an octave and element.
Opened: nothing but what those open. Leaks: shapes and the range.
Source: the octave as in the normalisation of Catrina, Saxena (FC 2010). To compute all branches
    and to choose one afterwards is common in secure computation.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, isqrt

import numpy as np

from tacita.compiler.approximation import approximated
from tacita.compiler.functions import INVERSE_ROOT, RECIPROCAL, Function
from tacita.errors import PrecisionError
from tacita.program.builder import Handle
from tacita.program.wire import TRUNCATION_BITS
from tacita.protocols import Staircase, Truncate, Waves
from tacita.protocols.staircase import staircase_width
from tacita.torch.lowering.arithmetic import exact_product, public_product
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.octaves import Octaves, octaves
from tacita.torch.lowering.reduction import sum_
from tacita.torch.lowering.roots import MARGIN
from tacita.torch.lowering.scales import relabelled
from tacita.torch.lowering.shape import select
from tacita.torch.lowering.waves import UNIT_BITS

BASE = 4
MOST_OCTAVES = 16  # beyond, octaves.py is the better way
WIDEST = 60  # bits of a result


def fits(least: int, most: int) -> bool:
    """Whether a range of ring values has few enough octaves, and no value too large."""
    if not 1 <= least <= most < 1 << WIDEST:
        return False
    return (most.bit_length() - 1) // 2 - (least.bit_length() - 1) // 2 < MOST_OCTAVES


def reciprocal_within(
    low: Lowering, v: Handle, least: int, most: int, bits: int, what: str
) -> Handle:
    """1/v for ring values of least … most, which are above 0; of the shape of v.

    The scale may be rounded to an integer, which is off by one part in 2^(bits + 1) at the most.
    Raises PrecisionError where the result does not fit in the ring.
    """
    found = octaves(relabelled(low, v, v.wire.scale, most), least, BASE)
    scale = Fraction((1 << bits) * BASE**found.top, v.wire.scale)
    lift = 1
    while scale.denominator > 1 and scale * lift < 1 << bits:
        lift *= 2

    def factor(e: int) -> int:
        return int(lift * BASE ** (found.top - e))

    return _chosen(low, v, RECIPROCAL, found, most, bits, factor, round(scale * lift), what)


def inverse_root_within(
    low: Lowering, v: Handle, least: int, most: int, bits: int, what: str
) -> Handle:
    """1/sqrt(v) for ring values of least … most, which are above 0; of the shape of v.

    The scale is rounded to an integer, which is off by one part in 2^(bits + 2) at the most.
    Raises PrecisionError where the result does not fit in the ring.
    """
    found = octaves(relabelled(low, v, v.wire.scale, most), least, BASE)
    lift = 1

    def scale() -> int:
        # 2^bits·2^top·lift/sqrt(scale of v), to the nearest.
        square = (lift << (bits + found.top)) ** 2
        return (isqrt(4 * square // v.wire.scale) + 1) // 2

    while scale() < 1 << (bits + 2):
        lift *= 2

    def factor(e: int) -> int:
        return lift << (found.top - e)

    return _chosen(low, v, INVERSE_ROOT, found, most, bits, factor, scale(), what)


def _chosen(
    low: Lowering,
    v: Handle,
    function: Function,
    found: Octaves,
    most: int,
    bits: int,
    factor: Callable[[int], int],
    scale: int,
    what: str,
) -> Handle:
    shape, count = v.wire.shape, found.top - found.lowest + 1
    if not v.wire.size:
        return low.zeros(shape, scale)
    largest = ceil(factor(found.lowest) * (1 + 2.0**-8)) << bits
    if largest >= 1 << WIDEST:
        raise PrecisionError(
            f"{what}: results of {largest.bit_length()} bits do not fit in a 64-bit ring, which "
            f"takes {WIDEST}; use a smaller scale"
        )
    exponents = np.arange(2 * (count - 1), -1, -2, dtype=np.uint64)
    powers = np.left_shift(np.uint64(1), exponents).reshape(count, *(1,) * len(shape))
    each = public_product(low, v, low.constant(powers, 1), (count, *shape))
    low.mask((each,), what)
    near = _approximated(low, each, function, BASE**found.top, bits)
    # In the top octave, the last row, the power is 1.
    rows = _in_its_octave(low, select(low, each, 0, count - 1), found, most, factor)
    low.mask((near,), what)
    low.mask((rows,), what)
    product = exact_product(low, rows, near, (count, *shape), bound=None, what=what)
    return relabelled(low, sum_(low, product, 0), scale, largest)


def _approximated(low: Lowering, x: Handle, function: Function, in_scale: int, bits: int) -> Handle:
    """function(x/in_scale) at 2^bits for a masked x, where that lies in the function's range.

    Elsewhere it is anything, which no check must look at: the rows say that it counts for nothing.
    """
    shape = x.wire.shape
    found = approximated(function, in_scale, 1 << UNIT_BITS)
    waves = low.wire(shape, found.out_scale, None)
    terms = [
        (low.emit(Waves(waves.id, x.wire.id, found.turn, found.waves, shape), waves), 1),
        (low.number(found.constant, found.out_scale), 1),
    ]
    if found.slope:
        terms.append((x, found.slope))
    whole = low.combine(terms, shape, found.out_scale)
    low.mask((whole,), function.name)
    out = low.wire(shape, 1 << bits, None)
    divisor = found.out_scale >> bits
    return low.emit(Truncate(out.id, whole.wire.id, divisor, TRUNCATION_BITS, shape), out)


def _in_its_octave(
    low: Lowering, v: Handle, found: Octaves, most: int, factor: Callable[[int], int]
) -> Handle:
    """[octaves, …]: factor(e) in the row of the octave e that the masked v is in, else 0."""
    thresholds, count = found.thresholds, found.top - found.lowest + 1
    drop = max(0, thresholds[0].bit_length() - 1 - MARGIN)
    width = staircase_width(0, max(most, thresholds[-1]), thresholds, v.wire.size, drop=drop)
    factors = [factor(found.lowest + row) for row in range(count)]
    base = (factors[0], *(0,) * (count - 1))
    steps = tuple(
        tuple(
            factors[row] if place == row - 1 else -factors[row] if place == row else 0
            for place in range(count - 1)
        )
        for row in range(count)
    )
    out = low.wire((count, *v.wire.shape), 1, max(factors))
    return low.emit(Staircase(out.id, v.wire.id, thresholds, base, steps, v.wire.shape, width), out)
