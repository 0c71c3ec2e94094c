"""Backward passes against torch's, on random shapes.

Inputs, weights and incoming gradients are whole multiples of 2^-16, so that encoding is exact. What
is left is truncation: one unit of 2^-16 where the forward pass truncates, one of 2^-24 in the
backward pass, each times what it is multiplied by afterwards. A case states how many units of
2^-16 that comes to, from the sizes of its operands.
"""

import pytest
import torch
import torch.nn.functional as F
from agreement import Group, reals
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tacita.ring.fixed_point import Precision
from tacita.runtime.plain import PlainRun
from tacita.torch.private_tensor import PrivateTensor

BITS = Precision(2, 16)
CLEAR = Group([], None, PlainRun())
LARGEST = 2.0  # of the values drawn below


def drawn(*shape, away=(), least=2.0**-8):
    """Multiples of 2^-16 below LARGEST in size, none of them close to a corner in `away`."""
    x = (torch.rand(shape, dtype=torch.float64) * 2 - 1) * LARGEST
    x = torch.round(x * 2**16) / 2**16
    for corner in away:
        near = (x - corner).abs() < least
        x = torch.where(near, corner + least * torch.where(x < corner, -1.0, 1.0), x)
    return x


def check(operation, *inputs, units, group=CLEAR, precision=BITS):
    """Compares result and gradients of operation(*inputs) with those in the clear.

    units: how many units of 2^-16 a gradient may be off, and the result.
    """
    plain = [x.clone().requires_grad_() for x in inputs]
    private = [group.share(x, precision) for x in inputs]
    for x in private:
        x.requires_grad_()
    expected = operation(*plain)
    out = operation(*private)
    incoming = drawn(*expected.shape)
    expected.backward(incoming)
    out.backward(group.share(incoming, precision))
    assert tuple(out.shape) == tuple(expected.shape)
    slack = units * 2.0**-16
    for got, wanted in ((out.detach(), expected.detach()), *((a.grad, b.grad) for a, b in zip(
        private, plain, strict=True
    ))):  # fmt: skip
        assert tuple(got.shape) == tuple(wanted.shape)
        allowed = slack + wanted.abs() * 2.0**-20  # and float32
        assert ((reals(got).double() - wanted).abs() <= allowed).all()


sizes = st.integers(1, 5)


# ---- sums, products, views ---------------------------------------------------------------------

LINEAR = {
    "add": (lambda x, y: x + y, 2),
    "sub": (lambda x, y: 3 * x - y, 2),
    "mul": (lambda x, y: x * y, 2),
    "square": (lambda x, y: x**2 + y * y, 2),
    "cube": (lambda x, y: x**3 - y, 16),
    "div": (lambda x, y: x / 4 - y / 3, 2),
    "sum": (lambda x, y: x.sum(0) + y.sum(), 2),
    "mean": (lambda x, y: x.mean(1) * y.mean(), 16),
    "cat": (lambda x, y: torch.cat([x, y * 2, x], 1), 2),
    "stack": (lambda x, y: torch.stack([x, y]), 2),
    "transpose": (lambda x, y: x.t().reshape(-1) + y.t().reshape(-1), 2),
    "select": (lambda x, y: x[0] + y[:, -1:].sum(), 2),
    "slice": (lambda x, y: x[:, ::2] - y[:, ::2], 2),
    "rows": (lambda x, y: x[[0, 0, -1]] + y[[0, -1, 0]], 2),
    "flip": (lambda x, y: x.flip(0) + y.roll(1, 1), 2),
    "repeat": (lambda x, y: x.repeat(2, 2) + y.repeat(2, 2), 2),
    "expand": (lambda x, y: x[None].expand(3, *x.shape) * y, 4),
    "diagonal": (lambda x, y: x.diagonal() + y.diagonal(), 2),
    "triangle": (lambda x, y: x.tril() + y.triu(), 2),
    "cumsum": (lambda x, y: x.cumsum(0) + y.cumsum(1), 2),
    "index_select": (lambda x, y: x.index_select(0, torch.tensor([0, 0])) + y[:1], 2),
    "gather": (lambda x, y: x.gather(1, torch.zeros(2, 2, dtype=torch.long)) + y.sum(), 2),
    "unfold": (lambda x, y: x.unfold(0, 2, 1).sum() + y.unfold(1, 2, 1).sum(), 2),
    "split": (lambda x, y: x.split(1)[0] + y.unbind(0)[-1], 2),
    "where": (lambda x, y: torch.where(torch.eye(*x.shape).bool(), x, y), 2),
    "fill": (lambda x, y: x.masked_fill(torch.eye(*x.shape).bool(), 1) + y, 2),
    "pad": (lambda x, y: F.pad(x, (1, 2)) + F.pad(y, (2, 1)), 2),
    "lerp": (lambda x, y: torch.lerp(x, y, 0.25), 4),
    "bmm": (lambda x, y: x[None] @ y.t()[None], 4),
    "mv": (lambda x, y: x @ y[0], 4),
}


@pytest.mark.parametrize("name", LINEAR)
@settings(max_examples=8)
@given(rows=st.integers(2, 5), columns=st.integers(2, 5))
def test_products_and_views(name, rows, columns):
    operation, units = LINEAR[name]
    # Each gradient is a sum of up to 50 products with factors below 12.
    check(operation, drawn(rows, columns), drawn(rows, columns), units=units + 50 * 12 * 2.0**-8)


@pytest.mark.parametrize("name", ["mul", "rows", "bmm", "cat", "slice"])
def test_products_and_views_among_parties(name, group):
    operation, units = LINEAR[name]
    check(operation, drawn(3, 4), drawn(3, 4), units=units + 3, group=group)


@settings(max_examples=10)
@given(n=sizes, inner=sizes, out=sizes)
def test_linear(n, inner, out):
    check(F.linear, drawn(n, inner), drawn(out, inner), drawn(out), units=2)


def test_linear_among_parties(group):
    check(F.linear, drawn(3, 4), drawn(2, 4), drawn(2), units=2, group=group)
    check(F.linear, drawn(2, 3, 4), drawn(2, 4), drawn(2), units=2, group=group)


# ---- activations -------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": (F.relu, (0,)),
    "leaky": (lambda x: F.leaky_relu(x, 0.125), (0,)),
    "relu6": (lambda x: F.relu6(4 * x), (0, 1.5)),
    "hardtanh": (lambda x: F.hardtanh(x, -1, 0.5), (-1, 0.5)),
    "hardsigmoid": (lambda x: F.hardsigmoid(2 * x), (-1.5, 1.5)),
    "hardswish": (lambda x: F.hardswish(2 * x), (-1.5, 1.5)),
    "threshold": (lambda x: F.threshold(x, 0.5, 0.25), (0.5,)),
    "abs": (torch.abs, (0,)),
    "clamp": (lambda x: x.clamp(-1, 1), (-1, 1)),
    "clamp_min": (lambda x: x.clamp_min(0.5), (0.5,)),
    "inner": (lambda x: F.relu(x) * F.relu(-x + 1), (0, 1)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@settings(max_examples=6)
@given(n=st.integers(1, 40))
def test_activations(name, n):
    operation, corners = ACTIVATIONS[name]
    check(operation, drawn(n, away=corners), units=24)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_among_parties(name, pair):
    operation, corners = ACTIVATIONS[name]
    check(operation, drawn(3, 5, away=corners), units=24, group=pair)


def test_relu_of_a_product_among_three(group):
    """Where ReLU truncates, its bit is that of what it results in."""
    x, w = drawn(4, 3), drawn(3, 5)
    z = x @ w
    check(lambda x, w: F.relu(x @ w + (z.abs() < 0.01) * 0.5), x, w, units=4, group=group)


def test_prelu(pair):
    check(F.prelu, drawn(2, 3, 4, away=(0,)), drawn(3), units=8, group=pair)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_pairs(name, pair):
    x = drawn(4, 5)
    y = x + drawn(4, 5, away=(0,))
    check(getattr(torch, name), x, y, units=4, group=pair)


# ---- losses ------------------------------------------------------------------------------------

LOSSES = {
    "mse": F.mse_loss,
    "huber": lambda x, y, reduction: F.huber_loss(x, y, reduction=reduction, delta=0.5),
    "smooth": lambda x, y, reduction: F.smooth_l1_loss(x, y, reduction=reduction, beta=0.5),
    "l1": F.l1_loss,
}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=4)
@given(rows=sizes, columns=sizes)
def test_losses(name, reduction, rows, columns):
    x = drawn(rows, columns)
    y = x + drawn(rows, columns, away=(-0.5, 0, 0.5))
    # The result: a truncation for each of up to 25 elements, times 4/beta.
    check(lambda x, y: LOSSES[name](x, y, reduction=reduction), x, y, units=25 * 8)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_among_parties(name, group):
    x = drawn(3, 4)
    y = x + drawn(3, 4, away=(-0.5, 0, 0.5))
    check(lambda x, y: LOSSES[name](x, y, reduction="mean"), x, y, units=16, group=group)


# ---- convolutions and pooling ------------------------------------------------------------------


@settings(max_examples=25)
@given(
    n=st.integers(1, 2),
    groups=st.integers(1, 2),
    inputs=st.integers(1, 2),
    outputs=st.integers(1, 2),
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    image=st.tuples(st.integers(5, 8), st.integers(5, 8)),
)
def test_convolution(n, groups, inputs, outputs, taps, stride, padding, dilation, image):
    x = drawn(n, inputs * groups, *image)
    w = drawn(outputs * groups, inputs, *taps)
    check(
        lambda x, w, b: F.conv2d(x, w, b, stride, padding, dilation, groups),
        x,
        w,
        drawn(outputs * groups),
        units=2,
    )


@settings(max_examples=25)
@given(
    groups=st.integers(1, 2),
    inputs=st.integers(1, 2),
    outputs=st.integers(1, 2),
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.integers(0, 1),
    extra=st.integers(0, 2),
    dilation=st.integers(1, 2),
    image=st.tuples(st.integers(3, 5), st.integers(3, 5)),
)
def test_transposed_convolution(
    groups, inputs, outputs, taps, stride, padding, extra, dilation, image
):
    assume(extra < max(min(stride), dilation))
    x = drawn(2, inputs * groups, *image)
    w = drawn(inputs * groups, outputs, *taps)

    def operation(x, w):
        return F.conv_transpose2d(x, w, None, stride, padding, extra, groups, dilation)

    sizes = [(s - 1) * t + dilation * (k - 1) + extra + 1 - 2 * padding
             for s, t, k in zip(image, stride, taps, strict=True)]  # fmt: skip
    assume(min(sizes) > 0)
    check(operation, x, w, units=2)


def test_convolution_of_one_dimension(pair):
    check(
        lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1),
        drawn(2, 3, 8),
        drawn(2, 3, 3),
        drawn(2),
        units=2,
        group=pair,
    )


def test_convolution_among_parties(group):
    check(
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1),
        drawn(2, 3, 6, 6),
        drawn(4, 3, 3, 3),
        drawn(4),
        units=2,
        group=group,
    )


def apart(*shape):
    """Values of which no two are closer than 2^-8."""
    n = torch.Size(shape).numel()
    return ((torch.randperm(n).double() - n / 2) * 2.0**-8).view(shape)


@settings(max_examples=20)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    pad=st.integers(0, 1),
    ceil=st.booleans(),
    dilation=st.integers(1, 2),
    image=st.tuples(st.integers(5, 7), st.integers(5, 7)),
)
def test_max_pool(kernel, stride, pad, ceil, dilation, image):
    assume(min(kernel) >= 2 * pad)
    check(
        lambda x: F.max_pool2d(x, kernel, stride, pad, dilation, ceil),
        apart(2, 2, *image),
        units=1,
    )


def test_max_pool_among_parties(group):
    check(lambda x: F.max_pool2d(x, 2), apart(2, 2, 4, 6), units=1, group=group)
    check(lambda x: F.max_pool2d(x, 3, 2, 1), apart(1, 2, 5, 5), units=1, group=group)
    check(lambda x: F.max_pool1d(x, 2), apart(2, 2, 6), units=1, group=group)
    check(lambda x: F.adaptive_max_pool2d(x, (2, 3)), apart(1, 2, 5, 5), units=1, group=group)


def test_max_pool_of_a_relu(pair):
    """The usual pair: what pooling compares still owes a truncation."""
    w = drawn(2, 1, 3, 3)
    shared = pair.share(w, BITS)

    def operation(x):
        weight = shared if isinstance(x, PrivateTensor) else w
        return F.max_pool2d(F.relu(F.conv2d(x, weight)), 2)

    check(operation, apart(1, 1, 6, 6), units=8, group=pair)


@settings(max_examples=20)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 1),
    ceil=st.booleans(),
    counted=st.booleans(),
    image=st.tuples(st.integers(4, 7), st.integers(4, 7)),
)
def test_avg_pool(kernel, stride, pad, ceil, counted, image):
    assume(kernel >= 2 * pad)
    check(
        lambda x: F.avg_pool2d(x, kernel, stride, pad, ceil, counted),
        drawn(2, 2, *image),
        units=4,
    )


@pytest.mark.parametrize("size", [1, 2, 3, (2, 5)])
def test_adaptive_avg_pool(size, pair):
    check(lambda x: F.adaptive_avg_pool2d(x, size), drawn(2, 2, 6, 5), units=4, group=pair)
    check(lambda x: F.avg_pool2d(x, 2), drawn(1, 2, 4, 6), units=4, group=pair)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_padding(mode, pair):
    check(lambda x: F.pad(x, (2, 1, 1, 2), mode=mode), drawn(1, 2, 4, 5), units=1, group=pair)
    check(lambda x: F.pad(x, (2, 1), mode=mode), drawn(1, 2, 4), units=1, group=pair)


@pytest.mark.parametrize("size", [(4, 9), (6, 6), (3, 2)])
def test_nearest_neighbours(size, pair):
    check(lambda x: F.interpolate(x, size=size), drawn(1, 2, 3, 4), units=1, group=pair)


# ---- normalisation -----------------------------------------------------------------------------
# 1/sqrt(var + eps) is right to 2^-12, relatively, and multiplies numbers of size 16 or less.

ROOT = 16 * 2**16 * 2.0**-11


@pytest.mark.parametrize("shape", [(6, 3), (4, 2, 3, 3)])
def test_batch_norm_in_training(shape, group):
    channels = shape[1]
    check(
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        drawn(*shape),
        drawn(channels),
        drawn(channels),
        units=ROOT,
        group=group,
    )


def test_batch_norm_in_eval(pair):
    mean, variance = drawn(3), drawn(3).abs() + 0.5

    def operation(x, w, b):
        statistics = [
            pair.share(v, BITS) if isinstance(x, PrivateTensor) else v for v in (mean, variance)
        ]
        return F.batch_norm(x, *statistics, w, b)

    check(operation, drawn(4, 3, 2), drawn(3), drawn(3), units=ROOT, group=pair)


def test_layer_norm(group):
    check(
        lambda x, w, b: F.layer_norm(x, (6,), w, b),
        drawn(2, 3, 6),
        drawn(6),
        drawn(6),
        units=ROOT,
        group=group,
    )


def test_group_norm(group):
    check(
        lambda x, w, b: F.group_norm(x, 2, w, b),
        drawn(2, 4, 3, 2),
        drawn(4),
        drawn(4),
        units=ROOT,
        group=group,
    )


# ---- rows of tables, extrema, dropout ----------------------------------------------------------


@settings(max_examples=10)
@given(
    words=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    padding=st.sampled_from([None, 0, 3]),
    frequent=st.booleans(),
)
def test_embedding(words, padding, frequent):
    index = torch.tensor(words)
    check(
        lambda table: F.embedding(index, table, padding, scale_grad_by_freq=frequent),
        drawn(7, 3),
        units=2,
    )


def test_embedding_among_parties(group):
    index = torch.tensor([[0, 3, 3], [5, 3, 1]])
    check(lambda table: F.embedding(index, table), drawn(6, 2), units=1, group=group)
    often = torch.zeros(40, dtype=torch.long)
    check(lambda table: F.embedding(often, table), drawn(30, 2), units=1, group=group)


@pytest.mark.parametrize("name", ["max", "min"])
def test_largest_along_a_dimension(name, group):
    check(lambda x: getattr(x, name)(1).values, apart(3, 4), units=1, group=group)


@pytest.mark.parametrize(
    "drop",
    [
        lambda x: F.dropout(x, 0.5),
        lambda x: F.dropout(x, 0.3),
        lambda x: F.dropout2d(x, 0.5),
        lambda x: F.dropout(x, 0.0),
        lambda x: F.dropout(x, 0.5, training=False),
    ],
)
def test_dropout_is_that_of_the_same_seed(drop, group):
    def seeded(x):
        torch.manual_seed(3)
        return drop(x.float() if isinstance(x, torch.Tensor) and x.dtype == torch.float64 else x)

    check(seeded, drawn(4, 5, 3, 2), units=4, group=group)
