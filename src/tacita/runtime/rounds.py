"""The rounds of one order, run or query: what is opened goes to every other party, sums come back.

A round costs one message each way between every two parties, all of them sent before any is
awaited.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tacita.errors import PeerFailed
from tacita.program.readings import Array, Round
from tacita.runtime.orders import Turn, decode_turn, encode
from tacita.runtime.transport import Endpoint, Kind, Message


def expected(endpoint: Endpoint, sender: str, kind: Kind, limit: float) -> Message:
    """The next message of a role, which has to be of this kind and carry ring elements."""
    message = endpoint.receive(sender, limit)
    fits = message.kind == kind
    for array in message.arrays:
        fits = fits and array.dtype == np.uint64
    if not fits:
        raise PeerFailed(f"{sender} sent a message of kind {message.kind} where {kind} was due")
    return message


class Rounds:
    """Numbers the rounds of one order or run, so that a message out of turn is an error.

    number: of the order. batch: of the stock, where the masks come from there.
    limit: seconds that a peer may take for a round. transcript: goes into every round, so that
    parties that were given different orders open nothing to each other.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        peers: Sequence[str],
        number: int,
        batch: bytes,
        limit: float,
        transcript: bytes = b"",
    ) -> None:
        self.count = 0
        self._endpoint = endpoint
        self._peers = peers
        self._number = number
        self._batch = batch
        self._limit = limit
        self._transcript = transcript

    def __call__(self, openings: Round) -> list[Array]:
        """The opened values, from this party's summands and the others'."""
        turn = Turn(self._number, self.count, self._batch, self._transcript)
        self.count += 1
        header = encode(turn)
        mine = Message("open", header, tuple([opening.summand for opening in openings]))
        for peer in self._peers:
            self._endpoint.send(peer, mine)
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
