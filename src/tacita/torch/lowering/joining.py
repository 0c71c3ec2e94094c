"""Joining tensors along a dimension, existing or new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.protocols import Concatenate
from tacita.torch.lowering.arithmetic import handle_of
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand
from tacita.torch.lowering.scales import aligned
from tacita.torch.lowering.shape import axis, gathered, reshaped, unsqueeze


def concatenated(low: Lowering, parts: Sequence[Handle], dim: int, what: str) -> Handle:
    """Joins wires of any scales along an existing dimension."""
    terms, scale = aligned(low, parts, what)
    wires = [
        part if factor == 1 else low.combine(((part, factor),), part.wire.shape, scale)
        for part, factor in terms
    ]
    first = wires[0].wire.shape
    for each in wires:
        shape = each.wire.shape
        if len(shape) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(shape, first, strict=True)) if i != dim
        ):
            raise ShapeError(f"{what}: shapes {first} and {shape} do not fit in dimension {dim}")
    length = sum(each.wire.shape[dim] for each in wires)
    bounds = [each.wire.bound for each in wires]
    bound = None if None in bounds else max(b for b in bounds if b is not None)
    bit = scale == 1 and all(each.wire.bit for each in wires)
    wire = low.wire((*first[:dim], length, *first[dim + 1 :]), scale, bound, bit=bit)
    if not wire.size:
        return low.zeros(wire.shape, scale)
    return low.emit(Concatenate(wire.id, tuple(each.wire.id for each in wires), dim), wire)


def cat(low: Lowering, tensors: Sequence[Operand], dim: int = 0) -> Handle:
    parts = [handle_of(low, each, "cat") for each in tensors]
    # torch lets an empty vector be joined with anything.
    parts = [each for each in parts if each.wire.shape != (0,)] or parts[:1]
    if not parts[0].wire.shape:
        raise ShapeError("cat: 0-d tensors cannot be joined; use stack")
    return concatenated(low, parts, axis(dim, len(parts[0].wire.shape)), "cat")


def stack(low: Lowering, tensors: Sequence[Operand], dim: int = 0) -> Handle:
    parts = [handle_of(low, each, "stack") for each in tensors]
    if len({each.wire.shape for each in parts}) > 1:
        raise ShapeError("stack: tensors of different shapes")
    at = axis(dim, len(parts[0].wire.shape) + 1)
    return concatenated(low, [unsqueeze(low, each, at) for each in parts], at, "stack")


def gathering_with_zeros(operation: Callable[..., Any]) -> Callable[..., Handle]:
    """The lowering of a torch operation that moves elements about and fills gaps with zeros."""

    def gather(low: Lowering, x: Handle, *args: Any, **kwargs: Any) -> Handle:
        n = x.wire.size
        # Position 0 stands for the zero that is put in front.
        positions = torch.arange(1, n + 1).view(x.wire.shape)
        moved = operation(positions, *args, **kwargs)
        flat = concatenated(low, [low.zeros((1,), x.wire.scale), reshaped(low, x, (n,))], 0, "pad")
        return gathered(low, flat, moved)

    return gather
