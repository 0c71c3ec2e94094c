"""Ways to compare at daemons over slow lines, and what the planner picks for such a line.

    ahead  queries out of the stock, by HTTPS, in each way that can be dealt ahead; the line is
           between the parties, and between the client and each of them
    live   runs of a shared model in sessions (`RemoteWorker`), with the dealing during the run, in
           every way; each two of user, parties and dealer have a line of their own

`auto` is what the planner picks for the line and for runs of that kind. All run over the same
daemons, by turns, so that a busy moment of the machine falls on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import torch

import tacita
from bench.daemon_network import Deployment, replaced
from bench.daemons_latency import PREPARED, WARMUP, Asked, one_by_one
from bench.record import Record, seconds, spread
from bench.slow_network import SlowNetwork
from tacita.client.client import Client
from tacita.client.local_network import LocalNetwork
from tacita.compiler.prediction import Link, link_named
from tacita.protocols.ways import WAYS, way_of

TARGET = 1.15  # of the planner's pick over the best
AUTO = "auto"
BITS, SAMPLES = 16, 64  # of precision; images for bounds
PAUSE = 0.1  # seconds between queries, in which the next batch is prepared
USER = "carol"
WARMUP_LIVE = 2

Taken = dict[str, list[float]]  # seconds of each run, by way


def ahead(record: Record, links: Sequence[str], network: str, runs: int) -> None:
    """Queries of one image out of the stock, over each line."""
    asked = Asked(network, 1, BITS, SAMPLES)
    for text in links:
        models = {
            way: asked.model.compared_by(way, network=text, ahead=True)
            for way in ("tables", "fss", AUTO)
        }
        stock = {"low": 0, "high": 1, "prepared": PREPARED}
        taken: Taken = {way: [] for way in models}
        with (
            TemporaryDirectory() as folder,
            Deployment(Path(folder), stock=stock, link=link_named(text)) as deployment,
            Client(deployment.local.client_config("client", USER)) as client,
        ):
            for way, model in models.items():
                deployment.publish(f"{network}-{way}", model, runs + WARMUP + PREPARED)
            for run, way in product(range(WARMUP + runs), models):
                asked.name = f"{network}-{way}"
                (took,), _ = one_by_one(client, asked, 1, PAUSE)
                if run >= WARMUP:
                    taken[way].append(took)
        about = {way: model.report(network=text).prediction for way, model in models.items()}
        predicted = {way: each.total.online for way, each in about.items() if each is not None}
        noted(record, f"lines; {network}; {text}", models[AUTO], taken, predicted)


def live(record: Record, links: Sequence[str], network: str, runs: int) -> None:
    """Runs of one image with nothing dealt before, over each line."""
    asked = Asked(network, 1, BITS, SAMPLES)
    for text in links:
        models = {
            way: asked.model.compared_by(way, network=text, ahead=False) for way in (*WAYS, AUTO)
        }
        with TemporaryDirectory() as folder, LiveLines(Path(folder), link_named(text)) as lines:
            taken = by_turns(models, lines.workers(), asked, runs)
        about = {way: model.report(network=text).prediction for way, model in models.items()}
        predicted = {way: each.total.live for way, each in about.items() if each is not None}
        noted(record, f"lines; {network}; {text}; live", models[AUTO], taken, predicted)


def by_turns(
    models: dict[str, tacita.Model],
    workers: tuple[tacita.RemoteWorker, tacita.RemoteWorker, tacita.RemoteWorker],
    asked: Asked,
    runs: int,
) -> Taken:
    """From the image to the revealed scores. Raises SystemExit for a wrong answer."""
    alice, bob, dealer = workers
    # What was planned stays: no protocol is named here.
    shared = {way: each.share(alice, bob, crypto_provider=dealer) for way, each in models.items()}
    taken: Taken = {way: [] for way in models}
    for run, (way, network) in product(range(WARMUP_LIVE + runs), shared.items()):

        def once(network: Any = network, way: str = way) -> None:
            scores: torch.Tensor = network(asked.images).get().float_precision()
            if asked.wrong(scores):
                raise SystemExit(f"a wrong answer by {way}: off by {asked.off(scores):.3g}")

        # What the run before it has left to be forgotten does not count.
        took = seconds(once, 1, warmup=0, before=network.session.settle)
        if run >= WARMUP_LIVE:
            taken[way].append(took["median"])
    alice.clear_objects()
    return taken


def noted(
    record: Record, name: str, picked: tacita.Model, taken: Taken, predicted: dict[str, float]
) -> None:
    """Into the record, and told."""
    took = {way: median(each) for way, each in taken.items()}
    ways = [way_of(each) for each in picked.program.instructions]
    ratio = took[AUTO] / min(took.values())
    figure = {
        "seconds": took,
        "spread_s": {way: spread(each) for way, each in taken.items()},
        "predicted_s": predicted,
        "picked": {way: ways.count(way) for way in WAYS if way in ways},
        "pick_over_best": ratio,
    }
    record.add(name, figure)
    told = ", ".join(
        f"{way} {1e3 * took[way]:.0f} ms (predicted {1e3 * predicted[way]:.0f})" for way in took
    )
    print(f"{name}: {told}; pick/best {ratio:.2f}, target {TARGET}", flush=True)


class LiveLines:
    """Daemons on loopback; each two roles that talk do it over a slow line of their own.

    Everybody has a network.toml of their own, which leads to their end of the lines. Fronts, by
    which nothing is measured here, are near.
    """

    def __init__(self, folder: Path, link: Link) -> None:
        self.local = LocalNetwork(folder)
        network = self.local.network
        address = {each.name: str(each.peers) for each in network.parties}
        address[network.dealer.name] = str(network.dealer.address)
        configs = {name: self.local.config(name) for name in network.names}
        configs[USER] = self.local.client_config("client", USER)
        # Who dials whom: a party those after it and the dealer, the user everybody.
        dialled = {
            name: (*network.names[place + 1 :], network.dealer.name)
            for place, name in enumerate(network.names)
        }
        dialled[USER] = (*network.names, network.dealer.name)
        pairs = [(caller, called) for caller, every in dialled.items() for called in every]
        self._slow = SlowNetwork(
            [address[called] for _, called in pairs], delay=link.rtt / 2, rate=link.bandwidth
        )
        self._pairs, self._address, self._configs = pairs, address, configs
        self._ends = ExitStack()

    def __enter__(self) -> LiveLines:
        with self._ends:  # if something does not come up
            self._ends.enter_context(self._slow)
            ends: dict[str, dict[str, str]] = {caller: {} for caller in self._configs}
            for (caller, called), there in zip(self._pairs, self._slow.addresses, strict=True):
                ends[caller][self._address[called]] = there
            for caller, by in ends.items():
                self._lead(self._configs[caller], by)
            self._ends.enter_context(self.local)
            self._ends = self._ends.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.close()

    def _lead(self, config: Path, by: dict[str, str]) -> None:
        """Has the role of these settings find others at other addresses."""
        common = (self.local.folder / "network.toml").read_text()
        (config.parent / "network.toml").write_text(replaced(common, list(by), list(by.values())))
        config.write_text(config.read_text().replace('"../network.toml"', '"network.toml"'))

    def workers(self) -> tuple[tacita.RemoteWorker, tacita.RemoteWorker, tacita.RemoteWorker]:
        """The two parties and the dealer, for the user."""
        hook, config = tacita.TorchHook(torch), self._configs[USER]
        names = (*self.local.network.names, self.local.network.dealer.name)
        alice, bob, dealer = (tacita.RemoteWorker(hook, id=name, config=config) for name in names)
        return alice, bob, dealer
