"""Approximations of scalar functions by a constant, a line and a few waves, for `Waves` wires.

On a range, f(x) ≈ c + b·x + Σ_j C_j·cos(2πjx/P) + S_j·sin(2πjx/P), with a period P somewhat wider
than the range: where a Fourier series of f would have to meet the jump between both ends of its
period, this one may do as it likes between the end of the range and that of the period, and
converges geometrically.

Computes: periods and numbers of waves are tried in the order of their cost. For each, the
    coefficients solve a least squares problem on Chebyshev points; reweighting each point by the
    error that it was left with (Lawson) brings the largest error down to a few per cent above the
    least possible. The period is what an integer turn of the ring makes of it, and the line what
    an integer coefficient makes of it; the waves are fitted to what those leave.
Error: not taken from the fit. The integers that an instruction carries are evaluated on a grid of
    VERIFIED points over the range, and beyond both ends with the straight tails that the function
    has there; the largest error found, with the rounding that Waves adds, has to keep the target.
Source: least squares for such extended periods as in Huybrechs (SIAM J. Numer. Anal. 47, 2010);
    the weights are those of Lawson (1961). Here for coefficients that a ring can carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi

import numpy as np
from numpy.typing import NDArray

from tacita.compiler.functions import Function
from tacita.errors import UnsupportedOperation
from tacita.protocols.waves import LARGEST_WAVE, WAVE_BITS
from tacita.protocols.waves import error as wave_error

Reals = NDArray[np.float64]
Waves = tuple[tuple[int, int], ...]

MOST_WAVES = 20
WIDENINGS = (1.1, 1.2, 1.33, 1.6, 2.0)  # of the period over the range; coefficients grow with it
LARGEST_SUM = 64.0  # of all amplitudes: they cancel, and each brings rounding of its own
POINTS = 320  # that a fit looks at
VERIFIED = 1 << 14  # that a result is checked at
ROUNDS = 12  # of reweighting
HOPEFUL = 4.0  # least squares are seldom so much worse than the best
TURN = 1 << 64


@dataclass(frozen=True, slots=True)
class Approximation:
    """f(v/in_scale)·out_scale ≈ constant + slope·v + Waves(turn, waves)(v) for ring elements v.

    error: the largest found, as the function counts it (absolute, or relative), roundings included.
    reach: no result on the range, tails apart, is larger than this in size.
    """

    in_scale: int
    out_scale: int
    turn: int
    waves: Waves
    slope: int
    constant: int
    error: float
    reach: float

    def __call__(self, x: Reals) -> Reals:
        """Its exact value at reals x, but for the rounding of float64."""
        # The angle is reduced before it meets pi.
        angle = (2 * pi) * np.mod(x * self.in_scale * (self.turn / TURN), 1.0)
        unit = self.out_scale >> WAVE_BITS
        out = self.constant / self.out_scale + x * (self.slope * self.in_scale / self.out_scale)
        for j, (cosine, sine) in enumerate(self.waves, start=1):
            if cosine:
                out = out + cosine / unit * np.cos(j * angle)
            if sine:
                out = out + sine / unit * np.sin(j * angle)
        return np.asarray(out, np.float64)


@lru_cache(maxsize=256)
def approximated(function: Function, in_scale: int, unit: int) -> Approximation:
    """The approximation with the fewest waves that keeps the function's error.

    in_scale: ring units in 1 of x. unit: of the coefficients in 1; results have 2^WAVE_BITS times
    that scale.
    Cost: some ten milliseconds, once for a function and its scales.
    Raises UnsupportedOperation where none keeps the error, as at a scale so coarse, or so fine,
    that turns and coefficients do not fit in integers.
    """
    nearest = float("inf")
    for count in range(1, MOST_WAVES + 1):
        for widening in WIDENINGS:
            found = _attempt(function, in_scale, unit, count, widening)
            if found is None:
                continue
            nearest = min(nearest, found.error)
            if found.error <= function.error:
                return found
    raise UnsupportedOperation(
        f"{function.name}: no approximation with {MOST_WAVES} waves keeps an error of "
        f"{function.error:.3g} at a scale of {in_scale} (the nearest has {nearest:.3g}): choose "
        "a precision with another number of digits"
    )


def _attempt(
    function: Function, in_scale: int, unit: int, count: int, widening: float
) -> Approximation | None:
    """One number of waves and one period; None where least squares say that it is hopeless."""
    low, high = function.low, function.high
    turn = round(TURN / (in_scale * (high - low) * widening))
    if not 0 < turn < TURN:
        return None
    frequency = 2 * pi * in_scale * (turn / TURN)
    # A turn of a few units is a coarse one: the period may have come out within the range.
    if 2 * pi / frequency <= high - low:
        return None
    middle, half = (low + high) / 2, (high - low) / 2
    x = middle + half * np.cos(pi * (np.arange(POINTS) + 0.5) / POINTS)
    y = function(x)
    if function.tails is not None:
        # What the ends have to agree with as well: where the tails that start there arrive.
        far = np.array([low - function.beyond, high + function.beyond])
        ends = np.array([low, high])
        x = np.concatenate([x, ends])
        y = np.concatenate([y, function(far) - np.array(function.tails) * (far - ends)])
    weights = 1 / np.abs(y) if function.relative else np.ones_like(y)
    columns = _columns(x, frequency, count)
    out_scale = unit << WAVE_BITS
    slope = 0
    if function.linear:
        with_line = np.column_stack([columns, x / half])
        fit = _solved(with_line, y, weights)
        slope = round(float(fit[-1]) / half * out_scale / in_scale)
        y = y - x * (slope * in_scale / out_scale)
    fit = _solved(columns, y, weights)
    if _largest(columns, fit, y, weights) > HOPEFUL * function.error:
        return None
    fit = _reweighted(columns, y, weights)
    amplitudes = np.abs(fit[1:]).sum()
    whole = np.rint(fit[1:] * unit)
    if amplitudes > LARGEST_SUM or np.any(np.abs(whole) > LARGEST_WAVE):
        return None
    waves = tuple((int(c), int(s)) for c, s in whole.reshape(count, 2))
    found = Approximation(
        in_scale, out_scale, turn, waves, slope, round(float(fit[0]) * out_scale), 0.0, 0.0
    )
    return _verified(function, found, unit)


def _columns(x: Reals, frequency: float, count: int) -> Reals:
    parts = [np.ones_like(x)]
    for j in range(1, count + 1):
        parts += [np.cos(j * frequency * x), np.sin(j * frequency * x)]
    return np.column_stack(parts)


def _solved(columns: Reals, y: Reals, weights: Reals) -> Reals:
    # Directions that hardly show on the range are left out: they cost size and bring nothing.
    solution = np.linalg.lstsq(columns * weights[:, None], y * weights, rcond=1e-10)[0]
    return np.asarray(solution, np.float64)


def _largest(columns: Reals, fit: Reals, y: Reals, weights: Reals) -> float:
    return float(np.max(np.abs(columns @ fit - y) * weights))


def _reweighted(columns: Reals, y: Reals, weights: Reals) -> Reals:
    best, least = _solved(columns, y, weights), float("inf")
    stress = np.ones_like(y)
    for _ in range(ROUNDS):
        fit = _solved(columns, y, weights * stress)
        error = np.abs(columns @ fit - y) * weights
        largest = float(error.max())
        if largest < least:
            best, least = fit, largest
        if not largest:
            break
        # The square root and the floor keep a point from being forgotten at once.
        stress = stress * np.sqrt(error / largest + 0.05)
        stress /= stress.max()
    return best


def _verified(function: Function, found: Approximation, unit: int) -> Approximation:
    """The same with its error and reach, as the integers have them."""
    # A clamp rounds the ends to units of the argument.
    low, high = function.low - 1 / found.in_scale, function.high + 1 / found.in_scale
    x = np.linspace(low, high, VERIFIED)
    y, got = function(x), found(x)
    rounding = wave_error(found.waves) / unit
    error = np.abs(got - y) + rounding
    if function.relative:
        error = error / np.abs(y)
    largest = float(error.max())
    if function.tails is not None:
        left, right = function.tails
        for end, place, slope, beyond in (
            (low, got[0], left, low - function.beyond),
            (high, got[-1], right, high + function.beyond),
        ):
            far = np.linspace(end, beyond, VERIFIED // 4)
            tail = place + slope * (far - end)
            largest = max(largest, float(np.max(np.abs(tail - function(far)))) + rounding)
    reach = float(np.max(np.abs(got))) + rounding
    return Approximation(
        found.in_scale, found.out_scale, found.turn, found.waves, found.slope, found.constant,
        largest, reach,
    )  # fmt: skip
