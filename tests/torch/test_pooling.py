from __future__ import annotations

import pytest
import torch
from agreement import PRECISION, Group, close, stored
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import tacita
from tacita.errors import PrecisionError, ShapeError, UnsupportedOperation
from tacita.protocols.extremum import total_cost, tournament
from tacita.ring.fixed_point import Precision
from tacita.runtime.plain import PlainRun
from tacita.torch.lowering.extrema import difference_bits

MAXIMA = [
    ((2, 3, 8, 8), lambda x: F.max_pool2d(x, 2)),
    ((2, 3, 7, 9), lambda x: F.max_pool2d(x, 3, 2, 1)),
    ((1, 2, 7, 9), lambda x: F.max_pool2d(x, 2, ceil_mode=True)),
    ((1, 2, 9, 9), lambda x: F.max_pool2d(x, 3, 2, 1, dilation=2, ceil_mode=True)),
    ((1, 2, 6, 6), lambda x: F.max_pool2d(x, (1, 3), (2, 1), (0, 1))),
    ((1, 1, 5, 5), lambda x: F.max_pool2d(x, 5)),
    ((1, 1, 5, 5), lambda x: F.max_pool2d(x, 1, 3)),
    ((1, 1, 2, 2), lambda x: F.max_pool2d(x, 3, 1, 1, ceil_mode=True)),
    ((1, 1, 3, 3), lambda x: F.max_pool2d(x, 2, 1, 1, dilation=2)),
    ((3, 6, 6), lambda x: F.max_pool2d(x, 2)),
    ((0, 3, 6, 6), lambda x: F.max_pool2d(x, 2)),
    ((2, 3, 11), lambda x: F.max_pool1d(x, 3, 2, 1)),
    ((3, 11), lambda x: F.max_pool1d(x, 4, ceil_mode=True)),
    ((2, 3, 7, 5), lambda x: F.adaptive_max_pool2d(x, 3)),
    ((2, 3, 7, 5), lambda x: F.adaptive_max_pool2d(x, (2, None))),
    ((1, 2, 4, 4), lambda x: F.adaptive_max_pool2d(x, 6)),
    ((2, 3, 7), lambda x: F.adaptive_max_pool1d(x, 4)),
]


@pytest.mark.parametrize("index", range(len(MAXIMA)))
def test_maxima_are_exact(group, index):
    shape, call = MAXIMA[index]
    a = torch.randn(shape) - 3  # below the zeros that padding might bring in
    close(call(group.share(a)), call(stored(a)))
    # Of a product, at its own scale.
    close(call(group.share(a) * group.share(a)), call(stored(a) * stored(a)))
    with torch.inference_mode():
        close(call(group.share(a)), call(stored(a)))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_maximum(data):
    def pair(least, most):
        return data.draw(st.tuples(st.integers(least, most), st.integers(least, most)))

    size, kernel, stride, dilation = pair(1, 9), pair(1, 4), pair(1, 4), pair(1, 3)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = [
        data.draw(st.integers(0, min(k, r) // 2)) for k, r in zip(kernel, reach, strict=True)
    ]
    ceil_mode = data.draw(st.booleans())
    a = torch.randn(1, 2, *size) - 3
    try:
        expected = F.max_pool2d(stored(a), kernel, stride, padding, dilation, ceil_mode)
    except RuntimeError:
        assume(False)  # torch has no result either
    assume(bool(expected.isfinite().all()))
    clear = Group([], None, PlainRun())
    close(F.max_pool2d(clear.share(a), kernel, stride, padding, dilation, ceil_mode), expected)


def test_many_windows_are_pooled_in_rows_first(pair):
    a = torch.randn(8, 16, 33, 33)
    x = pair.share(a, bound=8.0)
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic:
        out = F.max_pool2d(x, 3, 2)
        close(out, F.max_pool2d(stored(a), 3, 2))
    # Less than if the nine of every window were compared apart from its neighbours' nine.
    n, bits = 8 * 16 * 16 * 16, difference_bits(8 * PRECISION.scale)
    apart = total_cost(tournament(9, n, bits, index=False), n, value=True, index=False)
    assert traffic.dealt_bytes < apart.dealt_bytes
    # Apart, the image would be opened besides; here only differences of its elements are.
    assert traffic.online_bytes < 8 * a.numel() + apart.opened_bytes


def test_the_edge_of_an_image_is_no_zero(group):
    a = torch.full((1, 1, 3, 3), -5.0)
    close(F.max_pool2d(group.share(a), 3, 1, 1), a)
    close(F.avg_pool2d(group.share(a), 3, 1, 1, count_include_pad=False), a)


def test_integers(group):
    a = torch.randint(-(2**50), 2**50, (1, 2, 5, 5))
    got = F.max_pool2d(group.share(a), 2).get()
    assert torch.equal(got, F.max_pool2d(a.double(), 2).long())
    with pytest.raises(PrecisionError, match="fix_precision"):
        F.avg_pool2d(group.share(a), 2)


def test_checked(group):
    a = torch.randn(1, 2, 6, 6)
    close(F.max_pool2d(group.share(a, checked=True), 3, 2), F.max_pool2d(stored(a), 3, 2))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, return_indices=True),
                                  nn.AdaptiveMaxPool2d(2, return_indices=True),
                                  nn.MaxPool1d(2, return_indices=True)])  # fmt: skip
def test_indices_have_no_protocol(group, pool):
    shape = (1, 2, 4) if isinstance(pool, nn.MaxPool1d) else (1, 2, 4, 4)
    a = torch.randn(shape)
    values, indices = pool(group.share(a))
    close(values, pool(stored(a))[0])
    assert "indices" in repr(indices)
    with pytest.raises(UnsupportedOperation, match="indices of a pooling"):
        indices + 1


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.max_pool2d(x, 9),
        lambda x: F.max_pool2d(x, 2, padding=2),
        lambda x: F.max_pool2d(x, 2, 0),
        lambda x: F.max_pool2d(x, (2, 2, 2)),
        lambda x: F.avg_pool2d(x, 9),
        lambda x: F.max_pool2d(x[:, :, :1, :1], 2, 1, 3, dilation=5),
    ],
)
def test_windows_that_do_not_fit(group, call):
    with pytest.raises((ShapeError, RuntimeError), match="pool"):
        call(group.share(torch.ones(1, 1, 4, 4)))


# ---- means -------------------------------------------------------------------------------------

MEANS = [
    ((2, 3, 8, 8), lambda x: F.avg_pool2d(x, 2)),
    ((2, 3, 7, 9), lambda x: F.avg_pool2d(x, 3, 2, 1)),
    ((2, 3, 7, 9), lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    ((2, 3, 7, 9), lambda x: F.avg_pool2d(x, (3, 2), (2, 3), (1, 0), ceil_mode=True)),
    ((1, 2, 8, 8), lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)),
    ((1, 2, 8, 8), lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)),
    ((1, 2, 5, 5), lambda x: F.avg_pool2d(x, 3, divisor_override=7)),
    ((3, 6, 6), lambda x: F.avg_pool2d(x, 2)),
    ((0, 3, 6, 6), lambda x: F.avg_pool2d(x, 2)),
    ((2, 3, 11), lambda x: F.avg_pool1d(x, 3, 2, 1)),
    ((2, 3, 11), lambda x: F.avg_pool1d(x, 4, ceil_mode=True)),
    ((2, 3, 8, 6), lambda x: F.adaptive_avg_pool2d(x, (4, 2))),
    ((2, 3, 7, 5), lambda x: F.adaptive_avg_pool2d(x, 3)),
    ((2, 3, 7, 5), lambda x: F.adaptive_avg_pool2d(x, (7, 2))),
    ((2, 3, 7, 5), lambda x: F.adaptive_avg_pool2d(x, 1)),
    ((1, 2, 4, 4), lambda x: F.adaptive_avg_pool2d(x, (6, 4))),
    ((2, 3, 7), lambda x: F.adaptive_avg_pool1d(x, 4)),
    ((2, 3, 8), lambda x: F.adaptive_avg_pool1d(x, 2)),
]


@pytest.mark.parametrize("index", range(len(MEANS)))
@pytest.mark.parametrize("precision", [Precision(10, 3), Precision(2, 16)])
def test_means_are_exact(group, index, precision):
    shape, call = MEANS[index]
    a = torch.randn(shape)
    close(call(group.share(a, precision)), call(stored(a, precision)), 0, precision)
    with torch.inference_mode():
        close(call(group.share(a, precision)), call(stored(a, precision)), 0, precision)


def test_many_different_counts_are_rounded(group):
    a = torch.randn(1, 1, 24, 24)
    call = lambda x: F.avg_pool2d(x, 13, 1, 6, count_include_pad=False)  # noqa: E731
    # Reciprocals of at most 1/49 keep five digits; the sum of up to 169 values is multiplied.
    units = 169 * float(stored(a).abs().max()) / 2 / 1000 * 0.11 + 1
    close(call(group.share(a)), call(stored(a)), units)


def test_a_mean_of_a_product(group):
    a = torch.randn(1, 2, 6, 6)
    x, ra = group.share(a), stored(a)
    close(F.avg_pool2d(x * x, 3, 2, 1), F.avg_pool2d(ra * ra, 3, 2, 1))
    close(F.adaptive_avg_pool2d(x * x, 4), F.adaptive_avg_pool2d(ra * ra, 4), 2)


UNFOLDED = [
    lambda x: F.unfold(x, 3),
    lambda x: F.unfold(x, (2, 3), dilation=2, padding=1, stride=(1, 2)),
]


@pytest.mark.parametrize("call", UNFOLDED)
def test_unfold(group, call):
    a = torch.randn(2, 3, 7, 6)
    x = group.share(a)
    close(call(x), call(stored(a)))
    close(call(x) * call(x), call(stored(a)) ** 2)
    close(call(x[0]), call(stored(a)[0]))
