"""Truncation by a public divisor, without the error that local truncation makes.

Shapes: any. Range: |x| < 2^(k-1) with k <= 62. Divisor d >= 1, any integer.
Cost: no round (x is masked already, see mask.py); dealt: 16 bytes an element.
Computes: with the lift L = d·ceil(2^(k-1)/d), x' = x + L >= 0 and x̂ = x' + r mod 2^64, the sum
    x' + r wraps around exactly when msb(r) = 1 and msb(x̂) = 0, because x' < 2^63. So with r̃ = r,
    or r - 2^64 after a wrap, x' = x̂ - r̃ over the integers, and
        floor(x̂/d) - floor(r̃/d) = floor(x'/d) + {0, 1}.
    Dealt: T = floor(r/d) and D = msb(r)·(floor((r - 2^64)/d) - floor(r/d)); the parties take
        floor(x̂/d) - T - (1 - msb(x̂))·D - L/d.
    The mask of x' is that of x: a public offset changes nothing.
Error: the result is floor(x/d) or floor(x/d) + 1, the latter with probability (x mod d)/d up to
    d/2^64: stochastic rounding without bias. Never a wrap-around, unlike local truncation
    (Mohassel, Zhang, eprint 2017/396), which fails with probability |x|/2^63.
Opened: nothing beyond the masked wire.
Source: the mask-and-offset form of Catrina, Saxena (FC 2010) with the wrap bit of Damgård,
    Escudero, Frederiksen, Keller, Scholl, Volgushev (eprint 2019/599), for any divisor.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Steps
from tacita.ring import kernels


class Truncate(Unary, frozen=True, tag=True):
    """out = x / divisor, rounded to an integer next to it; |x| < 2^(bits-1)."""

    divisor: int
    bits: int
    shape: tuple[int, ...]

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.out, floor_divide(machine.value(self.x), self.divisor))

    def deal(self, dealer: Dealing) -> None:
        r = flat(dealer.mask_of(self.x))
        dealer.deal((2, r.size), lambda into: kernels.truncation_correction(r, self.divisor, into))

    def evaluate(self, party: Evaluating) -> Steps:
        lift = lift_of(self.bits, self.divisor)
        opened = raised(party.masked(self.x).opened, lift)
        dealt = party.dealt((2, opened.size))
        share = kernels.truncate_share(
            opened, dealt, self.divisor, lift // self.divisor, party.first
        )
        party.write(self.out, share.reshape(self.shape))
        yield from ()  # a generator, although there is nothing to open

    def cost(self) -> Cost:
        return Cost(dealt_bytes=16 * prod(self.shape))


def flat(values: Array) -> Array:
    return np.ascontiguousarray(values).reshape(-1)


def lift_of(bits: int, divisor: int) -> int:
    """The smallest multiple of the divisor that lifts every |x| < 2^(bits-1) to x' >= 0."""
    return -(-(1 << (bits - 1)) // divisor) * divisor


def raised(opened: Array, offset: int) -> Array:
    """The opening of x + offset from that of x, as a flat array."""
    return np.add(opened, np.uint64(offset)).reshape(-1)


def floor_divide(values: Array, divisor: int) -> Array:
    """floor(x / divisor) of signed ring elements."""
    return np.floor_divide(values.view(np.int64), np.int64(divisor)).view(np.uint64)
