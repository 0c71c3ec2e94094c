"""What a role keeps of wires: a party its shares, the dealer its masks.

A session has one store, and perhaps a budget for it; each run of a program has a store of its own,
in which the program's inputs, weights and constants are bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacita.errors import TacitaError
from tacita.program.readings import Array, Masked, View
from tacita.runtime.budget import Budget


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

    __slots__ = ("budget", "failed", "first", "owner", "wires")

    def __init__(self, owner: str, *, first: bool, budget: Budget | None = None) -> None:
        self.owner = owner
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
        """Raises Refused where the session's budget has no room for it."""
        if self.budget is not None:
            self.budget.held(wire, held.share.shape)
        self.wires[wire] = held

    def hold_zeros(self, wire: int, shape: tuple[int, ...]) -> None:
        """In the place of a wire that was never made, so that its opening can be carried out."""
        self.wires.setdefault(wire, Held(np.zeros(shape, np.uint64)))

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
        self.wires[wire] = known

    def forget(self, wire: int) -> None:
        self.wires.pop(wire, None)
