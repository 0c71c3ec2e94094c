"""Gradients of scalar functions, by autograd on private tensors, against float64."""

from __future__ import annotations

import pytest
import torch
from agreement import stored
from torch.nn import functional as F

import tacita
from tacita.compiler.functions import ERROR
from tacita.ring.fixed_point import Precision

BINARY = Precision(2, 16)
UNIT = 1 / BINARY.scale
RECIPROCAL = ERROR + 2.0**-15.9
POWERS = 2.0**-13  # exponentials, absolutely

# name: the function, and what its slope may be off by: absolutely, and relatively.
SLOPES = {
    # y·(1 - y) and 1 - y², of a y that is off by ERROR, and rounded.
    "sigmoid": (torch.sigmoid, ERROR, 0),
    "tanh": (torch.tanh, 2 * ERROR, 0),
    # Approximated by themselves.
    "gelu": (F.gelu, ERROR, 0),
    "gelu-tanh": (lambda x: F.gelu(x, approximate="tanh"), ERROR, 0),
    "silu": (F.silu, ERROR, 0),
    "mish": (F.mish, ERROR, 0),
    "softplus": (F.softplus, ERROR, 0),
    "softplus-2": (lambda x: F.softplus(x, beta=2), ERROR, 0),
    "log-sigmoid": (F.logsigmoid, ERROR, 0),
    # 2/√π·exp(-x²), exponents below -9.9 counting as that.
    "erf": (torch.erf, 1.2 * (POWERS + 5.1e-5), 2.0**-13),
    "elu": (F.elu, POWERS + 5.1e-5, 2.0**-16),
    "selu": (F.selu, 2 * (POWERS + 5.1e-5), 2.0**-13),
    "celu": (lambda x: F.celu(x, 0.5), POWERS + 5.1e-5, 2.0**-16),
    "exp": (lambda x: torch.exp(x / 4), (POWERS + 5.1e-5), 2.0**-13),
}

# The same for positive arguments.
POSITIVE = {
    "log": (torch.log, 0, RECIPROCAL),
    "log1p": (torch.log1p, 0, RECIPROCAL),
    "sqrt": (torch.sqrt, 0, RECIPROCAL + 2.0**-15),
    "rsqrt": (torch.rsqrt, 0, 2.0**-12),
    "reciprocal": (torch.reciprocal, 0, 2 * RECIPROCAL),
    "quotient": (lambda x: 1 / (x + 1), 0, 2 * RECIPROCAL),
    "power": (lambda x: x**1.5, 0, 2.0**-13),
}


def gradients(group, function, x, incoming, of=None):
    """What autograd makes of a private tensor and of its values in the clear."""
    p = group.share(x, BINARY).requires_grad_()
    (function(p) * incoming.float()).sum().backward()
    r = stored(x, BINARY).requires_grad_()
    ((of or function)(r) * stored(incoming.float(), BINARY)).sum().backward()
    return p.grad.decrypt().double(), r.grad


def agree(got, expected, slack):
    error = (got - expected).abs()
    assert bool((error <= slack + expected.abs() * 2.0**-22).all()), float((error / slack).max())


@pytest.mark.parametrize("name", SLOPES)
def test_slopes(group, name):
    function, absolute, relative = SLOPES[name]
    x = torch.linspace(-6, 6, 41).double() + 0.01
    incoming = torch.linspace(-2, 2, 41).double()
    got, expected = gradients(group, function, x, incoming)
    # Slope, product and argument are rounded once each at the most, none of them above 2 in size.
    slack = incoming.abs() * absolute + expected.abs() * relative + 8 * UNIT
    agree(got, expected, slack)


@pytest.mark.parametrize("name", POSITIVE)
def test_slopes_for_positive_arguments(group, name):
    function, absolute, relative = POSITIVE[name]
    x = torch.linspace(0.5, 6, 40).double()
    incoming = torch.linspace(-2, 2, 40).double()
    got, expected = gradients(group, function, x, incoming)
    # Slopes are made of powers of results that are rounded to units, and of values up to 4.
    agree(got, expected, expected.abs() * relative + incoming.abs() * absolute + 64 * UNIT)


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax], ids=["softmax", "log-softmax"])
@pytest.mark.parametrize("dim", [0, 1])
def test_gradients_of_softmax(group, function, dim):
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double() * 2
    incoming = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)).double()
    got, expected = gradients(group, lambda v: function(v, dim), x, incoming)
    # softmax, off by so much in each of at most five places; its slope multiplies it with itself.
    off = RECIPROCAL + 5 * 2.0**-15 + 2.0**-13
    largest = float(incoming.abs().sum(dim).max())
    agree(got, expected, 2 * largest * off + 16 * UNIT)


def test_gradients_of_cross_entropy(group):
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)).double() * 2
    classes = torch.arange(8) % 5
    off = RECIPROCAL + 5 * 2.0**-15 + 2.0**-13 + 8 * UNIT
    for private, clear in (
        (classes, classes),
        (group.share(classes), classes),
        (group.share(F.one_hot(classes, 5).double(), BINARY), F.one_hot(classes, 5).double()),
        (F.one_hot(classes, 5).float(), F.one_hot(classes, 5).double()),
    ):
        got, expected = gradients(
            group, lambda v, t=private: F.cross_entropy(v, t), x, torch.tensor(1.0),
            of=lambda v, t=clear: F.cross_entropy(v, t),
        )  # fmt: skip
        # (softmax - one-hot)/8
        agree(got, expected, torch.tensor(off / 8 + UNIT))
    weights = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.25])
    got, expected = gradients(
        group, lambda v: F.cross_entropy(v, classes, weight=weights), x, torch.tensor(1.0),
        of=lambda v: F.cross_entropy(v, classes, weight=weights.double()),
    )  # fmt: skip
    agree(got, expected, torch.tensor(2 * off / 7.25 + 4 * UNIT))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_of_binary_cross_entropy(group, reduction):
    x = torch.linspace(-5, 5, 20).double()
    labels = (torch.arange(20) % 2).double()
    for targets in (labels.float(), group.share(labels, BINARY)):
        got, expected = gradients(
            group,
            lambda v, t=targets: F.binary_cross_entropy_with_logits(v, t, reduction=reduction),
            x, torch.tensor(1.0),
            of=lambda v: F.binary_cross_entropy_with_logits(v, labels, reduction=reduction),
        )  # fmt: skip
        agree(got, expected, torch.tensor((ERROR + 4 * UNIT) * (1 if reduction == "sum" else 0.1)))


def test_a_gradient_uses_the_clamp_of_its_function(pair):
    x = pair.share(torch.linspace(-9, 9, 5000), BINARY).requires_grad_()
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as forward:
        out = F.gelu(x)
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as backward:
        out.sum().backward()
    assert backward.rounds < forward.rounds
    assert backward.dealt_bytes < forward.dealt_bytes / 2


@pytest.mark.parametrize("name", ["elu", "selu", "celu"])
def test_gradients_of_bent_lines_at_three_decimals(group, name):
    """Scales of ten and of two meet there, and their common multiple leaves the ring no room."""
    x = torch.tensor([-3.0, -1.0, -0.5, 0.5, 1.0, 3.0])
    private = group.share(x, Precision(10, 3)).requires_grad_()
    plain = stored(x, Precision(10, 3)).requires_grad_()
    getattr(F, name)(private).sum().backward()
    getattr(F, name)(plain).sum().backward()
    # The exponential's 2^-13 and the slope's own size of less than 2; units of gradients are finer.
    assert (private.grad.decrypt().double() - plain.grad).abs().max() < 2.0**-11


def test_the_gradient_of_the_largest_of_all(group):
    x = group.share(torch.tensor([0.5, 2.0, -1.0]), BINARY).requires_grad_()
    x.max().backward()
    # Autograd divides by how many are the largest, which is a private number.
    agree(x.grad.decrypt().double(), torch.tensor([0.0, 1.0, 0.0]), RECIPROCAL + UNIT)
