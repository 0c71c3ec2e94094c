"""The ways to compare beside each other: `tables`, `fss` and `snn`.

    python -m bench comparisons [--parts process,grid,lines] [--quick] [--figure PATH]

    process  ReLU of 2^6 to 2^20 private values of 16, 32 and 64 bits in each way; all roles are
             threads of one process, live: dealing included
    grid     the predicted time of a ReLU layer for round trips and bandwidths, from the work that
             is measured here: which way is the fastest, live and dealt ahead; --figure draws it
    lines    a network at daemons over slow lines (comparisons_lines.py), dealt ahead and live, in
             each way that can be and as planned: the planner's pick over the best of them

Seconds are medians. A result that is wrong ends the benchmark.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

import tacita
from bench.record import Record, seconds
from tacita.compiler.planning import planned, rewritten
from tacita.compiler.prediction import Link, Work
from tacita.compiler.recorder import Recorder
from tacita.program.builder import Handle
from tacita.program.program import Program
from tacita.protocols import ReLU, sign
from tacita.protocols.ways import WAYS
from tacita.ring.fixed_point import Precision
from tacita.runtime.forecast import measured
from tacita.runtime.progress import silent

PARTS = ("process", "grid", "lines")
SIZES = tuple(1 << power for power in range(6, 21, 2))
WIDTHS = (16, 32, 64)
MOST_BITS_OF_FSS = 1 << 25  # compared, beyond which its keys take gigabytes
GRID_SIZES = (1 << 8, 1 << 12, 1 << 16)
GRID_BITS = 32
ROUND_TRIPS = tuple(1e-4 * 10 ** (step / 4) for step in range(13))  # 0.1 ms to 100 ms
RATES = tuple(1e6 / 8 * 10 ** (step / 4) for step in range(17))  # 1 Mbit/s to 10 Gbit/s
LINES = ("1ms,1Gbit/s", "20ms,100Mbit/s", "50ms,20Mbit/s")
MODES = ("ahead", "live")  # of `lines`
COLOURS = {"tables": "#1f5fa8", "fss": "#c2571a", "snn": "#3d8c40"}


# ---- threads of one process ----------------------------------------------------------------------


def process(record: Record, sizes: Sequence[int], widths: Sequence[int], repeat: int) -> None:
    """ReLU in a session of its own for each way, one after the other for each size."""
    hook = tacita.TorchHook(torch)
    alice, bob, dealer = (tacita.VirtualWorker(hook, id=n) for n in ("alice", "bob", "dealer"))
    print(f"{'bits':>4} {'values':>8} " + "".join(f"{way:>12}" for way in (*WAYS, "auto")))
    for bits, n in product(widths, sizes):
        limit = (1 << (bits - 1)) - 1
        torch.manual_seed(bits + n)
        values = torch.randint(-min(limit, 1 << 62), min(limit, 1 << 62), (n,))
        line = ""
        for way in (*WAYS, "auto"):
            if way == "fss" and n * bits > MOST_BITS_OF_FSS:
                line += f"{'-':>12}"
                continue
            took = relu(values, limit, way, repeat, (alice, bob, dealer))
            record.add(f"process; {bits} bits; {n} values; {way}", took)
            line += f"{1e3 * took['median']:9.2f} ms"
        print(f"{bits:4} {n:8}{line}", flush=True)


def relu(
    values: torch.Tensor,
    limit: int,
    way: str,
    repeat: int,
    workers: tuple[tacita.VirtualWorker, tacita.VirtualWorker, tacita.VirtualWorker],
) -> dict[str, float]:
    """Seconds of one ReLU in a session of this protocol, dealing included."""
    alice, bob, dealer = workers
    private: Any = values.share(  # type: ignore[attr-defined]
        alice, bob, crypto_provider=dealer, protocol=way
    ).bounded(limit)
    session = private._lowering.builder

    def run() -> None:
        torch.relu(private + 0)  # a new wire: what is masked once stays masked
        session.settle()

    took = seconds(run, repeat, before=session.settle)
    if not torch.equal(torch.relu(private + 0).get(), values.relu()):
        raise SystemExit(f"{way} computed a wrong ReLU of {len(values)} values")
    return took


# ---- predicted, over a grid ----------------------------------------------------------------------


def layer(n: int, bits: int) -> Program:
    """A ReLU of n values, and the opening before it."""
    recorder = Recorder()
    x = recorder.input("x", (n,), 1, (1 << (bits - 1)) - 1)
    recorder.mask([x], "comparisons")
    out = Handle(recorder, recorder.new_wire((n,)))
    width = sign.width(bits, n)
    recorder.emit(ReLU(out=out.wire.id, x=x.wire.id, divisor=1, shape=(n,), width=width))
    return recorder.program([("y", out)], Precision(base=2, digits=0))


def grid(record: Record, sizes: Sequence[int]) -> None:
    """For each size, round trip and rate the seconds of each way, live and ahead."""
    for n in sizes:
        program = layer(n, GRID_BITS)
        works: dict[str, list[Work]] = {}
        for way in WAYS:
            machine, works[way] = measured(rewritten(program, way), 2, False, None, silent)
        for ahead in (False, True):
            cells = []
            for rtt, rate in product(ROUND_TRIPS, RATES):
                _, plan = planned(program, works, machine, Link("", rtt, rate), 2, ahead=ahead)
                took = {way: each.seconds(ahead) for way, each in plan.singly.items()}
                cells.append({"rtt_s": rtt, "bytes_a_second": rate, "seconds": took})
            best = [min(each["seconds"], key=each["seconds"].get) for each in cells]
            share = {way: best.count(way) / len(best) for way in WAYS}
            record.add(f"grid; {n} values; {'ahead' if ahead else 'live'}", {"cells": cells})
            told = ", ".join(f"{way} {100 * part:.0f} %" for way, part in share.items() if part)
            print(f"{n:8} values, {'ahead' if ahead else 'live':5}: the fastest is {told}")


def draw(figures: dict[str, Any], path: Path) -> None:
    """A map for each size, live above and ahead below: the fastest way by its colour, the stronger
    the more it saves beside the next best."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import to_rgb

    names = [name for name in figures if name.startswith("grid; ")]
    sizes = sorted({int(name.split("; ")[1].split()[0]) for name in names})
    figure, axes = plt.subplots(
        2, len(sizes), figsize=(3.1 * len(sizes), 5.6), squeeze=False, layout="constrained",
        sharex=True, sharey=True,
    )  # fmt: skip
    for (row, mode), (column, n) in product(enumerate(("live", "ahead")), enumerate(sizes)):
        cells = figures[f"grid; {n} values; {mode}"]["cells"]
        picture = []
        for cell in cells:
            (best, least), (_, second) = sorted(cell["seconds"].items(), key=lambda e: e[1])[:2]
            strength = 0.25 + 0.75 * min(1.0, 2 * (1 - least / second))
            colour = to_rgb(COLOURS[best])
            picture.append([1 - strength * (1 - part) for part in colour])
        shape = (len(ROUND_TRIPS), len(RATES))
        rows = [picture[i * shape[1] : (i + 1) * shape[1]] for i in range(shape[0])]
        panel = axes[row, column]
        panel.pcolormesh(
            [8e-6 * rate for rate in RATES], [1e3 * rtt for rtt in ROUND_TRIPS],
            rows, shading="nearest",
        )  # fmt: skip
        panel.set(xscale="log", yscale="log")
        panel.set_title(
            f"{n:,} values, {'dealt ahead' if mode == 'ahead' else mode}", fontsize=9, loc="left"
        )
        panel.tick_params(labelsize=8)
    for panel in axes[-1]:
        panel.set_xlabel("Mbit/s", fontsize=8)
    for panel in axes[:, 0]:
        panel.set_ylabel("round trip, ms", fontsize=8)
    figure.suptitle(
        f"The fastest way to compare, ReLU of {GRID_BITS}-bit values, predicted; "
        "the stronger, the more it saves",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    handles = [mpl.patches.Patch(color=colour, label=way) for way, colour in COLOURS.items()]
    figure.legend(handles=handles, frameon=False, fontsize=8, ncols=3, loc="outside lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, bbox_inches="tight")
    plt.close(figure)
    print(path.name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="process,grid", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--repeat", type=int, default=7, help="runs that count, after one")
    parser.add_argument("--runs", type=int, default=20, help="queries over each line")
    parser.add_argument("--links", nargs="+", default=list(LINES), help="of `lines`")
    parser.add_argument("--network", default="lenet", help="of `lines`")
    parser.add_argument("--modes", default=",".join(MODES), help="of `lines`")
    parser.add_argument("--figure", type=Path, help="draw the grid into this file")
    parser.add_argument("--quick", action="store_true", help="small sizes, few runs")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there is {', '.join(PARTS)}")
    modes = options.modes.split(",")
    if unknown := set(modes) - set(MODES):
        parser.error(f"no mode {', '.join(sorted(unknown))}; there is {', '.join(MODES)}")
    quick = options.quick
    repeat, runs = (3, 5) if quick else (options.repeat, options.runs)
    sizes = SIZES[:4] if quick else SIZES
    record = Record("comparisons", {"parts": parts, "repeat": repeat, "queries": runs})
    if "process" in parts:
        process(record, sizes, WIDTHS, repeat)
    if "grid" in parts:
        grid(record, GRID_SIZES[:2] if quick else GRID_SIZES)
        if options.figure is not None:
            draw(record.figures, options.figure)
    if "lines" in parts:
        from bench import comparisons_lines  # which needs the extra `service`

        for mode in modes:
            measure = comparisons_lines.ahead if mode == "ahead" else comparisons_lines.live
            measure(record, options.links, options.network, runs)
    print(f"\n{record}")


if __name__ == "__main__":
    main()
