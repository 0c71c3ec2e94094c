"""Which wires of a session depend on values that others lent, and to whom that lets them be shown.

A party keeps, for each wire, the loans that it was computed from: whatever an instruction writes
depends on all that it reads. Wires that depend on none need no entry. What this rests on is public:
the instructions, and who lent what on which terms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Loans = frozenset[bytes]  # the terms that values were lent on, as whoever lends them writes them
NONE: Loans = frozenset()


class Restrictions:
    """The loans behind the wires of one session."""

    def __init__(self) -> None:
        self._loans: dict[int, Loans] = {}
        self._lent = False

    @property
    def lent(self) -> bool:
        """Whether anything was ever lent to this session."""
        return self._lent

    def lend(self, wire: int, loans: Loans) -> None:
        if loans:
            self._lent = True
            self._loans[wire] = loans

    def behind(self, wires: Iterable[int]) -> Loans:
        """All loans that any of these wires depends on."""
        if not self._loans:
            return NONE
        return NONE.union(*(self._loans.get(wire, NONE) for wire in wires))

    def carry(self, reads: Iterable[int], writes: Iterable[int]) -> None:
        """What is written depends on what is read."""
        if not self._loans:
            return
        loans = self.behind(reads)
        for wire in writes:
            # An instruction that extends a wire does not free it of what it depended on.
            self.lend(wire, loans | self._loans.get(wire, NONE))

    def forget(self, wire: int) -> None:
        self._loans.pop(wire, None)


@dataclass(frozen=True, slots=True)
class Exposed:
    """why: what a session tells somebody of the values in it. instead: in which one to borrow."""

    why: str
    instead: str


def exposed(*, checked: bool, consulting: bool) -> Exposed | None:
    """Why nothing that others lent may come into a session; None where it may."""
    if checked:
        return Exposed(
            "a session that checks bounds discloses a bit of what it computes with each check",
            "without checked=True",
        )
    if consulting:
        # Dealer or parties that are told other instructions would make digits that do not fit, and
        # the place of their zeros says something of the values.
        return Exposed(
            "a session of protocol='snn' sends the dealer what hides values only if its user has "
            "told all roles the same",
            "of protocol='tables' or 'fss'",
        )
    return None
