"""[x >= 0] as an arithmetic share of 0 or 1.

Shapes: any. Range: |x| < 2^(k-1); k = 64 holds for every ring element, and is the default.
Cost: the rounds of sign.py; dealt: its tables and 8 bytes an element.
Computes: b̂ = b ⊕ s is public (sign.py) and s dealt additively, so b = b̂ + (1 - 2b̂)·s is local.
Error: none. Opened: see sign.py and tables.py.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Dealing, Evaluating, PlainMachine, Steps
from tacita.protocols import sign
from tacita.protocols.truncate import flat
from tacita.ring import kernels
from tacita.ring.planes import Layout


class NonNegative(Unary, frozen=True, tag=True):
    """out = [x >= 0]; x is masked."""

    shape: tuple[int, ...]
    width: sign.Width

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.out, (machine.value(self.x).view(np.int64) >= 0).astype(np.uint64))

    def deal(self, dealer: Dealing) -> None:
        r = flat(dealer.mask_of(self.x))
        s = sign.deal(dealer, r, self.width)
        dealer.deal((r.size,), lambda into: kernels.bit_correction(s, into))

    def evaluate(self, party: Evaluating) -> Steps:
        opened = flat(party.masked(self.x).opened)
        flipped = yield from sign.evaluate(party, opened, self.width)
        share = kernels.bit_share(flipped, party.dealt((opened.size,)), party.first)
        party.write(self.out, share.reshape(self.shape))

    def cost(self) -> Cost:
        n = prod(self.shape)
        return self.width.cost(Layout(n)) + Cost(dealt_bytes=8 * n)
