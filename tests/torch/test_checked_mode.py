"""What checked mode says of values that do not fit: which step, which tensor, and what to do."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim

from tacita.errors import BoundExceeded

BITS = {"base": 2, "precision_fractional": 16}


def share(value, pair, **options):
    return value.fix_precision(**BITS).share(
        *pair.holders, crypto_provider=pair.dealer, checked=True, **options
    )


def said(tensor):
    with pytest.raises(BoundExceeded) as found:
        tensor.get()
    return str(found.value)


# ---- forward -----------------------------------------------------------------------------------


def test_a_module_is_named_with_the_shape_and_the_limit(pair):
    """At 16 bits a product has 32, and what is truncated has to be below 2^61: 2^29."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))
    for layer, weight in zip(model, (0.5, 2.0**11), strict=True):
        nn.init.constant_(layer.weight, weight)
        nn.init.zeros_(layer.bias)
    model = share(model, pair)
    with torch.no_grad():
        out = F.relu(model(share(torch.full((5, 2), 2.0**17), pair)))
    text = said(out)
    assert "relu: a value of the private tensor of shape (5, 3) lies outside the bound" in text
    assert f"{2.0**29:.6g}" in text
    assert "keep values smaller" in text
    assert "ring units" not in text

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = model
            self.last = nn.ReLU()

        def forward(self, x):
            return self.last(self.layers(x))

    with torch.no_grad():
        out = Net()(share(torch.full((5, 2), 2.0**17), pair))
    assert said(out).startswith("module Net.last (ReLU): relu: ")


def test_a_declared_bound_is_told_in_reals(pair):
    x = share(torch.tensor([0.5]), pair) * 8
    text = said(x.bounded(3.0) > 0)
    assert "outside the bound of 3 that was declared" in text
    assert "declare a larger bound" in text


def test_a_quotient_that_does_not_fit_is_called_so(pair):
    """At 16 bits: 2^18."""
    x, y = share(torch.full((2,), 13.0), pair), share(torch.full((2,), 2.0**-15), pair)
    text = said(x / y)
    assert text.startswith("quotient: a value of the private tensor of shape (2,) is above 262144")
    fits = (x / (8 * y)).get().float_precision()
    # A relative error of 2^-12 (reciprocals.py).
    assert ((fits / (13 * 2.0**12) - 1).abs() <= 2.0**-11).all()


@pytest.mark.parametrize("value", [20000.0, 9000.0])
def test_a_sum_of_squares_that_does_not_fit_is_no_negative_number_alone(value, pair):
    """Elements above 2^14 are found by themselves, and a sum of squares above 2^28 by its root."""
    text = said(torch.linalg.vector_norm(share(torch.full((8,), value), pair)))
    if value > 2**14:
        assert "norm: a value of the private tensor of shape (8,) is above 16384 in size" in text
    else:
        assert "or of one above 2.68435e+08" in text
    assert "keep values smaller" in text


@pytest.mark.parametrize("value", [20000.0, 12000.0])
def test_a_variance_that_does_not_fit_names_the_layer(value, pair):
    """The mean of squares stays below 2^28; the sum of four is four times as large."""
    model = nn.Sequential(nn.Identity(), nn.LayerNorm(4))
    x = torch.tensor([[value, -value, value, -value]])
    text = said(share(model, pair)(share(x, pair)))
    assert text.startswith("module Sequential.1 (LayerNorm): ")
    assert ("above 16384 in size" if value > 2**14 else "variance of a normalisation") in text


# ---- training ----------------------------------------------------------------------------------


@pytest.fixture
def exploded(pair):
    """Three layers after a backward pass, the gradient of whose outputs is 350,000.

    Each layer makes 20 times as much of it, and the second has four outputs: 7·10^6 and 5.6·10^8,
    and for a bias twice that, of two rows. Two weights have 32 bits after the point, which leaves
    29 for what is truncated: 5.4·10^8."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    for layer in model:
        nn.init.constant_(layer.weight, 20.0)
        nn.init.zeros_(layer.bias)
    model = share(model, pair, requires_grad=True)
    out = model(share(torch.full((2, 3), 2.0**-14), pair))
    (out * 350000).sum().backward()
    return model


def test_a_gradient_that_explodes_is_found_in_the_step_of_its_parameter(exploded):
    optim.SGD(exploded.parameters(), lr=2.0**-10).step()
    fine = exploded[2].bias.get().float_precision()
    # A rate is right to one part in 2^10.
    assert abs(fine / (-2 * 350000 * 2.0**-10) - 1) <= 2.0**-10
    text = said(exploded[0].bias)
    assert "step of an optimizer, parameter 0.bias: a value" in text
    assert "shape (4,)" in text
    assert "clip gradients" in text


def test_a_gradient_that_explodes_names_the_layer_whose_backward_pass_finds_it(exploded):
    text = said(exploded[0].weight.grad)
    assert text.startswith("backward pass (AddmmBackward0, next to parameter 0.bias): ")
    assert "shape (2, 4)" in text
    assert "clip gradients" in text
    assert (exploded[1].bias.grad.get().float_precision() == 2 * 20 * 350000).all()


def test_a_step_names_the_optimizer_and_the_parameter(pair):
    """The square of 2^12 has 2^24·2^48 units: Adam's mean of squares does not fit."""
    model = share(nn.Linear(2, 1), pair, requires_grad=True)
    (model(share(torch.ones(1, 2), pair)) * 2.0**12).sum().backward()
    optimizer = optim.Adam(model.parameters(), lr=0.01, eps=2.0**-12)
    optimizer.step()
    text = said(model.weight)
    assert text.startswith("step of Adam, parameter weight: ")
    assert "shape (1, 2)" in text


def test_training_in_checked_mode_is_right_where_all_fits(pair):
    torch.manual_seed(3)
    clear = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1))
    state = {name: value.clone() for name, value in clear.state_dict().items()}
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1))
    model.load_state_dict(state)
    share(model, pair, requires_grad=True)
    x = torch.rand(6, 3)
    private = share(x, pair)
    for net, inputs in ((model, private), (clear, x)):
        optimizer = optim.AdamW(net.parameters(), lr=0.01, eps=2.0**-12)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                optimizer.zero_grad()
                (net(inputs) ** 2).mean().backward()
                optimizer.step()
    # Two steps of 0.01 each; where a gradient is near zero its sign is chance (test_training.py).
    for got, wanted in zip(model.parameters(), clear.parameters(), strict=True):
        assert ((got.get().float_precision() - wanted).abs() <= 2 * 2 * 0.01).all()
