"""What a stretch of work cost: rounds and bytes, as counted by the transport."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from tacita.runtime.consulting import desk_of
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.serving import USER


@dataclass
class Traffic:
    """rounds: openings and consultations that waited for each other.
    online_bytes: what a party sent to its peers, and in consultations to the dealer (the most, over
        the parties).
    dealt_bytes: what the dealer sent to the last party alone.
    seed_bytes: what the dealer sent to all parties but the last together.
    input_bytes: shares and public constants from the user's side to a party (the most).
    published_bytes: what the dealer sent to every party, to each of them.
    consultations: of the rounds, those by way of the dealer.
    consulted_bytes: what a party sent to the dealer (the most).
    answered_bytes: what the dealer then sent to a party (the most).
    """

    rounds: int = 0
    online_bytes: int = 0
    dealt_bytes: int = 0
    seed_bytes: int = 0
    input_bytes: int = 0
    published_bytes: int = 0
    consultations: int = 0
    consulted_bytes: int = 0
    answered_bytes: int = 0

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(
            *(getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__)
        )


def counted(session: EmbeddedSession) -> Traffic:
    """All traffic of a session so far, once every role has caught up."""
    session.settle()
    network, holders, dealer = session.network, session.holders, session.dealer

    def sent(sender: str, receiver: str) -> int:
        return network.channel(sender, receiver).sent_bytes

    def dealt(receiver: str) -> int:
        return sent(dealer, receiver) if dealer is not None else 0

    def asked(sender: str) -> int:
        return sent(sender, desk_of(dealer)) if dealer is not None else 0

    def answered(receiver: str) -> int:
        return sent(desk_of(dealer), receiver) if dealer is not None else 0

    published = dealt(holders[0])  # nothing else goes to any party but the last
    return Traffic(
        rounds=session.parties[0].rounds,
        online_bytes=max(asked(a) + sum(sent(a, b) for b in holders if b != a) for a in holders),
        dealt_bytes=dealt(holders[-1]) - published,
        published_bytes=published,
        seed_bytes=sum(dealt(each) for each in holders[:-1]),
        consultations=session.parties[0].consultations,
        consulted_bytes=max(asked(each) for each in holders),
        answered_bytes=max(answered(each) for each in holders),
        input_bytes=max(sent(USER, each) for each in holders),
    )


def measured(session: EmbeddedSession) -> AbstractContextManager[Traffic]:
    """with measured(session) as traffic: …; traffic is filled in at the end."""
    return measured_together(lambda: [session])


@contextmanager
def measured_together(sessions: Callable[[], Iterable[EmbeddedSession]]) -> Iterator[Traffic]:
    """The same for several sessions, asked for at the beginning and at the end."""
    before = {session: counted(session) for session in sessions()}
    traffic = Traffic()
    try:
        yield traffic
    finally:
        for session in sessions():
            difference = counted(session) - before.get(session, Traffic())
            for name in traffic.__dataclass_fields__:
                setattr(traffic, name, getattr(traffic, name) + getattr(difference, name))
