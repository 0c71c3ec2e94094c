from __future__ import annotations

import pytest
import torch
from agreement import Group, close, stored
from hypothesis import given, settings
from hypothesis import strategies as st
from small_modules import drift, gain, reference, shared
from torch import nn
from torch.nn import functional as F

import tacita
from tacita.errors import MissingDealerError, ShapeError, UnsupportedOperation
from tacita.ring.fixed_point import Precision
from tacita.runtime.plain import PlainRun

CALLS = [
    (F.conv2d, (2, 3, 7, 6), (4, 3, 3, 3), {}),
    (F.conv2d, (2, 3, 7, 6), (4, 3, 3, 2), {"stride": 2, "padding": 1}),
    (F.conv2d, (1, 2, 9, 9), (3, 2, 3, 3), {"dilation": (2, 3), "padding": (2, 1)}),
    (F.conv2d, (2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2}),
    (F.conv2d, (2, 4, 5, 5), (4, 1, 3, 3), {"groups": 4, "padding": 1, "stride": 2}),
    (F.conv2d, (2, 4, 5, 5), (8, 1, 1, 1), {"groups": 4}),
    (F.conv2d, (1, 1, 1, 1), (1, 1, 1, 1), {}),
    (F.conv2d, (3, 7, 6), (4, 3, 2, 3), {}),
    (F.conv2d, (1, 2, 6, 5), (3, 2, 4, 3), {"padding": "same"}),
    (F.conv2d, (1, 2, 6, 5), (3, 2, 2, 3), {"padding": "same", "dilation": 3}),
    (F.conv2d, (1, 2, 6, 5), (3, 2, 4, 3), {"padding": "valid"}),
    (F.conv2d, (0, 2, 6, 5), (3, 2, 4, 3), {}),
    (F.conv1d, (2, 3, 9), (4, 3, 4), {}),
    (F.conv1d, (2, 4, 9), (4, 2, 3), {"groups": 2, "stride": 2, "padding": 2, "dilation": 2}),
    (F.conv1d, (3, 9), (4, 3, 4), {"padding": "same"}),
    (F.conv_transpose2d, (2, 3, 4, 5), (3, 2, 3, 3), {}),
    (F.conv_transpose2d, (2, 4, 4, 3), (4, 3, 3, 2),
     {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2}),
    (F.conv_transpose2d, (1, 2, 4, 4), (2, 2, 3, 3), {"dilation": 2, "stride": 2, "padding": 3}),
    (F.conv_transpose2d, (1, 2, 5, 5), (2, 1, 1, 1), {"padding": 1}),
    (F.conv_transpose1d, (2, 3, 5), (3, 2, 4), {"stride": 3, "padding": 1, "output_padding": 2}),
]  # fmt: skip


def operands(shapes, transposed, groups=1):
    x, w = (torch.randn(shape) for shape in shapes)
    return x, w, torch.randn(shapes[1][1] * groups if transposed else shapes[1][0])


@pytest.mark.parametrize("index", range(len(CALLS)))
def test_like_torch(group, index):
    call, image, filters, options = CALLS[index]
    transposed = call in (F.conv_transpose1d, F.conv_transpose2d)
    x, w, b = operands((image, filters), transposed, options.get("groups", 1))
    expected = call(stored(x), stored(w), stored(b), **options)
    px, pw, pb = group.share(x), group.share(w), group.share(b)
    close(call(px, pw, pb, **options), expected)
    close(call(px, pw, **options), call(stored(x), stored(w), **options))
    # With the weights in the clear, and with the data in the clear.
    close(call(px, w, b, **options), expected)
    close(call(px, pw, b, **options), expected)
    close(call(x, pw, pb, **options), expected)
    close(call(x, pw, b, **options), expected)


@pytest.mark.parametrize("index", range(len(CALLS)))
def test_in_inference_mode_torch_leaves_the_names_as_they_are(index):
    # Exported programs name these operations in the same way.
    call, image, filters, options = CALLS[index]
    transposed = call in (F.conv_transpose1d, F.conv_transpose2d)
    x, w, b = operands((image, filters), transposed, options.get("groups", 1))
    clear = Group([], None, PlainRun())
    with torch.inference_mode():
        got = call(clear.share(x), clear.share(w), clear.share(b), **options)
    close(got, call(stored(x), stored(w), stored(b), **options))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_shape(data):
    def draw(least, most):
        return data.draw(st.integers(least, most))

    n, groups, inputs, outputs = draw(1, 2), draw(1, 3), draw(1, 2), draw(1, 2)
    kernel, stride = (draw(1, 3), draw(1, 3)), (draw(1, 3), draw(1, 3))
    padding, dilation = (draw(0, 2), draw(0, 2)), (draw(1, 2), draw(1, 2))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    least = [max(1, r - 2 * p) for r, p in zip(reach, padding, strict=True)]
    image = [draw(size, size + 4) for size in least]
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    clear = Group([], None, PlainRun())
    x, w = torch.randn(n, inputs * groups, *image), torch.randn(outputs * groups, inputs, *kernel)
    close(
        F.conv2d(clear.share(x), clear.share(w), padding=padding, **options),
        F.conv2d(stored(x), stored(w), padding=padding, **options),
    )
    extra = [draw(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
    t = torch.randn(inputs * groups, outputs, *kernel)
    margin = [min(p, (r - 1) // 2) for r, p in zip(reach, padding, strict=True)]
    close(
        F.conv_transpose2d(
            clear.share(x), clear.share(t), padding=margin, output_padding=extra, **options
        ),
        F.conv_transpose2d(stored(x), stored(t), padding=margin, output_padding=extra, **options),
    )


@pytest.mark.parametrize("precision", [Precision(10, 3), Precision(2, 16)])
def test_two_layers_truncate_between(group, precision):
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2))
    x = torch.randn(2, 2, 8, 8)
    expected = reference(model, precision)(stored(x, precision))
    with torch.no_grad():
        close(shared(group, model, precision)(group.share(x, precision)), expected,
              drift(*model), precision)  # fmt: skip
        close(model(group.share(x, precision)), expected, drift(*model), precision)


def test_without_a_relu_the_input_is_truncated(group):
    a, w = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 2, 2)
    x, ra, rw = group.share(a), stored(a), stored(w)
    close(F.conv2d(x * x, group.share(w)), F.conv2d(ra * ra, rw),
          float(rw.flatten(1).abs().sum(1).max()))  # fmt: skip


def test_weights_are_opened_once(pair):
    module = nn.ConvTranspose2d(2, 3, 3, stride=2).fix_precision()
    module.share(*pair.holders, crypto_provider=pair.dealer)
    x = pair.share(torch.randn(1, 2, 4, 4))
    for rounds in (1, 0):  # the input, without the zeros between; then nothing
        with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic, torch.no_grad():
            module(x)
        assert traffic.rounds == rounds
        assert traffic.online_bytes == rounds * 8 * 2 * 4 * 4


def test_integers(group):
    x, w = torch.randint(-(2**40), 2**40, (1, 2, 4, 4)), torch.randint(-9, 9, (3, 2, 2, 2))
    got = F.conv2d(group.share(x), group.share(w)).get()
    assert torch.equal(got, F.conv2d(x.double(), w.double()).long())


def test_bounds(group):
    x, w = torch.rand(1, 2, 4, 4) * 2 - 1, torch.rand(3, 2, 2, 2) * 2 - 1
    out = F.conv2d(group.share(x, bound=1.0), group.share(w, bound=1.0))
    assert out._handle.wire.bound == 2 * 2 * 2 * 1000 * 1000
    close(out.relu(), F.conv2d(stored(x), stored(w)).relu(), 1)
    checked = group.share(x, bound=1.0, checked=True)
    close(F.conv2d(checked, w).relu(), F.conv2d(stored(x), stored(w)).relu(), 1)


def test_autograd_above(pair):
    module = nn.Conv2d(2, 3, 2).fix_precision()
    module.share(*pair.holders, crypto_provider=pair.dealer, requires_grad=True)
    assert module(pair.share(torch.ones(1, 2, 3, 3))).requires_grad


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: F.conv3d(x[None, None], x.new_ones(1, 1, 1, 1, 1)), UnsupportedOperation),
        (lambda x: F.conv2d(x, x.new_ones(2, 3, 2, 2)), ShapeError),
        (lambda x: F.conv2d(x, x.new_ones(2, 2, 9, 9)), ShapeError),
        (lambda x: F.conv2d(x, x.new_ones(3, 1, 2, 2), groups=2), ShapeError),
        (lambda x: F.conv2d(x, x.new_ones(2, 2, 1, 1), padding=-1), ShapeError),
        (lambda x: F.conv2d(x, x.new_ones(2, 2, 1, 1), stride=0), ShapeError),
        (lambda x: F.conv_transpose2d(x, x.new_ones(3, 2, 1, 1)), ShapeError),
    ],
)
def test_errors_name_what_does_not_fit(group, call, error):
    with pytest.raises((error, RuntimeError)) as caught:
        call(group.share(torch.ones(2, 4, 4)))
    assert "convolution" in str(caught.value) or "conv" in str(caught.value)


def test_without_a_dealer(bare):
    x, w = bare.share(torch.ones(1, 1, 3, 3)), bare.share(torch.ones(1, 1, 2, 2))
    with pytest.raises(MissingDealerError, match="convolution"):
        F.conv2d(x, w)
    close(F.conv2d(x, torch.ones(1, 1, 2, 2)), torch.full((1, 1, 2, 2), 4.0))


# ---- whole modules -----------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return F.relu(x + self.second(F.relu(self.first(x))))


def test_a_residual_block(group):
    model, x = Residual(), torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        got = shared(group, model)(group.share(x))
    # The ReLU inside truncates; so does the one outside.
    close(got, reference(model)(stored(x)), gain(model.second) + 1)


def test_a_depthwise_separable_block(group):
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ReLU6(), nn.Conv2d(4, 8, 1), nn.ReLU6()
    )
    x = torch.randn(2, 4, 6, 6) * 4
    # A ReLU6 is the difference of two truncated values: off by one unit either way.
    units = gain(model[2]) + 1
    with torch.no_grad():
        close(shared(group, model)(group.share(x)), reference(model)(stored(x)), units)


def test_lenet(group):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 4),
    )  # fmt: skip
    x = torch.rand(3, 1, 16, 16)
    with torch.no_grad():
        close(shared(group, model)(group.share(x)), reference(model)(stored(x)), drift(*model))
