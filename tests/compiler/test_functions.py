from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tacita.compiler import functions
from tacita.compiler.functions import FUNCTIONS

X = np.linspace(-20, 20, 4001)
POSITIVE = np.linspace(0.1, 20, 2001)


def gradient(of):
    def slope(x):
        x = x.clone().requires_grad_()
        of(x).sum().backward()
        return x.grad

    return slope


TWINS = {
    functions.SIGMOID: torch.sigmoid,
    functions.TANH: torch.tanh,
    functions.ERF: torch.erf,
    functions.SOFTPLUS: lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    functions.GELU: F.gelu,
    functions.GELU_TANH: lambda x: F.gelu(x, approximate="tanh"),
    functions.SILU: F.silu,
    functions.MISH: F.mish,
    functions.GELU_SLOPE: gradient(F.gelu),
    functions.GELU_TANH_SLOPE: gradient(lambda x: F.gelu(x, approximate="tanh")),
    functions.SILU_SLOPE: gradient(F.silu),
    functions.MISH_SLOPE: gradient(F.mish),
    functions.RECIPROCAL: torch.reciprocal,
    functions.INVERSE_ROOT: torch.rsqrt,
    functions.ROOT: torch.sqrt,
    functions.LOGARITHM: torch.log,
    functions.LOG2: torch.log2,
    functions.LOG10: torch.log10,
}


def test_every_function_has_a_twin_here():
    assert set(TWINS) == set(FUNCTIONS)


@pytest.mark.parametrize("function", [pytest.param(f, id=f.name) for f in FUNCTIONS])
def test_functions_are_those_of_torch(function):
    x = X if function.tails is not None else POSITIVE
    expected = TWINS[function](torch.from_numpy(x)).numpy()
    # torch's GELU for vectors takes a faster error function.
    assert np.abs(function(x) - expected).max() <= 1e-11 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(
    "function", [pytest.param(f, id=f.name) for f in FUNCTIONS if f.tails is not None]
)
def test_tails_are_straight_beyond_the_range(function):
    left, right = function.tails
    for end, slope, sign in ((function.low, left, -1), (function.high, right, 1)):
        far = end + sign * np.linspace(0, function.beyond, 1001)
        curve = function(far) - slope * (far - end)
        # Half of what it still moves by can be had from the middle.
        assert np.ptp(curve) / 2 <= function.error


def test_extreme_values_do_not_overflow():
    with np.errstate(over="raise", invalid="raise"):
        far = np.array([-1e4, 1e4])
        assert functions.SIGMOID(far).tolist() == [0, 1]
        assert functions.SOFTPLUS(far).tolist() == [0, 1e4]
        assert functions.SILU(far).tolist() == [0, 1e4]
        assert np.isfinite(functions.MISH_SLOPE(far)).all()
