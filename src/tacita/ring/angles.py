"""Cosine and sine by integers alone: what `kernels` and `twins` take their constants from.

An angle is a ring element θ: the fraction θ/2^64 of a turn. Its two top bits, rounded by the third,
name the nearest multiple of a quarter turn; what is left lies in [-1/8, 1/8) of a turn, is cut to
32 bits, f, and read as u = f/2^31 in [-1, 1), the angle (π/4)·u. Then with z = u²
    cos = Σ_k (-1)^k (π/4)^2k/(2k)! z^k,    sin = u·Σ_k (-1)^k (π/4)^(2k+1)/(2k+1)! z^k,
six terms each, by Horner's rule: coefficient k and what is summed from there on has SERIES_BITS[k]
bits after the point. Nothing is looked up at an index, so that the dealer can take the cosine of a
mask in constant time, and nothing is a float, so that every CPU has the same bits.

Error, in units of 2^-30. Cutting: π/8 as an angle. A step of Horner's rule errs by half a unit of
its own place for the product, as much for the coefficient, and hands on 1/16 of the step's before
(1/4 at the last): 1.07 before the last step, then 0.77 for the cosine, whose first coefficient is
exact, and 1.27 for the sine's series. z has an error of a half, of which a derivative of 0.31
(0.09) is left. The remainders are (π/4)^12/12! and (π/4)^13/13!: 0.13 and 0.01. The product with u
adds a half. So the cosine is off by 1.06, the sine by 1.83, the point on the circle by
hypot(1.06, 1.83) + π/8 < UNIT_ERROR.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

UNIT_BITS = 30  # after the point, of a cosine or sine
WAVE_BITS = 24  # after the point, of those that are dealt
SERIES_BITS = (30, 32, 36, 40, 44, 48)  # after the point, of each coefficient
UNIT_ERROR = 2.53  # of a point on the unit circle, in units of 2^-30
ROTATION_ERROR = 0.7072  # of rounding two coordinates, in their unit

_DIGITS = 60
_GUARD_DIGITS = 10


def exact_context(digits: int) -> Context:
    """One for `localcontext` that has nothing of the caller's, who may round and trap as it likes:
    constants are the same at all roles."""
    return Context(
        prec=digits,
        rounding=ROUND_HALF_EVEN,
        Emin=-999_999,
        Emax=999_999,
        capitals=1,
        clamp=0,
        flags=[],
        traps=[],
    )


@lru_cache(maxsize=1)
def series() -> NDArray[np.uint64]:
    """[2, 6]: the coefficients of cosine and sine, as signed integers in 64 bits; read-only.

    Each is the exact one times 2^SERIES_BITS[k], rounded to the nearest; they fit in 32 bits.
    """
    with localcontext(exact_context(_DIGITS)):
        eighth = pi(_DIGITS) / 4
        rows = [
            [
                int(((-1) ** k * eighth**power / factorial(power) * 2**bits).to_integral_value())
                for k, bits in enumerate(SERIES_BITS)
                for power in [2 * k + odd]
            ]
            for odd in (0, 1)
        ]
    table = np.array(rows, np.int64).view(np.uint64)
    table.setflags(write=False)
    return table


def pi(digits: int) -> Decimal:
    """π, rounded to so many significant digits, by Machin's formula in integers."""
    one = 10 ** (digits + _GUARD_DIGITS)
    total = 4 * (4 * _arc_tangent(5, one) - _arc_tangent(239, one))
    with localcontext(exact_context(digits)):
        rounded: Decimal = Decimal(total) / one  # of integers, which are exact: rounded once
    return rounded


def _arc_tangent(inverse: int, one: int) -> int:
    """arctan(1/inverse)·one, a few units too large or small."""
    power, total, k = one // inverse, 0, 0
    while power:
        total += (power if k % 2 == 0 else -power) // (2 * k + 1)
        power //= inverse * inverse
        k += 1
    return total


def error_after(turns: int) -> float:
    """How far the `turns`-th power of a point on the circle is off, in units of 2^-30.

    By repeated products, each rounded: every one adds the error of the first point and that of
    rounding. (That the points may lie outside of the circle by 2^-25 is what the last factor is
    for.) turns: 1 … 2^10.
    """
    return (turns * UNIT_ERROR + (turns - 1) * ROTATION_ERROR) * (1 + 2.0**-20)
