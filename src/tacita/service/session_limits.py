"""What eager sessions may take at a daemon: each of them, and how many at once.

Parties and the dealer enforce the same, each on its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from tacita.errors import Busy, RateExceeded
from tacita.network.identity import Principal
from tacita.runtime.budget import Budget
from tacita.service.config import Limits


class SessionLimits:
    """Those of one daemon."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = Lock()
        self._running: Counter[str] = Counter()  # sessions of each user

    def budget(self) -> Budget:
        """What one session may take, from now on."""
        limits = self._limits
        return Budget(
            wires=limits.session_wires,
            size=int(limits.session_bytes),
            seconds=limits.session,
            program_size=int(limits.program_bytes),
        )

    @contextmanager
    def place(self, user: Principal) -> Iterator[None]:
        """One of the sessions that run at once.

        Raises RateExceeded where this user has as many as one may have, and Busy where all users
        together have.
        """
        who = str(user)
        with self._lock:
            if self._running[who] >= self._limits.sessions_each:
                raise RateExceeded(
                    f"{who} has {self._limits.sessions_each} sessions here, and one may not have "
                    "more: end one of them, by letting go of its tensors"
                )
            if self._running.total() >= self._limits.sessions_at_once:
                raise Busy(
                    f"{self._limits.sessions_at_once} sessions run here, and no more may: try "
                    "again later"
                )
            self._running[who] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[who] -= 1
                self._running += Counter()  # forgets whoever has none
