"""Words that all parties draw alike and that the dealer does not know.

The first party draws a key from the operating system and sends it to the others, on their own
channels, which neither the dealer nor the user's side reads: when an instruction of the session
first asks for such words, and never again in that session. All parties follow one schedule, so
each comes to that place in its messages. An instruction, or a branch of one, has a stream of its
own under the key, as it has under those that are shared with the dealer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tacita.errors import MaskReused, PeerFailed
from tacita.ring.randomness import BRANCHES, KEY_BYTES, Stream, StreamKey, StreamRange, fresh_key
from tacita.runtime.transport import Endpoint, Message, expected


def agreed_key(endpoint: Endpoint, peers: Sequence[str], *, first: bool, limit: float) -> bytes:
    """16 fresh bytes that the first party has drawn and the others take from it.

    peers: the other parties; for all but the first party, the first of them is that party.
    Raises PeerFailed for something else in their place, PeerTimeout after `limit` seconds.
    """
    if first:
        key = fresh_key()
        for peer in peers:
            endpoint.send(peer, Message("common", key))
        return key
    given = expected(endpoint, peers[0], "common", limit).header
    if len(given) != KEY_BYTES:
        raise PeerFailed(f"{peers[0]} sent a key of {len(given)} bytes")
    return given


class Streams:
    """Those of one instruction, a stream for each branch, each taken once and in any order."""

    __slots__ = ("_number", "_opened", "_range", "_waiting")

    def __init__(self, streams: StreamRange, number: int) -> None:
        self._range = streams
        self._number = number
        self._opened = 0
        self._waiting: dict[int, Stream] = {}

    def take(self, branch: int) -> Stream:
        """Raises MaskReused where it was taken before."""
        # They open in ascending order, and branches may draw in another.
        while self._opened <= branch < BRANCHES:
            self._waiting[self._opened] = self._range.open(self._number, self._opened)
            self._opened += 1
        try:
            return self._waiting.pop(branch)
        except KeyError:
            raise MaskReused(
                f"the common stream {self._number}.{branch} was opened before"
            ) from None


class Common(Protocol):
    """Where instructions find their streams; numbers mean the same to all parties."""

    def streams(self, number: int) -> Streams:
        """Of an instruction; to be asked for once."""
        ...


class SessionCommon:
    """See `Common`: for instructions whose numbers ascend.

    agree: gets the key, when it is first needed.
    """

    def __init__(self, agree: Callable[[], bytes]) -> None:
        self._agree = agree
        self._key: StreamKey | None = None

    def streams(self, number: int) -> Streams:
        return Streams(self.reserve(number, 1), number)

    def reserve(self, first: int, count: int) -> StreamRange:
        if self._key is None:
            self._key = StreamKey(self._agree())
        return self._key.reserve(first, count)


class RunCommon:
    """See `Common`: for one run of a program, whose instructions count from 0 in any order.

    first: the number of instruction 0 in the session.
    """

    def __init__(self, session: SessionCommon, first: int, count: int) -> None:
        self._session = session
        self._first = first
        self._count = count
        self._range: StreamRange | None = None

    def streams(self, number: int) -> Streams:
        if self._range is None:
            self._range = self._session.reserve(self._first, self._count)
        return Streams(self._range, self._first + number)
