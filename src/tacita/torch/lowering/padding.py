"""Padding: zeros and other constants around a tensor, and its own elements repeated there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.protocols import Pad, Take
from tacita.torch.lowering.arithmetic import add
from tacita.torch.lowering.lowering import Lowering, Shape
from tacita.torch.lowering.operands import Number
from tacita.torch.lowering.shape import slice_, viewed


def taken(low: Lowering, x: Handle, dim: int, indices: Sequence[int]) -> Handle:
    """The slices of x at public indices along a dimension; a view."""
    order = tuple(int(i) for i in indices)
    old = x.wire.shape
    if order == tuple(range(old[dim])):
        return x
    steps = {after - before for before, after in pairwise(order)}
    if order and len(steps) <= 1 and min(steps, default=1) > 0:  # evenly spaced: no copy
        return slice_(low, x, dim, order[0], order[-1] + 1, min(steps, default=1))
    shape = (*old[:dim], len(order), *old[dim + 1 :])
    return viewed(low, x, shape, lambda out, of: Take(out, of, dim, order))


def padded(
    low: Lowering,
    x: Handle,
    before: Sequence[int],
    after: Sequence[int],
    between: Sequence[int] | None = None,
) -> Handle:
    """Zeros before, after and between the elements of every dimension; a view.

    Negative numbers, before and after, cut elements off instead.
    """
    old = x.wire.shape
    gaps = tuple(between) if between is not None else (0,) * len(old)
    lead = tuple(max(0, n) for n in before)
    trail = tuple(max(0, n) for n in after)
    shape: Shape = tuple(
        a + size + max(0, size - 1) * gap + b
        for a, size, gap, b in zip(lead, old, gaps, trail, strict=True)
    )
    if shape != old:
        if not x.wire.size:
            x = low.zeros(shape, x.wire.scale)
        else:
            x = viewed(low, x, shape, lambda out, of: Pad(out, of, lead, trail, gaps), filled=True)
    for dim, (a, b) in enumerate(zip(before, after, strict=True)):
        if min(a, b) < 0:
            size = shape[dim]
            start, stop = max(0, -a), size - max(0, -b)
            if start > stop:
                raise ShapeError(f"padding by {a} and {b} leaves nothing of {size} elements")
            x = slice_(low, x, dim, start, stop)
    return x


def constant_pad(low: Lowering, x: Handle, pad: Sequence[int], value: Number = 0) -> Handle:
    """`pad`: before and after, the last dimension first, as torch.nn.functional.pad has it."""
    ndim = len(x.wire.shape)
    if len(pad) % 2 or len(pad) > 2 * ndim:
        raise ShapeError(f"padding {list(pad)} does not fit {ndim} dimensions")
    before, after = [0] * ndim, [0] * ndim
    for i in range(len(pad) // 2):
        before[ndim - 1 - i], after[ndim - 1 - i] = int(pad[2 * i]), int(pad[2 * i + 1])
    out = padded(low, x, before, after)
    if not value:
        return out
    # The constant where the padding is, and 0 elsewhere; not larger than it has to be.
    lead = ndim - len(pad) // 2
    inside = torch.zeros((1,) * lead + x.wire.shape[lead:], dtype=torch.float64)
    outside = torch.nn.functional.pad(inside, list(pad), value=float(value))
    return add(low, out, outside if low.precision is not None else outside.long())


def pad(
    low: Lowering,
    x: Handle,
    pad: Sequence[int],
    mode: str = "constant",
    value: Number | None = None,
) -> Handle:
    """torch.nn.functional.pad before torch has taken it apart."""
    if mode == "constant":
        return constant_pad(low, x, pad, value or 0)
    spatial = len(pad) // 2
    return along_axes(
        low, x, spatial, lambda grid: torch.nn.functional.pad(grid, list(pad), mode=mode)
    )


def along_axes(
    low: Lowering, x: Handle, spatial: int, operation: Callable[[torch.Tensor], torch.Tensor]
) -> Handle:
    """An operation that moves whole rows and columns about, in each of the last dimensions.

    It is run on the positions of one dimension at a time; what it makes of them are the indices.
    """
    shape = x.wire.shape
    first = len(shape) - spatial
    lead = (1,) * max(first, 1)
    for i in range(spatial):
        sizes = [1] * spatial
        sizes[i] = shape[first + i]
        positions = torch.arange(shape[first + i], dtype=torch.float64).view(sizes)
        grid = positions.expand(*lead, *shape[first:]).contiguous()
        moved = operation(grid)
        places = moved[(0,) * (moved.ndim - spatial)]
        line = places[tuple(slice(None) if j == i else 0 for j in range(spatial))]
        x = taken(low, x, first + i, [round(v) for v in line.tolist()])
    return x


def moving(operation: Callable[..., Any], spatial: int) -> Callable[..., Handle]:
    """The lowering of such an operation of torch's: reflection, replication, nearest neighbours."""

    def lower(low: Lowering, x: Handle, *args: Any, **kwargs: Any) -> Handle:
        # Sizes that the operation refuses, it refuses here as it does on plain tensors.
        return along_axes(low, x, spatial, lambda grid: operation(grid, *args, **kwargs))

    return lower
