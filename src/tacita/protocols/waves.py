"""A trigonometric polynomial of a masked wire: any smooth function on an interval, without a round.

Shapes: any. Range: every ring element. turn: 1 … 2^64 - 1; waves: 1 … MOST_WAVES pairs (C_j, S_j)
    of integers of at most LARGEST_WAVE in size; so what comes out is smaller than 2^60.
Computes: 2^WAVE_BITS · Σ_j C_j·cos(2πj·turn·x/2^64) + S_j·sin(2πj·turn·x/2^64): period 2^64/turn in
    units of the ring. The angle of a ring element v is turn·v mod 2^64, read as a fraction of a
    turn; this is a homomorphism, so for x̂ = x + r, angle(x) = angle(x̂) - angle(r) exactly, and
        C·cos + S·sin (of x) = α·cos(angle(r)) + β·sin(angle(r)),
        α = C·cos + S·sin (of x̂),  β = C·sin - S·cos (of x̂).
    Dealt: cosine and sine of j·angle(r) at WAVE_BITS, for each j. The parties round α and β to
    integers, the same ones to the bit everywhere (ring/angles.py), since each is multiplied by
    shares that are uniform.
Cost: no round (x is masked already, see mask.py); dealt: 16 bytes an element and frequency.
Error: with R_j = hypot(C_j, S_j), at most, in the unit of C and S,
        Σ_j 0.708 + R_j·(2·E_j + 46)·2^-30,
    where E_j·2^-30 is the error of the j-th power of a point on the circle, E_j = 3.24·j - 0.7
    (ring/angles.py): rounding α and β moves (α, β) by hypot(1/2, 1/2), rounding what is dealt moves
    that by as much of 2^-24, and each is multiplied by the other's length. `error` has it as
    a number.
    In the clear, r = 0: the same integers α, whose error is less than that.
Opened: nothing beyond the masked wire, which is uniform; what is dealt is shared additively, and
    any n - 1 shares are uniform, whatever r is.
Leaks: nothing; turn and waves are public.
Source: f(x̂ - r) as a sum of products of public functions of x̂ and shared ones of r is a one-time
    truth table (Ishai, Kushilevitz, Meldgaard, Orlandi, Paskin-Cherniavsky, TCC 2013) of low rank;
    that sine and cosine have rank two under an additive mask is used for sigmoid in Zheng, Zhang,
    Chow, Peng, Tan, Li, Yin, "Secure softmax/sigmoid for machine-learning computation" (ACSAC
    2023). Ours masks in Z_2^64 itself, where the angle's reduction is the ring's, and so has no
    statistical slack and needs no bound on x.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import hypot, prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Dealing, Evaluating, PlainMachine, Steps
from tacita.protocols.pieces import pieces
from tacita.protocols.truncate import flat
from tacita.ring import angles, kernels
from tacita.ring.angles import WAVE_BITS as WAVE_BITS

MOST_WAVES = 32
LARGEST_WAVE = kernels.MOST_WAVE  # so that α and β fit in 32 bits

Pairs = Sequence[tuple[int, int]]


class Waves(Unary, frozen=True, tag=True):
    """out = 2^WAVE_BITS · Σ_j C_j·cos(j·angle) + S_j·sin(j·angle), angle = 2π·turn·x/2^64; x is
    masked."""

    turn: int
    waves: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]

    def plain(self, machine: PlainMachine) -> None:
        x = flat(machine.value(self.x))
        # What is dealt for r = 0: cosine 1 and sine 0.
        dealt = np.zeros((2 * len(self.waves), x.size), np.uint64)
        dealt[::2] = 1 << WAVE_BITS
        value = kernels.wave_share(x, dealt, self.turn, self.waves)
        machine.write(self.out, value.reshape(self.shape))

    def deal(self, dealer: Dealing) -> None:
        masks, rows = flat(dealer.mask_of(self.x)), 2 * len(self.waves)
        for piece in pieces(masks.size, rows):
            r = masks[piece]
            fill = partial(kernels.wave_correction, r, self.turn)
            dealer.deal((rows, r.size), fill)

    def evaluate(self, party: Evaluating) -> Steps:
        opened, rows = flat(party.masked(self.x).opened), 2 * len(self.waves)
        share = np.empty_like(opened)
        for piece in pieces(opened.size, rows):
            public = opened[piece]
            dealt = party.dealt((rows, public.size))
            share[piece] = kernels.wave_share(public, dealt, self.turn, self.waves)
        party.write(self.out, share.reshape(self.shape))
        yield from ()  # a generator, although there is nothing to open

    def cost(self) -> Cost:
        return Cost(dealt_bytes=16 * len(self.waves) * prod(self.shape))


def error(waves: Pairs) -> float:
    """How far `Waves` is from the exact sum at most, in the unit of the coefficients.

    Times 2^WAVE_BITS it is in units of what comes out. Cost: linear in the number of waves.
    """
    # The squares of small errors, which the sum leaves out, are what the last factor is for.
    return sum(
        angles.ROTATION_ERROR + hypot(c, s) * _relative(j) for j, (c, s) in enumerate(waves, 1)
    ) * (1 + 2.0**-16)


def _relative(j: int) -> float:
    """Of the j-th wave to its amplitude: both points on the circle, and what is dealt, rounded."""
    return 2.0**-30 * 2 * angles.error_after(j) + 2.0**-WAVE_BITS * angles.ROTATION_ERROR
