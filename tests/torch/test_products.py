"""prod and cumprod beside torch's, with gradients."""

from __future__ import annotations

import pytest
import torch
from agreement import close, stored

from tacita.ring.fixed_point import Precision

PRECISION = Precision(2, 16)
# Factors below 2 in size: a level rounds to one unit, times at most 2^7 of the others.
UNITS = 3 * 2**7


@pytest.mark.parametrize("shape", [(1,), (2,), (7,), (8,), (2, 3), (3, 1, 2), ()])
@pytest.mark.parametrize("keepdim", [False, True])
def test_products_over_a_dimension_and_over_all(shape, keepdim, group):
    x = torch.rand(shape) * 4 - 2
    private = group.share(x, PRECISION)
    exact = stored(x, PRECISION)
    close(private.prod(), exact.prod(), UNITS, PRECISION)
    for dim in range(len(shape)):
        close(private.prod(dim, keepdim), exact.prod(dim, keepdim), UNITS, PRECISION)
        close(private.cumprod(dim), exact.cumprod(dim), UNITS, PRECISION)


def test_products_of_integers_are_exact(group):
    x = torch.tensor([[3, -1, 4], [1, 5, -9]])
    private = group.share(x)
    assert torch.equal(private.prod().decrypt(), x.prod())
    assert torch.equal(private.prod(1).decrypt(), x.prod(1))
    assert torch.equal(private.cumprod(0).decrypt(), x.cumprod(0))


@pytest.mark.parametrize("dim", [None, 0, 1])
def test_products_of_nothing_are_one(dim, group):
    private = group.share(torch.zeros(0, 3), PRECISION)
    args = () if dim is None else (dim,)
    assert torch.equal(private.prod(*args).decrypt(), torch.zeros(0, 3).prod(*args))


def test_the_gradient_of_a_product_is_right_where_a_factor_is_zero(pair):
    x = torch.tensor([[1.5, -0.5, 2.0, 0.25], [0.0, 1.0, -2.0, 3.0]])
    private = pair.share(x, PRECISION).requires_grad_()
    clear = x.clone().requires_grad_()
    for each in (private, clear):
        (each.prod(1) * torch.tensor([2.0, -1.0])).sum().backward()
    close(private.grad, clear.grad, 64, PRECISION)
