from __future__ import annotations

import pytest
import torch
from agreement import close, stored
from torch import nn
from torch.nn import functional as F

import tacita
from tacita.errors import UnsupportedOperation
from tacita.ring.fixed_point import Precision

VALUES = torch.tensor([[-1000.5, -4.0, -3.0, -1.5, -0.001, 0.0], [0.001, 1.0, 2.9, 3.0, 6.0, 7.5]])
PRECISIONS = [Precision(10, 3), Precision(2, 12)]

EXACT = [
    F.relu6, F.hardtanh, lambda x: F.hardtanh(x, -2.5, 0.5), F.hardsigmoid,
    lambda x: x.clamp(-1, 1), lambda x: x.clamp(2, -2), lambda x: x.clamp(1, 1),
    lambda x: x.clamp(torch.tensor(-1.0), torch.tensor(0.25)), nn.ReLU6(), nn.Hardtanh(),
    lambda x: F.relu6(x.clone(), inplace=True), lambda x: F.dropout(x, training=False),
    lambda x: nn.Dropout2d().eval()(x[None]),
]  # fmt: skip


@pytest.mark.parametrize("call", EXACT)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_exact(group, call, precision):
    expected = call(stored(VALUES, precision))
    close(call(group.share(VALUES, precision)), expected, 0, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_hardswish(group, precision):
    # A product of two values of the precision, which is exact.
    close(F.hardswish(group.share(VALUES, precision)),
          F.hardswish(stored(VALUES, precision)), 0, precision)  # fmt: skip


@pytest.mark.parametrize("call", [F.relu6, F.hardtanh, F.hardsigmoid])
def test_after_a_product(group, call):
    a, b = torch.randn(60) * 2, torch.randn(60) * 2
    product, expected = group.share(a) * group.share(b), stored(a) * stored(b)
    # The difference of two values, each truncated once.
    close(call(product), call(expected), 1)
    close(product.clamp(-1, 1), expected.clamp(-1, 1))


def test_hardswish_after_a_product(group):
    a, b = torch.randn(60) * 2, torch.randn(60) * 2
    product, expected = group.share(a) * group.share(b), stored(a) * stored(b)
    # x is off by one unit and the gate by two; the gate is at most 6, and all of it over 6.
    units = 1 + float(expected.abs().max()) * 2 / 6
    close(F.hardswish(product), F.hardswish(expected), units)


def test_both_limits_in_one_comparison(pair):
    x = pair.share(torch.randn(20))
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as both:
        x.clamp(-1, 1)
    y = pair.share(torch.randn(20))
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as one:
        (y + 1).relu()
    assert both.rounds == one.rounds


def test_limits_are_a_bound(group):
    x = group.share(VALUES)
    assert F.relu6(x)._handle.wire.bound <= 6 * 1000 + 2000
    close(F.relu6(x) > 5, (F.relu6(stored(VALUES)) > 5).double())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 2), (3,)])
def test_prelu(group, count, shape):
    if shape == (3,) and count == 3:
        pytest.skip("torch takes one weight for a vector")
    a, w = torch.randn(shape), torch.rand(count)
    expected = F.prelu(stored(a), stored(w))
    close(F.prelu(group.share(a), group.share(w)), expected)
    close(F.prelu(group.share(a), w), expected)
    with torch.inference_mode():
        close(F.prelu(group.share(a), group.share(w)), expected)
    x, ra = group.share(a), stored(a)
    # The value and its ReLU are each off by one unit at the most; a weight is at most 1.
    close(F.prelu(x * x - 1, group.share(w)), F.prelu(ra * ra - 1, stored(w)), 2)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_dropout_in_training_is_that_of_the_same_seed(group, mode):
    x = group.share(VALUES)
    for drop in (F.dropout, lambda x: torch.dropout(x, 0.5, True)):
        torch.manual_seed(6)
        expected = drop(stored(VALUES).float())
        torch.manual_seed(6)
        with mode():
            close(drop(x), expected)
    kept, mask = torch.native_dropout(x, 0.5, False)
    close(kept, stored(VALUES))
    assert mask.all()


def test_results_of_comparisons_are_whole_numbers(group):
    x, ra = group.share(VALUES), stored(VALUES)
    for convert in (torch.Tensor.long, torch.Tensor.int, lambda t: t.to(torch.int64)):
        close(convert(x > 0).sum(), (ra > 0).sum())
        close(convert(x.argmax(1)), ra.argmax(1))
    with pytest.raises(UnsupportedOperation, match="// 1"):
        x.long()
