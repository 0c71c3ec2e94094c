"""Eager sessions: a user's orders, operation by operation, to parties that are daemons.

The user opens a stream to every role. The parties, each by its own policy, open one to each other
and to the dealer, under a name that rests on the fingerprint of the user's certificate, so that
nobody can join another's session. From then on each runs what a thread of `VirtualWorker` runs.

What is in a session is its user's input, what was saved or others lent it (`checkpoints.py`,
`deposits.py`), or computed from these. What is revealed goes to the user alone, if all owners
agree, and every reveal is in the audit log before its share leaves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from tacita.errors import HoldersError, PeerError, PeerFailed, Refused
from tacita.network.endpoint import StreamEndpoint
from tacita.network.identity import Principal
from tacita.network.link import Stream
from tacita.runtime.checkpoints import Checkpoints
from tacita.runtime.consulting import desk_of
from tacita.runtime.offer import CONSULTING, require_offered
from tacita.runtime.party import Party
from tacita.runtime.serving import USER, WITHOUT_STOCK, serve
from tacita.service.audit import AuditLog
from tacita.service.checkpoints import UsersVault
from tacita.service.conversations import (
    Consulting,
    Describing,
    Session,
    Withdrawing,
    agree_to,
    begin,
    desk_of_session,
    eager_session_of,
    end_session,
)
from tacita.service.deposits import Deposits, UsersShelf, encode
from tacita.service.session_limits import SessionLimits
from tacita.service.surroundings import Surroundings


class Sessions:
    """The eager sessions of a party."""

    def __init__(
        self,
        around: Surroundings,
        allowed: Callable[[Principal], bool],
        audit: AuditLog,
        checkpoints: Checkpoints,
    ) -> None:
        self._around = around
        self._checkpoints = checkpoints
        self._allowed = allowed
        self._audit = audit
        self._deposits = Deposits(int(around.limits.request_bytes))
        self._limits = SessionLimits(around.limits)

    def follow(self, stream: Stream, peer: Principal, topic: Session) -> None:
        """Joins a session that a user, or a party of lower index, has begun."""
        around = self._around
        if peer.role == "party":
            limit = around.limits.connect
            around.meeting.offer(topic.session, peer.name, (stream, topic), limit)
            return
        try:
            if not self._allowed(peer):
                raise Refused(f"the policy does not let {peer} open sessions")
            require_same(topic, around.parties, around.dealer)
            with self._limits.place(peer):
                self._serve(stream, peer, topic)
        except Exception as error:
            with suppress(PeerError):
                end_session(stream, around.limits.round, error)
            raise
        finally:
            with suppress(PeerError):
                stream.close("the session has ended")

    def describe(self, stream: Stream, user: Principal, topic: Describing) -> None:
        """Public facts of a deposit that a user may compute with."""
        about = self._deposits.lent_to(user, topic.name).about
        agree_to(stream, self._around.limits.round, encode(about).hex())

    def withdraw(self, stream: Stream, user: Principal, topic: Withdrawing) -> None:
        self._deposits.withdraw(user, topic.name)
        self._audit.record("withdraw", user)
        agree_to(stream, self._around.limits.round)

    def _serve(self, stream: Stream, user: Principal, topic: Session) -> None:
        around = self._around
        session = eager_session_of(user.fingerprint, topic.session)
        among = msgspec.structs.replace(topic, session=session)
        streams: dict[str, Stream] = {USER: stream}
        desk = desk_of(around.dealer) if topic.protocol == CONSULTING else None
        limit = around.limits.connect
        try:
            for name in (*around.higher, around.dealer):
                streams[name] = around.neighbours.open(name, session, limit)
                begin(streams[name], among, limit)
            if desk is not None:
                asking = desk_of_session(session)
                streams[desk] = around.neighbours.open(around.dealer, asking, limit)
                begin(streams[desk], Consulting(asking), limit)
            deadline = time.monotonic() + limit
            for name in around.lower:
                streams[name], theirs = around.meeting.claim(session, name, deadline)
                if theirs != among:
                    raise PeerFailed(f"{name} was told of another session than {around.name}")
            endpoint = StreamEndpoint(around.name, streams, around.limits.round)
            self._audit.record("session", user)
            party = Party(
                endpoint,
                around.others,
                index=around.index,
                dealer=around.dealer,
                user=USER,
                limit=around.limits.round,
                checked=topic.checked,
                run_bytes=int(around.limits.run_bytes),
                budget=self._limits.budget(),
                shelf=UsersShelf(self._deposits, user),
                vault=UsersVault(self._checkpoints, user, self._audit),
                revealing=lambda shape: self._record(user, shape),
                desk=desk,
            )
            names = [name for name in streams if name != USER]
            serve(party, endpoint, names, kinds=WITHOUT_STOCK)
            around.log.info("session ended", principal=str(user), instructions=party.carried)
        finally:
            for name, each in streams.items():
                if name != USER:  # who is told first why, where this failed
                    with suppress(PeerError):
                        each.close("the session has ended")

    def _record(self, user: Principal, shape: tuple[int, ...]) -> None:
        self._audit.record("reveal", user, shapes={"result": shape})


def require_same(topic: Session, parties: Sequence[str], dealer: str) -> None:
    """Raises HoldersError where a user means another network than this one, UsageError for a
    protocol that it does not have."""
    if tuple(topic.holders) != tuple(parties) or topic.dealer != dealer:
        raise HoldersError(
            f"this network has the holders {list(parties)} and the dealer {dealer}; the session is "
            f"of {list(topic.holders)} and {topic.dealer}"
        )
    require_offered(topic.protocol, len(parties))
