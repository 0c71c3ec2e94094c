"""Many queries at once at daemons: throughput with dealing included, and soaking.

Clients are in this process, in one event loop, each with a certificate and connections of its own;
every answer is compared with the plaintext's.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from bench import child
from bench.daemon_network import Deployment, cpu_seconds, resident_bytes
from bench.daemons_latency import Asked, parts, percentiles
from tacita.client.async_client import AsyncClient
from tacita.errors import TacitaError

SPARE_SECONDS = 180.0  # for queries under way at the end; their own limit is 120 s
AFTER_FAILURE = 0.2  # seconds
LOOKS = 20  # at the memory of daemons, during a soak


@dataclass
class Outcome:
    """answered: when each query ended and how long it took. lost: errors by kind, instead of
    answers. said: the first message of each kind. off: the furthest that an answer was.
    """

    answered: list[tuple[float, float]] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    said: dict[str, str] = field(default_factory=dict)
    wrong: int = 0
    off: float = 0.0

    def between(self, start: float, end: float) -> list[float]:
        """Seconds of each query that ended then."""
        return [seconds for moment, seconds in self.answered if start <= moment < end]


async def keep_asking(client: AsyncClient, asked: Asked, end: float, outcome: Outcome) -> None:
    """One query after the other, until `end` on the monotonic clock."""
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            scores = await client.predict(asked.name, asked.images)
        except TacitaError as error:
            outcome.lost[type(error).__name__] += 1
            outcome.said.setdefault(type(error).__name__, str(error))
            await asyncio.sleep(AFTER_FAILURE)
            continue
        now = time.monotonic()
        outcome.answered.append((now, now - began))
        assert isinstance(scores, Tensor)
        outcome.off = max(outcome.off, asked.off(scores))
        outcome.wrong += asked.wrong(scores)


@dataclass(frozen=True)
class Crowd:
    """So many clients, each of which has so many queries under way."""

    clients: int
    queries: int = 1

    def __str__(self) -> str:
        many = f", {self.queries} queries at once each" if self.queries > 1 else ""
        return f"{self.clients} client{'s' * (self.clients > 1)}{many}"


async def all_asking(
    clients: list[AsyncClient], queries: int, asked: Asked, end: float, outcome: Outcome
) -> None:
    tasks = [keep_asking(client, asked, end, outcome) for client in clients for _ in range(queries)]
    try:
        await asyncio.wait_for(asyncio.gather(*tasks), end - time.monotonic() + SPARE_SECONDS)
    finally:
        for client in clients:
            await client.close()


# ---- throughput ----------------------------------------------------------------------------------


async def pace(
    deployment: Deployment, asked: Asked, crowd: Crowd, warm: float, seconds: float
) -> dict[str, Any]:
    """Of the `seconds` after `warm` ones, in which the stock is used up that was there before."""
    outcome = Outcome()
    clients = await deployment.clients(crowd.clients, asked.name)
    began = time.monotonic()
    start, end = began + warm, began + warm + seconds
    asking = asyncio.create_task(all_asking(clients, crowd.queries, asked, end, outcome))
    try:
        await asyncio.sleep(warm)
        # In threads: the watcher's clients have event loops of their own.
        before = await asyncio.to_thread(deployment.snapshot)
        start, own = time.monotonic(), cpu_seconds(os.getpid())
        await asyncio.sleep(max(0.0, end - start))
        own = cpu_seconds(os.getpid()) - own
        end = time.monotonic()
        after = await asyncio.to_thread(deployment.snapshot)
    finally:
        await asking
    lasted = end - start
    taken = outcome.between(start, end)
    figures = parts(after, before, asked.name)
    dealt = max(each["dealt"] for each in figures.values())
    # Only what was dealt as fast as it was used would go on for ever.
    sustained = min(len(taken), dealt) * asked.batch / lasted
    return {
        "images_a_second": sustained,
        "answered_a_second": len(taken) * asked.batch / lasted,
        "dealt_a_second": dealt * asked.batch / lasted,
        "seconds": lasted,
        "client_s": percentiles(taken) if taken else {},
        "parties": figures,
        "cpu_s_a_query": {
            name: used / max(1, len(taken))
            for name, used in (after.cpu_since(before) | {"client": own}).items()
        },
        "cores_busy": sum(after.cpu_since(before).values()) / lasted + own / lasted,
        "wrong": outcome.wrong,
        "lost": dict(outcome.lost),
        "lost_say": outcome.said,
    }


def in_process(asked: Asked, samples: int, repeat: int, limit: float) -> dict[str, Any]:
    """All roles as threads of one process, dealing included; fresh ones."""
    settings = {
        "network": asked.name.split("-")[0],
        "batch": asked.batch,
        "repeat": repeat,
        "bits": asked.bits,
        "samples": samples,
    }
    return child.run("bench.one_network", [json.dumps(settings)], limit=limit)


def throughput(
    asked: Asked, crowds: list[Crowd], warm: float, seconds: float, folder: Path
) -> dict[str, Any]:
    """Of each crowd; the dealer refills the stock meanwhile."""
    figures: dict[str, Any] = {}
    with (
        TemporaryDirectory(dir=folder) as own,
        Deployment(Path(own), stock={"low": 12, "high": 16, "prepared": 4}) as deployment,
    ):
        deployment.publish(asked.name, asked.model)
        for crowd in crowds:
            figures[str(crowd)] = asyncio.run(pace(deployment, asked, crowd, warm, seconds))
    return figures


# ---- soak ----------------------------------------------------------------------------------------


def soak(asked: Asked, clients: int, seconds: float, folder: Path) -> dict[str, Any]:
    """So many clients at once for so long, on stock that is refilled."""
    stock = {"low": 64, "high": 96, "prepared": 8}
    with TemporaryDirectory(dir=folder) as own, Deployment(Path(own), stock=stock) as deployment:
        deployment.publish(asked.name, asked.model)
        return asyncio.run(soaked(deployment, asked, clients, seconds))


async def soaked(
    deployment: Deployment, asked: Asked, clients: int, seconds: float
) -> dict[str, Any]:
    outcome = Outcome()
    connected = await deployment.clients(clients, asked.name)
    before = await asyncio.to_thread(deployment.snapshot)
    own = cpu_seconds(os.getpid())
    start = time.monotonic()
    end = start + seconds
    asking = asyncio.create_task(all_asking(connected, 1, asked, end, outcome))
    memory = []
    try:
        for look in range(LOOKS + 1):
            await asyncio.sleep(max(0.0, start + seconds * look / LOOKS - time.monotonic()))
            deployment.local.require_alive()
            at = {"seconds": time.monotonic() - start, "client": resident_bytes(os.getpid())}
            memory.append(at | deployment.resident())
    finally:
        await asking
    lasted = time.monotonic() - start
    own = cpu_seconds(os.getpid()) - own
    after = await asyncio.to_thread(deployment.snapshot)
    taken = [each for _, each in outcome.answered]
    return {
        "clients": clients,
        "seconds": lasted,
        "answered": len(taken),
        "wrong": outcome.wrong,
        "lost": dict(outcome.lost),
        "lost_say": outcome.said,
        "largest_difference": outcome.off,
        "tolerance": float(asked.tolerance.max()),
        "queries_a_second": len(taken) / lasted,
        "client_s": percentiles(taken) if taken else {},
        "parties": parts(after, before, asked.name),
        "cpu_s_a_query": {
            name: used / max(1, len(taken))
            for name, used in (after.cpu_since(before) | {"client": own}).items()
        },
        "resident_bytes": {
            "start": memory[0], "middle": memory[len(memory) // 2], "end": memory[-1],
            "all": memory,
        },
    }  # fmt: skip
