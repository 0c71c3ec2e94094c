"""Dropout in training: a public mask of what is kept.

The mask is drawn here, at the user's side, by torch's own generator, and sent to every party as a
public constant. It hides nothing and tells nothing of the data, so it need not be secret; and with
torch.manual_seed() it is the same as that of a run in the clear.
"""

from __future__ import annotations

import numpy as np
import torch

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import PUBLIC, mul, public_product, scaled
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, factor

WHAT = "dropout"


def bernoulli(
    low: Lowering, x: Handle, p: Number = 0.5, *, generator: torch.Generator | None = None
) -> Handle:
    """Public zeros and ones in the shape of x, each 1 with probability p."""
    drawn = torch.empty(x.wire.shape).bernoulli_(p, generator=generator)
    values = drawn.numpy().astype(np.uint64)
    handle = low.constant(values, 1)
    low.derived(handle)[PUBLIC] = values
    return handle


def dropout(low: Lowering, x: Handle, p: float, train: bool) -> Handle:
    """The input itself in eval mode; else what is kept of it, by 1/(1 - p)."""
    return native_dropout(low, x, p, train)[0]


def native_dropout(
    low: Lowering, x: Handle, p: float, train: bool | None
) -> tuple[Handle, torch.Tensor]:
    """With the mask of what was kept."""
    shape = x.wire.shape
    if not 0 <= p <= 1:
        raise ShapeError("dropout: a probability lies between 0 and 1")
    if train is False or not p:
        return x, torch.ones(shape, dtype=torch.bool)
    if p == 1:
        return low.zeros(shape, x.wire.scale), torch.zeros(shape, dtype=torch.bool)
    kept = torch.empty(shape).bernoulli_(1 - p)
    return mul(low, x, kept / (1 - p)), kept.bool()


def feature_dropout(low: Lowering, x: Handle, p: float, train: bool) -> Handle:
    """The same for whole channels of [N, C, …]."""
    if not train or not p:
        return x
    shape = x.wire.shape
    lead = (*shape[:2], *(1,) * (len(shape) - 2))
    if p == 1:
        return low.zeros(shape, x.wire.scale)
    kept = torch.empty(lead).bernoulli_(1 - p)
    return public_product(low, x, factor(low, kept / (1 - p), WHAT), shape)


def native_dropout_backward(
    low: Lowering, gradient: Handle, mask: torch.Tensor, scale: float
) -> Handle:
    return scaled(low, mul(low, gradient, mask), scale)
