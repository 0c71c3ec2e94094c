"""How many bytes went to and came from each peer, over all links that a daemon ever had with it.

Links count their bytes themselves. A link that has ended is counted a last time and let go, so what
is kept is one entry for each link that lives, and two numbers for each peer.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """Of one peer. up: whether there is a link. sent, received: bytes, framing and TLS included."""

    up: bool = False
    sent: int = 0
    received: int = 0


class Counted(Protocol):
    """What is needed of a link."""

    @property
    def usable(self) -> bool: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...


class Traffic:
    """For many threads. `total` never falls, whatever becomes of the links."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._live: list[tuple[str, Counted]] = []
        self._ended: dict[str, tuple[int, int]] = {}

    def add(self, peer: str, link: Counted) -> None:
        """A link with a peer has come about; it is counted from its beginning."""
        with self._lock:
            self._settle()
            self._live.append((peer, link))

    def total(self, peer: str) -> LinkCounts:
        with self._lock:
            self._settle()
            sent, received = self._ended.get(peer, (0, 0))
            up = False
            for name, link in self._live:
                if name == peer:
                    up = True
                    sent += link.sent_bytes
                    received += link.received_bytes
            return LinkCounts(up, sent, received)

    def _settle(self) -> None:
        """Adds up links that have ended, a farewell that is on its way at that moment excepted."""
        live = []
        for peer, link in self._live:
            if link.usable:
                live.append((peer, link))
                continue
            sent, received = self._ended.get(peer, (0, 0))
            self._ended[peer] = (sent + link.sent_bytes, received + link.received_bytes)
        self._live = live
