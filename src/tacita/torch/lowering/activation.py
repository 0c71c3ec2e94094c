"""Activations made of relu, clamp and products."""

from __future__ import annotations

import torch

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import add, mul, multiplied, sub
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, Operand
from tacita.torch.lowering.scales import descaled, rescaled
from tacita.torch.lowering.selection import POSITIVE, between, exact_relu
from tacita.torch.lowering.shape import reshaped


def hardtanh(
    low: Lowering, x: Handle, min_val: Number = -1, max_val: Number = 1, *, keep: bool = False
) -> Handle:
    return between(low, x, min_val, max_val, "hardtanh", exact=False, keep=keep)


def relu6(low: Lowering, x: Handle) -> Handle:
    return between(low, x, 0, 6, "relu6", exact=False)


def hardsigmoid(low: Lowering, x: Handle, *, keep: bool = False) -> Handle:
    """relu6(x + 3)/6; the division is free."""
    gate = _gate(low, x, "hardsigmoid", keep=keep)
    return rescaled(low, gate, 6 * gate.wire.scale)


def hardswish(low: Lowering, x: Handle, *, keep: bool = False) -> Handle:
    """x·relu6(x + 3)/6."""
    out = multiplied(low, x, _gate(low, x, "hardswish", keep=keep))
    return rescaled(low, out, 6 * out.wire.scale)


def _gate(low: Lowering, x: Handle, what: str, *, keep: bool) -> Handle:
    """relu6(x + 3)."""
    return add(low, between(low, x, -3, 3, what, exact=False, keep=keep), 3)


def prelu(low: Lowering, x: Handle, weight: Operand, *, keep: bool = False) -> Handle:
    """relu(x) + weight·(x - relu(x)); the weight broadcasts."""
    source = x
    (x,) = descaled(low, (x,), "prelu")
    above = exact_relu(low, x, "prelu", keep=keep)
    if keep and POSITIVE in low.derived(above):
        low.derived(source)[POSITIVE] = low.derived(above)[POSITIVE]
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
