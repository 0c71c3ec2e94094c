"""The mean of windows that go over an image: average pooling, ordinary and adaptive.

Sums over windows are linear, so they are local; the mean is the sum read at a larger scale. Where
the windows hold different numbers of elements, that is their least common multiple.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm, prod

import numpy as np
import torch

from tacita.errors import PrecisionError
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import public_product
from tacita.torch.lowering.convolution import Sizes, Window, convolved, pair
from tacita.torch.lowering.division import div
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.padding import padded
from tacita.torch.lowering.pooling import (
    Spans,
    adaptive_spans,
    image_of,
    shaped,
    spans,
    stride_of,
)
from tacita.torch.lowering.reduction import mean
from tacita.torch.lowering.scales import rescaled
from tacita.torch.lowering.shape import permuted, reshaped


def avg_pool(
    low: Lowering,
    x: Handle,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    spatial: int,
) -> Handle:
    what = f"avg_pool{spatial}d"
    _need_fractions(low, what)
    lead, image = image_of(x, spatial, what)
    kernel = pair(kernel_size, spatial, what, 1)
    step = pair(stride_of(stride, kernel_size), spatial, what, 1)
    pad = pair(padding, spatial, what, 0)
    windows = [
        spans(size, kernel[i], step[i], pad[i], 1, ceil_mode, what)
        for i, size in enumerate(image[1:])
    ]
    size = (len(windows[0]), len(windows[1]))
    if not x.wire.size:
        return low.zeros((*lead, *size[2 - spatial :]), x.wire.scale)
    # Zeros behind the padding for windows that ceil_mode lets reach there.
    beyond = [
        max(0, (len(places) - 1) * step[i] + kernel[i] - (image[1 + i] + 2 * pad[i]))
        for i, places in enumerate(windows)
    ]
    total = summed(low, reshaped(low, x, image), kernel, step, pad, beyond)
    if divisor_override is not None:
        out = div(low, total, divisor_override)
    else:
        margin = pad if count_include_pad else (0, 0)
        rows, columns = (
            [sum(-margin[i] <= at < image[1 + i] + margin[i] for at in window) for window in places]
            for i, places in enumerate(windows)
        )
        out = divided(low, total, torch.outer(torch.tensor(rows), torch.tensor(columns)))
    return shaped(low, out, lead, spatial, size)


def summed(
    low: Lowering,
    x: Handle,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    beyond: Sequence[int] = (0, 0),
) -> Handle:
    """[C, H, W]: the sums over windows, as a convolution of each channel with public ones."""
    channels, height, width = x.wire.shape
    alone = reshaped(low, x, (channels, 1, height, width))
    alone = padded(low, alone, (0, 0, 0, 0), (0, 0, *beyond))
    ones = low.constant(np.ones((1, 1, *kernel), np.uint64), 1)
    window = Window(stride=(stride[0], stride[1]), padding=(padding[0], padding[1]))
    out = convolved(low, alone, ones, window)
    return reshaped(low, out, (channels, *out.wire.shape[2:]))


def divided(low: Lowering, total: Handle, counts: torch.Tensor) -> Handle:
    """Sums by public counts, which broadcast: a larger scale where they are all the same.

    Counts c that differ are brought to their least common multiple m: the integers m/c at scale m
    are their reciprocals, exactly. Only where m is beyond the precision are they rounded.
    """
    different = sorted(set(counts.flatten().tolist()))
    common = lcm(*different)
    if len(different) == 1:
        return rescaled(low, total, total.wire.scale * common)
    if common > low.scale:
        return div(low, total, counts)
    shares = low.constant((common // counts).numpy().astype(np.uint64), common)
    return public_product(low, total, shares, total.wire.shape)


def _need_fractions(low: Lowering, what: str) -> None:
    if low.precision is None:
        raise PrecisionError(
            f"{what}: the mean of private integers is a fraction: call fix_precision() before "
            "share()"
        )


def avg_pool1d(
    low: Lowering,
    x: Handle,
    kernel_size: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Handle:
    return avg_pool(low, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1)


def avg_pool2d(
    low: Lowering,
    x: Handle,
    kernel_size: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Handle:
    return avg_pool(
        low, x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 2
    )


def adaptive_avg_pool(low: Lowering, x: Handle, output_size: Sizes, spatial: int) -> Handle:
    what = f"adaptive_avg_pool{spatial}d"
    _need_fractions(low, what)
    lead, (channels, *image) = image_of(x, spatial, what)
    size = pair(output_size, spatial, what, 1)
    if not x.wire.size or not min(size):
        return low.zeros((*lead, *size[2 - spatial :]), x.wire.scale)
    out = reshaped(low, x, (channels, *image))
    if size == (1, 1):
        out = mean(low, out, (1, 2), keepdim=True)
    elif all(have % want == 0 for have, want in zip(image, size, strict=True)):
        kernel = [have // want for have, want in zip(image, size, strict=True)]
        total = summed(low, out, kernel, kernel, (0, 0))
        out = rescaled(low, total, total.wire.scale * prod(kernel))
    else:
        # The means of columns, then of rows, which have become columns.
        for have, want in reversed(list(zip(image, size, strict=True))):
            if have != want:
                out = _column_means(low, out, adaptive_spans(have, want), have)
            out = permuted(low, out, (0, 2, 1))
    return shaped(low, out, lead, spatial, size)


def _column_means(low: Lowering, x: Handle, places: Spans, width: int) -> Handle:
    """[C, H, W] times a public matrix [W, windows] of the share that each column has."""
    common = lcm(*map(len, places))
    shares = np.zeros((width, len(places)), np.uint64)
    for i, window in enumerate(places):
        shares[window, i] = common // len(window)
    channels, height, _ = x.wire.shape
    flat = reshaped(low, x, (channels * height, width))
    shape = (channels * height, len(places))
    out = public_product(low, flat, low.constant(shares, common), shape, matrix=True)
    return reshaped(low, out, (channels, height, len(places)))


def adaptive_avg_pool1d(low: Lowering, x: Handle, output_size: Sizes) -> Handle:
    return adaptive_avg_pool(low, x, output_size, 1)


def adaptive_avg_pool2d(low: Lowering, x: Handle, output_size: Sizes) -> Handle:
    return adaptive_avg_pool(low, x, output_size, 2)
