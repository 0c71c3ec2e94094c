"""Private indices: as one-hot columns, as rows of a table, and elements put at private places.

Shapes: indices of any shape; V classes, places or rows of a table [V, D]. Range: an index is a
    whole number of 0 … V - 1. Others count modulo the power of two from V on, without an error,
    which would show something of them; checked mode finds those of a size above V - 1.
Computes: the one-hot column of each index from a dealt table of V words (protocols/one_hot.py), at
    any V up to LARGEST: no comparison, and so nothing is gained by cutting an index into digits,
    whose one-hot columns would have to be multiplied, for as many words. A row of a table is a
    matrix product with the columns: local where the table is public.
Cost: with B the power of two from V on, 8·B bytes dealt an index, and one round to mask it, none if
    it is masked. Of a private table 8·V bytes an index are opened in one round more, for the
    product of N·V·D multiply-adds; 8·N·D bytes dealt for it, and the table opened once, masked.
    (V = 30,522: 262 kB dealt and 244 kB opened for each private index.)
Error: none; what comes out has the ring value of the table. An index in fixed point is divided by
    its scale, exactly, for one round more.
Opened: nothing but what masks open. Leaks: shapes and V.
Refused: more than LARGEST classes, and columns of more than MOST_ENTRIES words together.
"""

from __future__ import annotations

from math import prod

import torch

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.protocols import OneHot, Sum
from tacita.protocols.one_hot import MOST_BITS, bits_of
from tacita.torch.lowering.arithmetic import exact_product, public_product
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand, factor
from tacita.torch.lowering.scales import truncated, within
from tacita.torch.lowering.shape import axis, permuted, reshaped, slice_

LARGEST = 1 << MOST_BITS  # classes
MOST_ENTRIES = 1 << 25  # of one-hot columns: 256 MiB, and thrice that when they are masked
HOT = "hot"  # in `derived` of an index: its one-hot columns, by the number of classes


def one_hot(low: Lowering, index: Handle, classes: int, what: str, *, keep: bool = False) -> Handle:
    """[classes, *shape] of 0 and 1: whether an index is the one of the first dimension.

    keep: the wire is remembered with the index, since a backward pass will ask for it again.
    """
    kept = low.derived(index)
    found: Handle | None = kept.get((HOT, classes))
    if found is None:
        hot, _ = _columns(low, index, classes, None, what)
        assert hot is not None
        found = hot
        if keep:
            kept[HOT, classes] = found
    return found


def encoded(low: Lowering, index: Handle, num_classes: int = -1) -> Handle:
    """F.one_hot: [*shape, num_classes], in whole networks. (Eager torch makes comparisons of it,
    which take an index of any size.) Raises UnsupportedOperation where the classes are not told."""
    if num_classes < 1:
        raise UnsupportedOperation(
            "one_hot: how many classes there are would show the largest index: give num_classes"
        )
    hot = one_hot(low, index, num_classes, "one_hot")
    return permuted(low, hot, (*range(1, len(hot.wire.shape)), 0))


def _columns(
    low: Lowering, index: Handle, classes: int, value: Handle | None, what: str
) -> tuple[Handle | None, Handle]:
    """The one-hot columns, or the value in its place in each; the other is None."""
    shape = index.wire.shape
    _check_size(classes, prod(shape), what)
    whole = _whole(low, index, what)
    low.mask((whole,) if value is None else (whole, value), what)
    if low.builder.checked:
        whole = within(low, whole, classes - 1, what)
    wide = (classes, *shape)
    scale, bound = (1, 1) if value is None else (value.wire.scale, value.wire.bound)
    out = low.wire(wide, scale, bound, bit=value is None)
    low.builder.emit(
        OneHot(
            out.id if value is None else None,
            () if value is None else (out.id,),
            whole.wire.id,
            () if value is None else (value.wire.id,),
            bits_of(classes),
            classes,
            shape,
        )
    )
    made = Handle(low.builder, out)
    return (made, made) if value is None else (None, made)


def _whole(low: Lowering, index: Handle, what: str) -> Handle:
    """The index at scale 1. It is a multiple of its scale, which truncation takes off exactly."""
    if index.wire.scale == 1:
        return index
    low.mask((index,), what)
    return truncated(low, index, index.wire.scale, what, 1)


def _check_size(classes: int, count: int, what: str) -> None:
    if classes > LARGEST:
        raise UnsupportedOperation(
            f"{what}: a private index takes up to {LARGEST} rows, not {classes}; cut the table in "
            "parts, look up in each of them at index - start, and multiply by whether the index "
            "lies in the part"
        )
    if classes * count > MOST_ENTRIES:
        raise UnsupportedOperation(
            f"{what}: {count} private indices into {classes} rows take {classes * count} words, "
            f"more than {MOST_ENTRIES}; look up fewer at a time, and join the rows with torch.cat"
        )


# ---- rows of tables ------------------------------------------------------------------------------


def rows(low: Lowering, table: Operand, index: Handle, what: str, *, keep: bool = False) -> Handle:
    """[V, D] at private indices [...]: [..., D], at the scale of the table."""
    assert isinstance(table, Handle | torch.Tensor)
    held = table if isinstance(table, Handle) else factor(low, table, what)
    classes, width = held.wire.shape
    count = index.wire.size
    out = (*index.wire.shape, width)
    if not count or not width:
        return low.zeros(out, held.wire.scale)
    hot = one_hot(low, index, classes, what, keep=keep)
    flat = permuted(low, reshaped(low, hot, (classes, count)), (1, 0))
    # One entry of a row of the product is not 0: the bound of the table is that of the result.
    bound = held.wire.bound
    if held.public:
        found = public_product(low, flat, held, (count, width), matrix=True, bound=bound)
    else:
        found = exact_product(low, flat, held, (count, width), matrix=True, bound=bound, what=what)
    return reshaped(low, found, out)


def summed_rows(
    low: Lowering, gradient: Handle, index: Handle, classes: int, padding: int, what: str
) -> Handle:
    """The way back: [classes, D], the sums of the gradients [..., D] of each row.

    padding: a row that gets none; negative for no such row.
    """
    width, count = gradient.wire.shape[-1], index.wire.size
    shape = (classes, width)
    if not count or not width:
        return low.zeros(shape, gradient.wire.scale)
    hot = one_hot(low, index, classes, what)
    flat = reshaped(low, gradient, (count, width))
    columns = reshaped(low, hot, (classes, count))
    total = exact_product(low, columns, flat, shape, matrix=True, what=what)
    if padding < 0:
        return total
    parts = [
        slice_(low, total, 0, 0, padding),
        low.zeros((1, width), total.wire.scale),
        slice_(low, total, 0, padding + 1, classes),
    ]
    return concatenated(low, [each for each in parts if each.wire.size], 0, what)


# ---- elements at private places ------------------------------------------------------------------


def placed(low: Lowering, index: Handle, dim: int, value: Handle, size: int, what: str) -> Handle:
    """Zeros with `size` places along `dim`, and each value added at its private place.

    index, value: of one shape. No product is taken: a value joins in the table that is dealt for
    its index. Cost: as that of one-hot columns, twice as many bytes dealt.
    """
    shape = index.wire.shape
    dim = axis(dim, len(shape))
    result = (*shape[:dim], size, *shape[dim + 1 :])
    if not index.wire.size or not size:
        return low.zeros(result, value.wire.scale)
    _, wide = _columns(low, index, size, value, what)
    left = (size, *shape[:dim], *shape[dim + 1 :])
    own = value.wire.bound
    out = low.wire(left, wide.wire.scale, None if own is None else own * shape[dim])
    total = low.emit(Sum(out.id, wide.wire.id, (1 + dim,), left), out)
    return permuted(low, total, (*range(1, dim + 1), 0, *range(dim + 1, len(shape))))
