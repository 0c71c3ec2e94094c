"""The largest of a few tensors, pair by pair: max(a, b) = b + relu(a - b).

For many elements this is the cheapest maximum: one comparison a pair, m - 1 for m candidates, and
what is masked is a difference, half as many values as its two candidates. It takes a few rounds
for each halving, so few elements are better off with all pairs at once (protocols/extremum.py).

A wire that still owes a truncation is compared without the bits which that will drop: candidates
closer to each other than one unit of the precision may be taken for one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tacita.program.builder import Handle
from tacita.program.cost import Cost
from tacita.program.wire import RING_BITS, TRUNCATION_BITS, width_of
from tacita.protocols import ReLU, sign
from tacita.protocols.relu import relu_width
from tacita.ring.planes import Layout
from tacita.torch.lowering.arithmetic import exact_product
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.scales import descaled, within
from tacita.torch.lowering.shape import reshaped, split


def width_of_difference(low: Lowering, x: Handle, n: int) -> sign.Width:
    """How the differences of n pairs of values like x are compared."""
    reach = None if x.wire.bound is None else 2 * x.wire.bound
    owed, rest = divmod(x.wire.scale, low.scale)
    # Leaving bits out takes room for their carry, as in relu_width.
    fits = reach is not None and width_of(max(reach, owed) + owed, RING_BITS) <= TRUNCATION_BITS
    if rest or owed <= 1 or owed & (owed - 1) or not fits:
        return sign.width(width_of(reach, RING_BITS), n)
    return relu_width(reach, n, owed)


def cost(low: Lowering, x: Handle, candidates: int, n: int) -> Cost:
    """What `largest_of` costs for so many candidates like x, of n elements each."""
    total = Cost()
    while candidates > 1:
        pairs = candidates // 2 * n
        opened = Cost(rounds=1, opened_bytes=8 * pairs, dealt_bytes=16 * pairs)
        total += opened + width_of_difference(low, x, pairs).cost(Layout(pairs))
        candidates -= candidates // 2
    return total


def largest_of(
    low: Lowering, candidates: Sequence[Handle], what: str, levels: list[Handle] | None = None
) -> Handle:
    """The largest, element by element, of wires of one shape, scale and bound.

    levels: is given the bits of each halving, 1 where the first of a pair is the larger, [pairs·n].
    """
    left = list(candidates)
    while len(left) > 1:
        pairs = list(zip(left[0::2], left[1::2], strict=False))
        left = _winners(low, pairs, what, levels) + left[2 * len(pairs) :]
    return left[0]


def shares_of(low: Lowering, gradient: Handle, levels: Sequence[Handle], what: str) -> list[Handle]:
    """The way back of `largest_of`: what of the gradient each candidate gets, all or nothing."""
    shape, n = gradient.wire.shape, gradient.wire.size
    left = descaled(low, [gradient], what)
    for bits in reversed(levels):
        count = bits.wire.size // n
        halved = left[:count]
        flat = [reshaped(low, each, (n,)) for each in halved]
        joined = flat[0] if count == 1 else concatenated(low, flat, 0, what)
        low.mask([joined, *levels], what)  # in one round, and the bits of all levels with it
        first = exact_product(low, joined, bits, (count * n,), what=what)
        second = low.combine(((joined, 1), (first, -1)), (count * n,), joined.wire.scale)
        pairs = zip(split(low, first, n), split(low, second, n), strict=True)
        left = [reshaped(low, half, shape) for pair in pairs for half in pair] + left[count:]
    return left


def _winners(
    low: Lowering,
    pairs: Sequence[tuple[Handle, Handle]],
    what: str,
    levels: list[Handle] | None = None,
) -> list[Handle]:
    shape = pairs[0][0].wire.shape
    size = prod(shape)
    differences = [
        low.combine(((a, 1), (b, -1)), shape, a.wire.scale, bound=_twice(a.wire.bound))
        for a, b in pairs
    ]
    if len(pairs) == 1:
        above = [_relu(low, differences[0], pairs[0][0], what, levels)]
    else:
        flat = [reshaped(low, each, (size,)) for each in differences]
        joined = _relu(low, concatenated(low, flat, 0, what), pairs[0][0], what, levels)
        above = [reshaped(low, part, shape) for part in split(low, joined, size)]
    return [
        low.combine(((up, 1), (b, 1)), shape, b.wire.scale, bound=b.wire.bound)
        for up, (_, b) in zip(above, pairs, strict=True)
    ]


def _twice(bound: int | None) -> int | None:
    return None if bound is None else 2 * bound


def _relu(
    low: Lowering, x: Handle, candidate: Handle, what: str, levels: list[Handle] | None
) -> Handle:
    """The difference where it is positive, at its own scale."""
    wire = x.wire
    low.mask((x,), what)
    if wire.bound is not None:
        x = within(low, x, wire.bound, what)
    out = low.wire(wire.shape, wire.scale, wire.bound)
    width = width_of_difference(low, candidate, wire.size)
    if levels is None:
        return low.emit(ReLU(out.id, x.wire.id, 1, wire.shape, width), out)
    bit = low.wire(wire.shape, 1, 1, bit=True)
    above = low.emit(ReLU(out.id, x.wire.id, 1, wire.shape, width, bit.id), out)
    levels.append(reshaped(low, Handle(low.builder, bit), (wire.size,)))
    return above
