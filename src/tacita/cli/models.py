"""`tacita models` and `tacita remove`: what is published."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tacita.cli.client_option import HERE, To
from tacita.cli.complaint import complaining
from tacita.client.client import Client


def models(to: To = HERE) -> None:
    """List the models that you may query or have published.

    Stock is how many queries can be answered without waiting for the dealer.
    """
    with complaining(), Client(to) as client:
        found = client.models()
    if not found:
        typer.echo("no model is published that you may see")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "takes", "gives", "owner", "stock", "ready"):
        table.add_column(heading, overflow="fold")
    for model in found:
        table.add_row(
            model.name,
            "\n".join(map(str, model.inputs)),
            "\n".join(map(str, model.outputs)),
            model.owner,
            str(model.stock),
            "yes" if model.ready else "no",
        )
    Console().print(table)


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that you have published.")],
    to: To = HERE,
) -> None:
    """Take a model of yours from all parties, with the stock that was dealt for it."""
    with complaining(), Client(to) as client:
        client.remove(name)
    typer.echo(f"removed {name}")
