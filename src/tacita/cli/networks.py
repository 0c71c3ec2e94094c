"""`tacita networks`: what the zoo has."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tacita import zoo


def networks() -> None:
    """List the networks that `tacita cost` knows by name."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "input"):
        table.add_column(heading)
    table.add_column("parameters", justify="right")
    for name in zoo.names():
        count = sum(each.numel() for each in zoo.network(name).parameters())
        table.add_row(name, "×".join(map(str, zoo.input_shape(name))), f"{count:,}")
    Console().print(table)
