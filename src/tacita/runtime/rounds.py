"""The rounds of one order, run or query: what is opened goes to every other party, sums come back.

A round costs one message each way between every two parties, all of them sent before any is
awaited. What goes by the dealer goes beside it: a message there, and one back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tacita.errors import MaterialMismatch, PeerFailed
from tacita.program.readings import Array, Consultation, Opening, Round
from tacita.runtime.consulting import Desk
from tacita.runtime.orders import Turn, decode_turn, encode
from tacita.runtime.transport import Endpoint, Message, expected


class Rounds:
    """Numbers the rounds of one order or run, so that a message out of turn is an error.

    number: of the order. batch: of the stock, where the masks come from there.
    limit: seconds that a peer may take for a round. transcript: goes into every round, so that
    parties that were given different orders open nothing to each other. desk: where the dealer is
    consulted, if it is; first: what is added to instructions' numbers there. count, consultations:
    of rounds so far, and of those by way of the dealer.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        peers: Sequence[str],
        number: int,
        batch: bytes,
        limit: float,
        transcript: bytes = b"",
        *,
        desk: Desk | None = None,
        first: int = 0,
    ) -> None:
        self.count = 0
        self.consultations = 0
        self._endpoint = endpoint
        self._peers = peers
        self._number = number
        self._batch = batch
        self._limit = limit
        self._transcript = transcript
        self._desk = desk
        self._first = first

    def __call__(self, round_: Round) -> list[Array]:
        """The opened values, from this party's summands and the others', and the dealer's answers;
        each at the place of what it answers."""
        turn = Turn(self._number, self.count, self._batch, self._transcript)
        self.count += 1
        header = encode(turn)
        openings = [each for each in round_ if isinstance(each, Opening)]
        if len(openings) == len(round_):
            self._send(header, openings)
            return self._joined(turn, header, openings)
        asked = [each for each in round_ if isinstance(each, Consultation)]
        self.consultations += 1
        if openings:
            self._send(header, openings)
        desk = self._require_desk()
        question = desk.ask(turn, asked, self._first)
        opened = iter(self._joined(turn, header, openings) if openings else [])
        answers = iter(desk.answers(question, asked))
        return [next(opened if isinstance(each, Opening) else answers) for each in round_]

    def pass_over(self, number: int) -> None:
        """The dealer need not wait for what an instruction would have asked it."""
        turn = Turn(self._number, self.count, self._batch, self._transcript)
        self._require_desk().pass_over(turn, self._first + number)

    def _require_desk(self) -> Desk:
        if self._desk is None:
            raise MaterialMismatch(
                "the dealer is to take part in an instruction, and nothing leads to it from here: "
                "share with protocol='snn', or use 'fss' or 'tables'"
            )
        return self._desk

    def _send(self, header: bytes, openings: Sequence[Opening]) -> None:
        mine = Message("open", header, tuple([opening.summand for opening in openings]))
        for peer in self._peers:
            self._endpoint.send(peer, mine)

    def _joined(self, turn: Turn, header: bytes, openings: Sequence[Opening]) -> list[Array]:
        sums: list[Array] | None = None
        for peer in self._peers:
            theirs = expected(self._endpoint, peer, "open", self._limit)
            if theirs.header != header or len(theirs.arrays) != len(openings):
                raise PeerFailed(f"{peer} opened {decode_turn(theirs.header)} instead of {turn}")
            sums = [
                joined(opening.boolean, opening.summand if sums is None else sums[i], array)
                for i, (opening, array) in enumerate(zip(openings, theirs.arrays, strict=True))
            ]
        assert sums is not None
        return sums


def joined(boolean: bool, a: Array, b: Array) -> Array:
    if a.shape != b.shape:
        raise PeerFailed(f"a peer opened an array of shape {b.shape} instead of {a.shape}")
    return np.bitwise_xor(a, b) if boolean else np.add(a, b)
