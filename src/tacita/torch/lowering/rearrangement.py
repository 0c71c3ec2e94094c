"""Channels and pixels in another order: views by reshaping and permuting."""

from __future__ import annotations

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.shape import permuted, reshaped


def channel_shuffle(low: Lowering, x: Handle, groups: int) -> Handle:
    """[N, g·c, …] read as g groups, written channel by channel."""
    n, channels, *rest = x.wire.shape
    if groups <= 0 or channels % groups:
        raise ShapeError(f"channel_shuffle: {channels} channels are no {groups} groups")
    apart = reshaped(low, x, (n, groups, channels // groups, *rest))
    swapped = permuted(low, apart, (0, 2, 1, *range(3, 3 + len(rest))))
    return reshaped(low, swapped, x.wire.shape)


def pixel_shuffle(low: Lowering, x: Handle, factor: int) -> Handle:
    """[…, c·r², H, W] as […, c, H·r, W·r]."""
    *lead, channels, height, width = x.wire.shape
    if factor <= 0 or channels % (factor * factor):
        raise ShapeError(f"pixel_shuffle: {channels} channels do not hold {factor}² pixels each")
    left = channels // (factor * factor)
    apart = reshaped(low, x, (*lead, left, factor, factor, height, width))
    k = len(lead)
    order = (*range(k + 1), k + 3, k + 1, k + 4, k + 2)
    return reshaped(
        low, permuted(low, apart, order), (*lead, left, height * factor, width * factor)
    )


def pixel_unshuffle(low: Lowering, x: Handle, factor: int) -> Handle:
    """[…, c, H·r, W·r] as […, c·r², H, W]."""
    *lead, channels, height, width = x.wire.shape
    if factor <= 0 or height % factor or width % factor:
        raise ShapeError(f"pixel_unshuffle: {height}×{width} is no multiple of {factor}")
    apart = reshaped(low, x, (*lead, channels, height // factor, factor, width // factor, factor))
    k = len(lead)
    order = (*range(k + 1), k + 2, k + 4, k + 1, k + 3)
    return reshaped(
        low,
        permuted(low, apart, order),
        (*lead, channels * factor * factor, height // factor, width // factor),
    )
