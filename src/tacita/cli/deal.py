"""`tacita deal`: correlated randomness for queries to come."""

from __future__ import annotations

from typing import Annotated

import typer

from tacita.cli.client_option import HERE, To
from tacita.cli.complaint import complaining
from tacita.client.client import Client
from tacita.torch.whole.progress import shown


def deal(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that you have published.")],
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, help="How many queries.")],
    to: To = HERE,
) -> None:
    """Have the dealer deal for N more queries of a model, before they come.

    Parties refill their stock by themselves; this is for a number of queries that is known to come.
    """
    with complaining(), Client(to) as client, shown() as progress:
        stock = client.deal(name, runs, progress)
    typer.echo(f"{name}: {stock} runs in stock")
