"""Products over dimensions, and running products.

Range: as that of a product of two for whatever is multiplied on the way: below 2^29 at 16 bits.
Computes: pairs, pairs of pairs and so on; a running product at i takes the one 2^k before it, for
    each k, which multiplies n values in log2(n) levels of n products each.
Error: each level rounds to one unit of the precision, times the product of the other factors.
Cost: a round and a product for each level; n products in all for a product, n·log2(n) for a running
    one. Opened: nothing but what products open. Leaks: shapes.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import multiplied
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering, Shape
from tacita.torch.lowering.reduction import reduced_shape
from tacita.torch.lowering.shape import axis, expanded, permuted, reshaped, slice_

WHAT = "product"


def product(
    low: Lowering, x: Handle, dim: int | None = None, keepdim: bool = False, **_: Any
) -> Handle:
    """The product of all elements, or along a dimension; of no elements 1."""
    shape = x.wire.shape
    out: Shape = ()
    if dim is None or not shape:
        rows = reshaped(low, x, (x.wire.size, 1))
    else:
        dim = axis(dim, len(shape))
        rest = tuple(d for d in range(len(shape)) if d != dim)
        out = reduced_shape(shape, (dim,), keepdim=keepdim)
        columns = x if dim == 0 else permuted(low, x, (dim, *rest))
        rows = reshaped(low, columns, (shape[dim], prod(out)))
    if not rows.wire.shape[0]:
        return expanded(low, low.number(1), out)
    while (count := rows.wire.shape[0]) > 1:
        half = count // 2
        first, second = (slice_(low, rows, 0, at, at + half) for at in (0, half))
        pairs = multiplied(low, first, second)
        if count % 2:
            odd = slice_(low, rows, 0, 2 * half, count)
            pairs = concatenated(low, [pairs, odd], 0, WHAT)
        rows = pairs
    return reshaped(low, rows, out)


def cumprod(low: Lowering, x: Handle, dim: int, **_: Any) -> Handle:
    """The products of all elements up to each, along a dimension; what the gradient of a product
    is made of."""
    shape = x.wire.shape
    if not shape or not x.wire.size:
        return x
    dim = axis(dim, len(shape))
    step, count = 1, shape[dim]
    while step < count:
        later = slice_(low, x, dim, step, count)
        earlier = slice_(low, x, dim, 0, count - step)
        first = slice_(low, x, dim, 0, step)
        x = concatenated(low, [first, multiplied(low, later, earlier)], dim, WHAT)
        step *= 2
    return x
