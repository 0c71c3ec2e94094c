"""Errors of ours as one line on stderr, with the exit code that says whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tacita.errors import TacitaError, UsageError

OURS, USAGE = 1, 2  # exit codes: something failed; the command was given something it cannot take


@contextmanager
def complaining() -> Iterator[None]:
    """Ends the command where an error of Tacita's reaches it."""
    try:
        yield
    except TacitaError as error:
        typer.echo(f"tacita: {error}", err=True)
        raise typer.Exit(USAGE if isinstance(error, UsageError) else OURS) from None
