"""The backward pass of batch, layer and group normalisation.

For a row of D values with x̂ = (x - mean)/sqrt(var + eps), weights w and incoming gradients g:
    dx = (w·g - mean(w·g) - x̂·mean(w·g·x̂))/sqrt(var + eps),  dw = Σ g·x̂,  db = Σ g.
Rows are laid out as [R, K, L]: K weights a row, each for L values, so that g·x̂ is summed over L
before it meets the weights. x̂ and the inverse root are those of the forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering import normalisation
from tacita.torch.lowering.arithmetic import mul, multiplied, sub
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.normalisation import (
    STANDARDISED,
    channel_rows,
    channels_back,
    per_channel,
    read,
    scaling_of,
    standardised,
)
from tacita.torch.lowering.operands import Operand
from tacita.torch.lowering.reduction import sum_
from tacita.torch.lowering.scales import rescaled
from tacita.torch.lowering.shape import expanded, reshaped

Gradients = tuple[Handle | None, Handle | None, Handle | None]
Rows = tuple[int, int, int]


def rows_backward(
    low: Lowering,
    gradient: Handle,
    weight: Operand | None,
    x: Handle,
    rows: tuple[int, int],
    shape: Rows,
    eps: float,
    source: Handle,
) -> tuple[Handle, Handle, Handle]:
    """dx, and dw and db of each row: [R, K, L], [R, K], [R, K] for a gradient of [R, K, L].

    weight: [R, K]. x: the rows [R, D] in case that the forward pass, of `source`, kept nothing.
    """
    kept = low.derived(source)
    if (STANDARDISED, rows) not in kept:
        standardised(low, x, eps, keep=source)
    normal, inverse, _ = kept[STANDARDISED, rows]
    normal = reshaped(low, normal, shape)
    of_weight = sum_(low, multiplied(low, gradient, normal), 2)
    of_bias = sum_(low, gradient, 2)
    column = (shape[0], 1, 1)
    means = []
    for each in (of_bias, of_weight):
        total = sum_(low, each if weight is None else mul(low, each, weight), 1)
        means.append(reshaped(low, rescaled(low, total, total.wire.scale * rows[1]), column))
    if weight is not None:
        gradient = mul(low, gradient, read(low, weight, (*shape[:2], 1)))
    rest = sub(low, sub(low, gradient, means[0]), multiplied(low, normal, means[1]))
    return multiplied(low, rest, reshaped(low, inverse, column)), of_weight, of_bias


def _asked(output_mask: Sequence[bool], *gradients: Handle) -> Gradients:
    first, second, third = (
        each if wanted else None for each, wanted in zip(gradients, output_mask, strict=True)
    )
    return first, second, third


# ---- layer and group norm ----------------------------------------------------------------------


def layer_norm_in_training(low: Lowering, *args: Any) -> tuple[Handle, Handle, Handle]:
    return normalisation.native_layer_norm(low, *args, keep=True)


def native_layer_norm_backward(
    low: Lowering,
    gradient: Handle,
    x: Handle,
    normalized_shape: Sequence[int],
    _mean: Handle,
    _rstd: Handle,
    weight: Operand | None,
    _bias: Operand | None,
    output_mask: Sequence[bool],
    eps: float = 1e-5,
) -> Gradients:
    size, inner = x.wire.size, tuple(int(s) for s in normalized_shape)
    width = prod(inner)
    rows = (size // width, width)
    shape = (*rows, 1)
    per_row = None if weight is None else expanded_operand(low, weight, (1, width), rows)
    dx, dw, db = rows_backward(
        low,
        reshaped(low, gradient, shape),
        per_row,
        reshaped(low, x, rows),
        rows,
        shape,
        eps,
        x,
    )
    return _asked(
        output_mask,
        reshaped(low, dx, x.wire.shape),
        reshaped(low, sum_(low, dw, 0), inner),
        reshaped(low, sum_(low, db, 0), inner),
    )


def group_norm_in_training(low: Lowering, *args: Any) -> tuple[Handle, Handle, Handle]:
    return normalisation.native_group_norm(low, *args, keep=True)


def native_group_norm_backward(
    low: Lowering,
    gradient: Handle,
    x: Handle,
    _mean: Handle,
    _rstd: Handle,
    weight: Operand | None,
    n: int,
    channels: int,
    size: int,
    groups: int,
    output_mask: Sequence[bool],
) -> Gradients:
    each = channels // groups
    rows = (n * groups, each * size)
    shape = (n * groups, each, size)
    per_row = None
    if weight is not None:
        wide = expanded_operand(low, weight, (1, groups, each), (n, groups, each))
        per_row = read(low, wide, (n * groups, each))
    dx, dw, db = rows_backward(
        low,
        reshaped(low, gradient, shape),
        per_row,
        reshaped(low, x, rows),
        rows,
        shape,
        1e-5,
        x,
    )
    of_channels = [
        reshaped(low, sum_(low, reshaped(low, part, (n, groups, each)), 0), (channels,))
        for part in (dw, db)
    ]
    return _asked(output_mask, reshaped(low, dx, x.wire.shape), *of_channels)


def expanded_operand(
    low: Lowering, weight: Operand, lead: tuple[int, ...], shape: tuple[int, ...]
) -> Operand:
    """A parameter read in the shape `lead`, and repeated to `shape`."""
    seen = read(low, weight, lead)
    return expanded(low, seen, shape) if isinstance(seen, Handle) else seen.expand(shape)  # type: ignore[union-attr]


# ---- batch norm --------------------------------------------------------------------------------


def native_batch_norm_backward(
    low: Lowering,
    gradient: Handle,
    x: Handle,
    weight: Operand | None,
    running_mean: Operand | None,
    running_var: Operand | None,
    _save_mean: Operand | None,
    _save_invstd: Operand | None,
    train: bool,
    eps: float,
    output_mask: Sequence[bool],
) -> Gradients:
    if not isinstance(x, Handle):
        raise UnsupportedOperation("batch norm: the backward pass of a public input is public")
    shape = x.wire.shape
    if not train:
        return _by_running(low, gradient, x, weight, running_mean, running_var, eps, output_mask)
    given = channel_rows(low, gradient)
    rows = (shape[1], x.wire.size // shape[1])
    per_row = None if weight is None else read(low, weight, (shape[1], 1))
    dx, dw, db = rows_backward(
        low,
        reshaped(low, given, (shape[1], 1, rows[1])),
        per_row,
        channel_rows(low, x),
        rows,
        (shape[1], 1, rows[1]),
        eps,
        x,
    )
    return _asked(
        output_mask,
        channels_back(low, reshaped(low, dx, rows), shape),
        reshaped(low, dw, (shape[1],)),
        reshaped(low, db, (shape[1],)),
    )


def _by_running(
    low: Lowering,
    gradient: Handle,
    x: Handle,
    weight: Operand | None,
    mean: Operand | None,
    variance: Operand | None,
    eps: float,
    output_mask: Sequence[bool],
) -> Gradients:
    """In eval mode the statistics are constants."""
    assert mean is not None
    assert variance is not None
    shape = x.wire.shape
    column = per_channel(shape)
    dx: Handle | None = None
    dw: Handle | None = None
    dims = (0, *range(2, len(shape)))
    if output_mask[0]:
        dx = mul(low, gradient, read(low, scaling_of(low, weight, variance, eps), column))
    if output_mask[1]:
        centred = sub(low, x, read(low, mean, column))
        total = sum_(low, mul(low, gradient, centred), dims)
        dw = mul(low, total, scaling_of(low, None, variance, eps))
    db = sum_(low, gradient, dims) if output_mask[2] else None
    return dx, dw, db
