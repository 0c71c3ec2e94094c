"""Activations made of relu, clamp and products; and dropout, which does nothing in eval mode."""

from __future__ import annotations

import torch

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import add, mul, multiplied, sub
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, Operand
from tacita.torch.lowering.scales import descaled, rescaled
from tacita.torch.lowering.selection import between, exact_relu
from tacita.torch.lowering.shape import reshaped


def hardtanh(low: Lowering, x: Handle, min_val: Number = -1, max_val: Number = 1) -> Handle:
    return between(low, x, min_val, max_val, "hardtanh", exact=False)


def relu6(low: Lowering, x: Handle) -> Handle:
    return between(low, x, 0, 6, "relu6", exact=False)


def hardsigmoid(low: Lowering, x: Handle) -> Handle:
    """relu6(x + 3)/6; the division is free."""
    gate = _gate(low, x, "hardsigmoid")
    return rescaled(low, gate, 6 * gate.wire.scale)


def hardswish(low: Lowering, x: Handle) -> Handle:
    """x·relu6(x + 3)/6."""
    out = multiplied(low, x, _gate(low, x, "hardswish"))
    return rescaled(low, out, 6 * out.wire.scale)


def _gate(low: Lowering, x: Handle, what: str) -> Handle:
    """relu6(x + 3)."""
    return add(low, between(low, x, -3, 3, what, exact=False), 3)


def prelu(low: Lowering, x: Handle, weight: Operand) -> Handle:
    """relu(x) + weight·(x - relu(x)); the weight broadcasts."""
    (x,) = descaled(low, (x,), "prelu")
    above = exact_relu(low, x, "prelu")
    return add(low, above, mul(low, sub(low, x, above), weight))


def prelu_per_channel(low: Lowering, x: Handle, weight: Operand) -> Handle:
    """The same for one weight, or one a channel."""
    shape = x.wire.shape
    if isinstance(weight, Handle):
        count = weight.wire.size
    elif isinstance(weight, torch.Tensor):
        count = weight.numel()
    else:
        raise ShapeError(f"prelu: a {type(weight).__name__} is no weight")
    channels = shape[1] if len(shape) > 1 else 1
    if count not in (1, channels):
        raise ShapeError(f"prelu: {count} weights for {channels} channels")
    lead = (1,) if len(shape) > 1 else ()
    column = (*lead, count, *(1,) * (len(shape) - 2))
    if isinstance(weight, Handle):
        return prelu(low, x, reshaped(low, weight, column))
    return prelu(low, x, weight.detach().reshape(column))


def dropout(_: Lowering, x: Handle, p: float, train: bool) -> Handle:
    """The input itself in eval mode."""
    if train and p:
        raise UnsupportedOperation(
            "dropout in training has no protocol: call eval() on the module, where it does nothing"
        )
    return x


def native_dropout(
    low: Lowering, x: Handle, p: float, train: bool | None
) -> tuple[Handle, torch.Tensor]:
    """With the mask of what was kept: everything."""
    return dropout(low, x, p, bool(train)), torch.ones(x.wire.shape, dtype=torch.bool)
