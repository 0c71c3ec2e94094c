"""binary_cross_entropy beside torch's, with its gradient, up to probabilities of 0 and 1."""

from __future__ import annotations

from math import log

import pytest
import torch
import torch.nn.functional as F
from agreement import close

from tacita.errors import BoundExceeded, UnsupportedOperation
from tacita.ring.fixed_point import Precision

PRECISION = Precision(2, 16)
# Two logarithms of error 2^-12 each, with weights that add up to 1.
UNITS = 2 * 2**4 + 2


def examples():
    p = torch.tensor([[0.5, 0.25, 0.75], [2.0**-8, 1 - 2.0**-8, 0.125]])
    return p, torch.tensor([[1.0, 0.0, 0.5], [1.0, 1.0, 0.25]])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("private_target", [False, True])
def test_losses(reduction, private_target, group):
    p, t = examples()
    target = group.share(t, PRECISION) if private_target else t
    got = F.binary_cross_entropy(group.share(p, PRECISION), target, reduction=reduction)
    units = UNITS * (p.numel() if reduction == "sum" else 1)
    close(got, F.binary_cross_entropy(p, t, reduction=reduction), units, PRECISION)


def test_weights(pair):
    p, t = examples()
    weight = torch.tensor([1.0, 2.0, 0.5])
    got = F.binary_cross_entropy(pair.share(p, PRECISION), t, weight)
    close(got, F.binary_cross_entropy(p, t, weight), 2 * UNITS, PRECISION)


@pytest.mark.parametrize("checked", [False, True])
def test_ends_count_as_one_unit(checked, pair):
    p = torch.tensor([0.0, 1.0, 0.0, 1.0])
    t = torch.tensor([0.0, 1.0, 1.0, 0.0])
    private = pair.share(p, PRECISION, checked=checked)
    got = F.binary_cross_entropy(private, t, reduction="none")
    least = log(PRECISION.scale)
    close(got, torch.tensor([0.0, 0.0, least, least]), UNITS, PRECISION)


def test_what_is_no_probability_is_found_in_checked_mode(pair):
    private = pair.share(torch.tensor([3.5]), PRECISION, checked=True)
    with pytest.raises(BoundExceeded, match="binary_cross_entropy"):
        F.binary_cross_entropy(private, torch.tensor([1.0])).get()


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients(reduction, pair):
    """A quotient is off by 2^-12 of itself, and p·(1 - p) of 2^-8 by a unit of 2^-24 and p's own
    rounding, which are less."""
    p, t = examples()
    private = pair.share(p, PRECISION).requires_grad_()
    clear = p.clone().requires_grad_()
    for each in (private, clear):
        F.binary_cross_entropy(each, t, reduction=reduction).sum().backward()
    off = (private.grad.decrypt() - clear.grad).abs()
    assert (off <= 2.0**-11 * clear.grad.abs() + 2.0**-14).all()


def test_training_with_a_sigmoid_follows_that_with_logits(pair):
    torch.manual_seed(1)
    x, t = torch.rand(16, 3), torch.randint(2, (16, 1)).float()
    start = torch.zeros(3, 1)
    weights = []
    for loss in (
        lambda z: F.binary_cross_entropy(torch.sigmoid(z), t),
        lambda z: F.binary_cross_entropy_with_logits(z, t),
    ):
        w = pair.share(start, PRECISION).requires_grad_()
        optimizer = torch.optim.SGD([w], lr=0.5)
        for _ in range(3):
            optimizer.zero_grad()
            loss(pair.share(x, PRECISION) @ w).backward()
            optimizer.step()
        weights.append(w.detach().decrypt())
    # Gradients are off by 2^-10 together, of size 1 and less; three steps of half of it.
    assert ((weights[0] - weights[1]).abs() <= 3 * 0.5 * 2.0**-10 * 2).all()


def test_public_probabilities_are_computed_in_the_clear(pair):
    target = pair.share(torch.tensor([1.0]), PRECISION)
    with pytest.raises(UnsupportedOperation, match="public"):
        F.binary_cross_entropy(torch.tensor([0.5]), target)
