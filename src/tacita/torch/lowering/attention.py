"""Scaled dot-product attention, and the fused forms in which PyTorch's modules ask for it.

attention(q, k, v) = softmax(q·kᵀ·scale + mask)·v. Public masks, causal ones among them, leave the
hidden positions out of the softmax altogether; a private mask is added to the scores.
Cost: that of the two products and of the softmax (softmax.py).
Source: Vaswani et al., "Attention is all you need" (2017).

The names of PyTorch's fused operations tell how it would compute them on plain tensors; on private
ones they are the same sums and products.
"""

from __future__ import annotations

from math import ceil, sqrt

import torch

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import scaled
from tacita.torch.lowering.expected import SCORES
from tacita.torch.lowering.exponentials import FINEST
from tacita.torch.lowering.hidden import HIDDEN
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.matrices import matmul
from tacita.torch.lowering.operands import Operand
from tacita.torch.lowering.scales import relabelled
from tacita.torch.lowering.shape import expanded, reshaped, transpose
from tacita.torch.lowering.softmax import softmax, softmax_backward
from tacita.torch.lowering.weighted_mean import plus, weighted_mean

WHAT = "attention"


def attention(
    low: Lowering,
    query: Operand,
    key: Operand,
    value: Operand,
    attn_mask: Operand | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Handle:
    """aten.scaled_dot_product_attention; query [..., L, E], key [..., S, E], value [..., S, Ev].

    Where bounds are known, as in whole networks, the values are weighed by exponentials and divided
    by their sum afterwards (weighted_mean.py).
    """
    _without_dropout(dropout_p)
    if enable_gqa:
        key, value = _for_each_head(low, key, query), _for_each_head(low, value, query)
    scores = _scores(low, query, key, scale)
    if isinstance(value, Handle):
        private = attn_mask if isinstance(attn_mask, Handle) else None
        public = None if private is not None else attn_mask
        shown, kept = masked(low, scores, public, is_causal)
        found = weighted_mean(low, shown, value, kept, private, WHAT)
        if found is not None:
            return found
    return _by_softmax(low, scores, value, attn_mask, is_causal)[0]


def flash_attention(
    low: Lowering,
    query: Operand,
    key: Operand,
    value: Operand,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Operand | None = None,
    scale: float | None = None,
) -> tuple[Handle, Handle]:
    """What PyTorch asks for on a CPU: the result, and what its backward needs.

    For that torch keeps the logarithms of the sums; here it keeps the softmax itself, so that the
    backward need not compute it again.
    """
    return attention_with_weights(
        low, query, key, value, attn_mask, dropout_p, is_causal, scale=scale
    )


def flash_attention_backward(
    low: Lowering,
    grad: Operand,
    query: Operand,
    key: Operand,
    value: Operand,
    _out: Operand,
    weights: Handle,
    *_settings: object,
    scale: float | None = None,
    **_masks: object,
) -> tuple[Handle, Handle, Handle]:
    """The gradients of query, key and value; `weights` is what `flash_attention` kept.

    What was hidden has weight 0 there, so masks need no mention again.
    """
    by = _scale(query, scale)
    value_grad = matmul(low, _turned(low, weights), grad)
    weights_grad = matmul(low, grad, _turned(low, value))
    scores_grad = softmax_backward(low, weights_grad, weights, -1)
    scores_grad = scaled(low, scores_grad, by)
    return (
        matmul(low, scores_grad, key),
        matmul(low, _turned(low, scores_grad), query),
        value_grad,
    )


def attention_with_weights(
    low: Lowering,
    query: Operand,
    key: Operand,
    value: Operand,
    mask: Operand | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> tuple[Handle, Handle]:
    """The result, and the weights with which it took the values."""
    _without_dropout(dropout_p)
    return _by_softmax(low, _scores(low, query, key, scale), value, mask, is_causal)


def _by_softmax(
    low: Lowering, scores: Handle, value: Operand, mask: Operand | None, is_causal: bool
) -> tuple[Handle, Handle]:
    scores, kept = masked(low, scores, mask, is_causal)
    weights = softmax(low, scores, -1, kept=kept)
    return matmul(low, weights, value), weights


def masked(
    low: Lowering, scores: Handle, mask: Operand | None, is_causal: bool
) -> tuple[Handle, torch.Tensor | None]:
    """The scores with a finite mask added, and which positions count, where that is public.

    What a public mask lowers by -HIDDEN or more counts for nothing, as with minus infinity.
    """
    shape = scores.wire.shape
    kept: torch.Tensor | None = None
    if is_causal:
        if mask is not None:
            raise UnsupportedOperation(f"{WHAT}: give either is_causal or a mask")
        return scores, torch.ones(shape[-2:], dtype=torch.bool).tril()
    if isinstance(mask, torch.Tensor):
        if mask.dtype == torch.bool:
            kept = mask
        else:
            kept = mask > HIDDEN
            finite = torch.where(kept, mask, torch.zeros_like(mask))
            if finite.any():
                scores = plus(low, scores, finite.detach(), WHAT)
        if bool(kept.all()):
            kept = None
    elif isinstance(mask, Handle):
        scores = plus(low, scores, mask, WHAT)
    if scores.wire.shape != shape:
        raise ShapeError(f"{WHAT}: a mask does not fit scores of shape {shape}")
    return scores, kept


def _without_dropout(share: float) -> None:
    if share:
        raise UnsupportedOperation(
            f"{WHAT}: dropout inside it has no protocol; build the module with dropout=0, or call "
            "eval() on it"
        )


def _scores(low: Lowering, query: Operand, key: Operand, scale: float | None) -> Handle:
    """q·kᵀ·scale; of any scale, which takes the factor in: an exponent has no need of another."""
    products, by = matmul(low, query, _turned(low, key)), _scale(query, scale)
    if low.precision is None or not by * low.scale <= products.wire.scale <= by * FINEST:
        return scaled(low, products, by)
    wire = products.wire
    bound, known = wire.bound, low.expected.get(SCORES)
    taken_in = round(wire.scale / by)
    if known is not None:
        most = ceil(max(-known.least, known.most) * taken_in)
        bound = most if bound is None else min(bound, most)
    return relabelled(low, products, taken_in, bound)


def _scale(query: Operand, scale: float | None) -> float:
    return 1 / sqrt(_shape(query)[-1]) if scale is None else scale


def _shape(value: Operand) -> tuple[int, ...]:
    if isinstance(value, Handle):
        return value.wire.shape
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    raise ShapeError(f"{WHAT}: a {type(value).__name__} is no tensor")


def _turned(low: Lowering, value: Operand) -> Operand:
    """The last two dimensions exchanged."""
    if isinstance(value, Handle):
        return transpose(low, value, -2, -1)
    assert isinstance(value, torch.Tensor)
    return value.detach().transpose(-2, -1)


def _for_each_head(low: Lowering, value: Operand, query: Operand) -> Operand:
    """Keys or values [..., heads, S, E], each used by as many query heads as it takes."""
    heads, own = _shape(query)[-3], _shape(value)[-3]
    if heads % own:
        raise ShapeError(f"{WHAT}: {heads} heads of queries are no multiple of {own}")
    if isinstance(value, torch.Tensor):
        return value.detach().repeat_interleave(heads // own, -3)
    assert isinstance(value, Handle)
    shape = value.wire.shape
    each = (*shape[:-2], heads // own, *shape[-2:])
    apart = expanded(low, reshaped(low, value, (*shape[:-2], 1, *shape[-2:])), each)
    return reshaped(low, apart, (*shape[:-3], heads, *shape[-2:]))
