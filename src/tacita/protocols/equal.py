"""[x = 0] as an arithmetic share of 0 or 1.

Shapes: any. Range: |x| < 2^(k-1), so that x = 0 exactly when its k low bits are zero; k = 64 holds
    for every ring element.
Cost: as sign.py, for a plan of k bits without order; dealt beyond it: 8 bytes an element.
Computes: x = 0 exactly when x̂ = r, by tables.py (e's alone), fss.py or snn.py; the bit becomes
    public as b ⊕ s and is turned into an arithmetic share as in compare.py.
Error: none. Opened: b ⊕ s under its own uniform bit; and what the plan's own file says.
"""

from __future__ import annotations

from collections.abc import Generator
from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Round, Steps
from tacita.protocols import fss, snn, tables
from tacita.protocols.sign import Plan
from tacita.protocols.truncate import flat
from tacita.ring import kernels
from tacita.ring.planes import Layout


class Zero(Unary, frozen=True, tag=True):
    """out = [x = 0]; x is masked."""

    shape: tuple[int, ...]
    plan: Plan

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.out, (machine.value(self.x) == 0).astype(np.uint64))

    def deal(self, dealer: Dealing) -> None:
        r = flat(dealer.mask_of(self.x))
        s = deal(dealer, r, self.plan)
        dealer.deal((r.size,), lambda into: kernels.bit_correction(s, into))

    def evaluate(self, party: Evaluating) -> Steps:
        opened = flat(party.masked(self.x).opened)
        flipped = yield from evaluate(party, opened, self.plan)
        share = kernels.bit_share(flipped, party.dealt((opened.size,)), party.first)
        party.write(self.out, share.reshape(self.shape))

    def cost(self) -> Cost:
        n = prod(self.shape)
        return self.plan.opened_cost(Layout(n), order=False) + Cost(dealt_bytes=8 * n)


def deal(dealer: Dealing, r: Array, plan: Plan) -> Array:
    """Deals for the flat masks r; returns the plane of s."""
    layout = Layout(r.size)
    if isinstance(plan, snn.Plan):
        return snn.deal(dealer, r, plan, order=False)
    if isinstance(plan, fss.Plan):
        fss.deal(dealer, r, plan)
    else:
        planes = kernels.to_planes(r, 0, plan.bits, layout.width)
        tables.deal(dealer, layout, planes, plan, order=False)
    return dealer.mask_bits(layout, 1)


def evaluate(party: Evaluating, opened: Array, plan: Plan) -> Generator[Round, list[Array], Array]:
    """[x = 0] ⊕ s, public: one plane."""
    layout = Layout(opened.size)
    if isinstance(plan, snn.Plan):
        flipped, _ = yield from snn.evaluate(party, opened[None, :], plan, order=False)
        return flipped
    if isinstance(plan, fss.Plan):
        bit = fss.evaluate(party, opened[None, :], plan, order=False)
    else:
        planes = kernels.to_planes(opened, 0, plan.bits, layout.width)
        bit = yield from tables.evaluate(party, layout, planes, plan, order=False)
    (flipped,) = yield [party.mask_bits(layout, 1).hide(bit)]
    return flipped
