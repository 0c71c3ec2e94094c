"""Parties and a dealer as daemons, each a process of its own, and what clients see of them.

    python -m bench daemons [--parts loopback,throughput,wan,soak] [--minutes 10] [--quick]

    loopback    one query after the other over TLS on this machine, and where the time goes
    throughput  batches of 128 with dealing included, one client and many, beside one process
    wan         one image over slow lines (bench/slow_network.py), beside the targets
    soak        many clients at once for some minutes, every answer checked; memory

All processes are on this machine and share its cores: three daemons and the clients. The figures
say how they are measured in bench/daemons_latency.py and bench/daemons_load.py.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import torch

from bench.daemons_latency import Asked, loopback, over
from bench.daemons_load import Crowd, in_process, soak, throughput
from bench.networks import words
from bench.record import Record
from tacita.compiler.prediction import link_named

PARTS = ("loopback", "throughput", "wan", "soak")
PEER_LINK = "50ms,100Mbit/s"
LINKS = (PEER_LINK, "wan")
# Seconds; all three measured by this project, one image over PEER_LINK.
PEERS = "SPU 0.27 s with weights cached to 0.60 s, CrypTen 1.4 s, 4.0 s with argmax"
PEERS_SOURCE = "measured by us, one image, 50 ms/100 Mbit/s"
LENET_TARGET = 0.008  # seconds online, batch 1
THROUGHPUT_TARGET = 0.7  # of that of one process
CROWDS = (Crowd(1), Crowd(1, 4), Crowd(4), Crowd(16), Crowd(32))
LIMIT = 3600.0


def parsed() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=words, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--runs", type=int, default=200, help="queries of batch 1 that count")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each crowd")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the soak")
    parser.add_argument("--clients", type=int, default=32, help="of the soak")
    parser.add_argument("--links", nargs="+", default=list(LINKS), help="of `wan`")
    parser.add_argument("--bits", type=int, default=16, help="of the fraction")
    parser.add_argument("--samples", type=int, default=128, help="that bounds are calibrated on")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for everything")
    parser.add_argument("--folder", type=Path, help="for the daemons' files; a temporary one")
    parser.add_argument("--quick", action="store_true", help="few queries, a soak of 20 s")
    return parser


def options_from(arguments: list[str] | None = None) -> argparse.Namespace:
    """Raises SystemExit for parts that there are not."""
    options = parsed().parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        raise SystemExit(f"no part is named {', '.join(sorted(unknown))}: {', '.join(PARTS)}")
    if options.quick:
        options.runs = min(options.runs, 20)
        options.seconds = min(options.seconds, 4.0)
        options.minutes = min(options.minutes, 1 / 3)
    return options


# ---- what is printed -----------------------------------------------------------------------------


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f}"


def shown_latency(figure: dict[str, Any], kind: str) -> Iterator[str]:
    of = figure[kind]
    at = of["client_s"]
    yield (
        f"  {kind.replace('_', ' '):<13} p50 {ms(at['p50'])}  p90 {ms(at['p90'])}  p99 "
        f"{ms(at['p99'])} ms  of {at['runs']}; {of['ms_an_image']:.3f} ms an image"
    )
    for party, each in of["parties"].items():
        told = (f"{name[:-2]} {ms(value)}" for name, value in each.items() if name.endswith("_s"))
        yield f"    {party:<8} {'  '.join(told)} ms"
    used = "  ".join(f"{name} {ms(value)}" for name, value in of["cpu_s_a_query"].items())
    yield f"    cpu      {used} ms a query"


def ways(figure: dict[str, Any]) -> str:
    """How the network's layers compare."""
    return ", ".join(f"{count} by {way}" for way, count in figure["compares"].items())


def shown_loopback(name: str, figure: dict[str, Any]) -> Iterator[str]:
    yield f"{name}: {figure['rounds']} rounds, {ways(figure)}"
    for kind in ("spaced", "back_to_back"):
        yield from shown_latency(figure, kind)
    at = figure["predicted_s"]
    yield f"  predicted     local {ms(at['local'])}  lan {ms(at['lan'])} ms online"
    if "target_s" in figure:
        yield f"  target        {ms(figure['target_s'])} ms online"
    yield f"  off by        {figure['largest_difference']:.1e}, {figure['tolerance']:.1e} at most"


def shown_throughput(figure: dict[str, Any]) -> Iterator[str]:
    yield (
        f"one process: {figure['in_process_images_a_second']:,.0f} images a second, "
        "dealing included"
    )
    for name, each in figure["crowds"].items():
        at = each["client_s"]
        busy = "  ".join(f"{who} {ms(value)}" for who, value in each["cpu_s_a_query"].items())
        yield (
            f"  {name:<34} {each['images_a_second']:,.0f} images a second  "
            f"({each['ratio']:.0%} of one process; target {THROUGHPUT_TARGET:.0%})  "
            + (f"p50 {ms(at['p50'])}  p99 {ms(at['p99'])} ms" if at else "no answer")
        )
        yield f"    cpu {busy} ms a query; {each['cores_busy']:.2f} cores busy"
        if each["wrong"] or each["lost"]:
            yield f"    {each['wrong']} wrong, lost: {each['lost'] or 'none'}"


def shown_wan(name: str, figure: dict[str, Any]) -> Iterator[str]:
    at, trips = figure["target_s"], figure["round_trips"]
    yield f"{name}: {figure['rounds']} rounds, {ways(figure)}"
    yield (
        f"  between the parties {ms(figure['between_parties_s'])} ms = {trips['parties']:.2f} "
        f"round trips; target {ms(at['parties'])}"
    )
    yield (
        f"  at the client       {ms(figure['spaced']['client_s']['p50'])} ms = "
        f"{trips['client']:.2f} round trips; target {ms(at['client'])}, predicted "
        f"{ms(*figure['predicted_s'].values())}"
    )
    yield from shown_latency(figure, "spaced")
    if name.endswith(PEER_LINK):
        yield f"  others              {PEERS} ({PEERS_SOURCE})"


def shown_soak(figure: dict[str, Any]) -> Iterator[str]:
    at = figure["client_s"]
    yield (
        f"{figure['clients']} clients for {figure['seconds']:.0f} s: "
        f"{figure['answered']:,} answers, {figure['wrong']} wrong, "
        f"{sum(figure['lost'].values())} lost {figure['lost'] or ''}"
    )
    if at:
        yield (
            f"  {figure['queries_a_second']:,.1f} queries a second; p50 {ms(at['p50'])}  p99 "
            f"{ms(at['p99'])}  most {ms(at['most'])} ms"
        )
    yield f"  off by {figure['largest_difference']:.1e}, {figure['tolerance']:.1e} at most"
    memory = figure["resident_bytes"]
    for who in memory["start"]:
        if who != "seconds":
            sizes = (f"{memory[when][who] / 2**20:,.0f}" for when in ("start", "middle", "end"))
            yield f"  {who:<8} {' → '.join(sizes)} MiB"
    used = "  ".join(f"{name} {ms(value)}" for name, value in figure["cpu_s_a_query"].items())
    yield f"  cpu {used} ms a query"


# ---- what is run ---------------------------------------------------------------------------------


class Run:
    """The parts, each of which adds figures to the record and prints them.

    bad: what was wrong or lost, in words.
    """

    def __init__(self, options: argparse.Namespace, record: Record, folder: Path) -> None:
        self.options = options
        self.record = record
        self.folder = folder
        self.bad: list[str] = []

    def asked(self, network: str, batch: int) -> Asked:
        return Asked(network, batch, self.options.bits, self.options.samples)

    def tell(self, name: str, figure: dict[str, Any], lines: Iterator[str]) -> None:
        self.record.add(name, figure)
        print("\n".join(lines), flush=True)

    def loopback(self) -> None:
        for network, batch in (("mlp", 1), ("mlp", 128), ("lenet", 1)):
            asked = self.asked(network, batch)
            runs = self.options.runs if batch == 1 else max(10, self.options.runs // 5)
            figure = loopback(asked, runs, self.folder)
            if network == "lenet":
                figure["target_s"] = LENET_TARGET
            name = f"loopback; {network}; batch {batch}"
            self.tell(name, figure, shown_loopback(name, figure))

    def throughput(self) -> None:
        options = self.options
        asked = self.asked("mlp", 128)
        repeat = 5 if options.quick else 30

        def alone() -> dict[str, Any]:
            return in_process(asked, options.samples, repeat, options.limit)

        # Before and after: a machine that changes meanwhile shows.
        first = alone()
        crowds = throughput(
            asked, list(CROWDS), warm=options.seconds / 3, seconds=options.seconds,
            folder=self.folder,
        )  # fmt: skip
        both = [first, alone()]
        if failed := [each["failed"] for each in both if "failed" in each]:
            raise SystemExit(f"the measurement in one process failed: {failed[0]}")
        paces = [asked.batch / each["live_s"]["median"] for each in both]
        mean = sum(paces) / 2
        for name, each in crowds.items():
            each["ratio"] = each["images_a_second"] / mean
            self.note(f"throughput, {name}", each)
        figure = {
            "batch": asked.batch,
            "in_process_images_a_second": mean,
            "in_process_before_and_after": paces,
            "target_ratio": THROUGHPUT_TARGET,
            "crowds": crowds,
        }
        self.tell("throughput; mlp; batch 128", figure, shown_throughput(figure))

    def wan(self) -> None:
        for network in ("mlp", "lenet"):
            asked = self.asked(network, 1)
            for link in self.options.links:
                runs = max(10, self.options.runs // 4)
                figure = over(link_named(link), asked, runs, self.folder)
                figure["peers"] = {"figures": PEERS, "source": PEERS_SOURCE, "link": PEER_LINK}
                name = f"wan; {network}; batch 1; {link}"
                self.tell(name, figure, shown_wan(name, figure))

    def soak(self) -> None:
        options = self.options
        figure = soak(self.asked("mlp", 1), options.clients, 60 * options.minutes, self.folder)
        self.note("soak", figure)
        self.tell("soak; mlp; batch 1", figure, shown_soak(figure))

    def note(self, name: str, figure: dict[str, Any]) -> None:
        if figure["wrong"] or figure["lost"]:
            said = "; ".join(figure["lost_say"].values())
            lost = figure["lost"] or "none"
            self.bad.append(f"{name}: {figure['wrong']} wrong, lost {lost} ({said})")


def end_in_order(number: int, _: FrameType | None) -> None:
    """Of a signal: daemons and relays are ended on the way out."""
    why = "took longer than --limit" if number == signal.SIGALRM else f"signal {number}"
    sys.exit(f"ended early: {why}")


def main(arguments: list[str] | None = None) -> int:
    options = options_from(arguments)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, end_in_order)
    signal.setitimer(signal.ITIMER_REAL, options.limit)
    torch.set_num_threads(1)
    settings = {
        "parties": 2,
        "processes": "two parties, a dealer, and one with the clients, on one machine",
        "precision": f"base 2, {options.bits} bits",
        "prepared": "4 batches ahead; 8 in the soak",
        "quick": options.quick,
    }
    record = Record("daemons", settings)
    with TemporaryDirectory(prefix="tacita-bench-", dir=options.folder) as folder:
        run = Run(options, record, Path(folder))
        parts: dict[str, Callable[[], None]] = {
            "loopback": run.loopback, "throughput": run.throughput, "wan": run.wan,
            "soak": run.soak,
        }  # fmt: skip
        for name in PARTS:
            if name in options.parts:
                print(f"\n-- {name}", flush=True)
                parts[name]()
    signal.setitimer(signal.ITIMER_REAL, 0)
    for each in run.bad:
        print(f"WRONG: {each}", file=sys.stderr)
    print(f"\n{record}")
    return min(len(run.bad), 1)


if __name__ == "__main__":
    raise SystemExit(main())
