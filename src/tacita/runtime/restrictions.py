"""Which wires of a session depend on values that others lent, and to whom that lets them be shown.

A party keeps, for each wire, the loans that it was computed from: whatever an instruction writes
depends on all that it reads. Wires that depend on none need no entry. What this rests on is public:
the instructions, and who lent what on which terms.
"""

from __future__ import annotations

from collections.abc import Iterable

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
