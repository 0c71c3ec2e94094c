"""What a role keeps of wires: a party its shares, the dealer its masks.

A session has one store, and perhaps a budget for it; each run of a program has a store of its own,
in which the program's inputs, weights and constants are bound.

A wire is written once, and masked once. Only then does its number mean the same to the parties and
to the dealer, which knows masks by numbers alone: an input, a loan or a view in another's place
would leave the dealer with the mask of the first, and what it deals for the second would not hide
it. Programs are validated for that (compiler/validation.py); in a session it is seen to here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacita.errors import ProgramError, TacitaError
from tacita.program.readings import Array, Masked, View
from tacita.runtime.budget import Budget

WINDOW = 1 << 16  # of wires' numbers, which ascend about as they are written


class Written:
    """Which wires of a session were written. Those far below the largest count as if they were, so
    that this stays small however long a session lasts."""

    __slots__ = ("_floor", "_latest", "_numbers")

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._latest = 0
        self._floor = 0

    def add(self, wire: int) -> None:
        """Raises ProgramError where it was written before."""
        if wire in self._numbers or wire < self._floor:
            raise ProgramError(f"wire {wire} was written before: each is written once")
        self._numbers.add(wire)
        self._latest = max(self._latest, wire)
        if len(self._numbers) > 2 * WINDOW:
            self._floor = max(self._floor, self._latest - WINDOW)
            self._numbers = {each for each in self._numbers if each >= self._floor}


@dataclass(slots=True, repr=False)
class Held:
    """What a party holds of a wire. A view takes its mask from its base, on demand."""

    share: Array
    masked: Masked | None = None
    base: Held | None = None
    view: View | None = None
    public: bool = False

    def mask(self) -> Masked | None:
        if self.masked is None and self.base is not None and self.view is not None:
            found = self.base.mask()
            if found is not None:
                self.masked = found.map(self.view)
        return self.masked


class Store:
    """The wires that one party holds, and those that checked mode has refused."""

    __slots__ = ("budget", "failed", "first", "owner", "wires", "written")

    def __init__(
        self,
        owner: str,
        *,
        first: bool,
        budget: Budget | None = None,
        written: Written | None = None,
    ) -> None:
        """written: of a session; None for a run of a program, which was validated."""
        self.owner = owner
        self.written = written
        self.first = first
        self.wires: dict[int, Held] = {}
        self.failed: dict[int, str] = {}
        self.budget = budget

    def held(self, wire: int) -> Held:
        try:
            return self.wires[wire]
        except KeyError:
            raise TacitaError(f"{self.owner} holds no wire {wire}") from None

    def share(self, wire: int) -> Array:
        """Of a public wire, which every party holds whole, only the first one's share is not 0."""
        held = self.held(wire)
        return held.share if not held.public or self.first else np.zeros_like(held.share)

    def masked_before(self, wire: int) -> Masked | None:
        """The opening of a wire, if it is here and masked already."""
        held = self.wires.get(wire)
        return None if held is None else held.mask()

    def hold(self, wire: int, held: Held) -> None:
        """Raises Refused where the session's budget has no room for it, ProgramError where it was
        written before."""
        if self.written is not None:
            self.written.add(wire)
        if self.budget is not None:
            self.budget.held(wire, held.share.shape)
        self.wires[wire] = held

    def hold_zeros(self, wire: int, shape: tuple[int, ...]) -> None:
        """In the place of a wire that was never made, so that its opening can be carried out."""
        if wire not in self.wires:
            if self.written is not None:
                self.written.add(wire)
            self.wires[wire] = Held(np.zeros(shape, np.uint64))

    def mask(self, wire: int, masked: Masked) -> None:
        """Raises ProgramError where it is masked already."""
        held = self.held(wire)
        if held.mask() is not None:
            raise ProgramError(f"wire {wire} is masked already: each is masked once")
        held.masked = masked

    def forget(self, wire: int) -> None:
        self.wires.pop(wire, None)
        if self.budget is not None:
            self.budget.forget(wire)
        if self.failed:
            self.failed.pop(wire, None)


@dataclass(slots=True, repr=False)
class Known:
    """The mask of a wire, if it has one. A view takes its mask from its base, on demand."""

    mask: Array | None = None
    base: Known | None = None
    view: View | None = None

    def found(self) -> Array | None:
        if self.mask is None and self.base is not None and self.view is not None:
            mask = self.base.found()
            if mask is not None:
                self.mask = self.view(mask)
        return self.mask


class MaskStore:
    """The masks that the dealer knows."""

    __slots__ = ("wires",)

    def __init__(self) -> None:
        self.wires: dict[int, Known] = {}

    def mask(self, wire: int) -> Array:
        mask = self.known(wire).found()
        if mask is None:
            raise TacitaError(f"wire {wire} has not been masked")
        return mask

    def known(self, wire: int) -> Known:
        return self.wires.setdefault(wire, Known())

    def know(self, wire: int, known: Known) -> None:
        """Raises ProgramError where something is known of it already."""
        if wire in self.wires:
            raise ProgramError(f"wire {wire} was written before: each is written once")
        self.wires[wire] = known

    def mask_with(self, wire: int, mask: Array) -> None:
        """Raises ProgramError where it is masked already."""
        known = self.known(wire)
        if known.found() is not None:
            raise ProgramError(f"wire {wire} is masked already: each is masked once")
        known.mask = mask

    def forget(self, wire: int) -> None:
        self.wires.pop(wire, None)
