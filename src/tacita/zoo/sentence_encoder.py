"""A BERT encoder that makes one vector of a sentence: the architecture of all-MiniLM-L6-v2.

Written for private inputs: nothing in it depends on a value. A sentence arrives as vectors, not as
token numbers, and its length is hidden up to `length`: positions that hold no token get a bias of
-HIDDEN in the attention, and no weight in the mean.

    tokens   [batch, length, vocabulary]  one-hot rows, or, with `embeds=False`,
             [batch, length, width]       rows of the embedding table, looked up by the client
    bias     [batch, 1, 1, length]        0 for a token, -HIDDEN for none
    weights  [batch, 1, length]           1/count for a token, 0 for none
    result   [batch, width]               of length 1

Architecture: Devlin, Chang, Lee, Toutanova, "BERT" (2019); MiniLM: Wang, Wei, Dong, Bao, Yang, Zhou
(2020); the mean over tokens and the unit length: Reimers, Gurevych, "Sentence-BERT" (2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 32.0
"""The bias that hides a position: e^-32 of the weight that an equal score would get, nothing."""


@dataclass(frozen=True)
class EncoderSize:
    """Sizes of an encoder; the defaults are those of all-MiniLM-L6-v2."""

    vocabulary: int = 30522
    positions: int = 512
    width: int = 384
    heads: int = 12
    inner: int = 1536
    layers: int = 6
    eps: float = 1e-12


class SelfAttention(nn.Module):
    """Attention of a sequence to itself, by `heads` heads."""

    def __init__(self, size: EncoderSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.query = nn.Linear(size.width, size.width)
        self.key = nn.Linear(size.width, size.width)
        self.value = nn.Linear(size.width, size.width)
        self.output = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = (batch, length, self.heads, width // self.heads)
        q, k, v = (
            each(x).view(split).transpose(1, 2) for each in (self.query, self.key, self.value)
        )
        heard = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.output(heard.transpose(1, 2).reshape(batch, length, width))
        return out


class EncoderLayer(nn.Module):
    """Attention and two linear layers, each added to what came in and normalised."""

    def __init__(self, size: EncoderSize) -> None:
        super().__init__()
        self.attention = SelfAttention(size)
        self.attention_norm = nn.LayerNorm(size.width, eps=size.eps)
        self.inner = nn.Linear(size.width, size.inner)
        self.outer = nn.Linear(size.inner, size.width)
        self.norm = nn.LayerNorm(size.width, eps=size.eps)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.attention_norm(x + self.attention(x, bias))
        out: Tensor = self.norm(x + self.outer(F.gelu(self.inner(x))))
        return out


class SentenceEncoder(nn.Module):
    """See the top of the file. embeds: whether tokens arrive as one-hot rows."""

    def __init__(self, size: EncoderSize | None = None, *, embeds: bool = True) -> None:
        super().__init__()
        size = size or EncoderSize()
        self.size = size
        self.embeds = embeds
        if embeds:
            self.words = nn.Linear(size.vocabulary, size.width, bias=False)
        self.positions = nn.Parameter(torch.zeros(size.positions, size.width))
        self.norm = nn.LayerNorm(size.width, eps=size.eps)
        self.layers = nn.ModuleList(EncoderLayer(size) for _ in range(size.layers))

    def forward(self, tokens: Tensor, bias: Tensor, weights: Tensor) -> Tensor:
        x = self.words(tokens) if self.embeds else tokens
        x = self.norm(x + self.positions[: tokens.shape[1]])
        for layer in self.layers:
            x = layer(x, bias)
        return F.normalize((weights @ x).squeeze(1), dim=-1)
