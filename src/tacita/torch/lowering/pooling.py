"""Windows that go over an image, and the largest of each: max pooling. For means see averaging.py.

Windows are views: rows and columns are taken, more than once where windows overlap, so one opening
of the image serves them all. A window at the border of a padded image takes one of its own elements
again where the padding is, which changes no maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.program.cost import Cost
from tacita.protocols.extremum import price, total_cost, tournament
from tacita.torch.lowering import pairs
from tacita.torch.lowering.convolution import Sizes, pair
from tacita.torch.lowering.extrema import difference_bits, extremum
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.padding import padded, taken
from tacita.torch.lowering.shape import permuted, reshaped
from tacita.torch.lowering.unavailable import Unavailable

Spans = list[list[int]]  # for each window along one dimension, the positions that it covers


def window_count(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> int:
    """How many windows there are along one dimension.

    With ceil_mode a last one may reach beyond the padding, but it begins before that.
    """
    room = size + 2 * pad - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (count - 1) * stride >= size + pad:
        count -= 1
    return count


def spans(
    size: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool, what: str
) -> Spans:
    """The positions of each window, those of the padding included; checked as torch does."""
    if kernel < 1 or stride < 1 or dilation < 1:
        raise ShapeError(f"{what}: kernel, stride and dilation are 1 or more")
    if not 0 <= 2 * pad <= dilation * (kernel - 1) + 1:
        raise ShapeError(f"{what}: a padding of {pad} for a kernel of {kernel}; at most half of it")
    count = window_count(size, kernel, stride, pad, dilation, ceil)
    if count < 1:
        raise ShapeError(f"{what}: a kernel of {kernel} does not fit in a size of {size}")
    return [[i * stride - pad + j * dilation for j in range(kernel)] for i in range(count)]


def inside(places: Spans, size: int, what: str) -> Spans:
    """Windows without padding: an element of the same window stands where the padding is."""
    found = []
    for window in places:
        valid = [at for at in window if 0 <= at < size]
        if not valid:
            raise ShapeError(f"{what}: a window holds nothing but padding")
        found.append([at if 0 <= at < size else valid[0] for at in window])
    return found


def adaptive_spans(size: int, count: int) -> Spans:
    """The windows of adaptive pooling: as even as they get, of sizes that may differ by one."""
    return [list(range(i * size // count, -(-(i + 1) * size // count))) for i in range(count)]


def even(places: Spans) -> Spans:
    """Windows of one length: shorter ones take their first element again."""
    longest = max(map(len, places))
    return [window + window[:1] * (longest - len(window)) for window in places]


def image_of(x: Handle, spatial: int, what: str) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """The leading dimensions; and channels in all, height and width."""
    shape = x.wire.shape
    if len(shape) not in (spatial + 1, spatial + 2):
        raise ShapeError(f"{what}: an input of shape {shape} for {spatial} dimensions")
    lead, image = shape[:-spatial], (1, *shape[-spatial:])[-2:]
    return lead, (prod(lead), image[0], image[1])


def shaped(
    low: Lowering, out: Handle, lead: tuple[int, ...], spatial: int, size: tuple[int, int]
) -> Handle:
    return reshaped(low, out, (*lead, *size[2 - spatial :]))


# ---- the largest -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """Windows along a dimension, and the bits of the halvings that made the largest of each."""

    dim: int
    windows: Spans
    size: int
    levels: list[Handle]


def largest(
    low: Lowering,
    x: Handle,
    rows: Spans,
    columns: Spans,
    what: str,
    stages: list[Stage] | None = None,
) -> Handle:
    """[C, H, W]: the largest over every pair of a row window and a column window.

    stages: is given what `pooling_gradients` needs, where a gradient will be asked for.

    Few windows are compared all at once. Many go pair by pair, first within rows and then among
    them: overlapping windows have whole columns of elements in common, so that 3×3 windows with
    stride 2 need 6 comparisons each.
    """
    channels = x.wire.shape[0]
    kh, kw = len(rows[0]), len(columns[0])
    kept = sorted({at for window in rows for at in window})
    n, in_rows = (channels * count * len(columns) for count in (len(rows), len(kept)))
    in_pairs = pairs.cost(low, x, kw, in_rows) + pairs.cost(low, x, kh, n)
    if stages is not None or price(in_pairs) < price(_cost_at_once(x, kh * kw, n)):
        place = {at: i for i, at in enumerate(kept)}
        if stages is not None:
            stages.append(Stage(1, [kept], x.wire.shape[1], []))
        x = _largest_along(low, taken(low, x, 1, kept), 2, columns, what, stages)
        rows = [[place[at] for at in each] for each in rows]
        return _largest_along(low, x, 1, rows, what, stages)
    windows = windowed(low, x, rows, columns)
    value, _ = extremum(low, windows, (2, 4), what, value=True, index=False)
    assert value is not None
    return reshaped(low, value, (channels, len(rows), len(columns)))


def _largest_along(
    low: Lowering, x: Handle, dim: int, windows: Spans, what: str, stages: list[Stage] | None
) -> Handle:
    taps = [taken(low, x, dim, [window[k] for window in windows]) for k in range(len(windows[0]))]
    if stages is None:
        return pairs.largest_of(low, taps, what)
    stages.append(Stage(dim, windows, x.wire.shape[dim], []))
    return pairs.largest_of(low, taps, what, stages[-1].levels)


def _cost_at_once(x: Handle, m: int, n: int) -> Cost:
    levels = tournament(m, n, difference_bits(x.wire.bound), index=False)
    cost = total_cost(levels, n, value=True, index=False)
    return cost if x.masked else cost + Cost(rounds=1, opened_bytes=8 * x.wire.size)


def windowed(low: Lowering, x: Handle, rows: Spans, columns: Spans) -> Handle:
    """[C, H, W] as windows, [C, row windows, kh, column windows, kw]; a view."""
    x = taken(low, x, 1, [at for window in rows for at in window])
    x = taken(low, x, 2, [at for window in columns for at in window])
    shape = (x.wire.shape[0], len(rows), len(rows[0]), len(columns), len(columns[0]))
    return reshaped(low, x, shape)


def max_pool(
    low: Lowering,
    x: Handle,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    spatial: int,
    stages: list[Stage] | None = None,
) -> Handle:
    what = f"max_pool{spatial}d"
    lead, image = image_of(x, spatial, what)
    kernel = pair(kernel_size, spatial, what, 1)
    step = pair(stride_of(stride, kernel_size), spatial, what, 1)
    pad = pair(padding, spatial, what, 0)
    gap = pair(dilation, spatial, what, 1)
    rows, columns = (
        inside(spans(size, kernel[i], step[i], pad[i], gap[i], ceil_mode, what), size, what)
        for i, size in enumerate(image[1:])
    )
    size = (len(rows), len(columns))
    if not x.wire.size:
        return low.zeros((*lead, *size[2 - spatial :]), x.wire.scale)
    out = largest(low, reshaped(low, x, image), rows, columns, what, stages)
    return shaped(low, out, lead, spatial, size)


def stride_of(stride: Sizes, kernel: Sizes) -> Sizes:
    """A stride left out is the kernel's size."""
    return kernel if not isinstance(stride, int) and len(stride) == 0 else stride


def max_pool1d(
    low: Lowering,
    x: Handle,
    kernel_size: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Handle:
    return max_pool(low, x, kernel_size, stride, padding, dilation, ceil_mode, 1)


def max_pool2d(
    low: Lowering,
    x: Handle,
    kernel_size: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Handle:
    return max_pool(low, x, kernel_size, stride, padding, dilation, ceil_mode, 2)


def max_pool2d_with_indices(
    low: Lowering,
    x: Handle,
    kernel_size: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    *,
    keep: bool = False,
) -> tuple[Handle, Unavailable]:
    stages: list[Stage] | None = [] if keep else None
    out = max_pool(low, x, kernel_size, stride, padding, dilation, ceil_mode, 2, stages)
    return _without_indices(out, stages)


def _without_indices(out: Handle, stages: list[Stage] | None) -> tuple[Handle, Unavailable]:
    why = "the indices of a pooling have no protocol; use the values alone"
    return out, Unavailable(out.wire.shape, why, stages)


def adaptive_max_pool(
    low: Lowering, x: Handle, output_size: Sizes, spatial: int, *, keep: bool = False
) -> tuple[Handle, Unavailable]:
    stages: list[Stage] | None = [] if keep else None
    what = f"adaptive_max_pool{spatial}d"
    lead, image = image_of(x, spatial, what)
    size = pair(output_size, spatial, what, 1)
    if not x.wire.size or not min(size):
        out = low.zeros((*lead, *size[2 - spatial :]), x.wire.scale)
    else:
        rows, columns = (even(adaptive_spans(*each)) for each in zip(image[1:], size, strict=True))
        best = largest(low, reshaped(low, x, image), rows, columns, what, stages)
        out = shaped(low, best, lead, spatial, size)
    return _without_indices(out, stages)


def adaptive_max_pool1d(low: Lowering, x: Handle, output_size: Sizes) -> tuple[Handle, Unavailable]:
    return adaptive_max_pool(low, x, output_size, 1)


def adaptive_max_pool2d(
    low: Lowering, x: Handle, output_size: Sizes, *, keep: bool = False
) -> tuple[Handle, Unavailable]:
    return adaptive_max_pool(low, x, output_size, 2, keep=keep)


# ---- windows as such ---------------------------------------------------------------------------


def im2col(
    low: Lowering, x: Handle, kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes
) -> Handle:
    """torch.nn.functional.unfold: [N, C, H, W] as [N, C·kh·kw, windows]; a view."""
    what = "unfold"
    lead, image = image_of(x, 2, what)
    kernel, gap, pad, step = (
        pair(each, 2, what, 1) for each in (kernel_size, dilation, padding, stride)
    )
    margin = (0, *pad)
    around = padded(low, reshaped(low, x, image), margin, margin)
    rows, columns = (
        spans(size, kernel[i], step[i], 0, gap[i], False, what)
        for i, size in enumerate(around.wire.shape[1:])
    )
    windows = windowed(low, around, rows, columns)
    channels, count, windows_of = lead[-1], len(rows) * len(columns), prod(lead[:-1])
    order = permuted(low, windows, (0, 2, 4, 1, 3))
    taps = channels * prod(kernel)
    return reshaped(low, order, (*((windows_of,) if len(lead) > 1 else ()), taps, count))
