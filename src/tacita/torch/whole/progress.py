"""Progress of long work, for whoever looks on: a bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TimeElapsedColumn

Progress = Callable[[int, str], None]  # how many are done, and how far the next is, as "3/40"


def silent(_: int, __: str) -> None:
    """Progress that nobody wants to see."""


@contextmanager
def shown(title: str, count: int) -> Iterator[Progress]:
    """A progress bar over `count` pieces of work, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    columns = (SpinnerColumn(), *Bars.get_default_columns(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=count)

        def show(done: int, text: str) -> None:
            part, _, whole = text.partition("/")
            bars.update(task, completed=done + int(part) / max(int(whole), 1))

        yield show
