"""e^x of a masked wire that lies in a known interval, without a round.

Shapes: any. Range: low <= x <= low + (M - 1)·K with K = 2^segment_bits and M = 2^index_bits,
    index_bits 1 … 5; for what else the fields may be, see `unfit`. A caller clamps: x outside comes
    out as something else without a word.
Computes: about 2^(a+b)·e^(x/scale). Let y = x - low, X = x̂ - low mod M·K and r' = r mod M·K, so
    that X = y + r' mod M·K. Write r' = j·K + ρ with 0 <= ρ < K. Then u_j = X - j·K mod M·K is
    y + ρ mod M·K, and 0 <= y + ρ < (M - 1)·K + K = M·K, so that nothing wraps: u_j = y + ρ over the
    integers, and
        e^(x/scale) = e^((low + u_j)/scale) · e^(-ρ/scale).
    The first factor is public but for j, and the second is known to the dealer. Dealt, for each of
    the M values that j may have: B_j = round(2^b·e^(-ρ/scale)) for the j of r, else 0. The parties
    take Σ_j A_j·B_j with A_j = round(2^a·e^((low + u_j)/scale)), for every j: those of other j meet
    shares of 0. The A_j are the same to the bit everywhere (ring/exponents.py), since each is
    multiplied by shares that are uniform.
    (In segments of K: X is in the one numbered j + i mod M, where i is ⌊y/K⌋, or one more as ρ
    carries. That the last of M segments is left out of the range of y, but for its first number,
    which cannot carry, keeps i below M. So j and X determine i, with no bit of X opened beside it
    and no wrap-around of X to be told: for i = M, the sum would begin anew at u_j < K.)
Cost: no round (x is masked already, see mask.py); dealt: 8·M bytes an element.
Error: |out/2^(a+b) - e^(x/scale)| <= 2^-(a+1) + e^(x/scale)·(2^-(b+1)·e^(K/scale) + 2^-27.7).
    Rounding A_j adds 1/2 to it, times B_j <= 2^b; rounding B_j adds 1/2, times A_j, which is
    2^a·e^((x + ρ)/scale) with ρ < K; the last term is that of the powers (exponents.py), twice.
    `error` has it as numbers, with the products of errors. In the clear, r = 0: the same A_0.
Opened: nothing beyond the masked wire, which is uniform; what is dealt is shared additively, and
    any n - 1 shares are uniform, whatever r is.
Leaks: nothing; low, scale and all sizes are public.
Source: f(x̂ - r) as a sum of products of public functions of x̂ and shared ones of r is a one-time
    truth table (Ishai, Kushilevitz, Meldgaard, Orlandi, Paskin-Cherniavsky, TCC 2013) of low rank;
    for e^x over the integers a mask leaves a product of two factors, and segments undo the ring's
    reduction. Ours.
"""

from __future__ import annotations

from functools import partial
from math import exp, log, prod
from typing import NamedTuple

import numpy as np

from tacita.errors import ProgramError, UsageError
from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Steps
from tacita.protocols.pieces import pieces
from tacita.protocols.truncate import flat
from tacita.ring import exponents, kernels
from tacita.ring.exponents import (
    LARGEST_LOW,
    LARGEST_SCALE,
    MOST_BITS,
    MOST_INDEX_BITS,
    MOST_OCTAVES,
)

FACTOR_OCTAVES = 60.0  # an A_j is no larger
RESULT_OCTAVES = 60.0  # what comes out is no larger, but for its error


class Exponential(Unary, frozen=True, tag=True):
    """out = 2^(a+b)·e^(x/scale), about; x is masked."""

    low: int
    scale: int
    segment_bits: int
    index_bits: int
    a: int
    b: int
    shape: tuple[int, ...]

    def plain(self, machine: PlainMachine) -> None:
        x = flat(machine.value(self.x))
        # What is dealt for r = 0: the segment 0, and e^0.
        dealt = np.zeros((self._words, x.size), np.uint64)
        dealt[0] = 1 << self.b
        machine.write(self.out, self._share(x, dealt).reshape(self.shape))

    def deal(self, dealer: Dealing) -> None:
        masks, rows = flat(dealer.mask_of(self.x)), self._words
        for piece in pieces(masks.size, rows):
            r = masks[piece]
            fill = partial(kernels.exponential_correction, r, self.scale, self.segment_bits, self.b)
            dealer.deal((rows, r.size), fill)

    def evaluate(self, party: Evaluating) -> Steps:
        opened, rows = flat(party.masked(self.x).opened), self._words
        share = np.empty_like(opened)
        for piece in pieces(opened.size, rows):
            public = opened[piece]
            share[piece] = self._share(public, party.dealt((rows, public.size)))
        party.write(self.out, share.reshape(self.shape))
        yield from ()  # a generator, although there is nothing to open

    def cost(self) -> Cost:
        return Cost(dealt_bytes=8 * self._words * prod(self.shape))

    @property
    def _words(self) -> int:
        """M. Whoever sends an instruction may have sent any number: a power of two of it might
        not fit in memory."""
        if not 1 <= self.index_bits <= MOST_INDEX_BITS:
            raise ProgramError(f"an exponential's index has 1 … {MOST_INDEX_BITS} bits")
        return 1 << self.index_bits

    def _share(self, opened: Array, dealt: Array) -> Array:
        return kernels.exponential_share(
            opened, dealt, self.low, self.scale, self.segment_bits, self.a
        )


# ---- choosing the parameters -------------------------------------------------------------------


class Plan(NamedTuple):
    """Fields of an Exponential. `low` may lie below the one that was asked for."""

    low: int
    segment_bits: int
    index_bits: int
    a: int
    b: int

    @property
    def unit(self) -> int:
        """The scale of what comes out."""
        return 1 << (self.a + self.b)


def plan(low: int, high: int, scale: int, bits: int) -> Plan:
    """The Exponential with the fewest words for low <= x <= high whose error is at most
    2^-bits·max(1, e^(x/scale)), and with the smallest b for it; a is `bits`.

    Raises UsageError where there is none: for a range of too many octaves, or beyond 26 bits.
    Cost: constant.
    """
    _require(1 <= scale < LARGEST_SCALE, "the scale", scale, "lies outside of 1 … 2^62 - 1")
    _require(-LARGEST_LOW <= low <= high < LARGEST_LOW, "the range from", low, "is empty or wide")
    for index_bits in range(1, MOST_INDEX_BITS + 1):
        segments = (1 << index_bits) - 1
        # As small as they can be: each octave of a segment is one of the result.
        segment_bits = max(1, (-(-(high - low) // segments) - 1).bit_length())
        # What they have to spare goes below: above, results would grow.
        start = high - (segments << segment_bits)
        found = _precise(Plan(start, segment_bits, index_bits, bits, 0), scale, bits)
        if found is not None:
            return found
    raise UsageError(
        f"no exponential of numbers from {low / scale:.4g} to {high / scale:.4g} is exact to "
        f"{bits} bits in a 64-bit ring: clamp them to a narrower range, or ask for fewer bits"
    )


def _precise(shape: Plan, scale: int, bits: int) -> Plan | None:
    """With the smallest a and b for so many bits; None where they do not fit."""
    if unfit(shape._replace(a=0), scale) is not None:
        return None
    for b in range(bits, exponents.PRODUCT_BITS):
        absolute, relative = error(shape.segment_bits, scale, shape.a, b)
        if absolute + relative <= 2.0**-bits:
            found = shape._replace(b=b)
            return None if unfit(found, scale) else found
    return None


def unfit(shape: Plan, scale: int) -> str | None:
    """Why an Exponential cannot have these fields; None where it can. Cost: constant."""
    low, segment_bits, index_bits, a, b = shape
    if not 1 <= scale < LARGEST_SCALE:
        return "its scale is not one of 1 … 2^62 - 1"
    if not 1 <= index_bits <= MOST_INDEX_BITS:
        return f"its index has not 1 … {MOST_INDEX_BITS} bits"
    if not (segment_bits >= 1 and segment_bits + index_bits <= MOST_BITS):
        return f"segments and index do not have up to {MOST_BITS} bits together"
    if not -LARGEST_LOW <= low < LARGEST_LOW:
        return "its range does not start within ±2^62"
    if not (0 <= a <= FACTOR_OCTAVES and 0 <= b <= FACTOR_OCTAVES):
        return "a or b is not one of 0 … 60"
    whole = 1 << (segment_bits + index_bits)
    if whole > scale * MOST_OCTAVES * log(2):
        return f"its range spans more than {MOST_OCTAVES} octaves"
    if a + _octaves(low + whole, scale) > FACTOR_OCTAVES:
        return f"its factors exceed 2^{FACTOR_OCTAVES:.0f}"
    if a + b + _octaves(low + whole - (1 << segment_bits), scale) > RESULT_OCTAVES:
        return f"its results exceed 2^{RESULT_OCTAVES:.0f}"
    return None


def error(segment_bits: int, scale: int, a: int, b: int) -> tuple[float, float]:
    """(absolute, relative): |out/2^(a+b) - e^(x/scale)| <= absolute + relative·e^(x/scale).

    The fields are some that `unfit` has nothing against. Cost: constant.
    """
    factor = (exponents.POWER_ERROR + exponents.FACTOR_ERROR) * 2.0**-exponents.MANTISSA_BITS
    power = exponents.POWER_ERROR * 2.0**-exponents.MANTISSA_BITS
    absolute = 2.0 ** -(a + 1) * (1 + power) + 2.0 ** -(a + b + 2)
    segment = exp((1 << segment_bits) / scale)
    return absolute, factor + power + factor * power + 2.0 ** -(b + 1) * segment * (1 + factor)


def _octaves(value: int, scale: int) -> float:
    return value / scale / log(2)


def _require(holds: bool, what: str, value: int, otherwise: str) -> None:
    if not holds:
        raise UsageError(f"an exponential's {what.removeprefix('the ')} {value} {otherwise}")
