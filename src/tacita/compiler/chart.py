"""The picture of a report: a row for each layer, a column of bars for each kind of cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from tacita.compiler.amounts import amount, seconds
from tacita.compiler.report import Report
from tacita.errors import DataError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".svg", ".pdf")
DOTS = 160  # an inch
TEXT, SMALL = 9.0, 8.0  # points
ROW, BAR = 0.22, 0.68  # inches of a row; the part of it that a bar fills
COLUMN, MARGIN = 2.35, 0.2  # inches
LETTER, SMALL_LETTER = 0.07, 0.066  # inches that a letter of either size takes, about
MOST_LETTERS = 34

INK, FAINT, GRID = "#24292f", "#6e7781", "#e4e7eb"
COLOURS = ("#4269d0", "#3ca951", "#efb118", "#9c6ade")
PALER = "#d7c6f3"


@dataclass(frozen=True, slots=True)
class Column:
    """One kind of cost. labels: beside each bar, in a unit of its own, since a bar may be too short
    to be seen. inner: a part of each value, drawn darker in front of it.
    """

    title: str
    total: str
    values: Sequence[float]
    labels: Sequence[str]
    inner: Sequence[float] | None = None
    note: str = ""


def draw(report: Report, path: str | PathLike[str], title: str = "") -> None:
    """Writes the picture; its height grows with the number of layers.

    path: ends in .png, .svg or .pdf. title: what it is of. Raises UsageError for another
    ending, or without Matplotlib (`pip install tacita[charts]`), and DataError where the file
    cannot be written.
    """
    target = Path(fspath(path))
    if target.suffix.lower() not in ENDINGS:
        raise UsageError(
            f"a chart is written as one of {', '.join(ENDINGS)}, and {target.name!r} ends in "
            "none of them"
        )
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure  # without pyplot, which keeps state of its own
    except ImportError:
        raise UsageError(
            "a chart needs Matplotlib, which is not installed: pip install 'tacita[charts]'"
        ) from None
    columns = columns_of(report)
    names = [shortened(layer.place) for layer in report.layers]
    labels = 0.25 + LETTER * max(map(len, names), default=0)
    height = ROW * max(len(names), 1)
    top, bottom = 1.2, 0.55
    size = (labels + COLUMN * len(columns) + MARGIN, top + height + bottom)
    with rc_context({"font.size": TEXT, "axes.linewidth": 0.6}):
        figure = Figure(figsize=size, dpi=DOTS, facecolor="white")
        for place, (column, colour) in enumerate(zip(columns, COLOURS, strict=True)):
            left = (labels + COLUMN * place) / size[0]
            width = (COLUMN - 0.28) / size[0]
            axes = figure.add_axes((left, bottom / size[1], width, height / size[1]))
            _bars(axes, column, colour, names if place == 0 else None)
        _title(figure, report, title, size)
        try:
            figure.savefig(target)
        except OSError as error:
            raise DataError(f"the chart {target} cannot be written: {error.strerror}") from None


def columns_of(report: Report) -> list[Column]:
    """Rounds, bytes sent and dealt, and the time; multiply-adds where no time was asked for."""
    layers, cost = report.layers, report.cost
    columns = [
        _counted("Rounds", cost.rounds, [layer.rounds for layer in layers]),
        _counted(
            "Sent by a party, online",
            report.online_bytes,
            [layer.online_bytes(report.parties) for layer in layers],
            "B",
        ),
        _counted("Dealt", cost.handed_bytes, [layer.handed_bytes for layer in layers], "B"),
    ]
    if report.prediction is None:
        work = [layer.multiply_adds for layer in layers]
        return [*columns, _counted("Multiply-adds", report.multiply_adds, work)]
    total, times = report.prediction.total, report.times
    if not report.ahead:
        live = [time.live for time in times]
        return [
            *columns,
            Column(
                "Time, predicted", f"{seconds(total.live)} live", live, list(map(seconds, live))
            ),
        ]
    return [
        *columns,
        Column(
            "Time, predicted",
            f"{seconds(total.live)} live, {seconds(total.online)} online",
            [time.live for time in times],
            [seconds(time.live) for time in times],
            [time.online for time in times],
            "dark: online, out of the stock",
        ),
    ]


def _counted(title: str, total: int, values: Sequence[int], unit: str = "") -> Column:
    return Column(
        title, amount(total, unit) or "none", values, [amount(each, unit) for each in values]
    )


def shortened(name: str) -> str:
    """Long paths lose their beginning: what is particular stands at their end."""
    return name if len(name) <= MOST_LETTERS else "…" + name[1 - MOST_LETTERS :]


def _bars(axes: Axes, column: Column, colour: str, names: Sequence[str] | None) -> None:
    rows = range(len(column.values))
    behind = PALER if column.inner is not None else colour
    axes.barh(rows, column.values, height=BAR, color=behind, zorder=2)
    if column.inner is not None:
        axes.barh(rows, column.inner, height=BAR, color=colour, zorder=3)
    widest = max([*column.values, *(column.inner or ())], default=0.0) or 1.0
    for row, (value, label) in enumerate(zip(column.values, column.labels, strict=True)):
        longest = max(value, column.inner[row] if column.inner is not None else 0.0)
        axes.text(
            longest + 0.02 * widest, row, label, va="center", fontsize=SMALL, color=INK, zorder=4
        )
    axes.set_xlim(0, 1.38 * widest)  # with room for the number beside the longest bar
    axes.set_ylim(len(column.values) - 0.5, -0.5)
    axes.set_title(column.title, loc="left", fontsize=TEXT, fontweight="bold", color=INK, pad=21)
    axes.text(
        0, -0.85, column.total, fontsize=TEXT, color=FAINT, va="center",
    )  # fmt: skip
    if column.note:
        axes.set_xlabel(column.note, fontsize=SMALL, color=FAINT, loc="left")
    axes.set_xticks([])
    axes.set_yticks(list(rows), names if names is not None else [""] * len(rows))
    axes.tick_params(axis="y", length=0, labelsize=TEXT, labelcolor=INK)
    for row in rows:
        axes.axhline(row + 0.5, color=GRID, linewidth=0.5, zorder=1)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(FAINT)


def _title(figure: Any, report: Report, title: str, size: tuple[float, float]) -> None:
    shapes = ", ".join("×".join(map(str, shape)) for _, shape in report.inputs)
    what = f"{title}: one" if title else "One"
    heading = f"{what} private run, {report.parties} parties, input {shapes}"
    figure.text(
        0.1 / size[0], 1 - 0.24 / size[1], heading, fontsize=TEXT + 2, fontweight="bold", color=INK
    )
    rests = report.assumptions()
    if rests:
        lines = wrap(f"Time rests on: {rests}.", int(size[0] / SMALL_LETTER), max_lines=2)
        figure.text(
            0.1 / size[0], 1 - 0.38 / size[1], "\n".join(lines), fontsize=SMALL, color=FAINT,
            va="top",
        )  # fmt: skip
