"""Instructions: one protocol each, in four readings.

A concrete instruction is a frozen msgspec struct in a file of `protocols/`. Its fields are public
and travel to every role; private data never stands in an instruction.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from tacita.program.cost import Cost
from tacita.program.readings import Dealing, Evaluating, PlainMachine, Preparing, Steps


class Instruction(msgspec.Struct, frozen=True, tag=True):
    """One protocol over wires.

    plain: the same arithmetic on the ring values in the clear.
    deal: what the dealer draws and sends; draws in the same order as `evaluate`.
    evaluate: one party's work, a generator of rounds.
    prepare: what of a party's work can be done before the inputs are there; most have nothing.
    cost: from the instruction's own shapes; tests hold it against what is measured.
    concerns_dealer: False where `deal` has nothing to do and nothing to remember.
    discloses: bits that everybody learns, on purpose, beside what is uniform.
    aliases: True where what it writes takes its mask from what it reads, as a view does.
    """

    concerns_dealer: ClassVar[bool] = True
    discloses: ClassVar[int] = 0
    aliases: ClassVar[bool] = False

    @property
    def reads(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def writes(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def masks(self) -> tuple[int, ...]:
        """The wires that it masks."""
        return ()

    def plain(self, machine: PlainMachine) -> None:
        raise NotImplementedError

    def deal(self, dealer: Dealing) -> None:
        raise NotImplementedError

    def evaluate(self, party: Evaluating) -> Steps:
        raise NotImplementedError

    def prepare(self, party: Preparing) -> None:
        """Nothing, unless the instruction says otherwise."""

    def cost(self) -> Cost:
        raise NotImplementedError

    @property
    def consults(self) -> tuple[int, ...]:
        """Which of its rounds go by the dealer: the first ones, unless it says otherwise."""
        return tuple(range(self.cost().consultations))


class Unary(Instruction, frozen=True, tag=True):
    """An instruction that makes one wire of one."""

    out: int
    x: int

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x,)

    @property
    def writes(self) -> tuple[int, ...]:
        return (self.out,)
