"""Order along a dimension: sort, argsort, topk, kthvalue and median, values and private indices.

Shapes: as torch's. Range: values may differ by less than 2^63 ring units, as for max; in a network
    (below) they have to be smaller. Ties: the lower index comes first, as torch.sort(stable=True)
    has it, ascending or descending; torch leaves that open where it is not asked for.
Computes: the rank of each element by comparing all pairs at once, and by the ranks, masked, each
    element in its place (ranking.py).
    - The first k of many: only the best k of each group go on to the next level. How large groups
      are, is weighed by the declared costs, as for max (protocols/extremum.py).
    - All of many: a sorting network of merges (merging.py) where all pairs would cost more.
Cost: for a group of g elements g(g-1)/2 comparisons and 8·2^⌈log2 g⌉ bytes dealt for each element,
    twice that with its value; one round to mask the values, those of a comparison, one to mask the
    ranks. 16 bytes opened an element. Whatever the size, that is 4 or 5 rounds a level.
Error: none, exact; in a network, what is at a larger scale is truncated first.
Opened: nothing but what those open. Leaks: shapes, and what is asked for.
Refused: more than MOST_PAIRS comparisons at once where no network serves: more than LONGEST
    elements of a column (merging.py), unless few of them are wanted.
"""

from __future__ import annotations

from math import prod
from typing import cast

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.protocols.extremum import price
from tacita.torch.lowering import arithmetic, merging
from tacita.torch.lowering.extrema import WIDEST, difference_bits
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.ranking import Asked, best_of, largest_level, plan
from tacita.torch.lowering.scales import within
from tacita.torch.lowering.shape import axis, permuted, reshaped, slice_

MOST_PAIRS = 1 << 23  # compared at once: some 400 MB dealt, and as much memory


def sort(
    low: Lowering, x: Handle, dim: int = -1, descending: bool = False, *, what: str = "sort"
) -> tuple[Handle, Handle]:
    """All values in order, and where they stood."""
    size = _size(x, dim)
    value, index = _ordered(low, x, dim, Asked(0, size, True, True), descending, what)
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
    value, _ = _ordered(low, x, 0, Asked(0, _size(x, 0), True, False), False, "msort")
    return cast(Handle, value)


def argsort(low: Lowering, x: Handle, dim: int = -1, descending: bool = False) -> Handle:
    asked = Asked(0, _size(x, dim), False, True)
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
    value, index = _ordered(low, x, dim, Asked(0, k, True, True), largest, "topk")
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
    asked = Asked(_middle(x.wire.size), 1, True, False)
    value, _ = _ordered(low, flat, 0, asked, False, "median")
    return reshaped(low, cast(Handle, value), ())


def _middle(size: int) -> int:
    if not size:
        raise ShapeError("median of no elements")
    return (size - 1) // 2


def _one(
    low: Lowering, x: Handle, rank: int, dim: int, keepdim: bool, what: str
) -> tuple[Handle, Handle]:
    value, index = _ordered(low, x, dim, Asked(rank, 1, True, True), False, what)
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
    low: Lowering, x: Handle, dim: int, asked: Asked, descending: bool, what: str
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
        best, index = best_of(low, rows, asked, bits, what)
    if best is not None and not descending:
        best = arithmetic.neg(low, best)
    return back(best), back(index)


def _by_network(
    low: Lowering, x: Handle, shape: tuple[int, int], asked: Asked, bits: int, what: str
) -> bool:
    """Whether a network costs less; raises where neither it nor comparing all pairs will do."""
    n, m = shape
    _, pairs = plan(n, m, asked.first, asked.count, bits)
    allowed = largest_level(n, m, asked.first, asked.count, bits) <= MOST_PAIRS
    network = merging.possible(low, x, n, index=asked.index)
    if network and (not allowed or price(merging.cost(n, m, bits)) < price(pairs)):
        return True
    if allowed:
        return False
    raise UnsupportedOperation(
        f"{what} of {n} elements in each of {m} columns compares more than {MOST_PAIRS} pairs at "
        f"once, and for a network there are too many (more than {merging.LONGEST} in a column, or "
        f"{2 * merging.MOST_PAIRS} in all) or their bound is too large: take fewer columns or "
        "elements at a time, declare a smaller bound with bounded(), or use topk with a small k, "
        "max or argmax, which take many elements"
    )
