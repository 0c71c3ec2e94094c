"""Rows of a table, and the gradient of the table: at public places for nothing, at private ones by
one-hot columns of the indices (lookup.py)."""

from __future__ import annotations

import torch

from tacita.errors import PrecisionError, ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering import lookup
from tacita.torch.lowering.arithmetic import mul
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand
from tacita.torch.lowering.padding import taken
from tacita.torch.lowering.scattering import scattered
from tacita.torch.lowering.shape import reshaped

WHAT = "embedding"


def embedding(
    low: Lowering,
    table: Operand,
    indices: Operand,
    _padding_idx: int = -1,
    _scale_grad_by_freq: bool = False,
    sparse: bool = False,
    *,
    keep: bool = False,
) -> Handle:
    """[V, D] at indices [...]: [..., D]; a view where indices are public.

    keep: private indices remember their one-hot columns for the backward pass.
    """
    if sparse:
        raise UnsupportedOperation("a private table has no sparse gradients: leave out sparse=True")
    if isinstance(indices, Handle):
        if low.precision is None and isinstance(table, torch.Tensor) and table.is_floating_point():
            raise PrecisionError(
                "embedding: the table is public and the indices are private integers, so nothing "
                "says at which precision the rows should be: encode the table, as in "
                "embedding.fix_precision().share(…), or give the indices in fixed precision, as in "
                "indices.fix_precision().share(…) of whole numbers"
            )
        return lookup.rows(low, table, indices, WHAT, keep=keep)
    places = _public(indices)
    assert isinstance(table, Handle)
    rows = taken(low, table, 0, places.reshape(-1).tolist())
    return reshaped(low, rows, (*places.shape, table.wire.shape[1]))


def embedding_dense_backward(
    low: Lowering,
    gradient: Handle,
    indices: Operand,
    num_weights: int,
    padding_idx: int,
    scale_grad_by_freq: bool,
) -> Handle:
    """[V, D]: the sums of the gradients of each row; none for the row of the padding."""
    if isinstance(indices, Handle):
        if scale_grad_by_freq:
            raise UnsupportedOperation(
                "embedding: how often a private index occurs would have to be divided by: leave "
                "out scale_grad_by_freq=True"
            )
        return lookup.summed_rows(low, gradient, indices, num_weights, padding_idx, WHAT)
    places = _public(indices).reshape(-1)
    rows = reshaped(low, gradient, (places.numel(), gradient.wire.shape[-1]))
    if scale_grad_by_freq:
        counts = torch.bincount(places, minlength=num_weights)[places]
        rows = mul(low, rows, (1 / counts.double())[:, None])
    if padding_idx >= 0:
        kept = torch.nonzero(places != padding_idx).reshape(-1)
        rows, places = taken(low, rows, 0, kept.tolist()), places[kept]
    return scattered(low, rows, 0, places.tolist(), num_weights)


def _public(indices: Operand) -> torch.Tensor:
    if not isinstance(indices, torch.Tensor):
        raise ShapeError("embedding: indices come as a tensor")
    return indices
