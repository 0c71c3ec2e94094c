"""Order along a dimension: sort, argsort, topk, kthvalue and median, values and private indices.

Shapes: as torch's. Range: values may differ by less than 2^63 ring units, as for max; in a network
    (below) they have to be smaller. Ties: the lower index comes first, as torch.sort(stable=True)
    has it, ascending or descending; torch leaves that open where it is not asked for.
Computes: the rank of each element by comparing all pairs at once (protocols/ranks.py), and by the
    ranks, masked, each element in its place (protocols/one_hot.py).
    - The first k of many: only the best k of each group go on to the next level. How large groups
      are, is weighed by the declared costs, as for max (protocols/extremum.py).
    - All of many: a sorting network of merges (merging.py) where all pairs would cost more.
Cost: for a group of g elements g(g-1)/2 comparisons and 8·2^⌈log2 g⌉ bytes dealt for each element,
    twice that with its value; one round to mask the values, those of a comparison, one to mask the
    ranks. 16 bytes opened an element. Whatever the size, that is 4 or 5 rounds a level.
Error: none, exact; in a network, what is at a larger scale is truncated first.
Opened: nothing but what those open. Leaks: shapes, and what is asked for.
Refused: more than MOST_PAIRS comparisons at once where no network serves (kthvalue, median).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import cast

import numpy as np

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.program.cost import Cost
from tacita.protocols import OneHot, Sum
from tacita.protocols.extremum import price
from tacita.protocols.one_hot import bits_of
from tacita.protocols.ranks import pair_count, ranks
from tacita.torch.lowering import arithmetic, merging
from tacita.torch.lowering.extrema import WIDEST, difference_bits
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.scales import within
from tacita.torch.lowering.shape import axis, expanded, permuted, reshaped, slice_

MOST_PAIRS = 1 << 23  # compared at once: 400 MB dealt, and as much memory
MOST_IN_GROUP = 1 << 12  # elements that are compared all with all
GROUPS = (8, 16, 32, 64, 128, 256, 512)  # sizes of groups to choose from


@dataclass(frozen=True)
class _Asked:
    """The ranks first … first + count - 1, and what is wanted of them."""

    first: int
    count: int
    value: bool
    index: bool


def sort(
    low: Lowering, x: Handle, dim: int = -1, descending: bool = False, *, what: str = "sort"
) -> tuple[Handle, Handle]:
    """All values in order, and where they stood."""
    size = _size(x, dim)
    value, index = _ordered(low, x, dim, _Asked(0, size, True, True), descending, what)
    return cast(Handle, value), cast(Handle, index)


def stable_sort(
    low: Lowering,
    x: Handle,
    stable: bool | None = None,  # noqa: ARG001 - it always is
    dim: int = -1,
    descending: bool = False,
) -> tuple[Handle, Handle]:
    return sort(low, x, dim, descending)


def msort(low: Lowering, x: Handle) -> Handle:
    """The values in ascending order of the first dimension."""
    value, _ = _ordered(low, x, 0, _Asked(0, _size(x, 0), True, False), False, "msort")
    return cast(Handle, value)


def argsort(low: Lowering, x: Handle, dim: int = -1, descending: bool = False) -> Handle:
    asked = _Asked(0, _size(x, dim), False, True)
    _, index = _ordered(low, x, dim, asked, descending, "argsort")
    return cast(Handle, index)


def stable_argsort(
    low: Lowering,
    x: Handle,
    stable: bool = True,  # noqa: ARG001 - it always is
    dim: int = -1,
    descending: bool = False,
) -> Handle:
    return argsort(low, x, dim, descending)


def topk(
    low: Lowering,
    x: Handle,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,  # noqa: ARG001 - they always are
) -> tuple[Handle, Handle]:
    """The k largest or smallest, the first of them in front, and where they stood."""
    size = _size(x, dim)
    if not 0 <= k <= size:
        raise ShapeError(f"topk: k = {k} of a dimension with {size} elements")
    value, index = _ordered(low, x, dim, _Asked(0, k, True, True), largest, "topk")
    return cast(Handle, value), cast(Handle, index)


def kthvalue(
    low: Lowering, x: Handle, k: int, dim: int = -1, keepdim: bool = False
) -> tuple[Handle, Handle]:
    """The k-th smallest, counted from 1, and where it stood."""
    size = _size(x, dim)
    if not 1 <= k <= size:
        raise ShapeError(f"kthvalue: k = {k} of a dimension with {size} elements")
    return _one(low, x, k - 1, dim, keepdim, "kthvalue")


def median_dim(
    low: Lowering, x: Handle, dim: int = -1, keepdim: bool = False
) -> tuple[Handle, Handle]:
    """The lower of the two in the middle where there are two, as torch has it."""
    return _one(low, x, _middle(_size(x, dim)), dim, keepdim, "median")


def median(low: Lowering, x: Handle) -> Handle:
    flat = reshaped(low, x, (x.wire.size,))
    asked = _Asked(_middle(x.wire.size), 1, True, False)
    value, _ = _ordered(low, flat, 0, asked, False, "median")
    return reshaped(low, cast(Handle, value), ())


def _middle(size: int) -> int:
    if not size:
        raise ShapeError("median of no elements")
    return (size - 1) // 2


def _one(
    low: Lowering, x: Handle, rank: int, dim: int, keepdim: bool, what: str
) -> tuple[Handle, Handle]:
    value, index = _ordered(low, x, dim, _Asked(rank, 1, True, True), False, what)
    shape = list(x.wire.shape)
    if shape:
        at = axis(dim, len(shape))
        shape[at : at + 1] = [1] if keepdim else []
    found = (cast(Handle, each) for each in (value, index))
    best, where = (reshaped(low, each, tuple(shape)) for each in found)
    return best, where


def _size(x: Handle, dim: int) -> int:
    shape = x.wire.shape
    at = axis(dim, len(shape))
    return shape[at] if shape else 1


# ---- the shape of the task ---------------------------------------------------------------------


def _ordered(
    low: Lowering, x: Handle, dim: int, asked: _Asked, descending: bool, what: str
) -> tuple[Handle | None, Handle | None]:
    """Values and indices in the shape of x, with asked.count elements along `dim`."""
    shape = x.wire.shape or (1,)
    at = axis(dim, len(shape))
    others = tuple(d for d in range(len(shape)) if d != at)
    n, m = shape[at], prod(shape[d] for d in others)
    result = (*shape[:at], asked.count, *shape[at + 1 :]) if x.wire.shape else ()
    if not prod(result) or n == 1:
        same = x if n == 1 and asked.count else low.zeros(result, x.wire.scale)
        return same if asked.value else None, low.zeros(result) if asked.index else None
    # Everything below looks for the largest.
    signed = x if descending else arithmetic.neg(low, x)
    bits = difference_bits(x.wire.bound)
    by_network = _by_network(low, x, (n, m), asked, bits, what)
    order = (at, *others)

    def columns(each: Handle) -> Handle:
        turned = reshaped(low, each, shape)
        turned = turned if order == tuple(range(len(shape))) else permuted(low, turned, order)
        return reshaped(low, turned, (n, m))

    def back(each: Handle | None) -> Handle | None:
        if each is None:
            return None
        wide = reshaped(low, each, (asked.count, *(shape[d] for d in others)))
        places = tuple(order.index(d) for d in range(len(shape)))
        return reshaped(low, permuted(low, wide, places), result)

    if by_network:
        value, index = merging.merged(low, columns(signed), what, index=asked.index)
        if asked.count < n:
            value = slice_(low, value, 0, asked.first, asked.first + asked.count)
            index = index and slice_(low, index, 0, asked.first, asked.first + asked.count)
        best: Handle | None = value if asked.value else None
    else:
        low.mask((signed,), what)
        rows = columns(within(low, signed, WIDEST, what))
        best, index = _best(low, rows, asked, bits, what)
    if best is not None and not descending:
        best = arithmetic.neg(low, best)
    return back(best), back(index)


def _by_network(
    low: Lowering, x: Handle, shape: tuple[int, int], asked: _Asked, bits: int, what: str
) -> bool:
    """Whether a network costs less; raises where neither it nor comparing all pairs will do."""
    n, m = shape
    _, pairs = plan(n, m, asked.first, asked.count, bits)
    allowed = largest_level(n, m, asked.first, asked.count, bits) <= MOST_PAIRS
    network = merging.possible(low, n, x, index=asked.index)
    if network and (not allowed or price(merging.cost(n, m, bits)) < price(pairs)):
        return True
    if allowed:
        return False
    raise UnsupportedOperation(
        f"{what} of {n} elements in each of {m} columns compares more than {MOST_PAIRS} pairs at "
        f"once, and for a network there are too many (more than {merging.LONGEST}) or their bound "
        "is too large: take fewer columns or elements at a time, declare a smaller bound with "
        "bounded(), or use topk with a small k, max or argmax, which take many elements"
    )


# ---- all pairs, level by level -----------------------------------------------------------------


@lru_cache(maxsize=1024)
def plan(n: int, m: int, first: int, count: int, bits: int) -> tuple[tuple[int, ...], Cost]:
    """The sizes of groups, level by level, and what all of it costs, for m columns of n elements.

    Where the first `count` are wanted, the best of each group go on; else there is one group of
    all. Of all choices the one with the least price. Raises nothing. Cost: a search over few sizes.
    """
    best: dict[tuple[int, bool], tuple[int, tuple[int, ...], Cost]] = {}

    def cheapest(left: int, later: bool) -> tuple[int, tuple[int, ...], Cost]:
        if (left, later) not in best:
            sizes = [each for each in GROUPS if count < each < left] if not first else []
            if left <= MOST_IN_GROUP or not sizes:
                sizes = [left, *sizes]
            best[left, later] = min(
                (follow(left, size, later) for size in sizes), key=lambda found: found[0]
            )
        return best[left, later]

    def follow(left: int, size: int, later: bool) -> tuple[int, tuple[int, ...], Cost]:
        here, winners = level_cost(left, size, m, count, bits, later=later), _winners(
            left, size, count
        )  # fmt: skip
        if size == left:
            return price(here), (size,), here
        rest, sizes, beyond = cheapest(winners, True)
        return price(here) + rest, (size, *sizes), here + beyond

    _, sizes, total = cheapest(n, False)
    return sizes, total


def largest_level(n: int, m: int, first: int, count: int, bits: int) -> int:
    """Pairs compared at once, at the most, by the plan."""
    most, left = 0, n
    for size in plan(n, m, first, count, bits)[0]:
        most = max(most, sum(pair_count((g, c * m)) for c, g in groups(left, size) if g > count))
        left = _winners(left, size, count)
    return most


def groups(n: int, size: int) -> list[tuple[int, int]]:
    """n elements in groups: how many groups of which size; the last may be a smaller one."""
    parts = [(n // size, size), (1, n % size)]
    return [(count, of) for count, of in parts if count and of]


def _winners(n: int, size: int, count: int) -> int:
    return sum(many * min(of, count) for many, of in groups(n, size))


def level_cost(n: int, size: int, m: int, count: int, bits: int, *, later: bool) -> Cost:
    """What a level costs; later: with the masking of what the level before it has left."""
    total = Cost(rounds=1, opened_bytes=8 * n * m * (1 + later))
    inner = Cost()
    for many, of in groups(n, size):
        if of <= count and n > size:
            continue  # all go on
        shape = (of, many * m)
        ranking = ranks(0, 0, shape, bits).cost() if of > 1 else Cost()
        placing = _placing(shape, of, count, 1 + later)
        masking = Cost(rounds=1, opened_bytes=8 * prod(shape))
        inner = inner.beside(ranking + masking + placing.cost())
    return total + inner


def _placing(shape: tuple[int, int], of: int, count: int, values: int) -> OneHot:
    return OneHot(0, (0,) * values, 0, (0,) * values, bits_of(of), min(of, count), shape)


def _best(
    low: Lowering, rows: Handle, asked: _Asked, bits: int, what: str
) -> tuple[Handle | None, Handle | None]:
    """[count, m] of the masked [n, m]: the asked ranks in descending order."""
    n, m = rows.wire.shape
    sizes, _ = plan(n, m, asked.first, asked.count, bits)
    index: Handle | None = None
    for depth, size in enumerate(sizes):
        last = depth == len(sizes) - 1
        if depth:
            low.mask([rows, *([index] if index is not None else [])], what)
        wanted = asked if last else _Asked(0, asked.count, True, asked.index)
        values, indices, start = [], [], 0
        for many, of in groups(rows.wire.shape[0], size):
            part = slice(start, start + many * of)
            value, where = _group(
                low, _part(low, rows, part), index and _part(low, index, part),
                (many, of), start, wanted, bits, what, going_on=not last,
            )  # fmt: skip
            start += many * of
            values.append(value)
            indices.append(where)
        if last:
            return values[0], indices[0]
        rows = _joined(low, values, what)
        index = _joined(low, indices, what) if asked.index else None
    raise AssertionError("a plan has a level")


def _joined(low: Lowering, parts: Sequence[Handle | None], what: str) -> Handle:
    found = [each for each in parts if each is not None]
    return found[0] if len(found) == 1 else concatenated(low, found, 0, what)


def _part(low: Lowering, x: Handle, part: slice) -> Handle:
    return slice_(low, x, 0, part.start, part.stop)


def _group(
    low: Lowering,
    rows: Handle,
    index: Handle | None,
    grouping: tuple[int, int],
    start: int,
    asked: _Asked,
    bits: int,
    what: str,
    *,
    going_on: bool,
) -> tuple[Handle | None, Handle | None]:
    """The asked ranks of each of many groups, group by group: [many·count, m].

    rows, index: masked, [many·of, m]; index is None while it is public, from `start` on.
    """
    (many, of), m = grouping, rows.wire.shape[1]
    if going_on and of <= asked.count:  # all of them; what follows puts them in order
        if asked.index and index is None:
            index = _public_positions(low, start, of, m)
        return rows, index
    apart = (of, many * m)
    grouped = _grouped(low, rows, many, of)
    places = low.wire(apart, 1, of - 1)
    rank = low.emit(ranks(places.id, grouped.wire.id, apart, bits), places)
    if asked.first:
        rank = low.combine(((rank, 1), (low.number(asked.first), -1)), apart, 1, bound=of - 1)
    low.mask((rank,), what)
    carried = _grouped(low, index, many, of) if index is not None else None
    sources = [grouped] * asked.value + ([carried] if carried is not None else [])
    count = min(of, asked.count)
    wide = (count, *apart)
    hot = low.wire(wide, 1, 1, bit=True) if asked.index and carried is None else None
    placed = [low.wire(wide, each.wire.scale, each.wire.bound) for each in sources]
    low.builder.emit(
        OneHot(
            hot.id if hot is not None else None,
            tuple(each.id for each in placed),
            rank.wire.id,
            tuple(each.wire.id for each in sources),
            bits_of(of),
            count,
            apart,
        )
    )
    found = [_summed(low, Handle(low.builder, each), many) for each in placed]
    value = found[0] if asked.value else None
    if not asked.index:
        return value, None
    if hot is None:
        return value, found[-1]
    return value, _positions(low, Handle(low.builder, hot), grouping, start)


def _grouped(low: Lowering, rows: Handle, many: int, of: int) -> Handle:
    """[many·of, m] as [of, many·m]: a column for each group."""
    m = rows.wire.shape[1]
    if many == 1:
        return rows
    apart = permuted(low, reshaped(low, rows, (many, of, m)), (1, 0, 2))
    return reshaped(low, apart, (of, many * m))


def _summed(low: Lowering, placed: Handle, many: int) -> Handle:
    """[count, of, many·m], of which one is not 0, as [many·count, m]."""
    count, _, columns = placed.wire.shape
    out = low.wire((count, columns), placed.wire.scale, placed.wire.bound)
    return _by_group(low, low.emit(Sum(out.id, placed.wire.id, (1,), (count, columns)), out), many)


def _by_group(low: Lowering, found: Handle, many: int) -> Handle:
    count, columns = found.wire.shape
    if many == 1:
        return found
    m = columns // many
    apart = permuted(low, reshaped(low, found, (count, many, m)), (1, 0, 2))
    return reshaped(low, apart, (many * count, m))


def _positions(low: Lowering, hot: Handle, grouping: tuple[int, int], start: int) -> Handle:
    """Where each of the ranks was: Σ i·hot[…, i, …], and where the group begins."""
    many, of = grouping
    count, _, columns = hot.wire.shape
    m = columns // many
    numbers = low.constant(merging.counted(of)[None, :, None], 1)
    weighed = arithmetic.public_product(low, hot, numbers, hot.wire.shape, bound=of - 1)
    inside = _summed(low, weighed, many)
    if many == 1 and not start:
        return inside
    begins = merging.counted(many) * np.uint64(of) + np.uint64(start)
    base = low.constant(begins.repeat(count)[:, None], 1)
    return low.combine(((inside, 1), (base, 1)), (many * count, m), 1, bound=start + many * of - 1)


def _public_positions(low: Lowering, start: int, of: int, m: int) -> Handle:
    column = low.constant(merging.counted(of)[:, None] + np.uint64(start), 1)
    return expanded(low, column, (of, m))
