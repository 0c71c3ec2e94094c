"""Ranges of values inside of operations, seen on samples: what lowering/expected.py names.

A variance gets `margin` as a factor at both ends, and is rounded outwards to powers of two.
Scores stand in an exponent, where a margin is a summand: log(margin), and a quarter of what the
samples span; they are rounded outwards to integers. A mask is what it is, rounded to integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, inf, log, log2, sqrt
from typing import Any

import torch
from torch import Tensor, fx

from tacita.torch.lowering.expected import MASK, SCORES, SHOWN, SUMS, VARIANCE, Interval
from tacita.torch.lowering.hidden import HIDDEN

aten = torch.ops.aten
SHARE = 0.25  # of a span, that is added to both ends
Seen = dict[str, Interval]
Watch = Callable[[fx.Node, Sequence[Any], Mapping[str, Any]], None]


def _of_attention(
    q: Tensor,
    k: Tensor,
    _: Tensor,
    mask: Tensor | None = None,
    __: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Seen:
    if enable_gqa:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
    scores = q @ k.transpose(-2, -1) * (1 / sqrt(q.shape[-1]) if scale is None else scale)
    found = {SCORES: _ends(scores)}
    if is_causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -inf)
    elif mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -inf)
    elif mask is not None:
        found[MASK] = _ends(mask)
        scores = (scores + mask).masked_fill(mask <= HIDDEN, -inf)
    return found | {SHOWN: _ends(scores), SUMS: _ends(scores.logsumexp(-1))}


def _of_layer_norm(
    x: Tensor, shape: Sequence[int], _: Any = None, __: Any = None, eps: float = 1e-5, *___: Any
) -> Seen:
    rows = x.flatten(x.dim() - len(shape))
    return {VARIANCE: _ends(rows.double().var(-1, unbiased=False) + eps)}


def _of_rms_norm(x: Tensor, shape: Sequence[int], _: Any = None, eps: float | None = None) -> Seen:
    rows = x.flatten(x.dim() - len(shape)).double()
    added = torch.finfo(x.dtype).eps if eps is None else eps
    return {VARIANCE: _ends(rows.square().mean(-1) + added)}


def _of_group_norm(
    x: Tensor, groups: int, _: Any = None, __: Any = None, eps: float = 1e-5, *___: Any
) -> Seen:
    rows = x.reshape(x.shape[0], groups, -1)
    return {VARIANCE: _ends(rows.double().var(-1, unbiased=False) + eps)}


WATCHED: dict[Any, Callable[..., Seen]] = {
    aten.scaled_dot_product_attention.default: _of_attention,
    aten.layer_norm.default: _of_layer_norm,
    aten.native_layer_norm.default: _of_layer_norm,
    aten.rms_norm.default: _of_rms_norm,
    aten.group_norm.default: _of_group_norm,
}


def _ends(values: Tensor) -> Interval:
    """The least and the largest of what is finite; an empty range where nothing is."""
    finite = values[values.isfinite()]
    if not finite.numel():
        return Interval(inf, -inf)
    return Interval(float(finite.min()), float(finite.max()))


class Observer:
    """Takes note of what passes through the operations that are WATCHED."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def __call__(self, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        look = WATCHED.get(node.target)
        if look is None or not isinstance(args[0], Tensor) or not args[0].numel():
            return
        known = self._seen.setdefault(node.name, {})
        for name, ends in look(*args, **kwargs).items():
            before = known.get(name, ends)
            known[name] = Interval(min(before.least, ends.least), max(before.most, ends.most))

    def widened(self, margin: float) -> dict[str, Seen]:
        """What was seen, by the names of nodes, with room to spare."""
        return {
            name: _widened(seen, margin)
            for name, seen in self._seen.items()
            if all(ends.least <= ends.most for ends in seen.values())
        }


def _widened(seen: Seen, margin: float) -> Seen:
    out = {}
    for what, (least, most) in seen.items():
        if what == VARIANCE:
            lowest = 2.0 ** floor(log2(least / margin)) if least > 0 else 0.0
            out[what] = Interval(lowest, 2.0 ** ceil(log2(max(most * margin, 2.0**-20))))
            continue
        below = above = 0.0
        if what != MASK:
            # Scores far below a sum hardly count: they say nothing about larger ones.
            from_ = seen[SUMS].least if what in (SCORES, SHOWN) else least
            below = log(margin) + SHARE * (most - least)
            above = log(margin) + SHARE * (most - from_)
        out[what] = Interval(float(floor(least - below)), float(ceil(most + above)))
    return out
