"""A report as a table for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tacita.compiler.report import Report


def show(report: Report, model: str, precision: str, *, bounded: bool, console: Console) -> None:
    """Prints the layers, the totals, what dominates and what the time rests on."""
    shapes = ", ".join("×".join(map(str, shape)) for _, shape in report.inputs)
    console.print(
        f"[bold]{escape(model)}[/bold], input {shapes}, {report.parties} parties and a dealer, "
        f"precision {precision}"
    )
    console.print(table_of(report))
    if report.prediction is not None:
        total = report.prediction.total
        console.print(
            f"Predicted: [bold]{seconds(total.live)}[/bold] live; out of the stock "
            f"[bold]{seconds(total.online)}[/bold], after {seconds(total.dealing)} of dealing and "
            f"{seconds(total.preparing)} of preparing"
        )
    for line in report.dominating():
        console.print(f"Most: {escape(line)}")
    if report.prediction is not None:
        console.print(f"The time rests on: {escape(report.assumptions())}")
    if not bounded:
        console.print(
            "No bounds are known (--samples): comparisons take the width of the whole ring"
        )


def table_of(report: Report) -> Table:
    timed = report.prediction is not None
    table = Table(box=None, pad_edge=False, show_footer=True, header_style="bold")
    total = report.cost
    online = "" if report.prediction is None else seconds(report.prediction.total.online)
    live = "" if report.prediction is None else seconds(report.prediction.total.live)
    table.add_column("layer", "total", overflow="fold", footer_style="bold")
    columns = [
        ("rounds", str(total.rounds)),
        ("sent", amount(report.online_bytes, "B")),
        ("dealt", amount(total.dealt_bytes, "B")),
        ("mult-adds", amount(report.multiply_adds)),
        ("compared", amount(report.comparisons)),
        *([("online", online), ("live", live)] if timed else []),
    ]
    for heading, footer in columns:
        table.add_column(heading, footer, justify="right", no_wrap=True, footer_style="bold")
    for layer, time in zip(report.layers, report.times, strict=True):
        cells = [
            escape(layer.place),
            str(layer.rounds or ""),
            amount(layer.online_bytes(report.parties), "B"),
            amount(layer.dealt_bytes, "B"),
            amount(layer.multiply_adds),
            amount(layer.comparisons),
            *([seconds(time.online), seconds(time.live)] if timed else []),
        ]
        table.add_row(*cells)
    if report.prediction is not None:
        ends = report.prediction.fixed
        blanks = [""] * 5
        table.add_row("(start and end)", *blanks, seconds(ends.online), seconds(ends.live))
    return table


def amount(count: int, unit: str = "") -> str:
    """Three digits and a prefix; nothing for 0, so that what there is stands out."""
    if not count:
        return ""
    size = float(count)
    for prefix in ("", "k", "M", "G"):
        if size < 999.5:
            return f"{size:.3g} {prefix}{unit}".rstrip()
        size /= 1000
    return f"{size:.3g} T{unit}"


def seconds(time: float) -> str:
    """Three digits in the unit that suits; nothing for what is below a microsecond."""
    if time < 1e-6:
        return ""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if time * factor >= 1:
            return f"{time * factor:.3g} {unit}"
    return f"{time * 1e6:.3g} µs"
