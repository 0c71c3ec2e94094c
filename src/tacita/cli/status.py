"""`tacita status`: what the parties say of themselves."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tacita.cli.client_option import HERE, To
from tacita.cli.complaint import OURS, complaining
from tacita.cli.terminal import printable
from tacita.client.async_client import PartyStatus
from tacita.client.client import Client
from tacita.client.inspection import unreadable_in


def status(
    to: To = HERE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that the parties say, as JSON.")
    ] = False,
) -> None:
    """Show which parties answer, whom they see, and their stock of each model.

    Files of saved shares that a party cannot read are named below.
    What each party tells whom stands in its policy, in the table watch. Exit code 1 if a party does
    not answer. `tacita doctor` looks for the reason.
    """
    with complaining(), Client(to) as client:
        found = client.status()
    if as_json:
        typer.echo(json.dumps({each.name: _plain(each) for each in found}, indent=2))
    else:
        _show(found)
    if any(each.error is not None for each in found):
        raise typer.Exit(OURS)


def _plain(party: PartyStatus) -> object:
    return party.details if party.error is None else {"error": str(party.error)}


def _show(found: list[PartyStatus]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("party", "front", "up for", "does not see", "stock"):
        table.add_column(heading, overflow="fold")
    for each in found:
        details = each.details or {}
        up = details.get("seconds")
        links, models = details.get("links"), details.get("models")
        unseen = [name for name, on in links.items() if not on] if isinstance(links, dict) else []
        stock = (
            [f"{m.get('name')}: {m.get('stock')}" for m in models if isinstance(m, dict)]
            if isinstance(models, list)
            else []
        )
        table.add_row(
            each.name,
            each.front,
            str(timedelta(seconds=int(up))) if isinstance(up, int | float) else "—",
            ", ".join(unseen) or ("—" if each.error is None else "?"),
            "\n".join(stock) or "—",
        )
    Console().print(table)
    for each in found:
        if each.error is not None:
            typer.echo(f"tacita: {each.error}", err=True)  # which names the party
        for why in unreadable_in(each.details):
            typer.echo(
                printable(f"tacita: {each.name} cannot read what was saved: {why}"), err=True
            )
