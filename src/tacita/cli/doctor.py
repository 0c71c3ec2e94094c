"""`tacita doctor`: what is wrong between a client and its network."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tacita.cli.client_option import HERE, To
from tacita.cli.complaint import OURS
from tacita.cli.terminal import printable
from tacita.client.inspection import Finding, inspect


def doctor(to: To = HERE) -> None:
    """Check certificates, clocks, versions and connections, and say what to do about each problem.

    Looks at your settings and certificate, then at each party: whether it can be reached and is who
    it should be, its version and clock, whether it sees the others and the dealer, and how fast the
    way there is. Then each party measures the ways to the other parties and the dealer, if its
    policy lets you watch or publish; that takes up to four megabytes a link, at most every ten
    seconds. Exit code 1 if anything is wrong; what is merely slow is not.
    """
    found = inspect(to)
    show(found, Console())
    if not all(each.good for each in found):
        raise typer.Exit(OURS)


def show(found: list[Finding], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("who", "what", "found"):
        table.add_column(heading, overflow="fold")
    said = set[str]()
    for each in found:
        mark = "[green]✓[/]" if each.good else "[red]✗[/]"
        table.add_row(
            mark, *(escape(printable(text)) for text in (each.where, each.what, each.says))
        )
        if each.advice and each.advice not in said:
            said.add(each.advice)
            table.add_row("", "", "", f"→ {escape(printable(each.advice))}")
    console.print(table)
    wrong = sum(not each.good for each in found)
    console.print("all is well" if not wrong else f"{wrong} of {len(found)} checks failed")
