"""Scalar functions on a million secret values: dealer and parties here, everything included.

    python -m bench functions [--elements N] [--repeat R] [--functions exp,gelu] [--figure]

Live, as in `elementwise`: from shares to shares, on wires that are not masked yet. The error is the
largest against float64, over values spread evenly over the range; what it is relative to stands
beside it. --figure draws the error over each function's range into docs/figures/functions.png
instead, in the clear: two parties' roundings differ from that by a few units of the wire.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.draw import FIGURES, LINES
from bench.elementwise import BITS, ELEMENTS, WARMUP, Bench, fresh
from bench.record import Record, seconds

mpl.use("Agg")
from matplotlib import pyplot as plt

from tacita.ring.fixed_point import Precision, encode
from tacita.runtime.plain import PlainRun
from tacita.torch.lowering import Lowering
from tacita.torch.private_tensor import PrivateTensor

WIDTH = 10  # values in a row of softmax
LIMIT = 64.0  # what is declared of values: nothing that makes a clamp needless
POINTS = 4000  # of a curve in the figure


@dataclass(frozen=True)
class Function:
    """of: torch's function. least, most: of the values it is measured on.
    relative: whether errors count relative to the result, or to 1 where that is smaller.
    """

    name: str
    of: Callable[[Tensor], Tensor]
    least: float
    most: float
    relative: bool = False
    row: bool = False


FUNCTIONS = (
    Function("exp", torch.exp, -12, 13.9, relative=True),
    Function("log", torch.log, 2.0**-8, LIMIT),
    Function("reciprocal", torch.reciprocal, 2.0**-8, LIMIT, relative=True),
    Function("sqrt", torch.sqrt, 2.0**-8, LIMIT, relative=True),
    Function("rsqrt", torch.rsqrt, 2.0**-8, LIMIT, relative=True),
    Function("sigmoid", torch.sigmoid, -12, 12),
    Function("tanh", torch.tanh, -12, 12),
    Function("erf", torch.erf, -12, 12),
    Function("GELU", F.gelu, -12, 12),
    Function("SiLU", F.silu, -12, 12),
    Function("softplus", F.softplus, -12, 12),
    Function("softmax of 10", lambda x: F.softmax(x, -1), -12, 12, row=True),
)


def error_of(each: Function, got: Tensor, expected: Tensor) -> Tensor:
    error = (got.double() - expected.double()).abs()
    return error / expected.double().abs().clamp(min=1) if each.relative else error


def stored(x: Tensor) -> Tensor:
    """The values that encoding makes of them: its rounding is not the function's error."""
    return torch.round(x.double() * 2**BITS) / 2**BITS


def measured(bench: Bench, each: Function) -> dict[str, Any]:
    x = torch.rand(bench.elements) * (each.most - each.least) + each.least
    if each.row:
        x = x[: bench.elements // WIDTH * WIDTH].view(-1, WIDTH)
    encoded = x.fix_precision(base=2, precision_fractional=BITS)  # type: ignore[attr-defined]
    private = bench.shared(encoded).bounded(LIMIT)
    result, figure = bench.figure(lambda: each.of(fresh(private)))
    expected = each.of(stored(x))
    error = error_of(each, result.decrypt(), expected)  # type: ignore[attr-defined]
    took = seconds(lambda: each.of(x), bench.repeat, WARMUP)
    return figure | {
        "error_most": float(error.max()),
        "error_is": "relative above 1" if each.relative else "absolute",
        "plaintext_ms_median": 1e3 * took["median"],
    }


def draw() -> None:
    """Errors over the ranges, a panel for each function of one value."""
    shown = [each for each in FUNCTIONS if not each.row]
    figure, grid = plt.subplots(
        4, 3, figsize=(9.5, 8.2), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, each in zip(grid.flat, shown, strict=False):
        steep = each.least > 0
        x = torch.linspace(each.least, each.most, POINTS).double()
        if steep:
            x = torch.logspace(*(torch.tensor([each.least, each.most]).log10().tolist()), POINTS)
        run, precision = PlainRun(), Precision(2, BITS)
        low = Lowering(run, precision)
        handle = run.input(encode(x.double().numpy(), precision), (POINTS,), low.scale, None)
        got = each.of(PrivateTensor(handle, low)).decrypt()  # type: ignore[attr-defined]
        error = error_of(each, got, each.of(stored(x)))
        axes.semilogy(x, error.clamp(min=2.0**-24), linewidth=0.7, color=LINES[0])
        if steep:
            axes.set_xscale("log")
        axes.axhline(2.0**-12, color="#999999", linewidth=0.8, linestyle="--")
        kind = "relative above 1" if each.relative else "absolute"
        axes.set_title(f"{each.name} ({kind})", fontsize=9, loc="left")
        axes.set_ylim(2.0**-22, 2.0**-9)
        axes.set_yticks([2.0**-20, 2.0**-16, 2.0**-12], ["2⁻²⁰", "2⁻¹⁶", "2⁻¹²"])
        axes.minorticks_off()
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_visible(False)
    FIGURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURES / "functions.png", dpi=160, bbox_inches="tight")
    plt.close(figure)
    print("functions.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", type=int, default=ELEMENTS)
    parser.add_argument("--repeat", type=int, default=9, help="runs that count, after a warm-up")
    parser.add_argument("--functions", default="", help="only those whose name has one of these")
    parser.add_argument("--quick", action="store_true", help="three runs")
    parser.add_argument("--figure", action="store_true", help="draw the errors and measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)  # of the plaintext beside it
    bench = Bench(options.elements, 3 if options.quick else options.repeat)
    if options.figure:
        draw()
        return
    settings = {
        "elements": bench.elements, "runs": bench.repeat, "warm-up runs": WARMUP,
        "precision": f"base 2, {BITS} bits", "declared bound": LIMIT,
    }  # fmt: skip
    record = Record("functions", settings)
    wanted = [word for word in options.functions.split(",") if word]
    print(f"{bench.elements:,} elements; medians\n")
    print(f"{'':16}{'ms':>9}{'rounds':>8}{'online B':>10}{'dealt B':>10}{'torch ms':>10}  error")
    for each in FUNCTIONS:
        if wanted and not any(word in each.name for word in wanted):
            continue
        figure = measured(bench, each)
        record.add(each.name, figure)
        print(
            f"{each.name:16}{figure['ms_median']:9.1f}{figure['rounds']:8}"
            f"{figure['online_bytes_an_element']:10.2f}{figure['dealt_bytes_an_element']:10.2f}"
            f"{figure['plaintext_ms_median']:10.2f}  {figure['error_most']:.2e}",
            flush=True,
        )
    print(f"\n{record}")


if __name__ == "__main__":
    main()
