"""The program `tacita`: its commands, each in a file of its own."""

from __future__ import annotations

import typer

from tacita.cli.cost import cost
from tacita.cli.networks import networks

# Tracebacks quote local variables if they are let; an error of ours is one line anyway.
app = typer.Typer(
    name="tacita",
    help="Secure multi-party inference of PyTorch models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(cost)
app.command()(networks)


@app.callback()
def tacita() -> None:
    """Secure multi-party inference of PyTorch models."""
