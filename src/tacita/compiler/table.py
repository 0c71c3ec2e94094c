"""A report as a table: for terminals, and for `print`."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tacita.compiler.amounts import amount, seconds
from tacita.compiler.report import Report
from tacita.program.program import NO_MODULE

WIDTH = 110  # of sentences in plain text


def text(report: Report) -> str:
    """What `show` prints, without colours."""
    plain = StringIO()
    show(report, Console(file=plain, width=WIDTH, color_system=None))
    return "\n".join(line.rstrip() for line in plain.getvalue().splitlines())


def show(report: Report, console: Console, title: str = "", precision: str = "") -> None:
    """Prints the layers, the totals, what dominates and what the time rests on.

    title, precision: what else the first line is to name. The table is as wide as it has to be,
    whatever the console's width: nothing in it is shortened or broken.
    """
    shapes = ", ".join("×".join(map(str, shape)) for _, shape in report.inputs)
    about = [f"input {shapes}", f"{report.parties} parties and a dealer"]
    if title:
        about.insert(0, f"[bold]{escape(title)}[/bold]")
    if precision:
        about.append(f"precision {escape(precision)}")
    console.print(", ".join(about))
    print_whole(table_of(report), console)
    if report.prediction is not None and not report.ahead:
        total = report.prediction.total
        console.print(
            f"Predicted: [bold]{seconds(total.live)}[/bold] live; the dealer is consulted in the "
            "run, so nothing of it can be dealt ahead"
        )
    elif report.prediction is not None:
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


def print_whole(table: Table, console: Console) -> None:
    """As wide as it has to be, whatever the console's width: nothing is shortened or broken."""
    unlimited = console.options.update(width=1 << 16)
    table.width = console.measure(table, options=unlimited).maximum
    console.print(table, crop=False, no_wrap=True, overflow="ignore")


def table_of(report: Report) -> Table:
    """For rich's console: a row for each layer, and the totals at the foot.

    Sent: by a party, in all. Dealt: what the last party is sent, which gets most.
    """
    timed = report.prediction is not None
    ahead = timed and report.ahead
    table = Table(box=None, pad_edge=False, show_footer=True, header_style="bold")
    total = report.cost
    online = "" if report.prediction is None else seconds(report.prediction.total.online)
    live = "" if report.prediction is None else seconds(report.prediction.total.live)
    table.add_column("layer", "total", no_wrap=True, footer_style="bold")
    columns = [
        ("rounds", str(total.rounds)),
        *([] if report.ahead else [("by dealer", str(total.consultations))]),
        ("sent", amount(report.online_bytes, "B")),
        ("dealt", amount(total.handed_bytes, "B")),
        ("mult-adds", amount(report.multiply_adds)),
        ("compared", amount(report.comparisons)),
        *([("online", online)] if ahead else []),
        *([("live", live)] if timed else []),
    ]
    for heading, footer in columns:
        table.add_column(heading, footer, justify="right", no_wrap=True, footer_style="bold")
    for layer, time in zip(report.layers, report.times, strict=True):
        cells = [
            escape(layer.place),
            str(layer.rounds or ""),
            *([] if report.ahead else [str(layer.cost.consultations or "")]),
            amount(layer.online_bytes(report.parties), "B"),
            amount(layer.handed_bytes, "B"),
            amount(layer.multiply_adds),
            amount(layer.comparisons),
            *([seconds(time.online)] if ahead else []),
            *([seconds(time.live)] if timed else []),
        ]
        table.add_row(*cells)
    if report.prediction is not None:
        ends = report.prediction.fixed
        blanks = [""] * (5 if report.ahead else 6)
        name = f"({NO_MODULE}: start and end)"
        times = [*([seconds(ends.online)] if ahead else []), seconds(ends.live)]
        table.add_row(name, *blanks, *times)
    return table
