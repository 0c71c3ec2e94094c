"""Measures one network at one batch size; `bench.networks` starts it, a process for each.

    python -m bench.one_network '{"network": "lenet", "batch": 64, …}'

What is measured, in seconds for a batch, weights shared beforehand:

    live         sharing the images, dealing, evaluating, revealing: everything, as it goes
    dealing      the dealer alone, ahead: material for one run, into files
    preparation  the parties alone: reading it, and all work that needs no input
    online       from the images' shares to the revealed scores, on prepared material
    plaintext    torch on the same module and batch, one thread and all threads
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import tacita
from bench.child import report
from bench.record import peak_bytes, seconds, spread
from bench.subjects import subject

WARMUP = 1


def multiply_adds(module: nn.Module, images: Tensor) -> int:
    """Of the convolutions and linear layers, for this batch; torch counts two operations each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(images)
    return counter.get_total_flops() // 2


def plaintext(module: nn.Module, images: Tensor, repeat: int) -> dict[str, Any]:
    figures = {}
    for name, threads in (("one_thread", 1), ("all_threads", os.cpu_count() or 1)):
        torch.set_num_threads(threads)
        with torch.no_grad():
            figures[name] = seconds(lambda: module(images), repeat, WARMUP)
    torch.set_num_threads(1)
    return figures


class Shared:
    """A network shared between two parties, and what it does with one batch of images."""

    def __init__(self, model: tacita.Model, images: Tensor, expected: Tensor) -> None:
        hook = tacita.TorchHook(torch)
        names = ("alice", "bob", "dealer")
        self.alice, self.bob, self.dealer = (tacita.VirtualWorker(hook, id=n) for n in names)
        self.precision, self.images, self.expected = model.precision, images, expected
        self.shared = model.share(self.alice, self.bob, crypto_provider=self.dealer)
        self.largest_difference = 0.0
        self.equal = self.compared = 0
        self.settle()

    def settle(self) -> None:
        self.shared.session.settle()

    def check(self, scores: Tensor) -> None:
        """Notes how far revealed scores are from the plaintext's; every run's are."""
        off = float((scores - self.expected).abs().max())
        self.largest_difference = max(self.largest_difference, off)
        self.equal += int((scores.argmax(1) == self.expected.argmax(1)).sum())
        self.compared += len(scores)

    def live(self) -> None:
        self.check(self.shared(self.images).get().float_precision())

    def ahead(self, repeat: int) -> dict[str, Any]:
        """Dealing, preparation and online in turn, `repeat` times."""
        taken: dict[str, list[float]] = {"dealing": [], "preparation": [], "online": []}
        wholes, shares, stock = [], [], 0
        for run in range(WARMUP + repeat):
            with TemporaryDirectory(prefix="tacita-bench-") as folder:
                marks = [time.perf_counter()]
                self.shared.deal(1, folder)
                marks.append(time.perf_counter())
                stock = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
                marks.append(time.perf_counter())
                self.shared.prepare(1)
                marks.append(time.perf_counter())
            private = self.images.fix_precision(  # type: ignore[attr-defined]
                base=self.precision.base, precision_fractional=self.precision.digits
            ).share(self.alice, self.bob, crypto_provider=self.dealer)
            self.settle()
            marks.append(time.perf_counter())
            scores = self.shared(private).get().float_precision()
            marks.append(time.perf_counter())
            self.check(scores)
            self.settle()
            if run < WARMUP:
                continue
            steps = (marks[1] - marks[0], marks[3] - marks[2], marks[5] - marks[4])
            for name, step in zip(taken, steps, strict=True):
                taken[name].append(step)
            wholes.append(sum(steps))
            shares.append(steps[2] / wholes[-1])
        figures: dict[str, Any] = {f"{name}_s": spread(each) for name, each in taken.items()}
        return figures | {
            "ahead_whole_s": spread(wholes),
            "online_share_of_whole": spread(shares)["median"],
            "stock_bytes_on_disk": stock,
        }

    def traffic(self) -> dict[str, int]:
        """What one live run sends, as the transport counts it."""
        with tacita.measure(self.alice, self.bob, crypto_provider=self.dealer) as counted:
            self.live()
        return {
            "rounds": counted.rounds,
            "online_bytes_a_party": counted.online_bytes,
            "dealt_bytes": counted.dealt_bytes,
            "seed_bytes": counted.seed_bytes,
            "input_bytes_a_party": counted.input_bytes,
        }


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """settings: network, batch, repeat, bits, samples."""
    batch, repeat = settings["batch"], settings["repeat"]
    torch.set_num_threads(1)  # two threads that meet a busy core wait for each other
    about = subject(settings["network"], batch, settings["samples"])
    module, images = about.module, about.images
    figure: dict[str, Any] = {
        "network": about.name,
        "batch": batch,
        "weights": about.weights,
        "images": about.source,
        "runs": repeat,
        "multiply_adds": multiply_adds(module, images),
        "plaintext_s": plaintext(module, images, repeat),
    }
    with torch.no_grad():
        expected = module(images)
    precision = tacita.Precision(base=2, digits=settings["bits"])
    start = time.perf_counter()
    model = tacita.export(module, images, precision=precision, samples=about.samples)
    figure["export_s"] = time.perf_counter() - start
    figure["peak_bytes_before_sharing"] = peak_bytes()
    start = time.perf_counter()
    run = Shared(model, images, expected)
    figure["sharing_weights_s"] = time.perf_counter() - start
    figure |= run.ahead(repeat)
    figure["peak_bytes_after_ahead"] = peak_bytes()
    figure["live_s"] = seconds(run.live, repeat, WARMUP, before=run.settle)
    predicted = model.report().prediction
    assert predicted is not None
    figure["predicted_s"] = {
        name: getattr(predicted.total, name) for name in ("live", "dealing", "preparing", "online")
    }
    cost = model.cost
    figure["declared"] = {
        "rounds": cost.rounds,
        "online_bytes_a_party": cost.online_bytes(2),
        "dealt_bytes": cost.dealt_bytes,
    }
    figure["measured"] = run.traffic()
    return figure | {
        "peak_bytes": peak_bytes(),
        "largest_difference": run.largest_difference,
        "equal_argmax": run.equal / run.compared,
    }


if __name__ == "__main__":
    report(measure(json.loads(sys.argv[1])))
