"""The backward pass of convolutions, ordinary and transposed, of one and two dimensions.

The gradient of the input is the transposed operation of the output's; that of the weights is the
convolution of the input by the output's gradient, with stride and dilation in each other's place.
Both are the instruction of the forward pass on views of what that masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tacita.program.builder import Handle
from tacita.torch.lowering.convolution import (
    Sizes,
    Window,
    convolution,
    convolved,
    images,
    pair,
    shape_of,
)
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand
from tacita.torch.lowering.reduction import sum_
from tacita.torch.lowering.shape import permuted, reshaped, slice_

Gradients = tuple[Handle | None, Handle | None, Handle | None]


def convolution_backward(
    low: Lowering,
    gradient: Handle,
    x: Operand,
    weight: Operand,
    _bias_sizes: Sequence[int] | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    _output_padding: Sizes,
    groups: int,
    output_mask: Sequence[bool],
) -> Gradients:
    """The gradients of input, weight and bias; only those that are asked for."""
    of_x: Handle | None = None
    of_weight: Handle | None = None
    of_bias: Handle | None = None
    shape, taps = shape_of(x), shape_of(weight)
    spatial = len(taps) - 2
    window = Window(
        pair(stride, spatial, "stride", 1),
        pair(padding, spatial, "padding", 0),
        pair(dilation, spatial, "dilation", 1),
        groups,
    )
    if output_mask[0]:
        extra: Sizes = 0
        if not transposed:
            # What the last window did not reach.
            extra = [
                (size + 2 * pad - gap * (count - 1) - 1) - (out - 1) * step
                for size, pad, gap, count, out, step in zip(
                    (1, *shape[2:])[-2:],
                    window.padding,
                    window.dilation,
                    (1, *taps[2:])[-2:],
                    (1, *gradient.wire.shape[2:])[-2:],
                    window.stride,
                    strict=True,
                )
            ][2 - spatial :]
        of_x = convolution(
            low, gradient, weight, None, stride, padding, dilation, not transposed, extra, groups
        )
        for dim in range(2, spatial + 2):  # an output_padding of a whole stride reaches further
            of_x = slice_(low, of_x, dim, 0, shape[dim])
    if output_mask[1]:
        image, filters = images(low, x, spatial), images(low, gradient, spatial)
        if transposed:
            image, filters = filters, image
        of_weight = reshaped(low, _of_weight(low, image, filters, window, taps), taps)
    if output_mask[2]:
        dims = [0, *range(2, spatial + 2)]
        of_bias = sum_(low, gradient, dims)
    return of_x, of_weight, of_bias


def _of_weight(
    low: Lowering, image: Handle, filters: Handle, window: Window, taps: Sequence[int]
) -> Handle:
    """[O, C/groups, kh, kw] for an image [N, C, H, W] and the gradient of outputs [N, O, h, w].

    The batch takes the place of the channels: each group's channels are images of their own.
    """
    n, channels, height, width = image.wire.shape
    groups = window.groups
    apart = reshaped(low, image, (n, groups, channels // groups, height, width))
    turned = permuted(low, apart, (2, 1, 0, 3, 4))
    stack = reshaped(low, turned, (channels // groups, groups * n, height, width))
    by = permuted(low, filters, (1, 0, 2, 3))
    over = replace(window, stride=window.dilation, dilation=window.stride)
    out = permuted(low, convolved(low, stack, by, over), (1, 0, 2, 3))
    for dim, count in enumerate((1, *taps[2:])[-2:], start=2):
        out = slice_(low, out, dim, 0, count)  # windows that the forward pass did not have room for
    return out
