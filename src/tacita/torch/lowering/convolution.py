"""Convolutions of one and two dimensions, ordinary and transposed.

Private data meet private or public weights, and the other way round. One dimension is two of which
the first has size 1. A transposed convolution is an ordinary one of the input, with zeros between
its elements, and the flipped weights; both are views, so that a mask serves on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.protocols import Convolution, PublicConvolution
from tacita.torch.lowering.arithmetic import add
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand, factor
from tacita.torch.lowering.padding import padded, taken
from tacita.torch.lowering.scales import descaled
from tacita.torch.lowering.shape import permuted, reshaped

WHAT = "convolution"
Pair = tuple[int, int]
Sizes = int | Sequence[int]


@dataclass(frozen=True, slots=True)
class Window:
    """How a filter goes over an image: (height, width) each."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def result(self, image: Sequence[int], taps: Sequence[int]) -> Pair:
        """The height and width of the result."""
        height, width = (
            (size + 2 * pad - gap * (count - 1) - 1) // step + 1
            for size, count, step, pad, gap in zip(
                image, taps, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return height, width


def several(values: Sizes, count: int, what: str) -> tuple[int, ...]:
    """One number for all dimensions, or one for each."""
    given = (values,) if isinstance(values, int) else tuple(int(v) for v in values)
    if len(given) == 1:
        given *= count
    if len(given) != count:
        raise ShapeError(f"{what}: {list(given)} where {count} numbers were due")
    return given


def pair(values: Sizes, spatial: int, what: str, missing: int) -> Pair:
    """Two numbers, `missing` for the height that a one-dimensional operation lacks."""
    found = (missing,) * (2 - spatial) + several(values, spatial, what)
    return found[0], found[1]


def shape_of(x: Operand) -> tuple[int, ...]:
    if isinstance(x, Handle):
        return x.wire.shape
    if isinstance(x, torch.Tensor):
        return tuple(x.shape)
    raise ShapeError(f"{WHAT}: a {type(x).__name__} is no image")


def convolution(
    low: Lowering,
    x: Operand,
    weight: Operand,
    bias: Operand | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> Handle:
    """torch.convolution: x [N, C, …], weight [O, C/groups, …], or [C, O/groups, …] transposed.

    Without the first dimension x is one image.
    """
    spatial = len(shape_of(weight)) - 2
    if spatial not in (1, 2):
        raise UnsupportedOperation(
            f"a convolution over {spatial} dimensions has no protocol; one and two have: fold the "
            "others into the batch, or sum two-dimensional convolutions"
        )
    alone = len(shape_of(x)) == spatial + 1
    image = images(low, x, spatial)
    filters = images(low, weight, spatial)
    window = Window(
        pair(stride, spatial, "stride", 1),
        (0, 0),
        pair(dilation, spatial, "dilation", 1),
        groups,
    )
    if min(*window.stride, *window.dilation, groups) < 1:
        raise ShapeError(f"{WHAT}: stride, dilation and groups are 1 or more")
    if isinstance(padding, str):
        image, window = _named_padding(low, image, filters, window, padding)
    else:
        window = replace(window, padding=pair(padding, spatial, "padding", 0))
        if min(window.padding) < 0:
            raise ShapeError(f"{WHAT}: negative padding {list(window.padding)}")
    if transposed:
        extra = pair(output_padding, spatial, "output_padding", 0)
        image, filters, window = _turned(low, image, filters, window, extra)
    out = convolved(low, image, filters, window)
    if bias is not None:
        out = add(low, out, _column(low, bias))
    n, channels, height, width = out.wire.shape
    rest = (height, width)[2 - spatial :]
    return reshaped(low, out, (channels, *rest) if alone else (n, channels, *rest))


def images(low: Lowering, x: Operand, spatial: int) -> Handle:
    """An operand as a handle of four dimensions; a public one is a factor, encoded as such."""
    shape = shape_of(x)
    if len(shape) not in (spatial + 1, spatial + 2):
        raise ShapeError(f"{WHAT}: an input of shape {shape} for {spatial} dimensions")
    lead = shape[:-spatial]
    full = (1,) * (2 - len(lead)) + lead + (1,) * (2 - spatial) + shape[-spatial:]
    if isinstance(x, Handle):
        return reshaped(low, x, full)
    assert isinstance(x, torch.Tensor)
    return factor(low, x.detach().reshape(full), WHAT)


def _column(low: Lowering, bias: Operand) -> Operand:
    """A bias [O] as [O, 1, 1]."""
    (count,) = shape_of(bias)
    if isinstance(bias, Handle):
        return reshaped(low, bias, (count, 1, 1))
    assert isinstance(bias, torch.Tensor)
    return bias.detach().reshape(count, 1, 1)


def _named_padding(
    low: Lowering, image: Handle, filters: Handle, window: Window, name: str
) -> tuple[Handle, Window]:
    """'valid', or 'same'; of an odd number of zeros the odd one goes behind."""
    if name == "valid":
        return image, window
    if name != "same" or window.stride != (1, 1):
        raise ShapeError(f"{WHAT}: padding {name!r}; 'same' takes a stride of 1")
    taps = filters.wire.shape[2:]
    needed = [d * (k - 1) for d, k in zip(window.dilation, taps, strict=True)]
    height, width = (total // 2 for total in needed)
    behind = (0, 0, needed[0] - 2 * height, needed[1] - 2 * width)
    image = padded(low, image, (0, 0, 0, 0), behind)
    return image, replace(window, padding=(height, width))


def _turned(
    low: Lowering, image: Handle, filters: Handle, window: Window, extra: Pair
) -> tuple[Handle, Handle, Window]:
    """What a transposed convolution is an ordinary one of.

    An element of the image adds the whole filter to the result, `stride` apart from its
    neighbour's. Seen from the result, that is the flipped filter over the image with stride - 1
    zeros between its elements.
    """
    channels, outputs, *taps = filters.wire.shape
    groups = window.groups
    if channels % groups or image.wire.shape[1] != channels:
        raise ShapeError(
            f"{WHAT}: an input of {image.wire.shape[1]} channels, transposed weights for "
            f"{channels} and {groups} groups"
        )
    reach = [d * (k - 1) for d, k in zip(window.dilation, taps, strict=True)]
    before = (0, 0, *(r - p for r, p in zip(reach, window.padding, strict=True)))
    after = (0, 0, *(b + e for b, e in zip(before[2:], extra, strict=True)))
    between = (0, 0, *(step - 1 for step in window.stride))
    image = padded(low, image, before, after, between)
    # Channels go from first to second place within each group.
    apart = reshaped(low, filters, (groups, channels // groups, outputs, *taps))
    swapped = permuted(low, apart, (0, 2, 1, 3, 4))
    filters = reshaped(low, swapped, (groups * outputs, channels // groups, *taps))
    for dim, count in enumerate(taps, start=2):
        filters = taken(low, filters, dim, range(count - 1, -1, -1))
    return image, filters, replace(window, stride=(1, 1), padding=(0, 0))


def convolved(low: Lowering, x: Handle, w: Handle, window: Window) -> Handle:
    """x∗w of four-dimensional handles; wires above the precision's scale are truncated first."""
    shape = _result_shape(x, w, window)
    public = w if w.public else x if x.public else None
    if public is None:
        x, w = descaled(low, (x, w), WHAT)
    elif public.wire.scale > 1 and x.wire.scale * w.wire.scale > low.widest:
        x, w = (each if each is public else descaled(low, (each,), WHAT)[0] for each in (x, w))
    bound = None
    if x.wire.bound is not None and w.wire.bound is not None:
        bound = prod(w.wire.shape[1:]) * x.wire.bound * w.wire.bound
    wire = low.wire(shape, x.wire.scale * w.wire.scale, bound)
    if not wire.size or not x.wire.size or not w.wire.size:
        return low.zeros(shape, wire.scale)
    over = (window.stride, window.padding, window.dilation, window.groups)
    if public is not None:
        private = x if public is w else w
        first = public is x
        return low.emit(
            PublicConvolution(wire.id, private.wire.id, public.wire.id, first, *over, shape), wire
        )
    low.mask((x, w), WHAT)
    return low.emit(Convolution(wire.id, x.wire.id, w.wire.id, *over, shape), wire)


def _result_shape(x: Handle, w: Handle, window: Window) -> tuple[int, int, int, int]:
    n, channels, *image = x.wire.shape
    outputs, inputs, *taps = w.wire.shape
    groups = window.groups
    if channels != inputs * groups or outputs % groups:
        raise ShapeError(
            f"{WHAT}: an input of {channels} channels, weights of shape {w.wire.shape} and "
            f"{groups} groups do not fit"
        )
    height, width = window.result(image, taps)
    if min(taps) < 1 or min(height, width) < 1:
        raise ShapeError(f"{WHAT}: filters of {taps} taps do not fit in an image of {image}")
    return n, outputs, height, width


# ---- as exported programs name them ------------------------------------------------------------


def ordinary(
    low: Lowering,
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Handle:
    """conv1d and conv2d."""
    return convolution(low, x, weight, bias, stride, padding, dilation, False, 0, groups)


def transposed(
    low: Lowering,
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Handle:
    """conv_transpose1d and conv_transpose2d."""
    return convolution(
        low, x, weight, bias, stride, padding, dilation, True, output_padding, groups
    )
