"""A party's way to the dealer while it evaluates: what it asks in a round, and is answered.

A dealer takes part in few protocols. Where it does, it has an end of its own for this beside the
one that its material leaves from, because a party that waits for an answer takes no material, and
the dealer's channel for that may be full.
"""

from __future__ import annotations

from collections.abc import Sequence

from tacita.errors import PeerFailed
from tacita.program.readings import Array, Consultation
from tacita.runtime.orders import Consulted, Turn, encode
from tacita.runtime.transport import Endpoint, Message, expected


def desk_of(dealer: str) -> str:
    """What the dealer's end for consultations is called within a session."""
    return f"{dealer}, consulted"


class Desk:
    """See the module. name: of the dealer's end. limit: seconds that an answer may take."""

    def __init__(self, endpoint: Endpoint, name: str, limit: float) -> None:
        self._endpoint = endpoint
        self._name = name
        self._limit = limit

    def ask(self, turn: Turn, asked: Sequence[Consultation], first: int) -> Consulted:
        """Sends all that is asked in a round; returns what names it.

        first: to be added to the numbers of instructions.
        """
        header = Consulted(
            number=turn.number,
            round=turn.round,
            places=tuple((first + number, branch) for number, branch in (c.place for c in asked)),
            transcript=turn.transcript,
        )
        words = tuple(each.words for each in asked)
        self._endpoint.send(self._name, Message("consult", encode(header), words))
        return header

    def answers(self, header: Consulted, asked: Sequence[Consultation]) -> list[Array]:
        """What the dealer answers, for each in turn. Raises PeerFailed for anything else."""
        message = expected(self._endpoint, self._name, "answer", self._limit)
        if message.header != encode(header):
            raise PeerFailed("the dealer answered what it was not asked")
        shapes = [array.shape for array in message.arrays]
        wanted = [each.shape for each in asked]
        if shapes != wanted:
            raise PeerFailed(f"the dealer answered arrays of the shapes {shapes} and not {wanted}")
        return list(message.arrays)

    def pass_over(self, turn: Turn, number: int) -> None:
        """Tells the dealer that an instruction will not ask for anything."""
        header = Consulted(turn.number, turn.round, (), number, turn.transcript)
        self._endpoint.send(self._name, Message("consult", encode(header)))
