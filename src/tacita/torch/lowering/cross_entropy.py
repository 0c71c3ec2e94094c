"""Losses of classifications: negative log likelihood, and cross entropy of one class with logits.

Classes are public indices, or private ones, which are compared with each class; probabilities,
private or public, need nothing from here: torch multiplies them with the log softmax itself.
Cost: none where classes are public, but for the wire's own scale; private ones a comparison for
each class and a product.
"""

from __future__ import annotations

import numpy as np
import torch

from tacita.compiler.functions import SOFTPLUS
from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import (
    add,
    by_fraction,
    mul,
    multiplied,
    neg,
    public_product,
    sub,
)
from tacita.torch.lowering.comparison import eq
from tacita.torch.lowering.losses import reduced
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand, reciprocal
from tacita.torch.lowering.reduction import sum_
from tacita.torch.lowering.shape import expanded, reshaped
from tacita.torch.lowering.smooth import smooth

NONE, MEAN, SUM = 0, 1, 2  # as torch counts reductions
WHAT = "nll_loss"


class _Classes:
    """One-hot rows [N, C, ...] of the classes, with their weights; and the sum of the weights."""

    def __init__(
        self,
        low: Lowering,
        shape: tuple[int, ...],
        target: Operand,
        weight: Operand | None,
        ignored: int,
    ) -> None:
        """shape: of the scores, [C], [N, C] or [N, C, ...]."""
        self.dim = 1 if len(shape) > 1 else 0
        count = shape[self.dim]
        if isinstance(weight, Handle):
            raise UnsupportedOperation(f"{WHAT}: weights of classes are public numbers")
        if isinstance(target, Handle):
            if weight is not None:
                raise UnsupportedOperation(
                    f"{WHAT}: private classes have no weights; multiply the losses by private "
                    "weights instead"
                )
            self.rows = self._private(low, shape, count, target)
            self.total = float(target.wire.size)
            return
        if not isinstance(target, torch.Tensor):
            raise ShapeError(f"{WHAT}: classes come as a tensor of indices")
        kept = target != ignored
        chosen = torch.where(kept, target, torch.zeros_like(target))
        if chosen.numel() and (int(chosen.min()) < 0 or int(chosen.max()) >= count):
            raise ShapeError(f"{WHAT}: a class is not one of 0 … {count - 1}")
        rows = torch.nn.functional.one_hot(chosen.long(), count) * kept.unsqueeze(-1)
        rows = rows.movedim(-1, self.dim)
        if weight is None:
            self.total = float(rows.sum())
            self.rows = low.constant(np.ascontiguousarray(rows.numpy().astype(np.uint64)), 1)
            return
        assert isinstance(weight, torch.Tensor)
        own = weight.detach().double().reshape(-1, *(1,) * (len(shape) - self.dim - 1))
        weighted = rows.double() * own
        self.total = float(weighted.sum())
        values = np.rint(weighted.numpy() * low.scale).astype(np.int64).view(np.uint64)
        self.rows = low.constant(np.ascontiguousarray(values), low.scale)

    def _private(self, low: Lowering, shape: tuple[int, ...], count: int, target: Handle) -> Handle:
        own = target.wire.shape
        spread = (*own[: self.dim], 1, *own[self.dim :])
        labels = torch.arange(count).reshape(-1, *(1,) * (len(shape) - self.dim - 1))
        column = expanded(low, reshaped(low, target, spread), shape)
        return eq(low, column, labels)


def nll_loss_forward(
    low: Lowering,
    scores: Handle,
    target: Operand,
    weight: Operand | None,
    reduction: int,
    ignore_index: int,
) -> tuple[Handle, torch.Tensor]:
    """-Σ scores[class]·weight[class], by the sum of the weights for a mean; and that sum.

    scores: [N, C], [C] or [N, C, ...]. A mean over no class at all is 0, not the NaN of torch.
    """
    classes = _Classes(low, scores.wire.shape, target, weight, ignore_index)
    losses = neg(low, sum_(low, _times(low, scores, classes.rows), classes.dim))
    total = torch.tensor(classes.total)
    if reduction == NONE:
        return losses, total
    loss = sum_(low, losses)
    return (_divided(low, loss, classes.total) if reduction == MEAN else loss), total


def nll_loss_backward(
    low: Lowering,
    grad: Handle,
    scores: Handle,
    target: Operand,
    weight: Operand | None,
    reduction: int,
    ignore_index: int,
    _: Operand,
) -> Handle:
    """-grad·weight[class] at the class, 0 elsewhere; by the sum of the weights for a mean."""
    shape = scores.wire.shape
    classes = _Classes(low, shape, target, weight, ignore_index)
    if grad.wire.shape:
        grad = reshaped(low, grad, (*grad.wire.shape[: classes.dim], 1,
                                    *grad.wire.shape[classes.dim :]))  # fmt: skip
    grad = expanded(low, grad, shape)
    out = neg(low, _times(low, grad, classes.rows))
    return _divided(low, out, classes.total) if reduction == MEAN else out


def _times(low: Lowering, x: Handle, rows: Handle) -> Handle:
    if rows.public and not x.public:
        return public_product(low, x, rows, x.wire.shape)
    return multiplied(low, x, rows)


def _divided(low: Lowering, x: Handle, total: float) -> Handle:
    if not total:
        return low.zeros(x.wire.shape, low.scale)
    whole = int(total) if total == int(total) else total
    return by_fraction(low, x, *reciprocal(low, whole, WHAT), WHAT)


def binary_cross_entropy_with_logits(
    low: Lowering,
    x: Operand,
    target: Operand,
    weight: Operand | None = None,
    pos_weight: Operand | None = None,
    reduction: int = MEAN,
) -> Handle:
    """softplus(x) - t·x; with weights p of the positive (1 - t)·x + (1 + (p - 1)·t)·softplus(-x).

    Classes and weights private or public; the scores x private.
    """
    if not isinstance(x, Handle):
        raise UnsupportedOperation(
            "binary_cross_entropy_with_logits: the scores are public; compute with target - x"
        )
    if pos_weight is None:
        losses = sub(low, smooth(low, x, SOFTPLUS), mul(low, x, target))
    else:
        # softplus(-x) is softplus(x) - x.
        curve = sub(low, smooth(low, x, SOFTPLUS), x)
        share = _share(low, target, pos_weight)
        losses = add(low, sub(low, x, mul(low, x, target)), mul(low, curve, share))
    if weight is not None:
        losses = mul(low, losses, weight)
    return reduced(low, losses, reduction)


def _share(low: Lowering, target: Operand, pos_weight: Operand) -> Operand:
    """1 + (p - 1)·t, public where both are."""
    if not isinstance(target, Handle) and not isinstance(pos_weight, Handle):
        return 1 + (pos_weight - 1) * target
    above = sub(low, pos_weight, 1) if isinstance(pos_weight, Handle) else pos_weight - 1
    return add(low, mul(low, target, above), 1)
