"""A lock that is granted in the order in which it was asked for."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """`threading.Lock` lets whoever just released it have it again before those who wait.

    With many pieces to send, a sender would starve the others of its link; here each piece waits
    for its turn.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self, limit: float) -> bool:
        """Whether the turn came within `limit` seconds; at once or not at all for 0."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            if limit <= 0:
                return False
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        if called.acquire(timeout=min(limit, threading.TIMEOUT_MAX)):
            return True
        with self._guard:
            if called in self._waiting:
                self._waiting.remove(called)
                return False
        return True  # it came just as the wait ended

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
