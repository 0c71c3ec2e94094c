"""Scalar functions as the approximations know them: what to compute, where, and how closely.

A function is approximated on [low, high]. Where it has straight tails, whoever uses it brings
values from beyond into the range first and adds the tails: f(x) ≈ f(high) + right·(x - high) above,
f(low) + left·(x - low) below. The range is chosen so that tails alone are off by no more than the
error. Functions without tails are met within their range only, as an octave guarantees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf, erfc, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

# What a function may be off by, beyond the rounding of its argument and its result.
ERROR = 2.0**-12
# Of roots: normalisations multiply inverse ones with whole activations. 2^-17 with what their last
# truncation adds.
ROOT_ERROR = 0.7 * 2.0**-17
BEYOND = 16.0  # how far beyond the range tails are verified: they come ever closer


@dataclass(frozen=True)
class Function:
    """name: as users call it. of: in float64, by elements; compared by identity.
    tails: the slopes below and above the range, None where there are none.
    linear: whether a line is fitted beside the waves.
    relative: whether `error` counts relative to the value.
    """

    name: str
    of: Callable[[Reals], Reals]
    low: float
    high: float
    tails: tuple[float, float] | None = None
    linear: bool = True
    relative: bool = False
    error: float = ERROR
    beyond: float = BEYOND

    def __call__(self, x: Reals) -> Reals:
        return np.asarray(self.of(np.asarray(x, np.float64)), np.float64)


_erf = np.vectorize(erf, otypes=[np.float64])
_erfc = np.vectorize(erfc, otypes=[np.float64])


def _sigmoid(x: Reals) -> Reals:
    # Of -|x|, which cannot overflow.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _softplus(x: Reals) -> Reals:
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def _normal(x: Reals) -> Reals:
    """The normal distribution's Φ(x)."""
    return np.asarray(0.5 * _erfc(-x / sqrt(2)))


def _gelu_slope(x: Reals) -> Reals:
    return np.asarray(_normal(x) + x * np.exp(-x * x / 2) / sqrt(2 * pi))


def _inner(x: Reals) -> Reals:
    return np.asarray(sqrt(2 / pi) * (x + 0.044715 * x**3))


def _gelu_tanh_slope(x: Reals) -> Reals:
    t = np.tanh(_inner(x))
    inner = sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x)
    return np.asarray(0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)


def _silu_slope(x: Reals) -> Reals:
    s = _sigmoid(x)
    return np.asarray(s * (1 + x * (1 - s)))


def _mish_slope(x: Reals) -> Reals:
    t = np.tanh(_softplus(x))
    return np.asarray(t + x * (1 - t * t) * _sigmoid(x))


FLAT = (0.0, 0.0)
RAMP = (0.0, 1.0)

SIGMOID = Function("sigmoid", _sigmoid, -8.0, 8.0, FLAT)
TANH = Function("tanh", np.tanh, -4.4, 4.4, FLAT)
ERF = Function("erf", _erf, -2.6, 2.6, FLAT)
SOFTPLUS = Function("softplus", _softplus, -8.0, 8.0, RAMP)
GELU = Function("gelu", lambda x: x * _normal(x), -4.2, 4.2, RAMP)
GELU_TANH = Function(
    "gelu (tanh)", lambda x: np.asarray(0.5 * x * (1 + np.tanh(_inner(x)))), -4.2, 4.2, RAMP
)
SILU = Function("silu", lambda x: x * _sigmoid(x), -10.3, 10.3, RAMP)
MISH = Function("mish", lambda x: x * np.tanh(_softplus(x)), -10.3, 10.3, RAMP)
# On the ranges of the functions themselves: values are brought into them once.
GELU_SLOPE = Function("gelu's derivative", _gelu_slope, -4.2, 4.2, FLAT)
GELU_TANH_SLOPE = Function("gelu's (tanh) derivative", _gelu_tanh_slope, -4.2, 4.2, FLAT)
SILU_SLOPE = Function("silu's derivative", _silu_slope, -10.3, 10.3, FLAT)
MISH_SLOPE = Function("mish's derivative", _mish_slope, -10.3, 10.3, FLAT)

# On the range that octaves of base 4 leave, which may be wider by an allowance for inexact ones.
ALLOWANCE = 2.0**-5
RECIPROCAL = Function("reciprocal", lambda m: 1 / m, 1.0 - ALLOWANCE, 4.0, relative=True)
INVERSE_ROOT = Function(
    "inverse root", lambda m: 1 / np.sqrt(m), 1.0 - ALLOWANCE, 4.0, relative=True, error=ROOT_ERROR
)
ROOT = Function("root", np.sqrt, 1.0, 4.0, relative=True, error=ROOT_ERROR)
LOGARITHM = Function("log", np.log, 1.0 - ALLOWANCE, 4.0)
LOG2 = Function("log2", np.log2, 1.0 - ALLOWANCE, 4.0)
LOG10 = Function("log10", np.log10, 1.0 - ALLOWANCE, 4.0)

# All by name, for documents and tests.
FUNCTIONS = (
    SIGMOID, TANH, ERF, SOFTPLUS, GELU, GELU_TANH, SILU, MISH, GELU_SLOPE, GELU_TANH_SLOPE,
    SILU_SLOPE, MISH_SLOPE, RECIPROCAL, INVERSE_ROOT, ROOT, LOGARITHM, LOG2, LOG10,
)  # fmt: skip
