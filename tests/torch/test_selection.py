from __future__ import annotations

import pytest
import torch
from agreement import close, stored
from torch.nn import functional as F

from tacita.errors import UnsupportedOperation
from tacita.ring.fixed_point import Precision

VALUES = torch.tensor([[-1000.5, -2.0, -0.001, 0.0], [0.001, 1.0, 0.5, 1000.25]])

EXACT = [
    torch.relu, F.relu, torch.abs, torch.sign, F.relu6, F.hardtanh, lambda x: x.clamp(-1, 1),
    lambda x: x.clamp(min=0.5), lambda x: x.clamp(max=-0.5), lambda x: x.clamp_min(0),
    lambda x: F.threshold(x, 0, 0), lambda x: F.threshold(x, 0.5, -2.0),
    lambda x: torch.where(x > 0.5, x, -x), lambda x: torch.where(x > 0.5, 1.0, x),
    lambda x: torch.where(x > 0, 1.0, 0.0), lambda x: x.masked_fill(x < 0, 7.0),
    lambda x: x.masked_fill(torch.eye(2, 4) > 0, 7.0), lambda x: torch.maximum(x, x * 2),
    lambda x: torch.minimum(x, -x), lambda x: torch.max(x, torch.zeros(4)),
    lambda x: torch.where(torch.eye(2, 4) > 0, x, -x), lambda x: torch.nn.ReLU()(x),
    lambda x: F.dropout(x, training=False), lambda x: torch.clamp(x, x.new_zeros(()), x * 0 + 3),
]  # fmt: skip


@pytest.mark.parametrize("operation", EXACT)
@pytest.mark.parametrize("precision", [Precision(10, 3), Precision(2, 12)])
def test_exact(group, operation, precision):
    expected = operation(stored(VALUES, precision))
    close(operation(group.share(VALUES, precision)), expected, 0, precision)


@pytest.mark.parametrize("operation", EXACT)
def test_nothing_at_all(group, operation):
    for shape in [(0, 4), (2, 0)]:
        x = group.share(torch.zeros(shape))
        try:
            expected = operation(torch.zeros(shape))
        except RuntimeError:
            continue  # torch has no result either
        close(operation(x), expected)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 127, 129, 511, 513])
@pytest.mark.parametrize("precision", [Precision(10, 3), Precision(2, 12)])
def test_relu_with_truncation(group, n, precision):
    a, b = torch.randn(n) * 20, torch.randn(n) * 20
    x, y = group.share(a, precision), group.share(b, precision)
    ra, rb = stored(a, precision), stored(b, precision)
    product = (x * y).relu()
    close(product, (ra * rb).relu(), 1, precision)
    assert product._handle.wire.scale == precision.scale
    assert (product.decrypt() >= 0).all()


def test_relu_with_any_divisor(group):
    a = torch.randn(40) * 50
    x, ra = group.share(a), stored(a)
    close((x / 3).relu(), (ra / 3).relu(), 1)
    close((x * x / 7).relu(), (ra * ra / 7).relu(), 1)
    close((x.mean() + x).relu(), (ra.mean() + ra).relu(), 1)
    close(((x > 0) / 7).relu(), (ra > 0) / 7)


def test_relu_of_bounded_values(group):
    for precision in (Precision(10, 3), Precision(2, 12)):
        a, w = torch.rand(9, 30) * 8 - 4, torch.rand(30, 5) * 2 - 1
        x, y = group.share(a, precision, bound=4.0), group.share(w, precision, bound=1.0)
        ra, rw = stored(a, precision), stored(w, precision)
        out = (x @ y).relu()
        close(out, (ra @ rw).relu(), 1, precision)
        assert out._handle.wire.bound == 30 * 4 * precision.scale + 1


def test_the_bound_itself_is_allowed(group):
    for precision in (Precision(10, 3), Precision(2, 12)):
        a = torch.tensor([-1.0, 1.0, 0.999, -0.999, 0.0])
        x, y = (
            group.share(a, precision, bound=1.0),
            group.share(torch.ones(5), precision, bound=1.0),
        )
        ra = stored(a, precision)
        close((x * y).relu(), ra.relu(), 1, precision)
        close(x * y * y, ra, 1, precision)
        close(x >= y, (ra >= 1).double(), 0, precision)


def test_leaky_relu(group):
    a = torch.randn(20)
    close(F.leaky_relu(group.share(a), 0.25), F.leaky_relu(stored(a), 0.25))


def test_selection_after_a_product(group):
    a, b = torch.randn(30), torch.randn(30)
    x, y, ra, rb = group.share(a), group.share(b), stored(a), stored(b)
    close((x * y).abs(), (ra * rb).abs())
    close(torch.maximum(x * y, x), torch.maximum(ra * rb, ra))
    close((x * y).clamp(-1, 1), (ra * rb).clamp(-1, 1))
    close((x * y).sign(), (ra * rb).sign())
    close(torch.where(x * y > 0, x * y, x), torch.where(ra * rb > 0, ra * rb, ra), 1)


def test_integers(group):
    a = torch.tensor([3, -4, 0, 2**50])
    x = group.share(a)
    for operation in (
        torch.relu,
        torch.abs,
        torch.sign,
        lambda t: t.clamp(-1, 2),
        lambda t: torch.where(t > 0, t, -t),
        lambda t: torch.maximum(t, t * 2),
    ):
        assert torch.equal(operation(x).get(), operation(a))


def test_conditions_are_bits(group):
    x = group.share(torch.ones(2))
    with pytest.raises(UnsupportedOperation, match="comparison"):
        torch.where(x, x, x)
