"""Masking a wire: open x + r once, for every later use of the wire.

Shapes: any; ring Z_2^64.
Cost: one round for all the wires of the instruction; 8 bytes an element to each other party;
    nothing dealt, since every share of r is expanded from a seed.
Opened: x̂ = x + r, with r the sum of one uniform summand from each party's seed. Any n-1 parties
    lack one summand, so x̂ is uniform in their view whatever x is.
Afterwards: products (product.py), truncation (truncate.py), comparisons (tables.py) and ReLU
    (relu.py) take x̂ and r from the wire. They open nothing more of x; what they need of r arrives
    as fresh shares.
Source: Beaver 1991, with the correlation bound to wires rather than to multiplications, as in
    TurboSpeedz (Ben-Efraim, Nielsen, Omri, eprint 2019/080).
"""

from __future__ import annotations

from math import prod

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.readings import (
    Dealing,
    Evaluating,
    Masked,
    PlainMachine,
    Preparing,
    Steps,
)


class MaskWires(Instruction, frozen=True, tag=True):
    """Opens x + r for each of `wires`, all in one round. None of them is masked yet: the store of
    a session refuses one that is."""

    wires: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def reads(self) -> tuple[int, ...]:
        return self.wires

    @property
    def writes(self) -> tuple[int, ...]:
        return ()

    @property
    def masks(self) -> tuple[int, ...]:
        return self.wires

    def plain(self, machine: PlainMachine) -> None:
        pass

    def deal(self, dealer: Dealing) -> None:
        for wire, shape in zip(self.wires, self.shapes, strict=True):
            dealer.write_mask(wire, dealer.mask(shape))

    def evaluate(self, party: Evaluating) -> Steps:
        masks = party.prepared_masks()
        if masks is None:
            masks = [party.mask(shape) for shape in self.shapes]
        opened = yield [
            mask.hide(party.share(wire)) for wire, mask in zip(self.wires, masks, strict=True)
        ]
        for wire, mask, value in zip(self.wires, masks, opened, strict=True):
            party.write_masked(wire, Masked(value, mask.share))

    def prepare(self, party: Preparing) -> None:
        party.draw_masks(self.wires, self.shapes)

    def cost(self) -> Cost:
        return Cost(rounds=1, opened_bytes=sum(8 * prod(shape) for shape in self.shapes))
