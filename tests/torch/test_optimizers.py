"""What is checked before a step of an optimizer: whose parameters it holds, and its eps."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn, optim

from tacita.errors import ShapeError, UsageError
from tacita.ring.fixed_point import Precision
from tacita.torch.optimizers import ROOM, smallest_eps
from tacita.torch.precision_warning import PrecisionWarning

BITS = {"base": 2, "precision_fractional": 16}


def share(value, pair, **options):
    return value.fix_precision(**BITS).share(*pair.holders, crypto_provider=pair.dealer, **options)


def backward(model, x):
    model(x).sum().backward()


# ---- parameters that are no longer there -------------------------------------------------------


def test_an_optimizer_from_before_sharing_is_an_error_at_its_step(pair):
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    share(model, pair, requires_grad=True)
    optimizer.zero_grad()
    backward(model, share(torch.rand(4, 3), pair))
    with pytest.raises(UsageError, match=r"SGD: parameter of shape \(2, 3\) .*make the optimizer"):
        optimizer.step()
    optim.SGD(model.parameters(), lr=0.1).step()


def test_gradients_from_before_sharing_do_not_hide_it(pair):
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    backward(model, torch.rand(4, 3))
    optimizer.step()
    share(model, pair, requires_grad=True)
    with pytest.raises(UsageError, match="no longer in its module"):
        optimizer.step()


def test_an_optimizer_of_private_parameters_after_get_is_an_error_that_names_one(pair):
    model = share(nn.Linear(3, 2), pair, requires_grad=True)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    backward(model, share(torch.rand(4, 3), pair))
    optimizer.step()
    model.get().float_precision()
    optimizer.zero_grad()
    backward(model, torch.rand(4, 3))
    with pytest.raises(UsageError, match="parameter weight"):
        optimizer.step()


def test_a_parameter_that_another_module_trains_in_the_clear_may_be_stepped(pair):
    shared, clear = nn.Linear(3, 2), nn.Linear(3, 2)
    clear.weight = shared.weight
    share(shared, pair, requires_grad=True)
    optimizer = optim.SGD(clear.parameters(), lr=0.5)
    before = clear.weight.detach().clone()
    backward(clear, torch.ones(1, 3))
    optimizer.step()
    assert torch.equal(clear.weight.detach(), before - 0.5)


# ---- those that write to `out` -----------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.Adam(p, lr=0.01, amsgrad=True, eps=2.0**-12),
        lambda p: optim.AdamW(p, lr=0.01, amsgrad=True, eps=2.0**-12),
        lambda p: optim.Adamax(p, lr=0.01),
    ],
)
def test_optimizers_that_keep_the_largest(make, pair):
    """Gradients of 1, 0.5 and 0.25 by turns: the largest stays where the mean of squares falls."""
    start = torch.tensor([0.5, -1.0, 2.0])
    private, clear = nn.Parameter(share(start, pair)), nn.Parameter(start.clone())
    optimizers = [make([p]) for p in (private, clear)]
    for scale in (1.0, 0.5, 0.25, 0.25):
        for p, optimizer in zip((private, clear), optimizers, strict=True):
            optimizer.zero_grad()
            (p * scale).sum().backward()
            optimizer.step()
    # Roots and quotients are off by 2^-11 of a step together, of 0.01 at the most; and a unit each.
    slack = 4 * (0.01 * 2.0**-10 + 2.0**-16)
    assert ((private.detach().decrypt() - clear.detach()).abs() <= slack).all()


def test_results_are_written_to_out(pair):
    a, b = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([2.0, -3.0, 3.0])
    out = share(torch.zeros(3), pair)
    assert torch.maximum(share(a, pair), share(b, pair), out=out) is out
    assert torch.equal(out.decrypt(), torch.maximum(a, b))
    torch.minimum(out, share(torch.zeros(3), pair), out=out)
    assert torch.equal(out.decrypt(), torch.tensor([0.0, -2.0, 0.0]))
    torch.add(out, 1.0, out=out)
    assert torch.equal(out.decrypt(), torch.tensor([1.0, -1.0, 1.0]))
    with pytest.raises(UsageError, match="plain tensor"):
        torch.maximum(share(a, pair), share(b, pair), out=torch.zeros(3))
    with pytest.raises(ShapeError, match="in place"):
        torch.maximum(share(a, pair), share(b, pair), out=share(torch.zeros(2), pair))


# ---- eps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.RMSprop])
def test_an_eps_that_fixed_point_cannot_hold_is_told_once(make, pair):
    parameter = nn.Parameter(share(torch.ones(2), pair))
    optimizer = make([parameter], lr=0.01)
    (parameter * 1).sum().backward()
    with pytest.warns(PrecisionWarning, match=rf"{make.__name__} with eps=1e-08.*make it with eps"):
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()


def test_the_eps_that_is_told_is_not_told_again(pair):
    parameter = nn.Parameter(share(torch.ones(2), pair))
    (parameter * 1).sum().backward()
    with pytest.warns(PrecisionWarning) as found:
        optim.Adam([parameter]).step()
    told = float(str(found[0].message).split("make it with eps=")[1].split(" ")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optim.Adam([parameter], eps=told).step()
        optim.Adam([parameter], eps=2.0**-12).step()
        optim.SGD([parameter]).step()
        optim.Adagrad([parameter]).step()


def test_optimizers_in_the_clear_are_left_alone():
    parameter = nn.Parameter(torch.ones(2))
    parameter.sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optim.Adam([parameter]).step()


def test_steps_are_right_with_the_smallest_eps_however_small_gradients_are(pair):
    """Gradients around those whose squares vanish, for 20 steps of Adam.

    The mean of squares is off by a unit u for what vanishes and, as each step rounds at random, by
    a few more: below 1/(1 - decay) units, whose root is what `smallest_eps` is ROOM times of. So
    a step is off by one part in ROOM at the most for either; that of a gradient of one unit of
    2^-24 itself is left out.
    """
    eps = smallest_eps(Precision(2, 16), 0.999)
    sizes = torch.tensor([2.0**-e for e in (6, 12, 14, 15, 16, 17, 18) for _ in range(8)])
    private = nn.Parameter(share(torch.zeros_like(sizes), pair))
    clear = nn.Parameter(torch.zeros_like(sizes))
    optimizers = [optim.Adam([p], lr=0.01, eps=eps) for p in (private, clear)]
    one = share(torch.ones_like(sizes), pair)
    for _ in range(20):
        for optimizer in optimizers:
            optimizer.zero_grad()
        (private * one * (sizes * 256) * 2.0**-8).sum().backward()
        (clear * sizes).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    ratio = private.detach().decrypt() / clear.detach()
    assert ((ratio - 1).abs() <= 2 / ROOM).all()
