"""Views: every element of the result is one element of the source.

Reshape, Permute, Expand and Slice name their view; everything else is a Gather, whose indices come
from running torch's own operation on the positions 0, 1, 2, …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.program.instruction import Instruction
from tacita.protocols import Expand, Gather, Permute, Reshape, Slice
from tacita.torch.lowering.lowering import Lowering, Shape

VIEW = "view"  # in `derived`: of what a wire is a view, and how
FILLED = "filled"  # in `derived`: this view has zeros beside what it shows
LARGEST_GATHER = 1 << 22  # elements; every role is sent their indices, 8 bytes each


def viewed(
    low: Lowering,
    x: Handle,
    shape: Shape,
    make: Callable[[int, int], Instruction],
    *,
    filled: bool = False,
) -> Handle:
    """A view of x with its scale and bound; `make` takes the numbers of the two wires.

    filled: with zeros beside what is of x.
    """
    wire = low.wire(shape, x.wire.scale, x.wire.bound, bit=x.wire.bit)
    out = low.emit(make(wire.id, x.wire.id), wire, x)
    out.public = x.public  # every role holds the view as it holds the constant
    out.derived = {VIEW: (x, shape, make)}
    if filled:
        out.derived[FILLED] = True
    return out


def axis(dim: int, ndim: int) -> int:
    """A dimension counted from the front."""
    span = max(ndim, 1)
    if not -span <= dim < span:
        raise ShapeError(f"dimension {dim} of a tensor with {ndim} dimensions")
    return dim % span


def reshaped(low: Lowering, x: Handle, shape: Shape) -> Handle:
    if shape == x.wire.shape:
        return x
    return viewed(low, x, shape, lambda out, of: Reshape(out, of, shape))


def permuted(low: Lowering, x: Handle, dims: Shape) -> Handle:
    shape = tuple(x.wire.shape[d] for d in dims)
    return viewed(low, x, shape, lambda out, of: Permute(out, of, dims))


def expanded(low: Lowering, x: Handle, shape: Shape) -> Handle:
    if shape == x.wire.shape:
        return x
    return viewed(low, x, shape, lambda out, of: Expand(out, of, shape))


def view(low: Lowering, x: Handle, size: Sequence[int]) -> Handle:
    """view, reshape and their kin; one size may be -1."""
    wanted = tuple(int(s) for s in size)
    free = wanted.count(-1)
    known = prod(s for s in wanted if s != -1)
    total = x.wire.size
    if free == 1 and known and total % known == 0:
        wanted = tuple(total // known if s == -1 else s for s in wanted)
    if min(wanted, default=0) < 0 or prod(wanted) != total:
        raise ShapeError(f"shape {list(size)} does not hold the elements of {x.wire.shape}")
    return reshaped(low, x, wanted)


def reshape_alias(low: Lowering, x: Handle, size: Sequence[int], _: Any) -> Handle:
    return view(low, x, size)


def view_as(low: Lowering, x: Handle, other: Handle | torch.Tensor) -> Handle:
    return view(low, x, other.wire.shape if isinstance(other, Handle) else other.shape)


def same(_: Lowering, x: Handle, *__: Any, **___: Any) -> Handle:
    """The wire itself: values never change, so a copy needs no instruction."""
    return x


def t(low: Lowering, x: Handle) -> Handle:
    ndim = len(x.wire.shape)
    if ndim > 2:
        raise ShapeError(f"t() takes at most 2 dimensions, not {ndim}; use transpose or permute")
    return permuted(low, x, (1, 0)) if ndim == 2 else x


def transpose(low: Lowering, x: Handle, first: int, second: int) -> Handle:
    ndim = len(x.wire.shape)
    dims = list(range(ndim))
    first, second = axis(first, ndim), axis(second, ndim)
    if ndim:
        dims[first], dims[second] = dims[second], dims[first]
    return permuted(low, x, tuple(dims))


def permute(low: Lowering, x: Handle, dims: Sequence[int]) -> Handle:
    ndim = len(x.wire.shape)
    order = tuple(axis(d, ndim) for d in dims)
    if sorted(order) != list(range(ndim)):
        raise ShapeError(f"permute: {list(dims)} is no order of {ndim} dimensions")
    return permuted(low, x, order)


def expand(low: Lowering, x: Handle, size: Sequence[int], **_: Any) -> Handle:
    old = x.wire.shape
    lead = len(size) - len(old)
    if lead < 0:
        raise ShapeError(f"expand: {list(size)} has fewer dimensions than {old}")
    shape = tuple(old[i - lead] if s == -1 and i >= lead else int(s) for i, s in enumerate(size))
    for i, have in enumerate(old):
        if have not in (1, shape[i + lead]) or shape[i + lead] < 0:
            raise ShapeError(f"expand: {old} does not broadcast to {list(size)}")
    return expanded(low, x, shape)


def unsqueeze(low: Lowering, x: Handle, dim: int) -> Handle:
    shape = list(x.wire.shape)
    shape.insert(axis(dim, len(shape) + 1), 1)
    return reshaped(low, x, tuple(shape))


def squeeze(low: Lowering, x: Handle, dim: int | Sequence[int] | None = None) -> Handle:
    shape = x.wire.shape
    if dim is None:
        return reshaped(low, x, tuple(s for s in shape if s != 1))
    dims = {axis(d, len(shape)) for d in ([dim] if isinstance(dim, int) else dim)}
    return reshaped(low, x, tuple(s for i, s in enumerate(shape) if s != 1 or i not in dims))


def _sliced(low: Lowering, x: Handle, dim: int, start: int, stop: int, step: int = 1) -> Handle:
    old = x.wire.shape
    length = max(0, -(-(stop - start) // step))
    if length == old[dim] and step == 1:
        return x
    shape = (*old[:dim], length, *old[dim + 1 :])
    return viewed(low, x, shape, lambda out, of: Slice(out, of, dim, start, stop, step))


def slice_(
    low: Lowering,
    x: Handle,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Handle:
    dim = axis(dim, len(x.wire.shape))
    length = x.wire.shape[dim]
    first, last, _ = slice(start, end, step).indices(length)
    return _sliced(low, x, dim, first, max(first, last), step)


def select(low: Lowering, x: Handle, dim: int, index: int) -> Handle:
    shape = x.wire.shape
    if not shape:
        raise ShapeError("a 0-d tensor has nothing to index")
    dim = axis(dim, len(shape))
    if not -shape[dim] <= index < shape[dim]:
        raise IndexError(f"index {index} of dimension {dim} with size {shape[dim]}")
    index %= shape[dim]
    part = _sliced(low, x, dim, index, index + 1)
    return reshaped(low, part, (*shape[:dim], *shape[dim + 1 :]))


def narrow(low: Lowering, x: Handle, dim: int, start: int, length: int) -> Handle:
    dim = axis(dim, len(x.wire.shape))
    size = x.wire.shape[dim]
    start = start + size if start < 0 else start
    if not 0 <= start <= start + length <= size:
        raise ShapeError(f"narrow: {start} to {start + length} of dimension {dim} of size {size}")
    return _sliced(low, x, dim, start, start + length)


def flatten(low: Lowering, x: Handle, start_dim: int = 0, end_dim: int = -1) -> Handle:
    shape = x.wire.shape
    first, last = axis(start_dim, len(shape)), axis(end_dim, len(shape))
    if not shape:
        return reshaped(low, x, (1,))
    middle = prod(shape[first : last + 1])
    return reshaped(low, x, (*shape[:first], middle, *shape[last + 1 :]))


def unbind(low: Lowering, x: Handle, dim: int = 0) -> list[Handle]:
    dim = axis(dim, len(x.wire.shape))
    if not x.wire.shape:
        raise ShapeError("a 0-d tensor has nothing to unbind")
    return [select(low, x, dim, i) for i in range(x.wire.shape[dim])]


def split(low: Lowering, x: Handle, sizes: int | Sequence[int], dim: int = 0) -> list[Handle]:
    dim = axis(dim, len(x.wire.shape))
    length = x.wire.shape[dim]
    if isinstance(sizes, int):
        if sizes <= 0 and length:
            raise ShapeError(f"split: a part of {sizes} elements")
        sizes = [min(sizes, length - s) for s in range(0, length, sizes)] if length else [0]
    if sum(sizes) != length:
        raise ShapeError(f"split: sizes {list(sizes)} of dimension {dim} of size {length}")
    parts, start = [], 0
    for size in sizes:
        parts.append(_sliced(low, x, dim, start, start + size))
        start += size
    return parts


def chunk(low: Lowering, x: Handle, chunks: int, dim: int = 0) -> list[Handle]:
    if chunks <= 0:
        raise ShapeError(f"chunk: {chunks} chunks")
    dim = axis(dim, len(x.wire.shape))
    length = x.wire.shape[dim]
    return split(low, x, max(1, -(-length // chunks)), dim)


def gathering(
    operation: Callable[..., Any],
) -> Callable[..., Handle]:
    """The lowering of a torch operation that only moves elements about."""

    def gather(low: Lowering, x: Handle, *args: Any, **kwargs: Any) -> Handle:
        refuse_private_index(operation, args)
        positions = torch.arange(x.wire.size).view(x.wire.shape)
        return gathered(low, x, operation(positions, *args, **kwargs))

    return gather


def refuse_private_index(operation: object, args: Sequence[Any]) -> None:
    for arg in args:
        if isinstance(arg, list | tuple):
            refuse_private_index(operation, arg)
        elif isinstance(arg, Handle):
            raise UnsupportedOperation(
                f"{operation}: an index has to be public; F.embedding(index, table) takes rows of "
                "a table at private indices, and ((positions == index) * values).sum() an element"
            )


def gathered(low: Lowering, x: Handle, positions: torch.Tensor) -> Handle:
    """The elements of x at flat public positions, in the shape of `positions`."""
    shape = tuple(positions.shape)
    if positions.numel() > LARGEST_GATHER:
        raise ShapeError(
            f"indices for {positions.numel()} elements are too many for one instruction "
            f"({LARGEST_GATHER}): index, flip or roll a part at a time and join them with cat"
        )
    order = np.ascontiguousarray(positions.numpy(), np.dtype("<i8")).tobytes()
    return viewed(low, x, shape, lambda out, of: Gather(out, of, shape, order))
