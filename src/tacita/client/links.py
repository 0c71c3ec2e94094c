"""How fast the ways between the parties are, as these measured them, for who picks by it how values
are compared.

Owners ask the parties' fronts, and users of eager sessions the parties themselves
(`remote_worker.py`). In either case one party after the other: together they would measure how they
share their lines. Each way is told of by one of its ends, and which one makes no difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tacita.client.connection import PartyConnection
from tacita.compiler.prediction import Link
from tacita.errors import NotReady, PeerFailed, TacitaError
from tacita.service.reach import Ways, ways_in

TRIES, PAUSE = 5, 1.0  # seconds, while a party measures for somebody else
GIGABIT = 1e9 / 8  # bytes


async def neighbours_of(party: PartyConnection, limit: float) -> dict[str, Any]:
    """What a party measures of its links: `GET /v2/neighbours`. limit: seconds for each answer.

    Raises Refused where its policy says so, NotReady where it measured for others all the while,
    and PeerFailed for an answer of another kind; what is in it, is not looked at.
    """
    for _ in range(TRIES - 1):
        try:
            answer = await party.json("GET", "/v2/neighbours", limit)
            break
        except NotReady:
            await asyncio.sleep(PAUSE)
    else:
        answer = await party.json("GET", "/v2/neighbours", limit)
    if not isinstance(answer, dict):
        raise party.wrong("neighbours that are no table")
    return answer


async def measured_link(parties: Sequence[PartyConnection], limit: float) -> Link:
    """Between two parties, as the first of them that can say so measured it.

    limit: seconds for each answer. Raises the first party's error where neither can say. Cost: up
    to 2.1 MB each way over each link of a party, unless it was measured within ten seconds.
    """
    names = [party.name for party in parties]
    failure: TacitaError | None = None
    for party in parties:
        try:
            found = ways_in(await neighbours_of(party, limit))
        except TacitaError as error:
            failure = failure or error
            continue
        if (link := slowest({party.name: found}, names)) is not None:
            return link
        failure = failure or PeerFailed(f"{party.name} does not say how fast its ways are")
    assert failure is not None
    raise failure


def slowest(
    said: Mapping[str, Ways], parties: Collection[str], dealer: str | None = None
) -> Link | None:
    """What all ways between the parties are at least. None where nobody says anything of them.

    said: by party. dealer: counts with what comes from it, since nobody waits for its answers; None
        where everything was dealt before.
    """
    between = [
        way
        for party, ways in said.items()
        for name, way in ways.items()
        if name in parties and name != party
    ]
    if not between:
        return None
    rates = [rate for way in between for rate in (way.sent, way.received)]
    rates += [ways[dealer].received for ways in said.values() if dealer in ways]
    return Link("measured", max(way.round_trip for way in between), min(rates))


def described(link: Link) -> str:
    """In words of people: "21 ms round trip, 96 Mbit/s"."""
    if link.local:
        return "as in one process"
    size, unit = (GIGABIT, "Gbit/s") if link.bandwidth >= GIGABIT else (GIGABIT / 1000, "Mbit/s")
    return f"{_short(1e3 * link.rtt)} ms round trip, {_short(link.bandwidth / size)} {unit}"


def _short(number: float) -> str:
    """Three digits that count."""
    return f"{float(f'{number:.3g}'):g}"
