"""In checked mode, a proof that values are not below a public limit; otherwise nothing."""

from __future__ import annotations

from tacita.program.builder import Handle
from tacita.program.wire import TRUNCATION_BITS
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.scales import within

WIDEST = (1 << (TRUNCATION_BITS - 2)) - 1  # of a value that no bound is known of


def at_least(low: Lowering, x: Handle, least: int, what: str) -> Handle:
    """x, which in checked mode fails where a ring value lies below `least`; `what` names why.

    Any shape. Cost: nothing, or in checked mode an opening and the check (protocols/check.py).
    """
    most = WIDEST if x.wire.bound is None else x.wire.bound
    return in_range(low, x, least, max(most, least + 1), what)


def at_most(low: Lowering, x: Handle, most: int, what: str) -> Handle:
    """x, which in checked mode fails where a ring value lies above `most`."""
    least = -WIDEST if x.wire.bound is None else -x.wire.bound
    return in_range(low, x, min(least, most - 1), most, what)


def in_range(low: Lowering, x: Handle, least: int, most: int, what: str) -> Handle:
    if not low.builder.checked or not x.wire.size:
        return x
    # A check knows of bounds on sizes only: the middle of the range is taken for zero.
    wire, middle = x.wire, (least + most) // 2
    centre = low.number(middle, wire.scale)
    reach = max(most - middle, middle - least)
    around = low.combine(((x, 1), (centre, -1)), wire.shape, wire.scale, bound=reach)
    low.mask((around,), what)
    proven = within(low, around, reach, what)
    return low.combine(((proven, 1), (centre, 1)), wire.shape, wire.scale, bound=wire.bound)
