"""The largest and the smallest along a dimension, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.program.wire import RING_BITS, width_of
from tacita.protocols import Extremum
from tacita.protocols.extremum import tournament
from tacita.torch.lowering import arithmetic
from tacita.torch.lowering.comparison import eq, ge, is_bit, ne
from tacita.torch.lowering.lowering import Lowering, Shape
from tacita.torch.lowering.reduction import dims_of, reduced_shape, sum_
from tacita.torch.lowering.scales import within
from tacita.torch.lowering.shape import permuted, reshaped

# What a difference of two values leaves room for where no bound is known.
WIDEST = (1 << (RING_BITS - 2)) - 1


def difference_bits(bound: int | None) -> int:
    """The width that holds the difference of two values."""
    return width_of(None if bound is None else 2 * bound, RING_BITS)


def extremum(
    low: Lowering, x: Handle, dims: Sequence[int], what: str, *, value: bool, index: bool
) -> tuple[Handle | None, Handle | None]:
    """Value and index of the largest over `dims`, flat over the other dimensions; the first wins.

    An index counts through `dims` in row-major order.
    """
    shape = x.wire.shape
    m = prod(shape[d] for d in dims)
    rest = [d for d in range(len(shape)) if d not in dims]
    n = prod(shape[d] for d in rest)
    if not m:
        raise ShapeError(f"{what} of no elements (shape {shape})")
    scale, bound = x.wire.scale, x.wire.bound
    alone = m == 1 or not n
    if not alone:
        low.mask((x,), what)
        x = within(low, x, WIDEST, what)
    order = (*dims, *rest)
    columns = x if order == tuple(range(len(shape))) else permuted(low, x, order)
    if alone:
        return (
            reshaped(low, columns, (n,)) if value else None,
            low.zeros((n,)) if index else None,
        )
    columns = reshaped(low, columns, (m, n))
    best = low.wire((n,), scale, bound) if value else None
    where = low.wire((n,), 1, m - 1) if index else None
    bits = difference_bits(bound)
    low.builder.emit(
        Extremum(
            best.id if best is not None else None,
            where.id if where is not None else None,
            columns.wire.id,
            (m, n),
            tournament(m, n, bits, value=value, index=index),
        )
    )
    return (
        Handle(low.builder, best) if best is not None else None,
        Handle(low.builder, where) if where is not None else None,
    )


def _shaped(low: Lowering, flat: Handle | None, shape: Shape) -> Handle:
    return reshaped(low, cast(Handle, flat), shape)


def _dim(low: Lowering, x: Handle, dim: int, keepdim: bool, what: str) -> tuple[Handle, Handle]:
    dims = dims_of(dim, len(x.wire.shape))
    shape = reduced_shape(x.wire.shape, dims, keepdim=keepdim)
    value, index = extremum(low, x, dims, what, value=True, index=True)
    return _shaped(low, value, shape), _shaped(low, index, shape)


def max_dim(low: Lowering, x: Handle, dim: int, keepdim: bool = False) -> tuple[Handle, Handle]:
    return _dim(low, x, dim, keepdim, "max")


def min_dim(low: Lowering, x: Handle, dim: int, keepdim: bool = False) -> tuple[Handle, Handle]:
    value, index = _dim(low, arithmetic.neg(low, x), dim, keepdim, "min")
    return arithmetic.neg(low, value), index


def amax(low: Lowering, x: Handle, dim: int | Sequence[int] = (), keepdim: bool = False) -> Handle:
    dims = dims_of(dim, len(x.wire.shape))
    value, _ = extremum(low, x, dims, "max", value=True, index=False)
    return _shaped(low, value, reduced_shape(x.wire.shape, dims, keepdim=keepdim))


def amin(low: Lowering, x: Handle, dim: int | Sequence[int] = (), keepdim: bool = False) -> Handle:
    return arithmetic.neg(low, amax(low, arithmetic.neg(low, x), dim, keepdim))


def argmax(low: Lowering, x: Handle, dim: int | None = None, keepdim: bool = False) -> Handle:
    dims = dims_of(dim, len(x.wire.shape))
    _, index = extremum(low, x, dims, "argmax", value=False, index=True)
    return _shaped(low, index, reduced_shape(x.wire.shape, dims, keepdim=keepdim))


def argmin(low: Lowering, x: Handle, dim: int | None = None, keepdim: bool = False) -> Handle:
    return argmax(low, arithmetic.neg(low, x), dim, keepdim)


def max_whole(low: Lowering, x: Handle) -> Handle:
    return amax(low, x)


def min_whole(low: Lowering, x: Handle) -> Handle:
    return amin(low, x)


def any_(low: Lowering, x: Handle, dim: int | None = None, keepdim: bool = False) -> Handle:
    """Is one of the 0 and 1 a 1?"""
    return ge(low, sum_(low, _bits(low, x), dim, keepdim), 1)


def all_(low: Lowering, x: Handle, dim: int | None = None, keepdim: bool = False) -> Handle:
    count = prod(x.wire.shape[d] for d in dims_of(dim, len(x.wire.shape)))
    return eq(low, sum_(low, _bits(low, x), dim, keepdim), count)


def _bits(low: Lowering, x: Handle) -> Handle:
    return x if is_bit(x) else ne(low, x, 0)
