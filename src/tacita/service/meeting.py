"""Where streams that others open wait for whoever is to use them."""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Condition

from tacita.errors import PeerFailed, PeerTimeout, SessionClosed
from tacita.network.link import Stream
from tacita.service.conversations import AnyTopic

Arrived = tuple[Stream, AnyTopic]

DECLINED = 10_000  # conversations of which the reason why not is kept


class Meeting:
    """By the id of a conversation and the name of who opened the stream; each is claimed once."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[tuple[bytes, str], Arrived] = {}
        self._declined: OrderedDict[bytes, str] = OrderedDict()
        self._ended = ""  # why, once it has

    def offer(self, session: bytes, name: str, arrived: Arrived, limit: float) -> None:
        """Leaves a stream to be claimed; raises PeerTimeout where nobody came for it.

        Raises PeerFailed where one is waiting there already, or the conversation was declined;
        SessionClosed after `end`, as `claim` does.
        """
        key = session, name
        with self._changed:
            self._check(session)
            if key in self._waiting:
                raise PeerFailed(f"{name} began the same conversation twice")
            self._waiting[key] = arrived
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._waiting.get(key) is not arrived or self._over(session), limit
            )
            if self._waiting.get(key) is arrived:
                del self._waiting[key]
                self._check(session)
                raise PeerTimeout(f"nobody here joined what {name} began, for {limit:g} s")

    def claim(self, session: bytes, name: str, deadline: float) -> Arrived:
        """The stream that `name` opened, once it has; deadline: of time.monotonic()."""
        key = session, name
        with self._changed:
            if not self._changed.wait_for(
                lambda: key in self._waiting or self._over(session),
                max(0.0, deadline - time.monotonic()),
            ):
                raise PeerTimeout(f"{name} did not join in time")
            self._check(session)
            arrived = self._waiting.pop(key)
            self._changed.notify_all()
        return arrived

    def decline(self, session: bytes, why: str) -> None:
        """A conversation will not come about: whoever waits for it, or will, need not."""
        with self._changed:
            self._declined[session] = why
            if len(self._declined) > DECLINED:
                self._declined.popitem(last=False)
            self._changed.notify_all()

    def end(self, why: str) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._ended = why
            self._changed.notify_all()

    def _over(self, session: bytes) -> bool:
        return bool(self._ended) or session in self._declined

    def _check(self, session: bytes) -> None:
        if self._ended:
            raise SessionClosed(self._ended)
        if session in self._declined:
            raise PeerFailed(self._declined[session])
