"""Private roots: 1/sqrt(v), and sqrt(v) as v/sqrt(v), from comparisons and Newton's iteration.

Range: v > 0, with a ring value V = v·scale below 2^60 (or below v's bound, where there is one), and
    1/sqrt(v)·scale below 2^40. A v of 0 results in some finite number, so that sqrt(0) = 0; a
    negative one in nonsense.
Computes: the octave j of V, 2^j <= V < 2^(j+1), from ONE comparison with all the powers of two
    side by side. The bits select 2^(B-1-j), so that t = V/2^j in [1, 2) is exact, and g_j =
    sqrt(scale/2^j). Then 1/sqrt(v) = g_j·u for u = 1/sqrt(t), found by two steps u ← u·(3 - t·u²)/2
    from a line that is close to it.
Error: the line is within 0.0235 of u, relatively, and within 0.025 for a t of eight bits; a step
    makes 1.5·e² + 0.5·e³ of an error e: 0.00095, then 1.4e-6. The steps work with WORKING = 19 bits
    after the point, because t·u² of three such factors needs three times as many and has to stay
    below 2^60. To the 1.4e-6 come t's rounding (2^-20), that of (3 - t·u²)/2 (2^-19) and that of u,
    which is 0.7 or more (2^-18.5): less than 2^-17 of the result. To that comes the rounding of g_j
    and of the product with it, 1.5 units of the result's scale together.
Cost: see the instructions that it is composed of; some twenty rounds for any number of values.
Opened: nothing but what those open. Leaks: shapes and the range.
Source: the octave from comparisons as in the normalisation of Catrina, Saxena (FC 2010); Newton's
    iteration for the root as in CrypTen (Knott et al., NeurIPS 2021), here on [1, 2) only.
"""

from __future__ import annotations

from math import floor, log2, sqrt

import numpy as np

from tacita.program.builder import Handle
from tacita.ring.fixed_point import Precision
from tacita.torch.lowering.arithmetic import exact_product, product, public_product
from tacita.torch.lowering.comparison import nonnegative
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import need_precision
from tacita.torch.lowering.scales import descaled, relabelled, rescaled
from tacita.torch.lowering.shape import reshaped, select

WORKING = 19  # bits after the point while iterating
COARSE = 8  # bits after the point for the first value
OCTAVES = 60  # the widest V
FINER = 12  # bits that a result may have beyond the precision's scale
ROOM = 46  # bits of a product of a result with a value of size 1, at the most
WHAT = "root"

# (LINE - SLOPE·t)·sqrt(t) is close to 1 on [1, 2]: too small at 1 and 2, too large between, by much
# the same. In units of 2^-16 and 2^-8.
LINE, SLOPE = 82794, 73


def inverse_root(low: Lowering, v: Handle, least: int = 1) -> Handle:
    """1/sqrt(v) for v > 0; see the top of the file. Shape: any.

    least: a public number that no ring value of v is below; the larger, the fewer comparisons.
    The result's scale is up to 2^12 times that of the precision, so that small results keep their
    digits. Raises PrecisionError for integers.
    """
    need_precision(low, WHAT)
    shape, scale, n = v.wire.shape, v.wire.scale, v.wire.size
    if not n:
        return low.zeros(shape, low.scale)
    lowest = max(1, least).bit_length() - 1
    highest = OCTAVES if v.wire.bound is None else min(OCTAVES, v.wire.bound.bit_length())
    highest = max(highest, lowest + 2)
    flat = relabelled(low, reshaped(low, v, (n,)), scale, (1 << highest) - 1)
    finer = finer_bits(low, scale, lowest)
    power, g = _octave(low, flat, lowest, highest, finer)
    # V·2^(B-1-j) = t·2^(B-1)
    normal = exact_product(low, flat, power, (n,), bound=(1 << highest) - 1, what=WHAT)
    normal = relabelled(low, normal, 1 << (highest - 1), (1 << highest) - 1)
    work = Lowering(low.builder, Precision(2, WORKING))
    coarse = Lowering(low.builder, Precision(2, COARSE))
    (t,) = descaled(work, (normal,), WHAT)
    (rough,) = descaled(coarse, (normal,), WHAT)
    at = rough.wire.scale << 8
    line = LINE * at >> 16
    u = low.combine(((low.number(line), 1), (rough, -SLOPE)), (n,), at)
    for _ in range(2):
        u = _step(work, t, u)
    # Read at the working scale, whatever g's is, one truncation undoes the factor that u brings.
    out = product(work, u, relabelled(work, g, work.scale, None), (n,), matrix=False, what=WHAT)
    (out,) = descaled(work, (out,), WHAT)
    return reshaped(low, relabelled(low, out, low.scale << finer, None), shape)


def finer_bits(low: Lowering, scale: int, lowest: int) -> int:
    """How many bits the result's scale is larger than the precision's."""
    largest = sqrt(scale / 2**lowest) * low.scale
    room = min(OCTAVES - WORKING - 1 - floor(log2(largest)), ROOM - floor(2 * log2(low.scale)))
    return max(0, min(FINER, room))


def _octave(
    low: Lowering, v: Handle, lowest: int, highest: int, finer: int
) -> tuple[Handle, Handle]:
    """2^(B-1-j) at scale 1, and sqrt(scale/2^j) at scale·2^finer, for the octave j of each V."""
    (n,), octaves = v.wire.shape, range(lowest, highest)
    powers = np.array([1 << j for j in octaves], np.uint64)
    limits = low.constant(powers[1:, None], v.wire.scale)
    above = low.combine(((v, 1), (limits, -1)), (len(octaves) - 1, n), v.wire.scale,
                        bound=(1 << highest) - 1)  # fmt: skip
    low.mask((v, above), WHAT)
    bits = nonnegative(low, above, WHAT)
    unit = low.scale << finer
    largest = 1 << (OCTAVES - WORKING - 1)
    table = np.array(
        [
            [1 << (highest - 1 - j) for j in octaves],
            [min(largest, round(sqrt(v.wire.scale / 2**j) * unit)) for j in octaves],
        ],
        np.int64,
    )
    # Octave after octave, what its bit changes.
    changes = low.constant(np.diff(table).view(np.uint64), 1)
    first = low.constant(np.ascontiguousarray(table[:, :1]).view(np.uint64), 1)
    chosen = public_product(low, bits, changes, (2, n), matrix=True, public_first=True)
    both = low.combine(((chosen, 1), (first, 1)), (2, n), 1)
    return select(low, both, 0, 0), select(low, both, 0, 1)


def _step(work: Lowering, t: Handle, u: Handle) -> Handle:
    """u·(3 - t·u²)/2; no scale on the way is above 2^57."""
    shape = t.wire.shape
    square = exact_product(work, u, u, shape, what=WHAT)
    over = exact_product(work, square, t, shape, what=WHAT)
    scale = over.wire.scale
    rest = work.combine(((work.number(3), scale), (over, -1)), shape, scale)
    half = rescaled(work, rest, 2 * scale)
    out = product(work, u, half, shape, matrix=False, what=WHAT)
    return descaled(work, (out,), WHAT)[0]


def rsqrt(low: Lowering, v: Handle) -> Handle:
    return inverse_root(low, v)


def sqrt_(low: Lowering, v: Handle) -> Handle:
    """v/sqrt(v); the relative error is that of the reciprocal root."""
    (v,) = descaled(low, (v,), WHAT)
    return exact_product(low, v, inverse_root(low, v), v.wire.shape, what=WHAT)
