"""max(x, 0), with the truncation that the wire still owes folded in.

Shapes: any. Range: |x| < 2^(k-1), or |x| + d <= 2^(k-1) where d = 2^f divides; k <= 62 where there
    is a truncation, else k <= 64.
Cost: the rounds of sign.py; dealt: its tables and 16 bytes an element, or 40 with truncation.
Computes: without truncation, b·x from b̂ = b ⊕ s and x̂ = x + r:
        b·x = b̂·x + (1 - 2b̂)·s·x  and  s·x = s·x̂ - s·r,  dealt: s, s·r.
    With truncation by d, the same for t = P - T - m·D of truncate.py, where P and m = 1 - msb(x̂)
    are public: s·t = s·P - s·T - m·s·D, dealt: T, D, s, s·T, s·D.
    `bit`: b itself beside the result, b̂ + (1 - 2b̂)·s; it costs nothing, since s is dealt anyway.
    That is the derivative, which training asks for; at 0 it is 1.
Error: as truncation. For d = 2^f the f low bits are left out of the comparison, so b is the sign of
    the very t that it multiplies; for other d, b is the sign of x. Never negative either way.
    Without truncation, a width that drops f bits makes the sign coarse: the result is x or 0, and
    x only if x > -2^f. That is for differences of values which are to lose those bits later.
Opened: see sign.py; nothing beyond it.
Source: bit times value under masks as in SecureNN's ReLU (Wagh, Gupta, Chandran, eprint 2018/442)
    and ABY2.0 (eprint 2020/1225); the fusion with truncation is ours, as in SIGMA's truncate-reduce
    (Gupta et al., eprint 2023/1269) for function secret sharing.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Dealing, Evaluating, PlainMachine, Steps
from tacita.program.wire import RING_BITS, TRUNCATION_BITS, width_of
from tacita.protocols import sign
from tacita.protocols.truncate import flat, floor_divide, lift_of, raised
from tacita.ring import kernels
from tacita.ring.planes import Layout


class ReLU(Unary, frozen=True, tag=True):
    """out = max(x, 0) / divisor, and bit = [x >= 0] where a wire for it is named; x is masked."""

    divisor: int
    shape: tuple[int, ...]
    width: sign.Width
    bit: int | None = None

    @property
    def writes(self) -> tuple[int, ...]:
        return (self.out,) if self.bit is None else (self.out, self.bit)

    def plain(self, machine: PlainMachine) -> None:
        value = floor_divide(machine.value(self.x), self.divisor).view(np.int64)
        machine.write(self.out, np.maximum(value, 0).view(np.uint64))
        if self.bit is not None:
            machine.write(self.bit, (value >= 0).astype(np.uint64))

    def deal(self, dealer: Dealing) -> None:
        r = flat(dealer.mask_of(self.x))
        s = sign.deal(dealer, r, self.width)
        if self.divisor == 1:
            dealer.deal((2, r.size), lambda into: kernels.gate_correction(r, s, into))
        else:
            dealer.deal((5, r.size), lambda into: kernels.relu_correction(r, s, self.divisor, into))

    def evaluate(self, party: Evaluating) -> Steps:
        opened = flat(party.masked(self.x).opened)
        flipped = yield from sign.evaluate(party, opened, self.width)
        if self.divisor == 1:
            x = flat(party.share(self.x))
            dealt = party.dealt((2, opened.size))
            bit_mask = dealt[0]
            share = kernels.gate_share(opened, x, flipped, dealt)
        else:
            lift = lift_of(self.width.bits, self.divisor)
            dealt = party.dealt((5, opened.size))
            bit_mask = dealt[2]
            share = kernels.relu_share(
                raised(opened, lift),
                flipped,
                dealt,
                self.divisor,
                lift // self.divisor,
                party.first,
            )
        party.write(self.out, share.reshape(self.shape))
        if self.bit is not None:
            bit = kernels.bit_share(flipped, bit_mask, party.first)
            party.write(self.bit, bit.reshape(self.shape))

    def cost(self) -> Cost:
        n = prod(self.shape)
        dealt = 16 * n if self.divisor == 1 else 40 * n
        return self.width.cost(Layout(n)) + Cost(dealt_bytes=dealt)


def relu_width(bound: int | None, n: int, divisor: int) -> sign.Width:
    """The width of a ReLU over n values; a power of two drops out of the comparison."""
    if divisor == 1:
        return sign.width(width_of(bound, RING_BITS), n)
    if divisor & (divisor - 1):
        return sign.width(width_of(bound, TRUNCATION_BITS), n)
    # Room for the carry of truncation, and for one bit above those left out.
    drop = divisor.bit_length() - 1
    reach = None if bound is None else max(bound, divisor) + divisor
    return sign.width(width_of(reach, TRUNCATION_BITS), n, drop=drop)
