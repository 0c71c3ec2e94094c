"""Sorting many values by a network of merges: few comparisons, many rounds.

Shapes: [n, m], each column by itself. Range: with b = ⌈log2 n⌉ and indices wanted |x| < 2^(60 - b)
    ring units at the precision's scale; without, differences below 2^63. Checked mode verifies it.
Computes: Batcher's merge-exchange, in levels of pairs of which each is put in order by
    max(x, y) = y + relu(x - y) and min(x, y) = x - relu(x - y), descending. Where indices are
    wanted, keys x·2^b + (n - 1 - i) are sorted, of which no two are equal and of equal values
    the first is the largest. In the end ⌊key/2^b⌋ is x, or one more as truncation may round, which
    the sign of the remainder tells; so both come back exactly.
Cost: with t = ⌈log2 n⌉ there are t(t + 1)/2 levels of fewer than n/2 pairs, each with a round to
    mask, those of a ReLU, 16 bytes dealt and its tables, and 8 bytes opened a pair.
Error: none; a wire above the precision's scale is truncated first.
Opened: nothing but what those open. Leaks: shapes.
Source: Batcher (AFIPS 1968) as in Knuth, TAOCP 3, 5.2.2, algorithm M; the keys are the usual way to
    make a network stable.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tacita.program.builder import Handle
from tacita.program.cost import Cost
from tacita.program.wire import RING_BITS, width_of
from tacita.protocols import ReLU, sign
from tacita.protocols.one_hot import bits_of
from tacita.torch.lowering.comparison import complement, nonnegative
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.padding import taken
from tacita.torch.lowering.scales import descaled, truncated, within

LONGEST = 1 << 14  # elements: 105 levels
MOST_PAIRS = 1 << 22  # of a level
KEY_BITS = 60  # of a key's size: truncation takes 61

Pair = tuple[int, int]


def possible(low: Lowering, x: Handle, n: int, *, index: bool) -> bool:
    """Whether a network sorts such values, n in a column; without a bound the caller sees to it."""
    bound = x.wire.bound
    if n > LONGEST or x.wire.size // 2 > MOST_PAIRS:
        return False
    if not index or bound is None:
        return True
    return (bound // max(1, x.wire.scale // low.scale) + 2) << bits_of(n) < 1 << KEY_BITS


def cost(n: int, m: int, bits: int) -> Cost:
    """About what `merged` costs, for differences of so many bits: its levels."""
    total = Cost()
    for pairs in levels(n):
        count = len(pairs) * m
        opened = Cost(rounds=1, opened_bytes=8 * count)
        total += opened + ReLU(0, 0, 1, (count,), sign.width(bits, count)).cost()
    return total


def merged(low: Lowering, x: Handle, what: str, *, index: bool) -> tuple[Handle, Handle | None]:
    """[n, m] in descending order down each column, and where each value stood if `index`."""
    if not index:
        return _sorted(low, x, what), None
    (x,) = descaled(low, (x,), what)
    n, m = x.wire.shape
    shift = bits_of(n)
    if low.builder.checked:
        low.mask((x,), what)
        x = within(low, x, (1 << (KEY_BITS - shift)) - 1, what)
    bound = x.wire.bound
    tags = low.constant(np.arange(n - 1, -1, -1, dtype=np.uint64)[:, None], 1)
    keys = low.combine(
        ((x, 1 << shift), (tags, 1)), (n, m), x.wire.scale,
        bound=None if bound is None else (bound + 1) << shift,
    )  # fmt: skip
    keys = _sorted(low, keys, what)
    low.mask((keys,), what)
    quotient = truncated(low, keys, 1 << shift, what, x.wire.scale)
    rest = low.combine(((keys, 1), (quotient, -(1 << shift))), (n, m), 1, bound=1 << shift)
    over = complement(low, nonnegative(low, rest, what))  # rounded up: the remainder is negative
    value = low.combine(((quotient, 1), (over, -1)), (n, m), x.wire.scale, bound=bound)
    last = low.number(n - 1)
    places = ((last, 1), (rest, -1), (over, -(1 << shift)))
    return value, low.combine(places, (n, m), 1, bound=n - 1)


def _sorted(low: Lowering, x: Handle, what: str) -> Handle:
    n = x.wire.shape[0]
    for pairs in levels(n):
        first, second = [a for a, _ in pairs], [b for _, b in pairs]
        upper, lower = _exchanged(low, taken(low, x, 0, first), taken(low, x, 0, second), what)
        touched = {*first, *second}
        others = [i for i in range(n) if i not in touched]
        parts = [upper, lower, *([taken(low, x, 0, others)] if others else [])]
        order = np.argsort([*first, *second, *others])
        x = taken(low, concatenated(low, parts, 0, what), 0, order.tolist())
    return x


def _exchanged(low: Lowering, a: Handle, b: Handle, what: str) -> tuple[Handle, Handle]:
    """The larger and the smaller of each pair."""
    shape, scale, bound = a.wire.shape, a.wire.scale, a.wire.bound
    twice = None if bound is None else 2 * bound
    apart = low.combine(((a, 1), (b, -1)), shape, scale, bound=twice)
    low.mask((apart,), what)
    if twice is not None:
        apart = within(low, apart, twice, what)
    above = low.wire(shape, scale, twice)
    width = sign.width(width_of(twice, RING_BITS), apart.wire.size)
    above_ = low.emit(ReLU(above.id, apart.wire.id, 1, shape, width), above)
    upper = low.combine(((b, 1), (above_, 1)), shape, scale, bound=bound)
    lower = low.combine(((a, 1), (above_, -1)), shape, scale, bound=bound)
    return upper, lower


@lru_cache(maxsize=64)
def levels(n: int) -> tuple[tuple[Pair, ...], ...]:
    """Which places are put in order at each level of the network for n elements."""
    found = []
    p = 1 << (bits_of(n) - 1)
    while p:
        q, r, d = 1 << (bits_of(n) - 1), 0, p
        while True:
            found.append(tuple((i, i + d) for i in range(n - d) if i & p == r))
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return tuple(each for each in found if each)
