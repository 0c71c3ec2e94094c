"""What may be wrong between a client and its network, measured from the client's side.

Each look is a `Finding`; one that fails does not keep the others from being made, unless they need
what it looked for.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tacita.client.async_client import AsyncClient
from tacita.client.connection import PartyConnection
from tacita.errors import ConfigError, CredentialError, TacitaError, UsageError
from tacita.network.tls import certificate_in
from tacita.service.config import ClientConfig, Network, load_client

SOON_DAYS = 14  # a certificate that ends within them is worth a word
SKEW_SECONDS = 60.0  # a clock that is off by more makes trouble with certificates sooner or later
ROUND_TRIPS = 9  # the middle one counts
UPLOAD_BYTES = 4 << 20
MIB = 1 << 20

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
