"""Progress of long work as bars on a terminal, and silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TaskID, TimeElapsedColumn

from tacita.runtime.progress import Progress, silent


@contextmanager
def shown() -> Iterator[Progress]:
    """A bar for each kind of work that is told of, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    columns = (SpinnerColumn(), *Bars.get_default_columns(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=total)

        yield show
