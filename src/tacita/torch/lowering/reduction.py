"""Sums and means over dimensions, and running sums."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tacita.errors import PrecisionError, ShapeError
from tacita.program.builder import Handle
from tacita.protocols import Sum
from tacita.torch.lowering.arithmetic import public_product
from tacita.torch.lowering.lowering import Lowering, Shape
from tacita.torch.lowering.scales import rescaled
from tacita.torch.lowering.shape import axis, permuted, reshaped


def dims_of(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The dimensions to reduce; none given means all."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    dims = tuple(axis(d, ndim) for d in ((dim,) if isinstance(dim, int) else dim))
    if len(set(dims)) < len(dims):
        raise ShapeError(f"a dimension appears twice in {list(dims)}")
    return dims if ndim else ()


def reduced_shape(shape: Shape, dims: Sequence[int], *, keepdim: bool) -> Shape:
    if keepdim:
        return tuple(1 if i in dims else s for i, s in enumerate(shape))
    return tuple(s for i, s in enumerate(shape) if i not in dims)


def sum_(
    low: Lowering,
    x: Handle,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    **_: Any,
) -> Handle:
    wire = x.wire
    dims = dims_of(dim, len(wire.shape))
    shape = reduced_shape(wire.shape, dims, keepdim=keepdim)
    if not dims:
        return x
    if not wire.size:
        return low.zeros(shape, wire.scale)
    count = prod(wire.shape[d] for d in dims)
    out = low.wire(shape, wire.scale, None if wire.bound is None else wire.bound * count)
    return low.emit(Sum(out.id, wire.id, dims, shape), out)


def mean(
    low: Lowering,
    x: Handle,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    **_: Any,
) -> Handle:
    """The sum, read at a scale that is larger by the number of summands: no truncation."""
    if low.precision is None:
        raise PrecisionError(
            "the mean of private integers is a fraction: call fix_precision() before share()"
        )
    count = prod(x.wire.shape[d] for d in dims_of(dim, len(x.wire.shape)))
    if not count:
        raise ShapeError(f"the mean of no elements (shape {x.wire.shape})")
    total = sum_(low, x, dim, keepdim)
    return rescaled(low, total, total.wire.scale * count)


def cumsum(low: Lowering, x: Handle, dim: int, **_: Any) -> Handle:
    """A product with a public triangle of ones."""
    shape = x.wire.shape
    if not shape or not x.wire.size:
        return x
    dim = axis(dim, len(shape))
    order = (*(d for d in range(len(shape)) if d != dim), dim)
    triangle = low.constant(np.triu(np.ones((shape[dim],) * 2, np.uint64)), 1)
    rows = permuted(low, x, order)
    if len(shape) == 1:
        rows = reshaped(low, rows, (1, *shape))
    out = public_product(low, rows, triangle, rows.wire.shape, matrix=True)
    if len(shape) == 1:
        return reshaped(low, out, shape)
    return permuted(low, out, tuple(int(i) for i in np.argsort(order)))
