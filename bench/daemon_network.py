"""Daemons to measure: processes on this machine, on loopback or over slow lines, and what they and
the system say of themselves."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families

import tacita
from bench.record import without_folders
from bench.slow_network import SlowNetwork
from tacita.client.async_client import AsyncClient
from tacita.client.client import Client
from tacita.client.local_network import LocalNetwork, Value
from tacita.compiler.prediction import Link
from tacita.program.program import Program

OWNER, WATCHER = "acme", "watcher"
METRICS_LIMIT = 30.0  # seconds
METRICS_BYTES = 1 << 24
QUOTED = 3000  # characters of a log


@dataclass(frozen=True)
class Snapshot:
    """What there is at one moment.

    counted: for each party, the samples of its metrics that this benchmark reads, by name and
        labels. cpu: seconds that each daemon's process has computed. rss: bytes it holds.
    """

    counted: dict[str, Counter[tuple[str, ...]]]
    cpu: dict[str, float]
    rss: dict[str, int]

    def since(self, earlier: Snapshot, model: str) -> dict[str, dict[str, float]]:
        """For each party, what happened to a model between two snapshots; seconds are means."""
        figures = {}
        for party, now in self.counted.items():
            new = Counter(now)
            new.subtract(earlier.counted[party])
            figure: dict[str, float] = {
                "done": new["queries", model, "done"],
                "failed": sum(
                    count
                    for key, count in new.items()
                    if key[:2] == ("queries", model) and key[2] != "done"
                ),
                "rounds": new["rounds", model],
                "dealt": new["dealt", model],
            }
            for phase in ("whole", "batch", "rounds"):
                if times := new["times", model, phase]:
                    figure[f"{phase}_s"] = new["seconds", model, phase] / times
            figures[party] = figure
        return figures

    def cpu_since(self, earlier: Snapshot) -> dict[str, float]:
        return {name: self.cpu[name] - earlier.cpu[name] for name in self.cpu}


# What is read of the metrics: the sample's name, how it is called here, and its labels.
SAMPLES = {
    "tacita_queries_total": ("queries", "model", "outcome"),
    "tacita_query_seconds_sum": ("seconds", "model", "phase"),
    "tacita_query_seconds_count": ("times", "model", "phase"),
    "tacita_rounds_total": ("rounds", "model"),
    "tacita_dealt_batches_total": ("dealt", "model"),
    "tacita_stock_batches": ("stock", "model"),
}


def counted(text: str) -> Counter[tuple[str, ...]]:
    """Of Prometheus' text format, by name and the values of its labels."""
    found: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in SAMPLES:
                name, *labels = SAMPLES[sample.name]
                found[name, *(sample.labels[each] for each in labels)] += sample.value
    return found


def cpu_seconds(pid: int | str) -> float:
    """Of all threads of a process, from Linux' /proc; NaN where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int | str) -> int:
    """From Linux' /proc; 0 where there is none."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Deployment:
    """Parties and a dealer, and what a benchmark does with them.

    link: between the parties, and between clients and each party, as lines of their own; None:
        plain loopback. The dealer is always near: dealing is not what is slow-lined here.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stock: Mapping[str, Value],
        link: Link | None = None,
        limits: Mapping[str, Value] | None = None,
    ) -> None:
        self._ends = ExitStack()
        self.local = LocalNetwork(folder, stock=stock, limits=limits)
        if link is not None:
            self._put_between(folder / "network.toml", link)
            self.local = LocalNetwork(folder, stock=stock, limits=limits)

    def _put_between(self, path: Path, link: Link) -> None:
        """Starts relays, and names their ports in the file in the place of the daemons' own."""
        network = self.local.network
        peers = [str(each.peers) for each in network.parties]
        fronts = [each.front.removeprefix("https://") for each in network.parties]
        for targets in (peers, fronts):
            slow = SlowNetwork(targets, delay=link.rtt / 2, rate=link.bandwidth)
            slow.start()
            self._ends.callback(slow.stop)
            path.write_text(replaced(path.read_text(), targets, slow.addresses))

    def __enter__(self) -> Deployment:
        with self._ends:  # if the daemons do not come up
            self.local.start()
            self._ends.callback(self.local.stop)
            self._ends = self._ends.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._quote_logs()
        self._ends.close()

    def _quote_logs(self) -> None:
        """Of a measurement that failed: its files are about to go."""
        for name in self.local.names:
            text = without_folders(self.local.log(name).read_text(errors="replace")[-QUOTED:])
            print(f"the log of {name} ends with:\n{text}", file=sys.stderr)

    def publish(self, name: str, model: tacita.Model, runs: int = 0) -> Program:
        """And has so many runs dealt. Returns what is run, which compares as was picked for these
        lines where nothing was chosen before."""
        with Client(self.local.client_config("owner", OWNER)) as owner:
            owner.publish(model, name)
            if runs:
                owner.deal(name, runs)
        with Client(self.local.client_config("client", WATCHER)) as watcher:
            return watcher.program(name)

    def deal(self, name: str, runs: int) -> None:
        with Client(self.local.client_config("owner", OWNER)) as owner:
            owner.deal(name, runs)

    def snapshot(self) -> Snapshot:
        """Raises PeerError where a party does not answer."""
        self.local.require_alive()
        return asyncio.run(self._snapshot())

    async def _snapshot(self) -> Snapshot:
        found = {}
        async with AsyncClient(self.local.client_config("client", WATCHER)) as client:
            for party in client.parties:
                answer = await party.request("GET", "/metrics", METRICS_LIMIT, most=METRICS_BYTES)
                found[party.name] = counted(bytes(answer.body).decode())
        return Snapshot(
            found,
            {name: cpu_seconds(self.local.process(name).pid) for name in self.local.names},
            self.resident(),
        )

    def resident(self) -> dict[str, int]:
        return {name: resident_bytes(self.local.process(name).pid) for name in self.local.names}

    async def clients(self, count: int, model: str) -> list[AsyncClient]:
        """So many, each with a certificate of its own, connected and knowing the model; to be
        closed by who asks."""
        made = [
            AsyncClient(self.local.client_config("client", f"carol-{number}"))
            for number in range(count)
        ]
        for client in made:
            await client.model(model)
        return made


def replaced(text: str, old: Sequence[str], new: Sequence[str]) -> str:
    """Addresses in a text by others, each "host:port" as a whole."""
    others = dict(zip(old, new, strict=True))
    pattern = "|".join(rf"{re.escape(each)}(?!\d)" for each in old)
    return re.sub(pattern, lambda found: others[found.group()], text)
