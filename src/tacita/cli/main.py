"""The program `tacita`: its commands, each in a file of its own that is read when it is needed.

A daemon needs no PyTorch, and importing it takes longer than everything else that one does to
start.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

# Name and module, in the order in which a newcomer meets them.
COMMANDS = {
    "up": "up",
    "publish": "publish",
    "deal": "deal",
    "predict": "predict",
    "models": "models",
    "remove": "models",
    "status": "status",
    "doctor": "doctor",
    "audit": "audit",
    "cost": "cost",
    "networks": "networks",
    "keys": "keys",
    "party": "party",
    "dealer": "dealer",
}


class Commands(TyperGroup):
    """Commands that are imported when they are asked for."""

    # Typer has had its contexts and commands from two packages over time, hence Any.
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(f"tacita.cli.{COMMANDS[cmd_name]}"), cmd_name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


# Tracebacks quote local variables if they are let; an error of ours is one line anyway.
app = typer.Typer(
    cls=Commands,
    name="tacita",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def tacita() -> None:
    """Secure multi-party computation with PyTorch: inference, training, functions of private data.

    New here? `tacita up` starts a whole network on this machine and says what to do next.
    """
