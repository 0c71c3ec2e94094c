"""Attention and transformer modules on private inputs and weights, against torch's own.

Tolerances: scores and values of size 1 in 16 bits; the softmax is within 2^-11 (softmax.py), and
what it weighs within that times the values' sum; a normalisation stretches errors by the inverse of
the spread it finds, about 1 here.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

CLOSE = 2.0**-8


def private(share, *tensors):
    out = [share(each) for each in tensors]
    return out if len(out) > 1 else out[0]


@pytest.fixture
def share(workers):
    def shared(secret):
        encoded = secret.fix_precision(base=2, precision_fractional=16)
        return encoded.share(workers["alice"], workers["bob"], crypto_provider=workers["dan"])

    return shared


def revealed(tensor):
    return tensor.get().float_precision()


def queries(*shape):
    torch.manual_seed(0)
    return [torch.randn(shape) for _ in range(3)]


@pytest.mark.parametrize("causal", [False, True])
def test_scaled_dot_product_attention(share, causal):
    q, k, v = queries(2, 2, 5, 4)
    with torch.no_grad():
        out = F.scaled_dot_product_attention(*private(share, q, k, v), is_causal=causal)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert (revealed(out) - expected).abs().max() < CLOSE


def masks():
    shown = torch.tensor([[True, True, False, True], [True, False, False, True]] * 2)[:3]
    return {
        "flags": shown,
        "numbers": torch.zeros(3, 4).masked_fill(~shown, -torch.inf) + 0.25 * torch.eye(3, 4),
    }


@pytest.mark.parametrize("kind", ["flags", "numbers"])
def test_a_public_mask_leaves_positions_out(share, kind):
    mask = masks()[kind]
    q, k, v = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    v[:, :, 2] = 100  # hidden everywhere: it would show
    with torch.no_grad():
        out = F.scaled_dot_product_attention(*private(share, q, k, v), attn_mask=mask)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert (revealed(out) - expected).abs().max() < CLOSE


def test_a_private_mask_is_added(share):
    q, k, v = queries(1, 2, 4, 4)
    mask = torch.tensor([0.0, -0.5, 1.0, -32.0]).expand(1, 1, 1, 4).contiguous()
    with torch.no_grad():
        out = F.scaled_dot_product_attention(*private(share, q, k, v), attn_mask=share(mask))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert (revealed(out) - expected).abs().max() < CLOSE


def test_dropout_drops_weights_and_scales_the_others(share):
    q, k = torch.randn(1, 1, 8, 4), torch.randn(1, 1, 8, 4)
    v = torch.eye(8).expand(1, 1, 8, 8).contiguous()  # so that the weights are the result
    weights = F.scaled_dot_product_attention(q, k, v)
    with torch.no_grad():
        out = F.scaled_dot_product_attention(*private(share, q, k, v), dropout_p=0.5)
    found = revealed(out)
    dropped = found.abs() < CLOSE * CLOSE
    assert 0 < dropped.sum() < dropped.numel()
    assert torch.where(dropped, 0, found - 2 * weights).abs().max() < CLOSE


def test_gradients_of_attention(share):
    q, k, v = queries(1, 2, 4, 3)
    hidden = private(share, q, k, v)
    plain = [each.clone() for each in (q, k, v)]
    for each in (*hidden, *plain):
        each.requires_grad_()
    weights = torch.randn(1, 2, 4, 3)
    (F.scaled_dot_product_attention(*hidden) * weights).sum().backward()
    (F.scaled_dot_product_attention(*plain) * weights).sum().backward()
    for mine, theirs in zip(hidden, plain, strict=True):
        assert (revealed(mine.grad) - theirs.grad).abs().max() < 2 * CLOSE


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_multi_head_attention(share, need_weights, grad):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        expected, seen = module(x, x, x, need_weights=need_weights)
    share(module)
    with torch.set_grad_enabled(grad):
        private_x = share(x)
        out, weights = module(private_x, private_x, private_x, need_weights=need_weights)
    assert (revealed(out) - expected).abs().max() < CLOSE
    assert (weights is None) == (not need_weights)
    if need_weights:
        assert (revealed(weights) - seen).abs().max() < 2.0**-10


def test_multi_head_attention_with_a_causal_mask(share):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 4, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    with torch.no_grad():
        expected, _ = module(x, x, x, attn_mask=mask, is_causal=True)
        share(module)
        private_x = share(x)
        out, weights = module(private_x, private_x, private_x, attn_mask=mask, is_causal=True)
    assert (revealed(out) - expected).abs().max() < CLOSE
    above = revealed(weights)[0][torch.ones(4, 4).triu(1).bool()]
    assert above.abs().max() == 0


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_layer(share, grad, norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, activation="gelu", batch_first=True, norm_first=norm_first
    ).eval()
    x = torch.randn(2, 4, 8)
    with torch.no_grad():
        expected = layer(x)
    share(layer)
    with torch.set_grad_enabled(grad):
        out = layer(share(x))
    assert (revealed(out) - expected).abs().max() < 4 * CLOSE


@pytest.mark.parametrize("grad", [True, False])
def test_an_encoder_with_a_mask_of_padding(share, grad):
    """As it is made by default: no nested tensor, and positions that are not padding agree."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, 5, 8)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        expected = encoder(x, src_key_padding_mask=padding)
    share(encoder)
    with torch.set_grad_enabled(grad):
        out = revealed(encoder(share(x), src_key_padding_mask=padding))
    assert (out - expected)[~padding].abs().max() < 4 * CLOSE


def test_a_decoder_layer_sees_no_later_position(share):
    torch.manual_seed(0)
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True).eval()
    target, memory = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    with torch.no_grad():
        expected = layer(target, memory, tgt_mask=mask, tgt_is_causal=True)
        share(layer)
        out = layer(share(target), share(memory), tgt_mask=mask, tgt_is_causal=True)
    assert (revealed(out) - expected).abs().max() < 4 * CLOSE


def test_a_decoder_with_kept_keys_and_values(share):
    """Token by token with a cache is the same as all at once under a causal mask."""
    q, k, v = queries(1, 2, 4, 4)
    with torch.no_grad():
        hidden = private(share, q, k, v)
        whole = revealed(F.scaled_dot_product_attention(*hidden, is_causal=True))
        keys = values = None
        for at in range(4):
            each = [part[:, :, at : at + 1] for part in hidden]
            keys = each[1] if keys is None else torch.cat([keys, each[1]], dim=2)
            values = each[2] if values is None else torch.cat([values, each[2]], dim=2)
            step = F.scaled_dot_product_attention(each[0], keys, values)
            assert (revealed(step) - whole[:, :, at : at + 1]).abs().max() < CLOSE
