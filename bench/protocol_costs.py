"""What each protocol costs, over its width and over the batch.

    python -m bench protocol_costs [--into FOLDER]

draws a picture for each page of docs/protocols.md, and two that compare the ways to compare, into
docs/figures/. Nothing is measured here: these are the declared costs, from shapes alone, which
tests hold against what a run sends. What is compared is masked already; a comparison by itself is
the flipped bit of `protocols/sign.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib as mpl

from bench.draw import FIGURES, GREY, LINES
from bench.protocol_pages import BATCHES, PAGES, WIDTH, WIDTHS, Page, Sweep, comparison

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation

from tacita.program.cost import Cost
from tacita.protocols.ways import WAYS

ELEMENTS = 1 << 20  # compared, where the three ways are beside each other and the width varies
MARKS = ("o", "s", "^")
COLOURS = dict(zip((None, *WAYS), ("#3a4656", *LINES), strict=False))
# What is sent, and how its line is dashed.
KINDS = {
    "dealt": "solid",
    "published": "dashdot",
    "opened": (0, (1, 1.2)),
    "consulted": "dashed",
    "answered": (0, (4, 1, 1, 1, 1, 1)),
}
DOTS = 90  # an inch
APART = 1.8  # points between lines that would lie on each other
MOST_TICKS = 8
LINEAR = 40.0  # from the least to the most; beyond, a scale is logarithmic

Amount = Callable[[Cost, int], float]


# ---- the ways to compare, beside each other ------------------------------------------------------


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
    titled(figure, f"A comparison of {ELEMENTS:,} values, by width")
    return figure


def over_batch() -> Figure:
    figure = panels({n: (WIDTH, n) for n in BATCHES}, "elements, n")
    for axes in figure.axes:
        axes.set_xscale("log", base=2)
    titled(figure, f"A comparison of {WIDTH} bits, by batch")
    return figure


def panels(settings: dict[int, tuple[int, int]], label: str) -> Figure:
    """A panel for each amount, a line for each way; settings: bits and elements at each place."""
    figure, row = plt.subplots(1, len(PANELS), figsize=(9.6, 3.4), layout="constrained")
    for axes, (title, amount) in zip(row, PANELS, strict=True):
        for way, mark in zip(WAYS, MARKS, strict=True):
            values = [amount(comparison(way, bits, n), n) for bits, n in settings.values()]
            axes.plot(
                list(settings), values, f"{mark}-", color=COLOURS[way], label=way, markersize=3.5
            )
        finish(axes, title, label, logarithmic=amount is not delays)
    row[0].legend(frameon=False, fontsize=9)
    signed(figure)
    return figure


def finish(axes: Axes, title: str, label: str, *, logarithmic: bool) -> None:
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel(label, fontsize=8)
    plain(axes)
    if logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 4)
        axes.set_yticks(range(5))


# ---- a page --------------------------------------------------------------------------------------


def page(about: Page) -> Figure:
    """Bytes above and rounds below: over the width, or what stands for it, and over the batch."""
    figure, grid = plt.subplots(
        2, len(about.sweeps), figsize=(8.4, 3.3), sharex="col", squeeze=False,
        height_ratios=(3, 1), layout="constrained",
    )  # fmt: skip
    shown = {
        kind
        for sweep in about.sweeps
        for way in about.ways
        for cost, _ in sweep.costs(way)
        for kind in KINDS
        if sent(cost, kind)
    }
    for column, sweep in enumerate(about.sweeps):
        above, below = grid[:, column]
        draw_bytes(above, about, sweep, shown)
        draw_rounds(below, about, sweep)
        if sweep.logarithmic:
            above.set_xscale("log", base=2)
            above.set_xticks(sweep.places[:: -(-len(sweep.places) // MOST_TICKS)])
        below.set_xlabel(sweep.label, fontsize=8)
    handles = [
        *(Line2D([], [], color=COLOURS[way], lw=3, label=way) for way in about.ways if way),
        *(
            Line2D([], [], color=COLOURS[None], ls=dash, lw=1.3, label=kind)
            for kind, dash in KINDS.items()
            if kind in shown
        ),
    ]
    figure.legend(handles=handles, frameon=False, fontsize=8, loc="outside right upper")
    titled(figure, about.title)
    signed(figure)
    return figure


def draw_bytes(axes: Axes, about: Page, sweep: Sweep, kinds: set[str]) -> None:
    drawn: list[float] = []
    for way in about.ways:
        costs = sweep.costs(way)
        for kind, dash in KINDS.items():
            values = [sent(cost, kind) / elements for cost, elements in costs]
            if kind in kinds and any(values):
                label = f"{way or about.title}: {kind}"
                axes.plot(sweep.places, values, ls=dash, color=COLOURS[way], lw=1.3, label=label)
                drawn += [value for value in values if value]
    axes.set_title(f"{sweep.setting}\nbytes {sweep.per}", fontsize=9, loc="left")
    plain(axes)
    if max(drawn) > LINEAR * min(drawn):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, 1.25 * max(drawn))


def draw_rounds(axes: Axes, about: Page, sweep: Sweep) -> None:
    middle = (len(about.ways) - 1) / 2
    most = 0
    for place, way in enumerate(about.ways):
        rounds = [cost.rounds for cost, _ in sweep.costs(way)]
        most = max(most, *rounds)
        (line,) = axes.plot(
            sweep.places, rounds, color=COLOURS[way], lw=1.3, drawstyle="steps-mid",
            label=f"{way or about.title}: rounds", clip_on=False, zorder=3,
        )  # fmt: skip
        # The values stay what they are; lines of the same height lie side by side.
        by = ScaledTranslation(0, APART * (middle - place) / 72, axes.figure.dpi_scale_trans)
        line.set_transform(line.get_transform() + by)
    axes.set_title("rounds", fontsize=9, loc="left")
    plain(axes)
    axes.set_ylim(-0.12 * max(most, 1), 1.1 * max(most, 1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))


def sent(cost: Cost, kind: str) -> int:
    """Bytes of one kind."""
    found: int = getattr(cost, f"{kind}_bytes")
    return found


# ---- all of them ---------------------------------------------------------------------------------


def plain(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def titled(figure: Figure, title: str) -> None:
    figure.suptitle(title, fontsize=10, x=0, ha="left")


def signed(figure: Figure) -> None:
    figure.supxlabel("exact, from shapes", x=1, ha="right", fontsize=7, color=GREY)


def pictures() -> dict[str, Callable[[], Figure]]:
    """By the names of their files, without the ending."""
    made: dict[str, Callable[[], Figure]] = {
        "protocol-costs-width": over_width,
        "protocol-costs-batch": over_batch,
    }
    for name, about in PAGES.items():
        made[f"protocol-costs-{name}"] = partial(page, about)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, default=FIGURES)
    into = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    for name, draw in pictures().items():
        figure = draw()
        figure.savefig(into / f"{name}.png", dpi=DOTS, bbox_inches="tight")
        plt.close(figure)
        print(f"{name}.png")


if __name__ == "__main__":
    main()
