"""Networks with scalar functions: exported, with bounds, run by holders."""

from __future__ import annotations

from math import exp

import pytest
import torch
from networks import Function
from torch import nn
from torch.nn import functional as F

from tacita.compiler.functions import ERROR
from tacita.errors import UnsupportedOperation
from tacita.protocols import Exponential, Ramps, Staircase, Waves
from tacita.ring.fixed_point import Precision
from tacita.torch.whole.model import export

BINARY = Precision(2, 16)
X = torch.linspace(-6, 6, 40).view(4, 10)
RECIPROCAL = ERROR + 2.0**-15.9
# Of a sum of ten exponentials, relatively, and of each.
POWERS = 10 * 2.0**-16 + exp(-9.8)

# name: the function, and what it may be off by beside the rounding of values (of the sizes here).
FUNCTIONS = {
    "sigmoid": (torch.sigmoid, ERROR),
    "tanh": (torch.tanh, ERROR),
    "erf": (torch.erf, ERROR),
    "gelu": (F.gelu, ERROR),
    "gelu-tanh": (lambda x: F.gelu(x, approximate="tanh"), ERROR),
    "silu": (F.silu, ERROR),
    "mish": (F.mish, ERROR),
    "softplus": (F.softplus, ERROR),
    "log-sigmoid": (F.logsigmoid, ERROR),
    "exp": (torch.exp, exp(6) * 2.0**-13),
    "elu": (F.elu, 2.0**-13 + exp(-9.9)),
    "selu": (F.selu, 2 * (2.0**-13 + exp(-9.9))),
    "log": (lambda x: torch.log(x.abs() + 0.5), ERROR),
    "reciprocal": (lambda x: 1 / (x.abs() + 0.5), 2 * RECIPROCAL),
    "division": (lambda x: x / (x * x + 1), RECIPROCAL + 2.0**-12),
    "sqrt": (lambda x: torch.sqrt(x.abs()), 4 * 2.0**-17),
    "power": (lambda x: (x.abs() + 1) ** -0.5, 2.0**-17),
    "softmax": (lambda x: F.softmax(x, 1), RECIPROCAL + POWERS + 2.0**-13),
    "log-softmax": (lambda x: F.log_softmax(x, 1), ERROR + POWERS),
    "logsumexp": (lambda x: torch.logsumexp(x, 1), ERROR + POWERS),
    "norm": (lambda x: x.norm(dim=1), 16 * 2.0**-17 + 1e-4),
    "std": (lambda x: x.std(1), 2.0**-12),
    "layer-norm": (lambda x: F.layer_norm(x, (10,)), 2.0**-12),
    "cosine": (lambda x: F.cosine_similarity(x[:2], x[2:]), 2 * RECIPROCAL + 2.0**-10),
}


def network(function):
    return Function(lambda self, x: function(x) * self.w, w=torch.tensor(1.0))


def agrees(function, slack, got):
    error = (got.double() - function(X.double())).abs()
    # The result is rounded before it meets the weight, which is one.
    assert float(error.max()) <= slack + 4 / BINARY.scale + 1e-6


def exported(module, x=X, **options):
    # That results are off by 2^-12 is what is tested here: no warning is wanted.
    return export(module, x, precision=BINARY, compare=False, **options)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_exported_functions(name):
    function, slack = FUNCTIONS[name]
    agrees(function, slack, exported(network(function), samples=X).preview(X))


@pytest.mark.parametrize("name", ["gelu", "exp", "log", "division", "sqrt", "log-softmax"])
def test_exported_functions_without_bounds(name):
    function, slack = FUNCTIONS[name]
    agrees(function, slack, exported(network(function)).preview(X))


@pytest.mark.parametrize("name", ["sigmoid", "gelu", "exp", "reciprocal", "sqrt", "softmax"])
def test_exported_functions_among_holders(name, share):
    function, slack = FUNCTIONS[name]
    model = exported(network(function), samples=X)
    agrees(function, slack, share(model)(X).decrypt())


def instructions(model, kind):
    return [each for each in model.program.instructions if isinstance(each, kind)]


def test_samples_make_clamps_needless():
    small = X / 4
    free = exported(network(torch.sigmoid), small)
    bounded = exported(network(torch.sigmoid), small, samples=small)
    assert len(instructions(free, Ramps)) == 1
    assert not instructions(bounded, Ramps)
    assert len(instructions(free, Waves)) == len(instructions(bounded, Waves)) == 1
    assert free.cost.rounds > bounded.cost.rounds


def test_samples_make_octaves_few():
    inverse = Function(lambda self, x: 1 / x * self.w, w=torch.tensor(1.0))
    positive = X.abs() + 1
    free = exported(inverse, positive)
    bounded = exported(inverse, positive, samples=positive)
    ((many,), (few,)) = (instructions(each, Staircase) for each in (free, bounded))
    assert len(few.thresholds) < len(many.thresholds)


def test_outputs_have_bounds_that_hold():
    """What is known of a function's results makes what follows narrow."""
    for function in (torch.sigmoid, torch.tanh, torch.erf):
        model = exported(Function(lambda _, x, f=function: f(x)))
        (output,) = model.program.outputs
        wire = model.program.wires[output.wire]
        assert wire.bound is not None
        assert wire.bound <= (1 + ERROR) * wire.scale
        assert (model.preview(X).abs() * wire.scale <= wire.bound).all()


def test_checked_programs(deploy):
    model = exported(network(torch.exp), samples=X, checked=True)
    assert instructions(model, Exponential)
    function, slack = FUNCTIONS["exp"]
    agrees(function, slack, deploy(model)(X).decrypt())


def test_a_small_transformer_block(share):
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(8)
            self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            x = x + self.down(F.gelu(self.up(self.norm(x))))
            return F.softmax(self.head(x), -1)

    module = Block().eval()
    x = torch.randn(4, 8)
    model = exported(module, x, samples=x)
    with torch.no_grad():
        expected = module(x).double()
    # Sums of 8 and 16 products of weights below 1 with values off by ERROR at the most, through a
    # softmax, which moves by half of what its arguments move by, and its own error.
    slack = 0.5 * 8 * 16 * ERROR + RECIPROCAL + POWERS + 2.0**-13
    for got in (model.preview(x), share(model)(x).decrypt()):
        assert float((got.double() - expected).abs().max()) <= slack


def test_what_has_no_protocol_is_refused_with_its_place():
    bad = Function(lambda self, x: x**0.3 * self.w, w=torch.tensor(1.0))
    with pytest.raises(UnsupportedOperation, match=r"0\.3"):
        exported(bad)
