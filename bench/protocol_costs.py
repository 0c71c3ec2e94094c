"""What a comparison costs in each of the three ways, over its width and over the batch.

    python -m bench protocol_costs [--into FOLDER]

draws both into docs/figures/. Nothing is measured here: these are the declared costs, from shapes
alone, which tests hold against what a run sends. A comparison is the flipped bit of
`protocols/sign.py`, of a value that is masked already; what an instruction does with the bit costs
the same in every way.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

from bench.draw import FIGURES, GREY, LINES

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tacita.program.cost import Cost
from tacita.protocols import sign
from tacita.protocols.ways import WAYS
from tacita.ring.planes import Layout

ELEMENTS = 1 << 20
BATCHES = tuple(1 << power for power in range(0, 21, 2))
WIDTHS = tuple(range(4, 65, 2))
WIDTH = 32  # bits, where the batch varies
MARKS = ("o", "s", "^")

Amount = Callable[[Cost, int], float]


def comparison(way: sign.Way, bits: int, n: int) -> Cost:
    """Of n values of so many bits, from their opening to the public flipped bits."""
    return sign.width(bits, n, way=way).cost(Layout(n))


def from_dealer(cost: Cost, n: int) -> float:
    """Bytes an element that the last party gets from the dealer before it starts."""
    return (cost.dealt_bytes + cost.published_bytes) / n


def online(cost: Cost, n: int) -> float:
    """Bytes an element that one of two parties sends while it computes, to whomever."""
    return cost.online_bytes(parties=2) / n


def delays(cost: Cost, n: int) -> float:  # noqa: ARG001
    """Messages that wait for each other: half a round trip each."""
    return cost.hops


PANELS: tuple[tuple[str, Amount], ...] = (
    ("from the dealer, before\nbytes an element", from_dealer),
    ("sent by a party, online\nbytes an element", online),
    ("one after the other\nhalf round trips", delays),
)


def over_width() -> Figure:
    figure = panels({bits: (bits, ELEMENTS) for bits in WIDTHS}, "bits of the value, k")
    figure.suptitle(f"A comparison of {ELEMENTS:,} values, by width", fontsize=10, x=0, ha="left")
    return figure


def over_batch() -> Figure:
    figure = panels({n: (WIDTH, n) for n in BATCHES}, "elements, n")
    for axes in figure.axes:
        axes.set_xscale("log", base=2)
    figure.suptitle(f"A comparison of {WIDTH} bits, by batch", fontsize=10, x=0, ha="left")
    return figure


def panels(settings: dict[int, tuple[int, int]], label: str) -> Figure:
    """A panel for each amount, a line for each way; settings: bits and elements at each place."""
    figure, row = plt.subplots(1, len(PANELS), figsize=(9.6, 3.4), layout="constrained")
    for axes, (title, amount) in zip(row, PANELS, strict=True):
        for way, colour, mark in zip(WAYS, LINES, MARKS, strict=False):
            values = [amount(comparison(way, bits, n), n) for bits, n in settings.values()]
            axes.plot(list(settings), values, f"{mark}-", color=colour, label=way, markersize=3.5)
        finish(axes, title, label, logarithmic=amount is not delays)
    row[0].legend(frameon=False, fontsize=9)
    figure.supxlabel("exact, from shapes", x=1, ha="right", fontsize=7, color=GREY)
    return figure


def finish(axes: Axes, title: str, label: str, *, logarithmic: bool) -> None:
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 4)
        axes.set_yticks(range(5))


PICTURES: dict[str, Callable[[], Figure]] = {
    "protocol-costs-width": over_width,
    "protocol-costs-batch": over_batch,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, default=FIGURES)
    into = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        figure = draw()
        figure.savefig(into / f"{name}.png", dpi=160, bbox_inches="tight")
        plt.close(figure)
        print(f"{name}.png")


if __name__ == "__main__":
    main()
