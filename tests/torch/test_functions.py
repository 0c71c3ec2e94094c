"""Scalar functions against float64, over their ranges and beyond; tolerances as they state."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from agreement import Group, stored, unrounded
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import tacita
from tacita.compiler.functions import ERROR
from tacita.errors import BoundExceeded, EncodingError, PrecisionError, UnsupportedOperation
from tacita.ring.fixed_point import Precision
from tacita.runtime.plain import PlainRun

DECIMAL, BINARY = Precision(10, 3), Precision(2, 16)
PRECISIONS = [DECIMAL, BINARY, Precision(2, 24), Precision(10, 6)]
FEW = [DECIMAL, BINARY]
RECIPROCAL = ERROR + 2.0**-15.9  # relative: the waves, and 1/m >= 1/4 truncated to 2^-18
ROOT = 2.0**-17  # relative


def near(private, expected, slack):
    """Within an absolute error, element by element, before `get` would round to the precision."""
    assert tuple(private.shape) == tuple(expected.shape)
    error = (unrounded(private) - expected.double()).abs()
    allowed = slack + expected.double().abs() * 2.0**-22 + 1e-9
    assert (error <= allowed).all(), float((error / allowed).max())


def unit(private, precision):
    """What truncations on the way may have moved a result by."""
    scale = private._handle.wire.scale
    return 0.0 if scale > precision.scale**2 else 2 / precision.scale


# ---- smooth functions --------------------------------------------------------------------------

SMOOTH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "log-sigmoid": F.logsigmoid,
}


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions(workers, name, precision):
    group = Group([], None, PlainRun())
    x = torch.cat([torch.linspace(-13, 13, 2601), torch.tensor([-100.0, -30.0, 0, 30, 100])])
    out = SMOOTH[name](group.share(x.double(), precision))
    near(out, SMOOTH[name](stored(x, precision)), ERROR + unit(out, precision))


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_among_holders(group, name):
    x = torch.linspace(-12, 12, 481)
    for precision in FEW:
        out = SMOOTH[name](group.share(x, precision))
        near(out, SMOOTH[name](stored(x, precision)), ERROR + unit(out, precision))
        # At the scale of a product, and where a bound makes a clamp needless.
        product = group.share(x, precision) * group.share(torch.full_like(x, 0.5), precision)
        out = SMOOTH[name](product)
        near(out, SMOOTH[name](stored(x, precision) / 2), ERROR + unit(out, precision))
        few = x[x.abs() < 2.5]
        out = SMOOTH[name](group.share(few, precision, bound=2.5))
        near(out, SMOOTH[name](stored(few, precision)), ERROR + unit(out, precision))


@pytest.mark.parametrize("beta", [0.5, 2, 3.0])
def test_softplus_of_another_sharpness(group, beta):
    x = torch.linspace(-9, 9, 91)
    out = F.softplus(group.share(x, BINARY), beta=beta)
    # beta and 1/beta are fractions to 2^-16 of themselves.
    slack = ERROR / beta + 2.0**-13 + (1 + beta) * 2.0**-15
    near(out, F.softplus(stored(x, BINARY), beta=beta), slack)


def test_a_bound_saves_the_clamp(pair):
    def rounds(bound):
        x = pair.share(torch.zeros(50), BINARY, bound=bound)
        with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic:
            torch.sigmoid(x)
        return traffic.rounds

    assert rounds(8.0) == 1
    assert rounds(100.0) == rounds(None) == 4  # x, one level of the comparison, its bits, the rest


def test_gelu_of_another_kind_is_refused(group):
    with pytest.raises((UnsupportedOperation, RuntimeError), match="approximate"):
        F.gelu(group.share(torch.zeros(3)), approximate="best")


# ---- exponentials ------------------------------------------------------------------------------

EXPONENTIALS = {
    "exp": (torch.exp, 1.0),
    "exp2": (torch.exp2, log(2)),
    "expm1": (torch.expm1, 1.0),
    "10^x": (lambda x: 10**x, log(10)),
    "0.5^x": (lambda x: 0.5**x, log(2)),
}


def exponential_slack(result, rate, x):
    """2^-13·max(1, e^x) as stated; exponents below -9.9 count as that; a rate to 2^-21."""
    size = result.abs().clamp(min=1)
    return size * 2.0**-13 + exp(-9.9) + (x * rate).abs() * result.abs() * 2.0**-20


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
@pytest.mark.parametrize("name", EXPONENTIALS)
def test_exponentials(name, precision):
    group = Group([], None, PlainRun())
    function, rate = EXPONENTIALS[name]
    x = torch.linspace(-25, 13.9, 1500) / rate * (-1 if name == "0.5^x" else 1)
    out, r = function(group.share(x, precision)), stored(x, precision)
    near(out, function(r), exponential_slack(function(r), rate, r))


@pytest.mark.parametrize("name", EXPONENTIALS)
def test_exponentials_among_holders(group, name):
    function, rate = EXPONENTIALS[name]
    x = torch.linspace(-20, 13.9, 300) / rate * (-1 if name == "0.5^x" else 1)
    for precision in FEW:
        out, r = function(group.share(x, precision)), stored(x, precision)
        near(out, function(r), exponential_slack(function(r), rate, r))
    few = x[x.abs() < 3]
    out, r = function(group.share(few, BINARY, bound=3.0)), stored(few, BINARY)
    near(out, function(r), exponential_slack(function(r), rate, r))


def test_exponents_that_are_too_large_saturate(group):
    out = group.share(torch.tensor([14.5, 100.0, 1e6]), DECIMAL).exp()
    near(out, torch.full((3,), exp(14.0)), exp(14.0) * 2.0**-12)


def test_checked_exponents(group):
    x = group.share(torch.tensor([0.5, 15.0]), DECIMAL, checked=True)
    with pytest.raises(BoundExceeded, match="exp of an exponent above 14"):
        x.exp().get()
    x = group.share(torch.tensor([0.5, -30.0]), DECIMAL, checked=True)
    near(x.exp(), stored(torch.tensor([0.5, -30.0]), DECIMAL).exp(), 2.0**-12)


LINEAR_UNITS = {
    "elu": F.elu,
    "elu-steep": lambda x: F.elu(x, alpha=2.0),
    "celu": lambda x: F.celu(x, alpha=0.5),
    "selu": F.selu,
}


@pytest.mark.parametrize("name", LINEAR_UNITS)
def test_exponential_linear_units(group, name):
    x = torch.linspace(-15, 15, 301)
    for precision in FEW:
        out, r = LINEAR_UNITS[name](group.share(x, precision)), stored(x, precision)
        # alpha is 2 at the most; public factors are exact to 2^-10 (decimal) or 2^-16.
        slack = 2 * (2.0**-13 + exp(-9.9)) + 4 / precision.scale + r.abs() / precision.scale
        near(out, LINEAR_UNITS[name](r), slack)


# ---- logarithms --------------------------------------------------------------------------------

LOGARITHMS = {
    "log": torch.log, "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p,
}  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
@pytest.mark.parametrize("name", LOGARITHMS)
def test_logarithms(name, precision):
    group = Group([], None, PlainRun())
    least = 1 / precision.scale
    x = torch.cat([torch.logspace(-2, 4, 700), torch.tensor([least, 1.0, 4.0, 3.9999])]).double()
    out = LOGARITHMS[name](group.share(x, precision))
    near(out, LOGARITHMS[name](stored(x, precision)), ERROR)


@pytest.mark.parametrize("name", LOGARITHMS)
def test_logarithms_among_holders(group, name):
    x = torch.logspace(-1.5, 3, 100).double()
    for precision in FEW:
        out = LOGARITHMS[name](group.share(x, precision))
        near(out, LOGARITHMS[name](stored(x, precision)), ERROR)
    few = x[x < 2]
    out = LOGARITHMS[name](group.share(few, BINARY, bound=2.0))
    near(out, LOGARITHMS[name](stored(few, BINARY)), ERROR)


def test_logarithms_of_nothing(group):
    out = group.share(torch.tensor([0.0, -1.0, -1000.0]), BINARY).log()
    near(out, torch.full((3,), log(2.0**-16)), ERROR)


@pytest.mark.parametrize("value", [0.0, -0.5])
def test_checked_logarithms(group, value):
    x = group.share(torch.tensor([1.0, value]), DECIMAL, checked=True)
    with pytest.raises(BoundExceeded, match="log of a number that is not positive"):
        x.log().get()


# ---- reciprocals and quotients -----------------------------------------------------------------


def reciprocal_slack(out, result):
    """Relative as stated, and the rounding of 4^-e, half a unit of its scale, times 1/m <= 1.04."""
    return result.abs() * RECIPROCAL + 0.52 * 2.0**18 / out._handle.wire.scale


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_reciprocals(precision):
    group = Group([], None, PlainRun())
    x = torch.logspace(-2, 4, 600).double()
    x = torch.cat([x, -x, torch.tensor([1.0, -4.0, 0.25])])
    out, r = group.share(x, precision).reciprocal(), stored(x, precision)
    near(out, 1 / r, reciprocal_slack(out, 1 / r))


def test_reciprocals_among_holders(group):
    x = torch.logspace(-1.9, 3, 100).double()
    x = torch.cat([x, -x])
    for precision in FEW:
        out, r = 1 / group.share(x, precision), stored(x, precision)
        near(out, 1 / r, reciprocal_slack(out, 1 / r))
    few = x[x.abs() < 4]
    out, r = group.share(few, BINARY, bound=4.0) ** -1, stored(few, BINARY)
    near(out, 1 / r, reciprocal_slack(out, 1 / r))


def quotient_slack(a, b, result, precision):
    """The numerator times 4^-e is off by half a unit of 4^-e, 2^-24 or less, and then rounded."""
    rounded = 1.04 * 2.0 ** -min(8, max(0, 24 - np.log2(precision.scale))) / precision.scale
    return result.abs() * RECIPROCAL + a.abs() * 0.52 * 2.0**-24 + rounded


def test_quotients(group):
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(30, 4, generator=generator).double() * 50
    b = torch.randn(30, 4, generator=generator).double().sign() * torch.logspace(-1, 2, 120).view(
        30, 4
    )
    for precision in FEW:
        x, y = group.share(a, precision), group.share(b, precision)
        ra, rb = stored(a, precision), stored(b, precision)
        near(x / y, ra / rb, quotient_slack(ra, rb, ra / rb, precision))
        row = y[:, :1]
        near(x / row, ra / rb[:, :1], quotient_slack(ra, rb, ra / rb[:, :1], precision))
        # torch takes the reciprocal, which is rounded before it is multiplied.
        slack = (reciprocal_slack(y.reciprocal(), 1 / rb) + 1 / precision.scale) * 3
        near(3.0 / y, 3 / rb, slack)
        public = a.float() / y
        slack = quotient_slack(a, rb, a / rb, precision) + 0.5 / precision.scale / rb.abs()
        near(public, a / rb, slack * 1.001)


def test_addcdiv(group):
    x, a, b = (torch.rand(20) + 0.5 for _ in range(3))
    shared = [group.share(each, BINARY) for each in (x, a, b)]
    rx, ra, rb = (stored(each, BINARY) for each in (x, a, b))
    out = torch.addcdiv(*shared, value=0.5)
    slack = quotient_slack(ra, rb, ra / rb, BINARY) / 2 + 2 / BINARY.scale
    near(out, torch.addcdiv(rx, ra, rb, value=0.5), slack)


def test_division_by_zero_saturates(group):
    """As by the smallest divisor that there is: one unit of the precision."""
    for precision in FEW:
        zero = group.share(torch.tensor([0.0, 0.0, 1.0]), precision)
        largest = torch.tensor([precision.scale, precision.scale, 1.0])
        near(zero.reciprocal(), largest, largest * RECIPROCAL + 1e-3)
        ones = group.share(torch.tensor([0.0, -1.0, 1.0]), precision)
        expected = torch.tensor([0.0, -precision.scale, 1.0])
        near(ones / zero, expected, expected.abs() * RECIPROCAL + 1e-3)


def test_checked_division(group):
    x = group.share(torch.tensor([1.0, 0.0]), BINARY, checked=True)
    with pytest.raises(BoundExceeded, match="division by zero"):
        x.reciprocal().get()
    y = group.share(torch.tensor([2.0, -8.0]), BINARY, checked=True)
    near(1 / y, torch.tensor([0.5, -0.125]), 0.5 * RECIPROCAL + 1e-6)


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_rounded_quotients_are_refused(group, mode):
    x = group.share(torch.ones(2), BINARY)
    with pytest.raises(UnsupportedOperation, match="rounding_mode"):
        torch.div(x, x, rounding_mode=mode)


# ---- powers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0.5, 1.5, 2.5, -1.5])
def test_powers(group, exponent):
    x = torch.linspace(0.6, 3.0, 40).double()
    out, r = group.share(x, BINARY) ** exponent, stored(x, BINARY)
    # Products of up to three factors below 10, each rounded to a unit, and a reciprocal of them.
    slack = (r**exponent).abs() * (RECIPROCAL + 4 * ROOT) + 40 / BINARY.scale
    near(out, r**exponent, slack)


def test_powers_that_have_no_protocol(group):
    x = group.share(torch.ones(2), BINARY)
    with pytest.raises(UnsupportedOperation, match=r"multiples of 0\.5, not to 0\.3"):
        x**0.3
    with pytest.raises(UnsupportedOperation, match="log"):
        x**x
    with pytest.raises(UnsupportedOperation, match="one public number"):
        x ** torch.tensor([1.0, 2.0])
    with pytest.raises(EncodingError, match="above 0"):
        (-2) ** x


def test_roots_of_nothing(group):
    x = group.share(torch.tensor([0.0, -3.0, 4.0]), BINARY)
    near(x.sqrt(), torch.tensor([0.0, 0.0, 2.0]), 1e-4)
    # As of one unit of the precision.
    near(x.rsqrt(), torch.tensor([256.0, 256.0, 0.5]), 256 * ROOT)


def test_checked_roots_of_negative_numbers(group):
    x = group.share(torch.tensor([4.0, 0.0]), BINARY, checked=True)
    near(x.sqrt(), torch.tensor([2.0, 0.0]), 1e-4)
    with pytest.raises(BoundExceeded, match="rsqrt of a number that is not positive"):
        x.rsqrt().get()
    with pytest.raises(BoundExceeded, match="sqrt of a negative number"):
        (x - 1).sqrt().get()


# ---- norms and spreads -------------------------------------------------------------------------


def test_norms(group):
    x = torch.linspace(-3, 3, 24).double().view(4, 6)
    p, r = group.share(x, BINARY), stored(x, BINARY)
    out = p.norm(dim=1)
    near(out, r.norm(dim=1), ROOT * r.norm(dim=1) + 1.5 / out._handle.wire.scale)
    near(p.norm(p=1, dim=0), r.norm(p=1, dim=0), 0)
    near(torch.linalg.vector_norm(p, ord=float("inf")), r.abs().max(), 0)
    near(torch.linalg.vector_norm(p), r.norm(), ROOT * r.norm() + 1e-4)
    with pytest.raises(UnsupportedOperation, match="order 3"):
        torch.linalg.vector_norm(p, ord=3)


def test_spreads(group):
    x = torch.linspace(-2, 5, 24).double().view(4, 6)
    p, r = group.share(x, BINARY), stored(x, BINARY)
    # x - mean is rounded to a unit, and squares are as large as twice 5·unit, plus unit².
    square = 10.0 / BINARY.scale
    near(p.var(1), r.var(1), square * 6 / 5)
    near(p.var(0, correction=0), r.var(0, correction=0), square)
    expected = r.std(1)
    near(p.std(1), expected, square / expected + ROOT * expected + 1e-5)
    near(torch.var_mean(p, 1)[1], r.mean(1), 0)


def test_cosine_similarity(group):
    a, b = torch.randn(6, 8).double(), torch.randn(6, 8).double()
    out = F.cosine_similarity(group.share(a, BINARY), group.share(b, BINARY), dim=1)
    expected = F.cosine_similarity(stored(a, BINARY), stored(b, BINARY), dim=1)
    # Each of the two is divided by its norm: a relative error of the quotient and of the norm, of
    # vectors of length 1, and roundings of a few units in eight products.
    near(out, expected, 2 * (RECIPROCAL + ROOT) + 40 / BINARY.scale)


# ---- softmax -----------------------------------------------------------------------------------


def powers_error(count):
    """Of the sum of the exponentials, and so of each share of it, relatively."""
    bits = min(18, 14 + (count - 1).bit_length() // 2)
    return count * 2.0**-bits + exp(-9.8)


def softmax_slack(result, count, precision):
    each = 2.0**-13 + 2.0**-20
    return result * (RECIPROCAL + powers_error(count)) + each + 0 * precision.scale


@pytest.mark.parametrize("shape", [(40, 10), (3, 1), (5, 2), (2, 100)])
def test_softmax(group, shape):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1)).double() * 4
    for precision in FEW:
        p, r = group.share(x, precision), stored(x, precision)
        expected = r.softmax(1)
        near(p.softmax(1), expected, softmax_slack(expected, shape[1], precision))
        out, expected = p.log_softmax(1), r.log_softmax(1)
        slack = ERROR + powers_error(shape[1]) + 2 / precision.scale
        near(out, expected, slack)
        near(torch.logsumexp(p, 1), r.logsumexp(1), slack)


def test_softmax_over_any_dimension(group):
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).double()
    p, r = group.share(x, BINARY), stored(x, BINARY)
    for dim in (0, 1, -1):
        expected = r.softmax(dim)
        near(F.softmax(p, dim), expected, softmax_slack(expected, x.shape[dim], BINARY))
        near(F.log_softmax(p, dim), r.log_softmax(dim), ERROR + powers_error(4) + 2.0**-15)
    slack = ERROR + powers_error(24) + 2.0**-15
    near(p.logsumexp((0, 2)), r.logsumexp((0, 2)), slack)
    near(p.logsumexp((0, 2), keepdim=True), r.logsumexp((0, 2), keepdim=True), slack)
    near(p[0, 0, 0].softmax(0), torch.tensor(1.0), RECIPROCAL + 2.0**-12)
    assert p[:0].softmax(1).shape == (0, 3, 4)


def test_softmax_of_distant_values(group):
    x = torch.tensor([[-1000.0, 0.0, 1000.0], [20.0, 20.0, 20.0], [0.0, -9.0, -20.0]])
    p = group.share(x, BINARY)
    near(p.softmax(1), x.softmax(1), softmax_slack(x.softmax(1), 3, BINARY))
    slack = ERROR + powers_error(3) + 2.0**-15
    near(p.log_softmax(1), x.log_softmax(1), slack)


def test_the_sum_of_softmax_is_one(group):
    x = torch.randn(20, 16, generator=torch.Generator().manual_seed(2)) * 3
    total = group.share(x, BINARY).softmax(1).sum(1)
    near(total, torch.ones(20), RECIPROCAL + powers_error(16) + 16 * 2.0**-20)


# ---- losses of classifications -----------------------------------------------------------------


def test_cross_entropy(group):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(12, 5, generator=generator).double() * 3
    classes = torch.randint(0, 5, (12,), generator=generator)
    weights = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.25]).double()
    p, r = group.share(x, BINARY), stored(x, BINARY)
    slack = ERROR + powers_error(5) + 4.0 / BINARY.scale
    near(F.cross_entropy(p, classes), F.cross_entropy(r, classes), slack)
    near(
        F.cross_entropy(p, classes, reduction="none"),
        F.cross_entropy(r, classes, reduction="none"), slack,
    )  # fmt: skip
    near(
        F.cross_entropy(p, classes, reduction="sum"),
        F.cross_entropy(r, classes, reduction="sum"), 12 * slack,
    )  # fmt: skip
    near(
        F.cross_entropy(p, classes, weight=weights),
        F.cross_entropy(r, classes, weight=weights), slack,
    )  # fmt: skip
    some = classes.clone()
    some[:3] = -100
    near(F.cross_entropy(p, some), F.cross_entropy(r, some), slack)
    rows = F.one_hot(classes, 5).double()
    near(F.cross_entropy(p, rows.float()), F.cross_entropy(r, rows), slack)
    private = group.share(rows, BINARY)
    # Five products a row, each of a log softmax that is rounded once more.
    near(F.cross_entropy(p, private), F.cross_entropy(r, rows), slack + 10 / BINARY.scale)
    near(F.cross_entropy(p, group.share(classes)), F.cross_entropy(r, classes), slack)


def test_binary_cross_entropy(group):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(40, generator=generator).double() * 4
    labels = torch.randint(0, 2, (40,), generator=generator).double()
    p, r = group.share(x, BINARY), stored(x, BINARY)
    slack = ERROR + 4 / BINARY.scale
    for targets in (labels.float(), group.share(labels, BINARY)):
        out = F.binary_cross_entropy_with_logits(p, targets, reduction="none")
        near(out, F.binary_cross_entropy_with_logits(r, labels, reduction="none"), slack)
        out = F.binary_cross_entropy_with_logits(p, targets)
        near(out, F.binary_cross_entropy_with_logits(r, labels), slack)
        weight = torch.tensor(3.0)
        out = F.binary_cross_entropy_with_logits(p, targets, pos_weight=weight)
        expected = F.binary_cross_entropy_with_logits(r, labels, pos_weight=weight.double())
        near(out, expected, 3 * slack + 8 / BINARY.scale)


# ---- anything ----------------------------------------------------------------------------------

ANYWHERE = {**SMOOTH, "exp": lambda x: (x / 16).exp(), "softmax": lambda x: x.softmax(0)}


@given(
    name=st.sampled_from(sorted(ANYWHERE)),
    values=st.lists(st.integers(-1600, 1600).map(lambda n: n / 8), min_size=1, max_size=12),
    base=st.sampled_from([2, 3, 10]),
    digits=st.integers(3, 8),
    bounded=st.booleans(),
)
def test_any_values_at_any_precision(name, values, base, digits, bounded):
    precision = Precision(base, digits if base > 3 else 2 * digits)
    group = Group([], None, PlainRun())
    x = torch.tensor(values, dtype=torch.float64)
    bound = float(x.abs().max()) + 1 if bounded else None
    out = ANYWHERE[name](group.share(x, precision, bound=bound))
    expected = ANYWHERE[name](stored(x, precision))
    slack = 2 * ERROR + powers_error(len(values)) + 3 / precision.scale
    if name == "exp":
        # x/16 is a relabelled scale, and exact.
        slack = exponential_slack(expected, 1.0, stored(x, precision) / 16)
    near(out, expected, torch.as_tensor(slack))


@pytest.mark.parametrize("name", [*SMOOTH, "exp", "log", "reciprocal", "softmax", "norm"])
def test_integers_are_refused(group, name):
    functions = {
        **SMOOTH, "exp": torch.exp, "log": torch.log, "reciprocal": torch.reciprocal,
        "softmax": lambda x: x.softmax(0), "norm": lambda x: x.norm(),
    }  # fmt: skip
    with pytest.raises((PrecisionError, RuntimeError)):
        functions[name](group.share(torch.tensor([1, 2])))


@pytest.mark.parametrize("name", [*SMOOTH, "exp", "log", "reciprocal"])
def test_nothing_at_all(group, name):
    functions = {**SMOOTH, "exp": torch.exp, "log": torch.log, "reciprocal": torch.reciprocal}
    assert functions[name](group.share(torch.ones(0, 3), BINARY)).shape == (0, 3)
