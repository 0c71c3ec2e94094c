"""A plan as tables: the ways to compare side by side, and what each layer was given."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tacita.compiler.amounts import amount, seconds
from tacita.compiler.plan import Choice, Outcome, Plan
from tacita.compiler.table import print_whole


def show_plan(plan: Plan, console: Console) -> None:
    """Prints one way for all beside what was planned, why, and what each comparison was given."""
    what = "dealt ahead" if plan.ahead else "live"
    console.print(f"\nWays to compare, {what}, over {escape(str(plan.link))}", highlight=False)
    print_whole(side_by_side(plan), console)
    console.print(f"Picked: {escape(plan.reason())}", highlight=False)
    for way, why in plan.left_out.items():
        console.print(f"Not {way}: {escape(why)}", highlight=False)
    if len(plan.ways) > 1:
        print_whole(by_layer(plan), console)


def side_by_side(plan: Plan) -> Table:
    """A row for each way for all comparisons, and one for the plan.

    Rounds by the dealer take twice as long. Sent: by a party in all, with what it asks the dealer.
    Dealt: what the last party is sent, which gets most. A dash where nothing can be dealt ahead.
    """
    table = _table("", "rounds", "by dealer", "sent", "dealt", "online", "live")
    for way, outcome in plan.singly.items():
        table.add_row(f"{way} for all", *_figures(outcome, plan))
    table.add_row("[bold]planned[/bold]", *_figures(plan.planned, plan))
    return table


def _figures(outcome: Outcome, plan: Plan) -> list[str]:
    cost, time = outcome.cost, outcome.time
    return [
        str(cost.rounds),
        str(cost.consultations or ""),
        amount(cost.online_bytes(plan.parties), "B"),
        amount(cost.handed_bytes, "B"),
        "-" if cost.consultations else seconds(time.online),
        seconds(time.live),
    ]


def by_layer(plan: Plan) -> Table:
    """A row for each comparison: what it adds to a run in each way, and what was picked."""
    ways = list(plan.singly)
    table = _table("layer", "compared", *ways, "picked", "why")
    for choice in plan.choices:
        table.add_row(
            escape(f"{choice.place} {choice.kind}"),
            amount(choice.comparisons),
            *(seconds(choice.seconds[way]) for way in ways),
            _bold(choice),
            choice.reason,
        )
    return table


def _bold(choice: Choice) -> str:
    return f"[bold]{choice.way}[/bold]"


def _table(first: str, *headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "why" else "right", no_wrap=True)
    return table
