"""Conversions and constants: what stays private keeps its kind, whatever dtype is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.comparison import ne
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, fraction
from tacita.torch.lowering.shape import expanded


def to_copy(
    low: Lowering,
    x: Handle,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    **_: Any,
) -> Handle:
    """float(), double(), long(), to(…): allowed where the tensor is of that kind already.

    Whole numbers in fixed precision, as comparisons and argmax result in, are their own integers;
    the result stays in fixed precision all the same.
    """
    if device is not None and torch.device(device).type != "cpu":
        raise UnsupportedOperation(
            f"private tensors live with their holders and cannot move to {device}"
        )
    if dtype == torch.bool:
        return ne(low, x, 0)
    if dtype is None or dtype.is_floating_point == (low.precision is not None):
        return x
    if low.precision is not None and x.wire.scale == 1 and dtype is not None:
        return x  # whole numbers, such as a comparison results in
    if low.precision is None:
        raise UnsupportedOperation(
            "private integers cannot become fixed point: call fix_precision() before share()"
        )
    raise UnsupportedOperation(
        f"a private tensor in fixed precision cannot become {dtype}: // 1 rounds it down, and "
        "after get().float_precision() there is an ordinary tensor"
    )


def not_nested(*_: Any) -> bool:
    """False: the mask of padding is applied to the scores, and no nested tensor is made of it.

    So `nn.TransformerEncoder` computes padded positions as well, where torch's fast path leaves
    zeros.
    """
    return False


def zeros_like(low: Lowering, x: Handle, **_: Any) -> Handle:
    return low.zeros(x.wire.shape)


def ones_like(low: Lowering, x: Handle, **_: Any) -> Handle:
    return full(low, x.wire.shape, 1)


def full_like(low: Lowering, x: Handle, value: Number, **_: Any) -> Handle:
    return full(low, x.wire.shape, value)


def new_zeros(low: Lowering, _: Handle, size: Sequence[int], **__: Any) -> Handle:
    return low.zeros(tuple(size))


def new_empty_strided(
    low: Lowering, _: Handle, size: Sequence[int], _stride: Sequence[int], **__: Any
) -> Handle:
    """Strides mean nothing to a tensor without storage."""
    return low.zeros(tuple(size))


def new_ones(low: Lowering, _: Handle, size: Sequence[int], **__: Any) -> Handle:
    return full(low, tuple(size), 1)


def new_full(low: Lowering, _: Handle, size: Sequence[int], value: Number, **__: Any) -> Handle:
    return full(low, tuple(size), value)


def full(low: Lowering, shape: tuple[int, ...], value: Number) -> Handle:
    """One public number everywhere."""
    p, q = fraction(low, value, "filling")
    return expanded(low, low.number(p, q), shape)
