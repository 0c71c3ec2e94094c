"""[x = 0] as an arithmetic share of 0 or 1.

Shapes: any. Range: |x| < 2^(k-1), so that x = 0 exactly when its k low bits are zero; k = 64 holds
    for every ring element.
Cost: the rounds of the plan and one more; dealt: tables for k bits and 8 bytes an element.
Computes: x = 0 exactly when x̂ = r (tables.py, e's alone); the bit is opened as b ⊕ s and turned
    into an arithmetic share as in compare.py.
Error: none. Opened: e ⊕ α and b ⊕ s, each under its own uniform bit.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Dealing, Evaluating, PlainMachine, Steps
from tacita.protocols import tables
from tacita.protocols.truncate import flat
from tacita.ring import kernels
from tacita.ring.planes import Layout


class Zero(Unary, frozen=True, tag=True):
    """out = [x = 0]; x is masked."""

    shape: tuple[int, ...]
    plan: tables.Plan

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.out, (machine.value(self.x) == 0).astype(np.uint64))

    def deal(self, dealer: Dealing) -> None:
        r = flat(dealer.mask_of(self.x))
        layout = Layout(r.size)
        planes = kernels.to_planes(r, 0, self.plan.bits, layout.width)
        tables.deal(dealer, layout, planes, self.plan, order=False)
        s = dealer.mask_bits(layout, 1)
        dealer.deal((r.size,), lambda into: kernels.bit_correction(s, into))

    def evaluate(self, party: Evaluating) -> Steps:
        opened = flat(party.masked(self.x).opened)
        layout = Layout(opened.size)
        planes = kernels.to_planes(opened, 0, self.plan.bits, layout.width)
        bit = yield from tables.evaluate(party, layout, planes, self.plan, order=False)
        mask = party.mask_bits(layout, 1)
        (flipped,) = yield [mask.hide(bit)]
        share = kernels.bit_share(flipped, party.dealt((opened.size,)), party.first)
        party.write(self.out, share.reshape(self.shape))

    def cost(self) -> Cost:
        n = prod(self.shape)
        layout = Layout(n)
        return self.plan.cost(layout, order=False) + Cost(
            rounds=1, opened_bytes=layout.bytes(1), dealt_bytes=8 * n
        )
