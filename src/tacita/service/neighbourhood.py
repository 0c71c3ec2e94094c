"""How well a party reaches the other daemons, for operators, owners and users of eager sessions
who ask: a way is measured at most every ten seconds, by one at a time, so that asking costs the
network little, however often it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from tacita.errors import Busy, TacitaError
from tacita.service.conversations import fresh_id, told
from tacita.service.measuring import measure
from tacita.service.surroundings import Surroundings

FRESH = 10.0  # seconds for which a measurement is given again
LATELY = 600.0  # to who needs to know about how fast a way is, and not how fast it is now

Found = dict[str, dict[str, Any]]  # by the neighbour's name: JSON of a `Measurement`, or `error`


class Neighbourhood:
    def __init__(self, around: Surroundings, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, ascending."""
        self._around = around
        self._clock = clock
        self._measuring = Lock()
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def measured(self) -> Found:
        """Each neighbour that is connected.

        One after the other, since they share this party's line; each for at most the limit of a
        round. Raises Busy while somebody else has it measured.
        """
        around = self._around
        return self._found((*around.others, around.dealer), FRESH, 0.0)

    def lately(self, names: Iterable[str], limit: float) -> Found:
        """Of these neighbours those that are connected, as they were within the last ten minutes.

        What could not be measured is tried again, as `measured` would. Raises Busy where others
        have it measured for `limit` seconds.
        """
        return self._found(names, LATELY, limit)

    def _found(self, names: Iterable[str], age: float, limit: float) -> Found:
        names = [name for name in names if self._around.neighbours.connected(name)]
        kept = {name: found for name in names if (found := self._kept_of(name, age)) is not None}
        if len(kept) == len(names):
            return kept
        if not self._measuring.acquire(timeout=limit):
            raise Busy("the links are being measured for somebody else; ask again in a moment")
        try:
            return {name: self._kept_of(name, age) or self._anew(name) for name in names}
        finally:
            self._measuring.release()

    def _kept_of(self, name: str, age: float) -> dict[str, Any] | None:
        """What was measured no longer ago; errors are given again for a shorter time."""
        if (kept := self._kept.get(name)) is None:
            return None
        taken, found = kept
        fresh = self._clock() - taken < (FRESH if "error" in found else age)
        return found if fresh else None

    def _anew(self, name: str) -> dict[str, Any]:
        found = self._of(name)
        self._kept[name] = (self._clock(), found)
        return found

    def _of(self, name: str) -> dict[str, Any]:
        limit = self._around.limits.round
        try:
            found = measure(self._around.neighbours.link(name, 0.0), fresh_id, limit)
        except TacitaError as error:
            return {"error": told(error)}
        return {
            "round_trip": found.round_trip,
            "sent": round(found.sent),
            "received": round(found.received),
            "clock": found.clock,
            "version": found.version,
        }
