"""How fast the way between two daemons is, on the link that they have: the conversation, both ends.

    asks                              is asked
    PING, nine times                  PONG, from the link itself
    Measuring(size), size zeros  →
                                 ←    done, with its clock
                                 ←    size zeros
                                      and the stream ends

The bytes are zeros, which TLS does not shrink, and say nothing. There are a few in a first
conversation and, unless those took long already, more in a second one, which counts. So a fast line
is told from a faster one, and a slow one is not kept busy. What is asked for is limited in size by
the format of the question, and how often, by the one who is asked.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tacita.errors import FrameError, RateExceeded
from tacita.network.link import Link, Stream
from tacita.runtime.transport import Message
from tacita.service.conversations import LARGEST_MEASURED, Measuring, agree_to, agreed, begin

PINGS = 9  # the middle one counts
FIRST_BYTES = 64 << 10
LONG = 0.1  # seconds: where the first bytes take as long, they are enough
WORD = 8
WINDOW = 10.0  # seconds within which
MOST = 8  # conversations of this kind are answered, to each neighbour


@dataclass(frozen=True, slots=True)
class Measurement:
    """Of one link, at one time.

    round_trip: seconds. sent, received: bytes a second, from who asks and to it. clock: by how many
    seconds the other's clock is ahead, at least; 0 where it may be right. version: its Tacita's.
    """

    round_trip: float
    sent: float
    received: float
    clock: float
    version: str


def measure(link: Link, stream_id: Callable[[], bytes], limit: float) -> Measurement:
    """Asks the daemon at the other end of a link. stream_id: a fresh one with every call.

    Costs 64 KiB each way, or 2 MiB and 64 KiB, and takes at most about `limit` seconds. Raises
    PeerTimeout and PeerFailed; the latter also where the other answers no more for now.
    """
    deadline = time.monotonic() + limit

    def left() -> float:
        return max(0.0, deadline - time.monotonic())

    round_trip = statistics.median(link.round_trip(left()) for _ in range(PINGS))
    clock, there, back = _exchange(link.open(stream_id()), FIRST_BYTES, left)
    size = FIRST_BYTES
    if max(there - round_trip, back) < LONG:  # however far it is
        size = LARGEST_MEASURED
        _, there, back = _exchange(link.open(stream_id()), size, left)
    # The answer to what was sent comes a round trip later, whatever the bandwidth.
    there = max(there - round_trip, 1e-6)
    return Measurement(
        round_trip=round_trip,
        sent=size / there,
        received=size / max(back, 1e-6),
        clock=clock,
        version=link.peer_version,
    )


def _exchange(stream: Stream, size: int, left: Callable[[], float]) -> tuple[float, float, float]:
    """The other's clock against ours, and seconds for `size` bytes there and back."""
    name = str(stream.link.peer)
    try:
        wall, began = time.time(), time.perf_counter()
        begin(stream, Measuring(size), left())
        stream.send(_zeros(size), left())
        theirs = agreed(stream, name, left())
        answered, wall_answered = time.perf_counter(), time.time()
        _require_zeros(stream.receive(left()), size, name)
        arrived = time.perf_counter()
    finally:
        stream.close()
    clock = _number(theirs)
    if clock is None:
        raise FrameError(f"{name} sent something else than its time")
    # It read its clock somewhere between; only what lies outside is known to be off.
    ahead = min(0.0, clock - wall) + max(0.0, clock - wall_answered)
    return ahead, answered - began, arrived - answered


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def answer(stream: Stream, topic: Measuring, limit: float) -> None:
    """The part of who is asked. Raises FrameError for other bytes than were announced."""
    _require_zeros(stream.receive(limit), topic.size, str(stream.link.peer))
    agree_to(stream, limit, repr(time.time()))
    stream.send(_zeros(topic.size), limit)
    stream.close()


class Answered:
    """How often each neighbour was answered lately; for many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, ascending."""
        self._clock = clock
        self._lock = threading.Lock()
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)

    def admit(self, neighbour: str) -> None:
        """Counts one more conversation. Raises RateExceeded where there were enough."""
        with self._lock:
            now, times = self._clock(), self._times[neighbour]
            while times and now - times[0] >= WINDOW:
                times.popleft()
            if len(times) >= MOST:
                raise RateExceeded(
                    f"{neighbour} had this link measured {MOST} times within {WINDOW:g} s: later"
                )
            times.append(now)


def _zeros(size: int) -> Message:
    return Message("ask", b"", (np.zeros(size // WORD, np.uint64),))


def _require_zeros(message: Message, size: int, name: str) -> None:
    """Only how many there are counts."""
    found = sum(array.nbytes for array in message.arrays)
    if message.kind != "ask" or found != size // WORD * WORD:
        raise FrameError(f"{name} sent {message.kind} of {found} bytes, where {size} were due")
