from __future__ import annotations

import numpy as np
import pytest

from tacita.compiler import functions
from tacita.compiler.approximation import LARGEST_SUM, MOST_WAVES, approximated
from tacita.compiler.functions import FUNCTIONS, Function
from tacita.errors import UnsupportedOperation
from tacita.protocols.waves import WAVE_BITS, error
from tacita.ring import kernels

UNIT = 1 << 22
SCALES = [1000, 1 << 16, 10**6, 1 << 32]
SMOOTH = [each for each in FUNCTIONS if each.tails is not None]
IN_OCTAVES = [each for each in FUNCTIONS if each.tails is None]


def named(functions):
    return [pytest.param(each, id=each.name) for each in functions]


def off(function, x, got):
    """How far `got` is off, as the function counts it."""
    exact = function(x)
    distance = np.abs(got - exact)
    return distance / np.abs(exact) if function.relative else distance


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("function", named(FUNCTIONS))
def test_functions_are_met_on_their_ranges(function, scale):
    found = approximated(function, scale, UNIT)
    # Points that the fit has not seen, and both ends.
    x = np.sort(np.random.default_rng(0).uniform(function.low, function.high, 5000))
    x[0], x[-1] = function.low, function.high
    assert off(function, x, found(x)).max() <= found.error <= function.error
    assert np.abs(found(x)).max() <= found.reach
    assert len(found.waves) <= MOST_WAVES


@pytest.mark.parametrize("function", named(IN_OCTAVES))
@pytest.mark.parametrize("top", [2, 10, 20, 29])
def test_octaves_of_any_height_are_met(function, top):
    # The turn of a high octave is a small integer, and the period what that makes of it.
    found = approximated(function, 4**top, UNIT)
    x = np.linspace(function.low, function.high, 3001)
    assert off(function, x, found(x)).max() <= found.error <= function.error


@pytest.mark.parametrize("function", named(SMOOTH))
def test_tails_go_on(function):
    found = approximated(function, 1 << 16, UNIT)
    left, right = function.tails
    for end, slope, far in (
        (function.low, left, np.linspace(function.low - 30, function.low, 999)),
        (function.high, right, np.linspace(function.high, function.high + 30, 999)),
    ):
        tail = found(np.array([end])) + slope * (far - end)
        assert np.abs(tail - function(far)).max() <= found.error


@pytest.mark.parametrize("function", named(FUNCTIONS))
def test_integers_say_what_the_instruction_computes(function):
    """The waves of the ring's own arithmetic, and the line beside them, against the reals."""
    scale = 1 << 20
    found = approximated(function, scale, UNIT)
    v = np.linspace(function.low * scale, function.high * scale, 2001).astype(np.int64)
    dealt = np.zeros((2 * len(found.waves), v.size), np.uint64)
    dealt[::2] = 1 << WAVE_BITS  # the mask 0
    swinging = kernels.wave_share(v.view(np.uint64), dealt, found.turn, found.waves)
    out = swinging.view(np.int64) + found.slope * v + found.constant
    reals = out / found.out_scale
    assert np.abs(reals - found(v / scale)).max() <= error(found.waves) / UNIT + 1e-12
    assert off(function, v / scale, reals).max() <= function.error


def test_results_have_the_units_that_were_asked_for():
    found = approximated(functions.SIGMOID, 1000, 125 << 15)
    assert (found.in_scale, found.out_scale) == (1000, (125 << 15) << WAVE_BITS)
    # In units of the result over units of the argument, the line is an integer.
    assert isinstance(found.slope, int)
    assert isinstance(found.constant, int)
    amplitudes = sum(abs(c) + abs(s) for c, s in found.waves) / (125 << 15)
    assert amplitudes <= LARGEST_SUM


def test_more_accuracy_takes_more_waves():
    def waves(bits):
        wanted = Function("exp", np.exp, -1.0, 1.0, error=2.0**-bits)
        return len(approximated(wanted, 1 << 16, UNIT).waves)

    assert waves(6) < waves(10) < waves(16)


def test_the_same_approximation_is_computed_once():
    first = approximated(functions.ERF, 1 << 16, UNIT)
    assert approximated(functions.ERF, 1 << 16, UNIT) is first


@pytest.mark.parametrize(
    ("function", "scale", "unit"),
    [
        (Function("sharp", lambda x: np.tanh(1000 * x), -1.0, 1.0), 1 << 16, UNIT),
        (Function("exact", np.tanh, -1.0, 1.0, error=2.0**-40), 1 << 16, UNIT),
        (functions.SIGMOID, 1 << 16, 1 << 6),  # coefficients of six bits
        (functions.SIGMOID, 1 << 60, UNIT),  # the range is wider than half of the ring
    ],
    ids=["too-sharp", "too-exact", "coarse-unit", "fine-scale"],
)
def test_what_cannot_be_met_is_refused(function, scale, unit):
    with pytest.raises(UnsupportedOperation, match=rf"{function.name}.* at a scale of {scale}"):
        approximated(function, scale, unit)
