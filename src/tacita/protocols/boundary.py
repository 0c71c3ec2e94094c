"""Where values enter and leave a program: shared inputs, public constants, reveals, forgetting."""

from __future__ import annotations

from typing import ClassVar

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.readings import Dealing, Evaluating, PlainMachine, Steps


class Boundary(Instruction, frozen=True, tag=True):
    """An instruction whose data travels beside it, between the user and the roles."""

    concerns_dealer: ClassVar[bool] = False

    def deal(self, dealer: Dealing) -> None:
        pass

    def evaluate(self, party: Evaluating) -> Steps:
        yield from ()  # a generator, although there is nothing to open

    def plain(self, machine: PlainMachine) -> None:
        pass

    def cost(self) -> Cost:
        return Cost()


class Arrival(Boundary, frozen=True, tag=True):
    """A value arrives at every party, as an array beside the instruction; none at the dealer."""

    out: int
    shape: tuple[int, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        return ()

    @property
    def writes(self) -> tuple[int, ...]:
        return (self.out,)


class Input(Arrival, frozen=True, tag=True):
    """A private value: each party is handed its own share.

    The owner draws all shares but the last from a cryptographic generator, so any n-1 of them are
    uniform.
    """


class Constant(Arrival, frozen=True, tag=True):
    """A public tensor; as a sharing, the first party holds all of it."""


class Reveal(Boundary, frozen=True, tag=True):
    """Every party sends its share to the user, and to nobody else.

    The shares of a wire are uniform but for their sum, since every protocol that writes a wire
    ends with freshly dealt shares or a linear map of such; so the user learns the sum alone.
    """

    x: int

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x,)

    @property
    def writes(self) -> tuple[int, ...]:
        return ()


class Forget(Boundary, frozen=True, tag=True):
    """Does nothing: it carries the list of wires to forget, which travels beside every order."""

    concerns_dealer: ClassVar[bool] = True

    @property
    def reads(self) -> tuple[int, ...]:
        return ()

    @property
    def writes(self) -> tuple[int, ...]:
        return ()
