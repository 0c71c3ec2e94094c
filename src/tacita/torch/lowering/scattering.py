"""Sums of elements by public places: the way back of everything that takes elements by index.

What takes an element once hands its gradient back by a view. Where elements are taken more than
once, the gradients of each are laid side by side, with zeros where there are fewer, and summed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import torch

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.assignment import assigned
from tacita.torch.lowering.arithmetic import add, handle_of, public_product
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lookup import placed
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, Operand
from tacita.torch.lowering.padding import padded, taken
from tacita.torch.lowering.reduction import sum_
from tacita.torch.lowering.shape import (
    LARGEST_GATHER,
    axis,
    expand,
    gathered,
    permuted,
    refuse_private_index,
    reshaped,
    slice_,
)

WHAT = "gradient"
LARGEST_SHARE = 4  # zeros and elements laid side by side, as a multiple of the elements


def scattered(low: Lowering, x: Handle, dim: int, places: Sequence[int], size: int) -> Handle:
    """Adds the slices of x along `dim` to so many zeros: slice i goes to places[i]."""
    shape = x.wire.shape
    out = (*shape[:dim], size, *shape[dim + 1 :])
    if not len(places):
        return low.zeros(out, x.wire.scale)
    steps = {after - before for before, after in pairwise(places)} or {1}
    if len(steps) == 1 and min(steps) > 0:  # evenly spaced: a view
        before, after, between = [0] * len(shape), [0] * len(shape), [0] * len(shape)
        before[dim], after[dim] = places[0], size - 1 - places[-1]
        between[dim] = min(steps) - 1
        return padded(low, x, before, after, between)
    order, most = _side_by_side(places, size)
    if len(order) > LARGEST_SHARE * max(size, len(places)):
        return _by_product(low, x, dim, places, size)
    if len(places) in order:
        one = (*shape[:dim], 1, *shape[dim + 1 :])
        x = concatenated(low, [x, low.zeros(one, x.wire.scale)], dim, WHAT)
    x = taken(low, x, dim, order)
    if most == 1:
        return x
    apart = reshaped(low, x, (*shape[:dim], most, size, *shape[dim + 1 :]))
    return sum_(low, apart, dim)


def _by_product(low: Lowering, x: Handle, dim: int, places: Sequence[int], size: int) -> Handle:
    """The same where few places take very many slices: a product with a public matrix."""
    used = sorted(set(places))
    row = {place: i for i, place in enumerate(used)}
    ones = np.zeros((len(used), len(places)), np.uint64)
    ones[[row[place] for place in places], range(len(places))] = 1
    order = (dim, *(d for d in range(len(x.wire.shape)) if d != dim))
    front = permuted(low, x, order)
    flat = reshaped(low, front, (len(places), front.wire.size // len(places)))
    out = public_product(
        low,
        flat,
        low.constant(ones, 1),
        (len(used), flat.wire.shape[1]),
        matrix=True,
        public_first=True,
    )
    there = reshaped(low, out, (len(used), *front.wire.shape[1:]))
    back = tuple(int(d) for d in np.argsort(order))
    return scattered(low, permuted(low, there, back), dim, used, size)


def _side_by_side(places: Sequence[int], size: int) -> tuple[list[int], int]:
    """For each of `most` rounds and each place the slice that goes there, or len(places): none."""
    sources: list[list[int]] = [[] for _ in range(size)]
    for i, place in enumerate(places):
        sources[place].append(i)
    most = max(1, *map(len, sources))
    none = len(places)
    order = [each[r] if r < len(each) else none for r in range(most) for each in sources]
    return order, most


def scattered_flat(low: Lowering, x: Handle, places: torch.Tensor, shape: Sequence[int]) -> Handle:
    """Adds the elements of x to zeros of `shape`, each at its flat public place."""
    size, n = prod(shape), places.numel()
    flat = reshaped(low, x, (n,))
    if not n or not size:
        return low.zeros(tuple(shape), x.wire.scale)
    order = torch.argsort(places.reshape(-1), stable=True)
    there = places.reshape(-1)[order]
    counts = torch.bincount(there, minlength=size)
    most = int(counts.max())
    if most * size > LARGEST_GATHER:
        raise ShapeError(f"{WHAT}: {most} elements for each of {size} places are too many")
    first = torch.cumsum(counts, 0) - counts
    rank = torch.arange(n) - first[there]
    table = torch.full((most, size), n)
    table[rank, there] = order
    with_zero = concatenated(low, [flat, low.zeros((1,), x.wire.scale)], 0, WHAT)
    out = gathered(low, with_zero, table)
    out = sum_(low, out, 0) if most > 1 else out
    return reshaped(low, out, tuple(shape))


def returning(operation: Callable[..., Any], sizes: int) -> Callable[..., Handle]:
    """The backward pass of a torch operation that only moves elements about.

    sizes: which of the backward operation's arguments is the shape of the input; those before it,
    but for the gradient, and those behind it are the operation's own.
    """

    def back(low: Lowering, gradient: Handle, *args: Any, **named: Any) -> Handle:
        refuse_private_index(operation, args)
        shape = tuple(int(s) for s in args[sizes])
        own = (*args[:sizes], *args[sizes + 1 :])
        positions = torch.arange(prod(shape)).view(shape)
        places = operation(positions, *own, **named)
        return scattered_flat(low, gradient, places, shape)

    return back


def moving_back(operation: Callable[..., Any], spatial: int) -> Callable[..., Handle]:
    """The backward pass of what `padding.moving` does: reflection, replication, nearest ones."""

    def back(low: Lowering, gradient: Handle, *args: Any, **named: Any) -> Handle:
        # Paddings are given the input itself, and before their own arguments; resizings its shape.
        if isinstance(args[0], Handle):
            shape, own = args[0].wire.shape, args[1:]
        else:
            shape, own = tuple(int(s) for s in args[1]), (args[0], *args[2:])
        lead = len(shape) - spatial
        for i in range(spatial):
            sizes = [1] * spatial
            sizes[i] = shape[lead + i]
            positions = torch.arange(shape[lead + i], dtype=torch.float64).view(sizes)
            grid = positions.expand(*(1,) * lead, *shape[lead:]).contiguous()
            moved = operation(grid, *own, **named)
            line = moved[(0,) * lead]
            line = line[tuple(slice(None) if j == i else 0 for j in range(spatial))]
            places = [round(v) for v in line.tolist()]
            gradient = scattered(low, gradient, lead + i, places, shape[lead + i])
        return gradient

    return back


# ---- one at a time -----------------------------------------------------------------------------


def select_backward(
    low: Lowering, gradient: Handle, sizes: Sequence[int], dim: int, index: int
) -> Handle:
    shape = tuple(sizes)
    dim %= len(shape)
    one = reshaped(low, gradient, (*shape[:dim], 1, *shape[dim + 1 :]))
    return scattered(low, one, dim, [index % shape[dim]], shape[dim])


def slice_backward(
    low: Lowering,
    gradient: Handle,
    sizes: Sequence[int],
    dim: int,
    start: int,
    end: int,
    step: int,
) -> Handle:
    dim %= len(sizes)
    places = range(*slice(start, end, step).indices(sizes[dim]))
    return scattered(low, gradient, dim, places, sizes[dim])


def index_put(
    low: Lowering, x: Operand, indices: Sequence[Any], values: Operand, accumulate: bool = False
) -> Handle:
    """x with values at public indices: in the place of what is there, or added to it."""
    refuse_private_index("index_put", indices)
    index = tuple(slice(None) if each is None else each for each in indices)
    own = handle_of(low, x, WHAT)
    if not accumulate:
        return assigned(low, own, index, values)
    positions = torch.arange(own.wire.size).view(own.wire.shape)[index]
    given = expand(low, handle_of(low, values, WHAT), positions.shape)
    return add(low, own, scattered_flat(low, given, positions, own.wire.shape))


def index_add(
    low: Lowering, x: Operand, dim: int, index: Any, source: Operand, *, alpha: Number = 1
) -> Handle:
    refuse_private_index("index_add", (index,))
    own, given = handle_of(low, x, WHAT), handle_of(low, source, WHAT)
    dim = axis(dim, len(own.wire.shape))
    there = scattered(low, given, dim, index.tolist(), own.wire.shape[dim])
    return add(low, own, there, alpha=alpha)


def scatter_add(low: Lowering, x: Operand, dim: int, index: Any, source: Operand) -> Handle:
    """x with elements of `source` added at public or private places along a dimension."""
    own, given = handle_of(low, x, WHAT), handle_of(low, source, WHAT)
    if isinstance(index, Handle):
        there = _at_private_places(low, own.wire.shape, dim, index, given)
        return there if own.wire.bound == 0 else add(low, own, there)
    positions = torch.arange(own.wire.size).view(own.wire.shape).gather(dim, index)
    for d, size in enumerate(index.shape):
        given = slice_(low, given, d, 0, size)
    return add(low, own, scattered_flat(low, given, positions, own.wire.shape))


def scatter(low: Lowering, x: Operand, dim: int, index: Operand, source: Operand) -> Handle:
    """Zeros with private elements at private places, which must differ, as the gradients of max()
    and sort() have it; or x with elements at public places, each in the place of what is there."""
    own, given = handle_of(low, x, WHAT), handle_of(low, source, WHAT)
    shape = own.wire.shape
    if isinstance(index, torch.Tensor):
        positions = torch.arange(own.wire.size).view(shape).gather(dim, index)
        places = positions.reshape(-1)
        if len(torch.unique(places)) < places.numel():
            raise UnsupportedOperation("scatter: two elements for one place; use scatter_add")
        for d, size in enumerate(index.shape):
            given = slice_(low, given, d, 0, size)
        n = own.wire.size
        order = torch.arange(n)
        order[places] = torch.arange(n, n + places.numel())
        flat = [reshaped(low, own, (n,)), reshaped(low, given, (places.numel(),))]
        return gathered(low, concatenated(low, flat, 0, WHAT), order.view(shape))
    assert isinstance(index, Handle)
    if own.wire.bound != 0:
        raise UnsupportedOperation(
            "scatter by a private index takes zeros, and as many elements as indices; use "
            "scatter_add, which adds to what is there"
        )
    return _at_private_places(low, shape, dim, index, given)


def _at_private_places(
    low: Lowering, shape: Sequence[int], dim: int, index: Handle, given: Handle
) -> Handle:
    """Zeros of `shape` with the given elements added at private places along a dimension."""
    places = index.wire.shape
    dim = axis(dim, len(shape))
    if len(places) != len(shape) or any(
        size != places[d] for d, size in enumerate(shape) if d != dim
    ):
        raise ShapeError(f"scatter: indices of shape {places} do not fit {tuple(shape)}")
    for d, size in enumerate(places):
        given = slice_(low, given, d, 0, size)
    return placed(low, index, dim, expand(low, given, places), shape[dim], WHAT)
