"""What PyTorch's transformer modules ask for in eval mode without gradients: whole layers at once.

`nn.MultiheadAttention` and `nn.TransformerEncoderLayer` then call one operation each, with all
their weights. Here it is taken apart into linear layers, attention, normalisation and activation.
"""

from __future__ import annotations

import torch

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import add
from tacita.torch.lowering.attention import attention_with_weights
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.matrices import linear
from tacita.torch.lowering.normalisation import layer_norm
from tacita.torch.lowering.operands import Operand
from tacita.torch.lowering.reduction import mean
from tacita.torch.lowering.selection import relu
from tacita.torch.lowering.shape import permuted, reshaped, split
from tacita.torch.lowering.smooth import gelu

WHAT = "multi-head attention"
POSITIONS, PADDING = 0, 1  # what a mask is about: pairs of positions, or keys of each sequence


def multi_head_attention(
    low: Lowering,
    query: Handle,
    key: Handle,
    value: Handle,
    embed_dim: int,
    num_head: int,
    qkv_weight: Operand,
    qkv_bias: Operand,
    proj_weight: Operand,
    proj_bias: Operand,
    mask: torch.Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Handle, Handle | None]:
    """aten._native_multi_head_attention: the result and, if asked for, the weights."""
    batch, length, width = query.wire.shape
    if width != embed_dim or embed_dim % num_head:
        raise ShapeError(
            f"{WHAT}: inputs of width {width} for {num_head} heads of {embed_dim} in all"
        )
    if query is key and key is value:
        # One product for all three.
        parts = split(low, linear(low, query, qkv_weight, qkv_bias), embed_dim, -1)
    else:
        weights, biases = _thirds(low, qkv_weight), _thirds(low, qkv_bias)
        parts = [
            linear(low, each, weight, bias)
            for each, weight, bias in zip((query, key, value), weights, biases, strict=True)
        ]
    q, k, v = (_heads(low, part, num_head) for part in parts)
    out, seen = attention_with_weights(low, q, k, v, _mask(mask, mask_type, batch))
    out = reshaped(low, permuted(low, out, (0, 2, 1, 3)), (batch, length, embed_dim))
    result = linear(low, out, proj_weight, proj_bias)
    if not need_weights:
        return result, None
    return result, mean(low, seen, 1) if average_attn_weights else seen


def encoder_layer(
    low: Lowering,
    src: Handle,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Operand,
    qkv_bias: Operand,
    proj_weight: Operand,
    proj_bias: Operand,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Operand,
    norm_bias_1: Operand,
    norm_weight_2: Operand,
    norm_bias_2: Operand,
    ffn_weight_1: Operand,
    ffn_bias_1: Operand,
    ffn_weight_2: Operand,
    ffn_bias_2: Operand,
    mask: torch.Tensor | None = None,
    mask_type: int | None = None,
) -> Handle:
    """aten._transformer_encoder_layer_fwd; src [batch, length, embed_dim]."""

    def heard(x: Handle) -> Handle:
        return multi_head_attention(
            low, x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias,
            mask, need_weights=False, mask_type=mask_type,
        )[0]  # fmt: skip

    def thought(x: Handle) -> Handle:
        inner = linear(low, x, ffn_weight_1, ffn_bias_1)
        return linear(
            low, gelu(low, inner) if use_gelu else relu(low, inner), ffn_weight_2, ffn_bias_2
        )

    def norm(x: Handle, weight: Operand, bias: Operand) -> Handle:
        return layer_norm(low, x, (embed_dim,), weight, bias, eps)

    if norm_first:
        x = add(low, src, heard(norm(src, norm_weight_1, norm_bias_1)))
        return add(low, x, thought(norm(x, norm_weight_2, norm_bias_2)))
    x = norm(add(low, src, heard(src)), norm_weight_1, norm_bias_1)
    return norm(add(low, x, thought(x)), norm_weight_2, norm_bias_2)


def _thirds(low: Lowering, parameter: Operand) -> list[Operand]:
    """The parts of a stacked weight or bias for query, key and value."""
    if isinstance(parameter, Handle):
        return list(split(low, parameter, parameter.wire.shape[0] // 3, 0))
    assert isinstance(parameter, torch.Tensor)
    return list(parameter.detach().chunk(3))


def _heads(low: Lowering, x: Handle, count: int) -> Handle:
    """[batch, length, width] as [batch, heads, length, width/heads]."""
    batch, length, width = x.wire.shape
    return permuted(low, reshaped(low, x, (batch, length, count, width // count)), (0, 2, 1, 3))


def _mask(mask: torch.Tensor | None, kind: int | None, batch: int) -> torch.Tensor | None:
    """The module's mask, in which True hides, as one for `attention`, in which True is kept."""
    if mask is None:
        return None
    if not isinstance(mask, torch.Tensor):
        raise UnsupportedOperation(f"{WHAT}: the mask has to be public here")
    if kind == PADDING:
        mask = mask.reshape(batch, 1, 1, mask.shape[-1])
    return ~mask if mask.dtype == torch.bool else mask
