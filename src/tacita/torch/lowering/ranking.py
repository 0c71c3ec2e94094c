"""The best of many: all pairs of a group compared at once, and the best of each group go on.

Shapes: [n, m], each column by itself; sorting.py has what is asked for, and says what it costs.
Computes: at each level the ranks of all in their group (protocols/ranks.py), masked, and by them
    every value and index in its place (protocols/one_hot.py), summed over the group. At the first
    level indices are public.
Opened: nothing but what those open. Leaks: shapes, and what is asked for.
Source: the levels of protocols/extremum.py, with more than one winner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from tacita.program.builder import Handle
from tacita.program.cost import Cost
from tacita.protocols import OneHot, Sum
from tacita.protocols.extremum import price
from tacita.protocols.one_hot import bits_of
from tacita.protocols.ranks import pair_count, ranks
from tacita.torch.lowering.arithmetic import public_product
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.shape import expanded, permuted, reshaped, slice_

MOST_IN_GROUP = 1 << 12  # elements that are compared all with all
GROUPS = (8, 16, 32, 64, 128, 256, 512)  # sizes of groups to choose from


@dataclass(frozen=True)
class Asked:
    """The ranks first … first + count - 1, and what is wanted of them."""

    first: int
    count: int
    value: bool
    index: bool


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
        compared = [(of, many * m) for many, of in groups(left, size) if of > count or size == left]
        most = max(most, sum(map(pair_count, compared)))
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
        placing = Cost(dealt_bytes=8 * (2 + later) * prod(shape) << bits_of(of))
        masking = Cost(rounds=1, opened_bytes=8 * prod(shape))
        inner = inner.beside(ranking + masking + placing)
    return total + inner


def best_of(
    low: Lowering, rows: Handle, asked: Asked, bits: int, what: str
) -> tuple[Handle | None, Handle | None]:
    """[count, m] of the masked [n, m]: the asked ranks in descending order."""
    n, m = rows.wire.shape
    sizes, _ = plan(n, m, asked.first, asked.count, bits)
    index: Handle | None = None
    for depth, size in enumerate(sizes):
        last = depth == len(sizes) - 1
        if depth:
            low.mask([rows, *([index] if index is not None else [])], what)
        wanted = asked if last else Asked(0, asked.count, True, asked.index)
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
    asked: Asked,
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
    numbers = low.constant(counted(of)[None, :, None], 1)
    weighed = public_product(low, hot, numbers, hot.wire.shape, bound=of - 1)
    inside = _summed(low, weighed, many)
    if many == 1 and not start:
        return inside
    begins = counted(many) * np.uint64(of) + np.uint64(start)
    base = low.constant(begins.repeat(count)[:, None], 1)
    return low.combine(((inside, 1), (base, 1)), (many * count, m), 1, bound=start + many * of - 1)


def _public_positions(low: Lowering, start: int, of: int, m: int) -> Handle:
    column = low.constant(counted(of)[:, None] + np.uint64(start), 1)
    return expanded(low, column, (of, m))


def counted(n: int) -> NDArray[np.uint64]:
    """0 … n - 1 as ring elements."""
    return np.arange(n, dtype=np.uint64)
