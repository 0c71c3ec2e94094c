"""Powers of two and e by integers alone: what `kernels` and `twins` take their constants from.

A public number y of `bits` bits is the fraction V = y·2^(64-bits) of its range, and
e^(y/scale) = 2^t with t = V/2^64·span, span = 2^bits/(scale·ln 2) < 64. `rate` is span at 58 bits
after the point, so that the upper half of V·rate is t at 58 bits: 6 before the point, n, and of
those after it the upper 32 are used, f. Then with v = (f - 2^31)/2^31 in [-1, 1)
    2^(f/2^32) = √2·2^(v/2) = Σ_k √2·(ln 2/2)^k/k! v^k,
nine terms, by Horner's rule: coefficient k and what is summed from there on has SERIES_BITS[k] bits
after the point. Nothing is looked up at an index, so that the dealer can take the power of a mask
in constant time, and nothing is a float, so that every CPU has the same bits.

Error, relative, in units of 2^-30. The remainder is √2·(ln 2/2)^9/9!·1.04: 0.32. A step of Horner's
rule errs by half a unit of its own place for the product, as much for the coefficient, and hands
on a share 2^-(difference of SERIES_BITS) of the step's before: 1.65 in all. t is too small by
2^-32 for cutting f and by 2^-55 for rate and product, of which ln 2 is left: 0.18. So a power is
off by less than POWER_ERROR. A factor of `factors` adds FACTOR_ERROR.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal, localcontext
from functools import lru_cache
from math import factorial, log

import numpy as np
from numpy.typing import NDArray

from tacita.ring.angles import exact_context

MANTISSA_BITS = 30  # after the point, of 2^(f/2^32)
SERIES_BITS = (30, 31, 33, 36, 40, 44, 48, 52, 56)  # after the point, of each coefficient
RATE_BITS = 58
FACTOR_BITS = 31  # after the point, of a factor's mantissa
# A product of mantissas, and what it is shifted down from.
PRODUCT_BITS = MANTISSA_BITS + FACTOR_BITS
POWER_ERROR = 2.15  # of a power of two, relative, in units of 2^-30
FACTOR_ERROR = 0.25  # of a factor, the same

LARGEST_SCALE = 1 << 62
LARGEST_LOW = 1 << 62  # in size
MOST_INDEX_BITS = 5
MOST_BITS = 62  # of a range, of all segments together
MOST_OCTAVES = 60  # that such a range spans

_DIGITS = 70
_NOTHING = 1 << 8  # a shift that leaves nothing


@lru_cache(maxsize=1)
def series() -> NDArray[np.uint64]:
    """[9]: the coefficients, each times 2^SERIES_BITS[k] and rounded to the nearest; read-only.

    They fit in 31 bits, and so does what is summed from each of them on.
    """
    with localcontext(exact_context(_DIGITS)):
        half = Decimal(2).ln() / 2
        terms = [
            int((Decimal(2).sqrt() * half**k / factorial(k) * 2**bits).to_integral_value())
            for k, bits in enumerate(SERIES_BITS)
        ]
    table = np.array(terms, np.uint64)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=256)
def rate(scale: int, bits: int) -> int:
    """2^bits/(scale·ln 2), which is less than 64, at RATE_BITS after the point, to the nearest.

    Raises ValueError, naming the argument, for what has no rate.
    """
    _require_range(scale, bits)
    with localcontext(exact_context(_DIGITS)):
        return int((octaves(1 << bits, scale) * 2**RATE_BITS).to_integral_value())


def octaves(value: int, scale: int) -> Decimal:
    """log2(e^(value/scale)), by the decimal context that holds where it is called."""
    return Decimal(value) / (scale * Decimal(2).ln())


@lru_cache(maxsize=256)
def factors(
    low: int, scale: int, segment_bits: int, index_bits: int, a: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """What 2^t of the public number has to be multiplied by, for each dealt word: read-only.

    [M, 2] mantissas and [M, 2] shifts, M = 2^index_bits: for j and w, the mantissa at FACTOR_BITS
    of 2^a·e^((low - j·2^l + w·M·2^l)/scale), l = segment_bits, and how far a product at
    PRODUCT_BITS is to be shifted down after it, before t's whole part is taken from that.
    Cost: 2·M powers, once for each set of parameters. Raises ValueError, naming the argument.
    """
    if not 1 <= index_bits <= MOST_INDEX_BITS:
        raise ValueError(f"index_bits: must lie in 1 … {MOST_INDEX_BITS}, got {index_bits}")
    _require_range(scale, segment_bits + index_bits)
    if not -LARGEST_LOW <= low < LARGEST_LOW:
        raise ValueError("low: must lie within ±2^62")
    if not 0 <= a <= PRODUCT_BITS:
        raise ValueError(f"a: must lie in 0 … {PRODUCT_BITS}, got {a}")
    count = 1 << index_bits
    mantissas = np.empty((count, 2), np.uint64)
    shifts = np.empty((count, 2), np.uint64)
    with localcontext(exact_context(_DIGITS)):
        for j in range(count):
            for w in range(2):
                exponent = a + octaves(low + ((w * count - j) << segment_bits), scale)
                whole = exponent.to_integral_value(ROUND_FLOOR)
                power = ((exponent - whole) * Decimal(2).ln()).exp() * 2**FACTOR_BITS
                mantissas[j, w] = min(int(power.to_integral_value()), (1 << (FACTOR_BITS + 1)) - 1)
                # What no input can reach may have a shift above or below those that there are.
                shift = PRODUCT_BITS - int(max(whole, Decimal(-_NOTHING)))
                shifts[j, w] = min(shift, _NOTHING) % 2**64
    for each in (mantissas, shifts):
        each.setflags(write=False)
    return mantissas, shifts


def _require_range(scale: int, bits: int) -> None:
    if not 1 <= scale < LARGEST_SCALE:
        raise ValueError("scale: must lie in 1 … 2^62 - 1")
    if not 1 <= bits <= MOST_BITS:
        raise ValueError(f"segment_bits: must lie in 1 … {MOST_BITS} with the index's")
    if (1 << bits) > scale * MOST_OCTAVES * log(2):
        raise ValueError(f"scale: the range spans more than {MOST_OCTAVES} octaves")
