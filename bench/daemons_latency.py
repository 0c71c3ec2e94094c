"""One query after the other at daemons: how long they take, and where.

What is measured, in seconds for a query, on stock that was dealt before:

    spaced        with pauses, in which the parties prepare the next batch: the online time
    back to back  the next query at once: preparing takes its share of the cores, too
    parties       means of what the parties' metrics say: the wait for a prepared batch, the rounds
                  with what is computed between them, and the whole from the parsed request to the
                  result; the rest, up to the client's time, is HTTP, TLS, encoding and splitting
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import tacita
from bench.daemon_network import Deployment, Snapshot, cpu_seconds
from bench.subjects import subject
from bench.tolerance import tolerance
from tacita.client.client import Client
from tacita.compiler.planning import comparing
from tacita.compiler.prediction import Link, link_named
from tacita.program.program import Program
from tacita.program.schedule import cost_of
from tacita.protocols.ways import way_of
from tacita.runtime.forecast import forecast

WARMUP = 5
PREPARED = 4
PAUSES = {1: 0.1, 128: 0.4}  # seconds: in which a batch is prepared with time to spare


class Asked:
    """A network, exported for one batch size; the images that are asked for, and what is right."""

    def __init__(self, network: str, batch: int, bits: int, samples: int) -> None:
        about = subject(network, batch, samples)
        self.name = f"{network}-{batch}"
        self.batch, self.bits, self.images = batch, bits, about.images
        self.about = f"{about.weights}; {about.source}"
        self.model = tacita.export(
            about.module,
            about.images,
            precision=tacita.Precision(base=2, digits=bits),
            samples=about.samples,
        )
        with torch.no_grad():
            self.expected = about.module(about.images)
        self.tolerance = tolerance(about.module, about.images, bits)

    def off(self, scores: Tensor) -> float:
        """How far the furthest score is off."""
        return float((scores - self.expected).abs().max())

    def wrong(self, scores: Tensor) -> bool:
        return bool(((scores - self.expected).abs() > self.tolerance).any())


def percentiles(taken: Sequence[float]) -> dict[str, float]:
    """Seconds that at most so many of a hundred exceed, in part between two of them."""
    if len(taken) < 2:
        return dict.fromkeys(("p50", "p90", "p99", "least", "most"), taken[0]) | {"runs": 1}
    cut = statistics.quantiles(taken, n=100, method="inclusive")
    return {
        "p50": cut[49], "p90": cut[89], "p99": cut[98],
        "least": min(taken), "most": max(taken), "runs": len(taken),
    }  # fmt: skip


def one_by_one(
    client: Client, asked: Asked, count: int, pause: float
) -> tuple[list[float], list[float]]:
    """Seconds of each query, and how far each answer is off. Raises SystemExit for a wrong one."""
    taken, off = [], []
    for _ in range(count):
        time.sleep(pause)
        began = time.perf_counter()
        scores = client.predict(asked.name, asked.images)
        taken.append(time.perf_counter() - began)
        assert isinstance(scores, Tensor)
        off.append(asked.off(scores))
        if asked.wrong(scores):
            raise SystemExit(f"a wrong answer of {asked.name}: off by {off[-1]:.3g}")
    return taken, off


def measured(
    deployment: Deployment, asked: Asked, runs: int, spaced: bool
) -> tuple[dict[str, Any], float]:
    """Figures of `runs` queries, after some that do not count; and how far answers are off."""
    pause = PAUSES.get(asked.batch, 0.4) if spaced else 0.0
    with Client(deployment.local.client_config("client", "carol")) as client:
        one_by_one(client, asked, WARMUP, pause)
        before, own = deployment.snapshot(), cpu_seconds(os.getpid())
        began = time.perf_counter()
        taken, off = one_by_one(client, asked, runs, pause)
        lasted = time.perf_counter() - began
        own = cpu_seconds(os.getpid()) - own
        after = deployment.snapshot()
    figure: dict[str, Any] = {"client_s": percentiles(taken), "lasted_s": lasted}
    figure["ms_an_image"] = 1e3 * figure["client_s"]["p50"] / asked.batch
    figure["parties"] = parts(after, before, asked.name)
    figure["cpu_s_a_query"] = {
        name: seconds / runs
        for name, seconds in (after.cpu_since(before) | {"client": own}).items()
    }
    return figure, max(off)


def parts(after: Snapshot, before: Snapshot, model: str) -> dict[str, dict[str, float]]:
    """Of each party; `other`: of the whole, what is neither waiting for a batch nor rounds."""
    figures = after.since(before, model)
    for figure in figures.values():
        if "batch_s" in figure:  # who leads; at the others the wait for it would be in there
            figure["other_s"] = figure["whole_s"] - figure["batch_s"] - figure["rounds_s"]
    return figures


def about(program: Program, *networks: str) -> dict[str, Any]:
    """What is known before anything runs: rounds, how its comparisons are made, and seconds online
    over each network."""
    figure: dict[str, Any] = {"rounds": cost_of(program.instructions).rounds}
    ways = Counter(way_of(program.instructions[number]) for number in comparing(program))
    figure["compares"] = {str(way): count for way, count in ways.items()}
    figure["predicted_s"] = {}
    for name in networks:
        prediction = forecast(program, link_named(name)).prediction
        assert prediction is not None
        figure["predicted_s"][name] = prediction.total.online
    return figure


def loopback(asked: Asked, runs: int, folder: Path) -> dict[str, Any]:
    """Everything on this machine, over TLS on loopback."""
    figure: dict[str, Any] = {"batch": asked.batch, "subject": asked.about}
    stock = {"low": 0, "high": 1, "prepared": PREPARED}
    with TemporaryDirectory(dir=folder) as own, Deployment(Path(own), stock=stock) as deployment:
        program = deployment.publish(asked.name, asked.model, 2 * (runs + WARMUP) + PREPARED)
        figure |= about(program, "local", "lan")
        figure["spaced"], off = measured(deployment, asked, runs, spaced=True)
        figure["back_to_back"], other = measured(deployment, asked, runs, spaced=False)
    return figure | {
        "largest_difference": max(off, other),
        "tolerance": float(asked.tolerance.max()),
    }


def over(link: Link, asked: Asked, runs: int, folder: Path) -> dict[str, Any]:
    """Between the parties, and between them and the client, the same slow line; a connection that
    is warm."""
    figure: dict[str, Any] = {
        "batch": asked.batch,
        "link": {"rtt_s": link.rtt, "bytes_a_second": link.bandwidth},
    }
    stock = {"low": 0, "high": 1, "prepared": PREPARED}
    with (
        TemporaryDirectory(dir=folder) as own,
        Deployment(Path(own), stock=stock, link=link) as deployment,
    ):
        program = deployment.publish(asked.name, asked.model, runs + WARMUP + PREPARED)
        figure |= about(program, link.name)
        figure["target_s"] = {
            "parties": (figure["rounds"] / 2 + 0.5) * link.rtt,
            "client": (figure["rounds"] / 2 + 3) * link.rtt,
        }
        # The pause is for preparing, in which the parties need a round trip or two.
        spaced, off = measured(deployment, asked, runs, spaced=True)
    between = max(each["rounds_s"] for each in spaced["parties"].values())
    return figure | {
        "spaced": spaced,
        "between_parties_s": between,
        "round_trips": {
            "parties": between / link.rtt,
            "client": spaced["client_s"]["p50"] / link.rtt,
        },
        "largest_difference": off,
        "tolerance": float(asked.tolerance.max()),
    }
