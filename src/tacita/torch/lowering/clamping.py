"""Bringing a wire into a range, together with what lies above and below it.

Range: |x| < 2^62 in ring units, or the wire's bound.
Computes: ramps (protocols/ramps.py) at both ends: above = max(x - most, 0) and max(x - least, 0),
    of which inside = least + max(x - least, 0) - above and below = inside + above - x are made, all
    exact and at the scale of x. Where the wire's bound says that x lies inside, nothing is
    computed; in checked mode that is verified.
Cost: one opening of x, two comparisons that share it and their tables. What is found is kept with
    the wire, so that the gradient of a function that clamps has its argument for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

from tacita.program.builder import Handle
from tacita.protocols import Ramps
from tacita.protocols.staircase import staircase_width
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.scales import within
from tacita.torch.lowering.shape import select

WIDEST = (1 << 62) - 1  # of a value that no bound is known of
CLAMPED = "clamped"  # in `derived`: the wire brought into a range


@dataclass(frozen=True, slots=True)
class Clamped:
    """x = inside + above - below; above and below are None where there can be nothing."""

    inside: Handle
    above: Handle | None
    below: Handle | None


def clamped(low: Lowering, x: Handle, least: float, most: float, what: str) -> Clamped:
    """x between two public reals; all parts have the shape and the scale of x.

    Ends are rounded outwards to units of the wire: a bound that just fits needs no clamp.
    """
    wire = x.wire
    bottom, top = floor(least * wire.scale), ceil(most * wire.scale)
    if wire.bound is not None and wire.bound <= min(top, -bottom):
        low.mask((x,), what)
        return Clamped(within(low, x, wire.bound, what), None, None)
    if not wire.size:
        return Clamped(x, None, None)
    kept = low.derived(x)
    key = (CLAMPED, bottom, top)
    if key not in kept:
        kept[key] = _clamped(low, x, bottom, top, what)
    found: Clamped = kept[key]
    return found


def _clamped(low: Lowering, x: Handle, bottom: int, top: int, what: str) -> Clamped:
    wire = x.wire
    low.mask((x,), what)
    most = WIDEST if wire.bound is None else wire.bound
    known = x if wire.bound is None else within(low, x, most, what)
    ends = (bottom, top)
    width = staircase_width(-most, most, ends, wire.size)
    bound = None if wire.bound is None else most + max(abs(bottom), abs(top))
    out = low.wire((2, *wire.shape), wire.scale, bound)
    ramps = low.emit(Ramps(out.id, known.wire.id, ends, wire.shape, width), out)
    over, above = (select(low, ramps, 0, place) for place in (0, 1))
    end = low.number(bottom, wire.scale)
    inside = low.combine(
        ((over, 1), (above, -1), (end, 1)), wire.shape, wire.scale,
        bound=max(abs(bottom), abs(top)),
    )  # fmt: skip
    below = low.combine(((over, 1), (end, 1), (x, -1)), wire.shape, wire.scale, bound=bound)
    return Clamped(inside, above, below)
