"""What an instruction costs, from shapes alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """rounds: openings that wait for each other.
    opened_bytes: what one party sends to each other party.
    dealt_bytes: what the dealer sends to the last party (the others expand seeds).
    """

    rounds: int = 0
    opened_bytes: int = 0
    dealt_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(
            self.rounds + other.rounds,
            self.opened_bytes + other.opened_bytes,
            self.dealt_bytes + other.dealt_bytes,
        )

    def beside(self, other: Cost) -> Cost:
        """Side by side: the rounds of the two are merged."""
        return Cost(
            max(self.rounds, other.rounds),
            self.opened_bytes + other.opened_bytes,
            self.dealt_bytes + other.dealt_bytes,
        )

    def online_bytes(self, parties: int) -> int:
        """What one party sends in all when `parties` take part."""
        return self.opened_bytes * (parties - 1)
