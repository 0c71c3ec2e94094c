"""What an instruction costs, from shapes alone."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, repr=False)
class Cost:
    """rounds: openings and consultations that wait for each other.
    opened_bytes: what one party sends to each other party.
    dealt_bytes: what the dealer sends to the last party (the others expand seeds).
    published_bytes: what the dealer sends to each party, the same to all.
    consultations: of the rounds, those by way of the dealer; such a round takes a whole round trip,
        an opening, which all send at once, half of one.
    consulted_bytes: what one party sends to the dealer.
    answered_bytes: what the dealer then sends to each party.
    """

    rounds: int = 0
    opened_bytes: int = 0
    dealt_bytes: int = 0
    published_bytes: int = 0
    consultations: int = 0
    consulted_bytes: int = 0
    answered_bytes: int = 0

    def __repr__(self) -> str:
        some = (f"{name}={value}" for name in NAMES if (value := getattr(self, name)))
        return f"Cost({', '.join(some)})"

    def __add__(self, other: Cost) -> Cost:
        """One after the other."""
        return Cost(*(getattr(self, name) + getattr(other, name) for name in NAMES))

    def beside(self, other: Cost) -> Cost:
        """Side by side: the rounds of the two are merged."""
        return Cost(
            *(
                (max if name in MERGED else int.__add__)(getattr(self, name), getattr(other, name))
                for name in NAMES
            )
        )

    def online_bytes(self, parties: int) -> int:
        """What one party sends in all when `parties` take part."""
        return self.opened_bytes * (parties - 1) + self.consulted_bytes

    @property
    def handed_bytes(self) -> int:
        """What the dealer sends to the last party, which gets most, beside its answers."""
        return self.dealt_bytes + self.published_bytes

    @property
    def hops(self) -> int:
        """Messages that wait for each other: a round has one, by way of the dealer two."""
        return self.rounds + self.consultations


NAMES = tuple(field.name for field in fields(Cost))
MERGED = frozenset({"rounds", "consultations"})
