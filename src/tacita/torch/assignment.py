"""x[index] = value for public indices, as a new wire."""

from __future__ import annotations

from typing import Any

import torch

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.torch.lowering import Lowering
from tacita.torch.lowering.arithmetic import broadcast, handle_of
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.shape import expanded, gathered, refuse_private_index, reshaped


def assigned(low: Lowering, x: Handle, index: Any, value: Any) -> Handle:
    """The elements of x with those at `index` replaced: one gather from x joined with value."""
    refuse_private_index("assignment", index if isinstance(index, tuple) else (index,))
    n = x.wire.size
    positions = torch.arange(n).view(x.wire.shape)
    try:
        chosen = positions[index]
    except IndexError as error:
        raise ShapeError(f"assignment: {error}") from None
    given = handle_of(low, value, "assignment")
    shape = tuple(chosen.shape)
    if given.wire.shape != shape:
        if broadcast(given.wire.shape, shape, "assignment") != shape:
            raise ShapeError(f"a value of shape {given.wire.shape} does not fit {shape}")
        given = expanded(low, given, shape)
    if not chosen.numel():
        return x
    positions[index] = torch.arange(n, n + chosen.numel()).view(shape)
    flat = [reshaped(low, x, (n,)), reshaped(low, given, (chosen.numel(),))]
    return gathered(low, concatenated(low, flat, 0, "assignment"), positions)
