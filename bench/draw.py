"""Draws records into docs/figures/, for readers who would rather look.

    python -m bench draw [--records bench/results] [--into FOLDER]

A picture whose record is not there is passed over.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

from bench.record import MEASURED, ROOT

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FIGURES = ROOT / "docs" / "figures"
OURS = "#1f5fa8"
LIVE = "#3a4656"
GREY = "#999999"
STEPS = (
    ("dealing_s", "dealing ahead", "#c9dcef"),
    ("preparation_s", "preparation", "#7fb0dc"),
    ("online_s", "online", OURS),
)
LINES = (OURS, "#c2571a", "#3d8c40", "#7a4fa3", "#8c6d1f", "#b03060")
Rows = dict[str, dict[int, dict[str, Any]]]  # figures by network and batch size


def rows(record: dict[str, Any], system: str = "") -> Rows:
    """The figures of one system, those that failed left out."""
    found: Rows = {}
    start = f"{system}; " if system else ""
    for name, figure in record["figures"].items():
        if name.startswith(start) and "failed" not in figure:
            network, batch = name.removeprefix(start).split("; batch ")
            found.setdefault(network, {})[int(batch)] = figure
    return found


def systems(record: dict[str, Any]) -> list[str]:
    """Who is in a record of peers, ourselves first."""
    return list(dict.fromkeys(name.split("; ")[0] for name in record["figures"]))


def signed(figure: Figure, record: dict[str, Any]) -> None:
    """Where and with what it was measured, in the lower right corner."""
    machine = record["machine"]
    figure.supxlabel(
        f"{machine['processor']}, {machine['cores']} cores, {machine['kernels']}; "
        f"commit {record['commit']}",
        x=1, ha="right", fontsize=7, color="#777777",
    )  # fmt: skip


def scaling(record: dict[str, Any]) -> Figure:
    """Milliseconds an image over the batch size, secret and in the clear."""
    figures = {
        int(name.rsplit(" ", 1)[1]): figure
        for name, figure in record["figures"].items()
        if name.startswith("scaling")
    }
    batches = sorted(figures)
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for key, label, colour in (
        ("ms_an_image_median", "Tacita: weights and images secret", OURS),
        ("plaintext_ms_an_image_median", "torch in the clear, one thread", GREY),
    ):
        line(axes, batches, [figures[batch][key] for batch in batches], label, colour)
    over_batches(axes, batches)
    axes.set_title("784-500-10, everything included", fontsize=10, loc="left")
    signed(figure, record)
    return figure


def line(axes: Axes, batches: list[int], values: list[float], label: str, colour: str) -> None:
    axes.plot(batches, values, "o-", color=colour, label=label)
    for batch, value in zip(batches, values, strict=True):
        axes.annotate(
            f"{value:.2g}" if value < 100 else f"{value:,.0f}", (batch, value), xytext=(0, 6),
            textcoords="offset points", ha="center", fontsize=8, color=colour,
        )  # fmt: skip


def over_batches(axes: Axes, batches: list[int]) -> None:
    axes.set(xscale="log", yscale="log", xlabel="images in a batch", ylabel="ms an image")
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def networks_scaling(record: dict[str, Any]) -> Figure | None:
    """Online milliseconds an image over the batch size, a line for each network."""
    found = {name: each for name, each in rows(record).items() if len(each) > 1}
    if not found:
        return None
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for (name, each), colour in zip(found.items(), LINES, strict=False):
        batches = sorted(each)
        values = [1e3 * each[batch]["online_s"]["median"] / batch for batch in batches]
        line(axes, batches, values, name, colour)
    over_batches(axes, sorted({batch for each in found.values() for batch in each}))
    axes.set_title("online, on prepared material", fontsize=10, loc="left")
    signed(figure, record)
    return figure


def bars(record: dict[str, Any], names: list[str]) -> Figure | None:
    """What a batch takes: ours in its three steps and live, and the whole of each peer.

    names: the systems in the record; the first is ourselves. A panel for each network and batch
    size, with an axis of its own.
    """
    ours = rows(record, names[0] if len(names) > 1 else "")
    panels = [(name, batch) for name, each in ours.items() for batch in sorted(each)]
    if not panels:
        return None
    others = [rows(record, name) for name in names[1:]]
    height = 0.85 + 0.28 * (len(names) + 1)
    figure, grid = plt.subplots(
        len(panels), 1, figsize=(7.2, height * len(panels)), squeeze=False, layout="constrained"
    )
    for axes, (network, batch) in zip(grid[:, 0], panels, strict=True):
        one_panel(axes, ours[network][batch])
        for place, each in enumerate(others, start=2):
            value = each.get(network, {}).get(batch)
            if value is not None:
                whole(axes, place, value["system"], value["whole_s"]["median"], GREY)
        axes.set_title(
            f"{network}, {batch} image{'s' if batch > 1 else ''}", fontsize=9, loc="left"
        )
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
    grid[-1, 0].set_xlabel("ms", fontsize=8)
    handles = [mpl.patches.Patch(color=colour, label=label) for _, label, colour in STEPS]
    figure.legend(handles=handles, frameon=False, fontsize=8, ncols=3, loc="outside upper right")
    signed(figure, record)
    return figure


def one_panel(axes: Axes, figure: dict[str, Any]) -> None:
    start = 0.0
    for key, _, colour in STEPS:
        value = 1e3 * figure[key]["median"]
        axes.barh([0], [value], left=[start], color=colour)
        start += value
    online = 1e3 * figure["online_s"]["median"]
    axes.annotate(
        f" {start:,.1f}, online {online:,.1f}", (start, 0), va="center", fontsize=7.5, color=OURS
    )
    whole(axes, 1, "Tacita, live", figure["live_s"]["median"], LIVE)
    axes.set_yticks([0, 1], ["Tacita, dealt ahead", "Tacita, live"])


def whole(axes: Axes, place: int, label: str, seconds: float, colour: str) -> None:
    value = 1e3 * seconds
    axes.barh([place], [value], color=colour)
    axes.annotate(f" {value:,.1f}", (value, place), va="center", fontsize=7.5, color=colour)
    ticks = dict(zip(axes.get_yticks(), axes.get_yticklabels(), strict=True))
    names = {int(at): text.get_text() for at, text in ticks.items()} | {place: label}
    axes.set_yticks(list(names), list(names.values()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=Path, default=MEASURED)
    parser.add_argument("--into", type=Path, default=FIGURES)
    options = parser.parse_args()
    pictures = {
        "scaling": ("secure_mlp", scaling),
        "networks": ("networks", lambda record: bars(record, ["tacita"])),
        "networks_scaling": ("networks", networks_scaling),
        "peers": ("peers", lambda record: bars(record, systems(record))),
    }
    options.into.mkdir(parents=True, exist_ok=True)
    for name, (source, draw) in pictures.items():
        path = options.records / f"{source}.json"
        figure = draw(json.loads(path.read_text())) if path.is_file() else None
        if figure is None:
            print(f"{name}: nothing to draw in {path.name}")
            continue
        figure.savefig(options.into / f"{name}.png", dpi=160, bbox_inches="tight")
        plt.close(figure)
        print(f"{name}.png")


if __name__ == "__main__":
    main()
