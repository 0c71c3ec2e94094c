"""The backward pass of pooling: to the winner of each window, or to all of a window alike.

Max pooling keeps the bits of its comparisons: 1 where the first of a pair is the larger. A gradient
goes back through the same halvings, to one of a pair by one product; of equal values the first
wins, as in torch. Averages are linear: what each element of a window adds is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import public_product, scaled
from tacita.torch.lowering.averaging import divided
from tacita.torch.lowering.convolution import Sizes, Window, convolved, pair
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.padding import padded
from tacita.torch.lowering.pairs import shares_of
from tacita.torch.lowering.pooling import Stage, adaptive_spans, image_of, spans, stride_of
from tacita.torch.lowering.scales import rescaled
from tacita.torch.lowering.scattering import scattered
from tacita.torch.lowering.shape import expanded, permuted, reshaped

WHAT = "gradient of a pooling"


# ---- the largest -------------------------------------------------------------------------------


def max_pool_backward(low: Lowering, gradient: Handle, x: Handle, *args: Any) -> Handle:
    """For max_pool2d and its adaptive form; the last argument stands for the indices."""
    stages: list[Stage] | None = getattr(args[-1], "kept", None)
    if stages is None:
        raise UnsupportedOperation(
            "the forward pass kept no comparisons: run it where gradients are enabled"
        )
    shape = gradient.wire.shape
    out = reshaped(low, gradient, (prod(shape[:-2]), *shape[-2:]))
    for stage in reversed(stages):
        parts = shares_of(low, out, stage.levels, WHAT)
        joined = parts[0] if len(parts) == 1 else concatenated(low, parts, stage.dim, WHAT)
        count = len(stage.windows[0])
        if stage.levels:
            places = [window[k] for k in range(count) for window in stage.windows]
        else:
            places = [at for window in stage.windows for at in window]
        out = scattered(low, joined, stage.dim, places, stage.size)
    return reshaped(low, out, x.wire.shape)


# ---- the mean ----------------------------------------------------------------------------------


def avg_pool2d_backward(
    low: Lowering,
    gradient: Handle,
    x: Handle,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Handle:
    what = "avg_pool2d"
    _, image = image_of(x, 2, what)
    kernel = pair(kernel_size, 2, what, 1)
    step = pair(stride_of(stride, kernel_size), 2, what, 1)
    pad = pair(padding, 2, what, 0)
    windows = [
        spans(size, kernel[i], step[i], pad[i], 1, ceil_mode, what)
        for i, size in enumerate(image[1:])
    ]
    given = reshaped(low, gradient, (image[0], len(windows[0]), len(windows[1])))
    if divisor_override is not None:
        given = scaled(low, given, 1 / divisor_override)
    else:
        margin = pad if count_include_pad else (0, 0)
        rows, columns = (
            [sum(-margin[i] <= at < image[1 + i] + margin[i] for at in window) for window in places]
            for i, places in enumerate(windows)
        )
        given = divided(low, given, torch.outer(torch.tensor(rows), torch.tensor(columns)))
    return reshaped(low, _to_windows(low, given, image, kernel, step, pad), x.wire.shape)


def _to_windows(
    low: Lowering,
    given: Handle,
    image: tuple[int, int, int],
    kernel: Sequence[int],
    step: Sequence[int],
    pad: Sequence[int],
) -> Handle:
    """[C, windows, windows] to every element of its window in [C, H, W], summed."""
    channels, *size = image
    counts = given.wire.shape[1:]
    if all(
        kernel[i] == step[i] and not pad[i] and counts[i] * step[i] == size[i] for i in range(2)
    ):
        cells = reshaped(low, given, (channels, counts[0], 1, counts[1], 1))
        wide = expanded(low, cells, (channels, counts[0], kernel[0], counts[1], kernel[1]))
        return reshaped(low, wide, image)
    before = [k - 1 - p for k, p in zip(kernel, pad, strict=True)]
    after = [
        size[i] + kernel[i] - 1 - before[i] - ((counts[i] - 1) * step[i] + 1) for i in range(2)
    ]
    alone = reshaped(low, given, (channels, 1, *counts))
    apart = padded(low, alone, (0, 0, *before), (0, 0, *after), (0, 0, *(s - 1 for s in step)))
    ones = low.constant(np.ones((1, 1, *kernel), np.uint64), 1)
    return reshaped(low, convolved(low, apart, ones, Window()), image)


def adaptive_avg_pool2d_backward(low: Lowering, gradient: Handle, x: Handle) -> Handle:
    what = "adaptive_avg_pool2d"
    _, image = image_of(x, 2, what)
    size = gradient.wire.shape[-2:]
    out = reshaped(low, gradient, (image[0], *size))
    if all(have % want == 0 for have, want in zip(image[1:], size, strict=True)):
        kernel = [have // want for have, want in zip(image[1:], size, strict=True)]
        out = rescaled(low, out, out.wire.scale * prod(kernel))
        return reshaped(low, _to_windows(low, out, image, kernel, kernel, (0, 0)), x.wire.shape)
    for dim, (have, want) in enumerate(zip(image[1:], size, strict=True), start=1):
        places = adaptive_spans(have, want)
        shares = np.zeros((want, have))
        for i, window in enumerate(places):
            shares[i, window] = 1 / len(window)
        order = (0, 2, 1) if dim == 1 else (0, 1, 2)
        rows = permuted(low, out, order)
        flat = reshaped(low, rows, (rows.wire.shape[0] * rows.wire.shape[1], want))
        common = int(np.lcm.reduce([len(window) for window in places]))
        matrix = low.constant(np.rint(shares * common).astype(np.uint64), common)
        moved = public_product(low, flat, matrix, (flat.wire.shape[0], have), matrix=True)
        out = permuted(low, reshaped(low, moved, (*rows.wire.shape[:2], have)), order)
    return reshaped(low, out, x.wire.shape)
