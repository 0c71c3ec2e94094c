"""What may be wrong between a client and its network, and within the network.

The way to each party is measured from here; the ways between the daemons by the parties, for whom
their policies let watch or publish.

Each look is a `Finding`; one that fails does not keep the others from being made, unless they need
what it looked for.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tacita.client.async_client import AsyncClient
from tacita.client.connection import PartyConnection
from tacita.client.links import neighbours_of
from tacita.errors import (
    ConfigError,
    CredentialError,
    Refused,
    TacitaError,
    UsageError,
)
from tacita.network.tls import certificate_in
from tacita.service.config import ClientConfig, Network, load_client

SOON_DAYS = 14  # a certificate that ends within them is worth a word
SKEW_SECONDS = 60.0  # a clock that is off by more makes trouble with certificates sooner or later
ROUND_TRIPS = 9  # the middle one counts
UPLOAD_BYTES = 4 << 20
MIB = 1 << 20

# Between daemons: what works and is worth a word.
SLOW_ROUND_TRIP = 0.1  # seconds; a deep network takes a hundred of them for a query
SLOW_BYTES = MIB  # a second; a query of a small convolutional network sends about as many

Report = Callable[["Finding"], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """where: whom it is about. what: was looked at. says: what was found. advice: if it is bad."""

    where: str
    what: str
    good: bool
    says: str
    advice: str = ""


def inspect(path: Path) -> list[Finding]:
    """Everything that can be looked at with a client.toml. Takes a few seconds; raises nothing."""
    try:
        config = load_client(path)
    except ConfigError as error:
        advice = "correct the file; the other checks need it"
        return [Finding("you", "settings", False, str(error), advice)]
    found = [Finding("you", "settings", True, f"{path}, {len(config.network.parties)} parties")]
    found.append(_credentials(config))
    if found[-1].good:
        found += asyncio.run(_parties(config))
    return found


def _credentials(config: ClientConfig) -> Finding:
    try:
        principal = config.credentials.check()
        ends = certificate_in(config.credentials.certificate).not_valid_after_utc
        authority = certificate_in(config.credentials.authority).subject.rfc4514_string()
    except CredentialError as error:
        return Finding("you", "certificate", False, str(error), "the other checks need it")
    days = (ends - datetime.now(UTC)).days
    soon = f"; it ends soon, in {days} days" if days < SOON_DAYS else ""
    says = f"{principal}, valid until {ends:%Y-%m-%d}{soon}, signed by {authority}"
    return Finding("you", "certificate", True, says)


async def _parties(config: ClientConfig) -> list[Finding]:
    async with AsyncClient(config) as client:
        found = []
        for party in client.parties:  # one by one: together they would share the bandwidth
            found += await _party(party, config)
        measured = set[frozenset[str]]()
        for party in client.parties:
            if (party.name, "reachable") in {
                (each.where, each.what) for each in found if each.good
            }:
                found += await _neighbours(party, config, measured)
        return found


async def _party(party: PartyConnection, config: ClientConfig) -> list[Finding]:
    limit = config.limits.round
    who = party.name
    try:
        await party.json("GET", "/v2/health/live", limit)
    except TacitaError as error:
        return [Finding(who, "reachable", False, str(error))]  # which says what to do
    found = [Finding(who, "reachable", True, f"{party.front}, and it is {who} who answers")]
    looks = (_version, _status, _round_trip)
    for look in looks:
        try:
            found += await look(party, config)
        except TacitaError as error:
            advice = "ask its operator; its log says more"
            found.append(Finding(who, look.__name__.strip("_"), False, str(error), advice))
    return found


async def _version(party: PartyConnection, config: ClientConfig) -> list[Finding]:
    answer = await party.json("GET", "/v2", config.limits.round)
    theirs = answer.get("version") if isinstance(answer, dict) else None
    own = version("tacita")
    advice = "" if theirs == own else f"you have {own}: use the same version everywhere"
    return [Finding(party.name, "version", theirs == own, str(theirs), advice)]


async def _status(party: PartyConnection, config: ClientConfig) -> list[Finding]:
    began = time.time()
    status = await party.json("GET", "/v2/status", config.limits.round)
    ended = time.time()
    if not isinstance(status, dict):
        raise party.wrong("a status that is no table")
    return [
        _clock(party.name, status.get("time"), began, ended),
        _network(party.name, status, config.network),
        _links(party.name, status.get("links"), config.network),
        *_saved(party.name, status),
    ]


def _clock(who: str, theirs: Any, began: float, ended: float) -> Finding:
    if not isinstance(theirs, int | float):
        return Finding(who, "clock", False, "it does not say its time", "use the same version")
    # It read its clock somewhere between; only what lies outside is known to be off.
    off = max(began - theirs, theirs - ended, 0.0)
    good = off <= SKEW_SECONDS
    says = f"within {off:.1f} s of yours" if off else "the same as yours"
    advice = "" if good else "set one of the two: certificates depend on the time"
    return Finding(who, "clock", good, says, advice)


def _network(who: str, status: dict[str, Any], network: Network) -> Finding:
    theirs = (status.get("parties"), status.get("dealer"))
    own = (list(network.names), network.dealer.name)
    says = f"{', '.join(map(str, theirs[0] or ()))}; dealer {theirs[1]}"
    advice = "" if theirs == own else "your network.toml says otherwise: all need the same file"
    return Finding(who, "network", theirs == own, says, advice)


def _links(who: str, links: Any, network: Network) -> Finding:
    others = [name for name in (*network.names, network.dealer.name) if name != who]
    up = links if isinstance(links, dict) else {}
    unseen = [name for name in others if not up.get(name)]
    if not unseen:
        return Finding(who, "links", True, f"it sees {', '.join(others)}")
    advice = "see that they run, and their addresses and certificates; both logs say more"
    return Finding(who, "links", False, f"it does not see {', '.join(unseen)}", advice)


def _saved(who: str, status: dict[str, Any]) -> list[Finding]:
    advice = "nobody can load or save what is in it until then"
    return [Finding(who, "saved", False, why, advice) for why in unreadable_in(status)]


def unreadable_in(status: Mapping[str, Any] | None) -> list[str]:
    """Of a party's status: why it cannot read files of saved shares, each with its path."""
    told = (status or {}).get("unreadable")
    return [str(each) for each in told] if isinstance(told, list) else []


async def _round_trip(party: PartyConnection, config: ClientConfig) -> list[Finding]:
    """The time of small requests over a kept connection, and of a large one, from here to it."""
    limit = config.limits.round
    times = []
    for _ in range(ROUND_TRIPS):
        began = time.perf_counter()
        await party.json("GET", "/v2/health/live", limit)
        times.append(time.perf_counter() - began)
    middle = statistics.median(times)
    found = [Finding(party.name, "round trip", True, f"{1000 * middle:.1f} ms")]
    began = time.perf_counter()
    try:
        # A query without a head: its body is received like any other, and then refused.
        await party.request("POST", "/v2/models/doctor/infer", limit, body=[bytes(UPLOAD_BYTES)])
    except UsageError:
        seconds = max(time.perf_counter() - began - middle, 1e-6)
        says = f"{UPLOAD_BYTES / MIB / seconds:.0f} MiB/s to it"
        found.append(Finding(party.name, "bandwidth", True, says))
    return found


async def _neighbours(
    party: PartyConnection, config: ClientConfig, measured: set[frozenset[str]]
) -> list[Finding]:
    """What a party measures of its links. measured: pairs that were, which one end can tell of."""
    try:
        answer = await neighbours_of(party, config.limits.query)
    except Refused:
        says = (
            f"not measured: the tables watch and publish of {party.name}'s policy say who may "
            "have it done"
        )
        return [Finding(party.name, "neighbours", True, says)]
    except TacitaError as error:
        advice = "ask its operator; its log says more"
        return [Finding(party.name, "neighbours", False, str(error), advice)]
    known = (*config.network.names, config.network.dealer.name)
    found = []
    for name in known:
        of_link = answer.get(name)
        if not isinstance(of_link, dict) or frozenset((party.name, name)) in measured:
            continue
        found += link_findings(party.name, name, of_link, name == config.network.dealer.name)
        if "error" not in of_link:
            measured.add(frozenset((party.name, name)))
    return found


def link_findings(who: str, other: str, link: dict[str, Any], dealer: bool) -> list[Finding]:
    """Of one link between daemons: how fast it is, the other's clock, and the dealer's version.

    link: what `who` answered about `other`. A slow link works, and has advice; a clock that is off
    and another version are wrong.
    """
    what = f"to {other}"
    if "error" in link:
        advice = "see that it runs and answers; both logs say more"
        return [Finding(who, what, False, str(link["error"]), advice)]
    try:
        trip, sent, received, clock = (
            float(link[each]) for each in ("round_trip", "sent", "received", "clock")
        )
    except (KeyError, TypeError, ValueError):
        advice = "use the same version everywhere"
        return [Finding(who, what, False, "it does not say what it measured", advice)]
    says = (
        f"round trip {1000 * trip:.1f} ms, {_rate(sent)} there, {_rate(received)} back, clocks "
        + (f"{abs(clock):.1f} s apart" if clock else "alike")
    )
    found = [Finding(who, what, True, says, _advice(trip, sent, received, dealer))]
    if abs(clock) > SKEW_SECONDS:
        late = other if clock < 0 else who
        advice = f"set the clocks; {late}'s is behind, and certificates depend on the time"
        found.append(Finding(who, f"{what}: clock", False, f"{abs(clock):.0f} s apart", advice))
    theirs, own = str(link.get("version")), version("tacita")
    if dealer and theirs != own:  # a party says its own
        advice = f"you have {own}: use the same version everywhere"
        found.append(Finding(who, f"{what}: version", False, f"{other} has {theirs}", advice))
    return found


def _advice(trip: float, sent: float, received: float, dealer: bool) -> str:
    """What a slow link costs. Of the dealer only matters how much comes from it."""
    if dealer:
        slow = received < SLOW_BYTES
        return "slow: `tacita cost` says what each query takes from the dealer" if slow else ""
    if trip > SLOW_ROUND_TRIP:
        return "far: a query takes so long for each of the rounds that `tacita cost` says"
    slow = min(sent, received) < SLOW_BYTES
    return "slow: `tacita cost` says what each query sends between parties" if slow else ""


def _rate(bytes_a_second: float) -> str:
    return f"{bytes_a_second / MIB:.3g} MiB/s"
