"""In checked mode, a proof that values are not below a public limit; otherwise nothing."""

from __future__ import annotations

from tacita.program.builder import Handle
from tacita.program.wire import TRUNCATION_BITS
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.scales import SMALLER, within

WIDEST_ROOT = 1 << 30  # of a value in ring units, whose square has a root
WIDEST = (1 << (TRUNCATION_BITS - 2)) - 1  # of a value that no bound is known of


def at_least(low: Lowering, x: Handle, least: int, what: str, outside: str) -> Handle:
    """x, which in checked mode fails where a ring value lies below `least`.

    what: the operation; outside: what is said of such a value, and what to do about it. Any shape.
    Cost: nothing, or in checked mode an opening and the check (protocols/check.py).
    """
    most = WIDEST if x.wire.bound is None else x.wire.bound
    return in_range(low, x, least, max(most, least + 1), what, outside)


def at_most(low: Lowering, x: Handle, most: int, what: str, outside: str) -> Handle:
    """x, which in checked mode fails where a ring value lies above `most`."""
    least = -WIDEST if x.wire.bound is None else -x.wire.bound
    return in_range(low, x, min(least, most - 1), most, what, outside)


def squarable(low: Lowering, x: Handle, what: str) -> Handle:
    """x, which in checked mode fails where the square of a value would not fit in a root's range.

    Sums of such squares may still be beyond it, and are checked where their root is taken; that
    sixteen of them cannot wrap around makes sure that it is found there.
    """
    if not low.builder.checked or not x.wire.size:
        return x
    if x.wire.bound is not None and x.wire.bound <= WIDEST_ROOT:
        return x
    low.mask((x,), what)
    outside = f"is above {WIDEST_ROOT / x.wire.scale:.6g} in size, too much to square; {SMALLER}"
    return within(low, x, WIDEST_ROOT, what, outside)


def in_range(
    low: Lowering, x: Handle, least: int, most: int, what: str, outside: str | None = None
) -> Handle:
    """x, which in checked mode fails where a ring value lies below `least` or above `most`."""
    if not low.builder.checked or not x.wire.size:
        return x
    # A check knows of bounds on sizes only: the middle of the range is taken for zero.
    wire, middle = x.wire, (least + most) // 2
    centre = low.number(middle, wire.scale)
    reach = max(most - middle, middle - least)
    around = low.combine(((x, 1), (centre, -1)), wire.shape, wire.scale, bound=reach)
    low.mask((around,), what)
    if outside is None:
        outside = f"is below {least / wire.scale:.6g} or above {most / wire.scale:.6g}"
    proven = within(low, around, reach, what, outside)
    return low.combine(((proven, 1), (centre, 1)), wire.shape, wire.scale, bound=wire.bound)
