"""Logarithms of private values: natural, to the bases 2 and 10, and log(1 + x).

Range: v > 0, with a ring value below 2^60 (or v's bound). What is below one unit of the wire's
    scale, zero and negative numbers, counts as one unit; in checked mode it is an error that names
    the operation.
Computes: the octave e of V = v·scale, 4^e <= V < 4^(e+1), and m = V/4^e exactly (octaves.py);
    log v = log m + (e·log 4 - log scale), of which the first is waves on [1, 4) (waves.py), and the
    second a row of the octave's staircase.
Error: 2^-12, absolute; log1p of a small x has it as well, so its relative error grows.
Cost: six rounds: one to mask v, a comparison with a threshold for each octave, one each for the
    power of four and for m.
Opened: nothing but what those open. Leaks: shapes and bounds.
Source: the octave as in the normalisation of Catrina, Saxena (FC 2010); for waves see there.
"""

from __future__ import annotations

from math import log

from tacita.compiler.functions import LOG2, LOG10, LOGARITHM, Function
from tacita.program.builder import Handle
from tacita.protocols.waves import WAVE_BITS
from tacita.torch.lowering.arithmetic import add
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.octaves import Column, normalised, octaves
from tacita.torch.lowering.operands import need_precision
from tacita.torch.lowering.positive import at_least
from tacita.torch.lowering.waves import unit_of, waved

BASE = 4


def log_(low: Lowering, v: Handle) -> Handle:
    return logarithm(low, v, LOGARITHM, 1.0, "log")


def log2(low: Lowering, v: Handle) -> Handle:
    return logarithm(low, v, LOG2, log(2), "log2")


def log10(low: Lowering, v: Handle) -> Handle:
    return logarithm(low, v, LOG10, log(10), "log10")


def log1p(low: Lowering, x: Handle) -> Handle:
    return logarithm(low, add(low, x, 1), LOGARITHM, 1.0, "log1p")


def logarithm(
    low: Lowering,
    v: Handle,
    function: Function,
    of_base: float,
    what: str,
    least: int = 1,
    *,
    guarding: bool = False,
) -> Handle:
    """log(v)/of_base, of which `function` is the part within an octave; see the top of the file.

    least: a public number that no ring value of v is below; above 1, nothing guards against less.
    guarding: what is less than one unit counts as one in checked mode too, without an error.
    Raises PrecisionError for integers.
    """
    need_precision(low, what)
    shape, scale = v.wire.shape, v.wire.scale
    if not v.wire.size:
        return low.zeros(shape, low.scale)
    if least <= 1 and not guarding:
        positive = f"{what} of a number that is not positive"
        v = at_least(low, v, 1, positive, "is one; clamp(min=…) it first, or add a small number")
    # m has the scale of the octave that is the highest, and the waves' result depends on that.
    out_scale = unit_of(low, BASE ** octaves(v, least, BASE).top) << WAVE_BITS

    def place(e: int) -> int:
        return round((e * log(BASE) - log(scale)) / of_base * out_scale)

    column = Column(place, out_scale, round(-log(scale) / of_base * out_scale))
    m, (shift,) = normalised(low, v, least, BASE, [column], guarded=least <= 1, what=what)
    near = waved(low, m, function)
    return low.combine(((near, 1), (shift, 1)), shape, out_scale)
