"""`tacita doctor`: what is wrong between a client and its network."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tacita.cli.client_option import HERE, To
from tacita.cli.complaint import OURS
from tacita.client.inspection import Finding, inspect


def doctor(to: To = HERE) -> None:
    """Check certificates, clocks, versions and connections, and say what to do about each problem.

    Looks at your settings and certificate, then at each party: whether it can be reached and is who
    it should be, its version and clock, whether it sees the others and the dealer, and how fast the
    way there is. Round trip and bandwidth are measured from this client to each party; of the links
    between parties, and to the dealer, it says only whether they are up. Exit code 1 if anything
    is wrong.
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
        table.add_row(mark, escape(each.where), each.what, escape(each.says))
        if each.advice and each.advice not in said:
            said.add(each.advice)
            table.add_row("", "", "", f"→ {escape(each.advice)}")
    console.print(table)
    wrong = sum(not each.good for each in found)
    console.print("all is well" if not wrong else f"{wrong} of {len(found)} checks failed")
