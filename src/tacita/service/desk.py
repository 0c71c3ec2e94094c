"""Where a client's request and the leader's word of it meet, at a party that does not lead.

Either may come first. Each waits a limited time for the other.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Event

from tacita.errors import (
    AlreadyUsed,
    ConfigError,
    PeerFailed,
    PeerTimeout,
    Refused,
    SessionClosed,
    UsageError,
)
from tacita.program.readings import Array
from tacita.service.conversations import told
from tacita.service.models import ServedModel

REMEMBERED = 100_000  # queries whose ids are refused when they come again
MOST_DECLINED = 10_000  # queries of which the reason why not is kept
MISSING = "the client's share of the query did not come"
DECLINED = "declined the"  # for what the client has done
PREVENTED = "could not take part in the"  # for whatever reason of the party's own
LOOK = 0.5  # seconds between two looks whether the leader is there


def not_everywhere(error: BaseException) -> bool:
    """Whether a query has failed because a party had no request of the client's for it, or one
    that it refused; that party has said so, in these words."""
    return MISSING in str(error) or f" {DECLINED} query: " in str(error)


def declined(party: str, what: str, error: BaseException) -> str:
    """In what words a party says that it takes no part: whether for what was asked of it, or not.

    Nobody else can tell, and who has asked for what is refused at one party and taken up by another
    is charged for what that has cost (`not_everywhere`).
    """
    asked = isinstance(error, UsageError | Refused) and not isinstance(error, ConfigError)
    words = DECLINED if asked else PREVENTED
    return f"{party} {words} {what}: {told(error)}"


@dataclass(repr=False)
class Request:
    """A client's shares, until they are answered."""

    fingerprint: str
    model: ServedModel
    inputs: list[Array]
    answered: Event = field(default_factory=Event)
    results: list[Array] | None = None
    failure: Exception | None = None

    def answer(self, results: list[Array]) -> None:
        self.results = results
        self.answered.set()

    def fail(self, error: Exception) -> None:
        self.failure = error
        self.answered.set()


class Desk:
    """The requests that wait, by the name of their query's session."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[bytes, Request] = {}
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        # Texts, not errors: one that is raised holds on to all that those who raised it had.
        self._declined: OrderedDict[bytes, str] = OrderedDict()
        self._ended = ""  # why, once it has

    def remember(self, session: bytes) -> None:
        """Raises AlreadyUsed where a query of this name was seen before."""
        with self._changed:
            if session in self._seen:
                raise AlreadyUsed("a query with this id was made before: choose a fresh random id")
            self._seen[session] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)

    def post(
        self,
        session: bytes,
        request: Request,
        limit: float,
        *,
        led: Callable[[], bool] = lambda: True,
        grace: float = 0.0,
    ) -> list[Array]:
        """Leaves a request, and waits for its results; raises what its run raised.

        led: whether the leader is connected; without it for `grace` seconds, PeerFailed.
        Raises SessionClosed after `end`, as `claim` does.
        """
        began = there = time.monotonic()
        with self._changed:
            self._check(session)
            self._waiting[session] = request
            self._changed.notify_all()
        try:
            while not request.answered.wait(LOOK):
                now = time.monotonic()
                if now - began >= limit:
                    raise PeerTimeout(
                        f"the other parties did not take up the query within {limit:g} s: was it "
                        "sent to all of them?"
                    )
                if led():
                    there = now
                elif now - there >= grace:
                    raise PeerFailed(
                        f"the leading party has not been connected for {grace:g} s: ask again later"
                    )
        finally:
            with self._changed:
                self._waiting.pop(session, None)
        if request.failure is not None:
            raise request.failure
        assert request.results is not None
        return request.results

    def claim(self, session: bytes, limit: float) -> Request:
        """The request of a query that the leader began; raises PeerTimeout where none came."""
        deadline = time.monotonic() + limit
        with self._changed:
            if not self._changed.wait_for(
                lambda: session in self._waiting or session in self._declined or self._ended,
                max(0.0, deadline - time.monotonic()),
            ):
                raise PeerTimeout(f"{MISSING} within {limit:g} s")
            self._check(session)
            return self._waiting.pop(session)

    def decline(self, session: bytes, why: str) -> None:
        """A query will not be answered: whoever waits for it, or will, need not."""
        with self._changed:
            self._declined[session] = why
            if len(self._declined) > MOST_DECLINED:
                self._declined.popitem(last=False)
            request = self._waiting.pop(session, None)
            self._changed.notify_all()
        if request is not None:
            request.fail(PeerFailed(why))

    def end(self, why: str) -> None:
        """No request is answered any more, and nobody waits."""
        with self._changed:
            self._ended = why
            left = list(self._waiting.values())
            self._waiting.clear()
            self._changed.notify_all()
        for request in left:
            request.fail(SessionClosed(why))

    def _check(self, session: bytes) -> None:
        if self._ended:
            raise SessionClosed(self._ended)
        if session in self._declined:
            raise PeerFailed(self._declined[session])
