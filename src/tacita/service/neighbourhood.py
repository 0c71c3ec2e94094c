"""How well a party reaches the other daemons, for operators who ask: measured at most every ten
seconds, by one at a time, so that asking costs the network little, however often it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from tacita.errors import Busy, TacitaError
from tacita.service.conversations import fresh_id, told
from tacita.service.measuring import measure
from tacita.service.surroundings import Surroundings

FRESH = 10.0  # seconds for which a measurement is given again


class Neighbourhood:
    def __init__(self, around: Surroundings, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds, ascending."""
        self._around = around
        self._clock = clock
        self._measuring = Lock()
        self._taken: float | None = None
        self._found: dict[str, Any] = {}

    def measured(self) -> dict[str, Any]:
        """By name, each neighbour that is connected: JSON of a `Measurement`, or `error`.

        One after the other, since they share this party's line; each for at most the limit of a
        round. Raises Busy while somebody else has it measured.
        """
        if not self._measuring.acquire(blocking=False):
            raise Busy("the links are being measured for somebody else; ask again in a moment")
        try:
            if self._taken is None or self._clock() - self._taken >= FRESH:
                around = self._around
                self._found = {
                    name: self._of(name)
                    for name in (*around.others, around.dealer)
                    if around.neighbours.connected(name)
                }
                self._taken = self._clock()
            return self._found
        finally:
            self._measuring.release()

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
