"""`tacita cost`: what one private run of a network will cost, and how long it will take."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tacita.cli.complaint import complaining
from tacita.cli.model import input_shapes, module_named, precision, samples
from tacita.cli.table import show
from tacita.compiler.chart import ENDINGS
from tacita.compiler.prediction import Network, network_named
from tacita.compiler.report import Report
from tacita.errors import UsageError
from tacita.program.program import Program
from tacita.runtime.forecast import forecast
from tacita.torch.whole.model import export

Input = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="SHAPE", help="Shape of an input, batch first; repeatable."),
]
Net = Annotated[
    str,
    typer.Option(
        "--network", metavar="NET", help="local, lan, wan, or RTT,BANDWIDTH: 20ms,1Gbit/s."
    ),
]
Digits = Annotated[
    str, typer.Option("--precision", metavar="BASE^DIGITS", help="Fixed point of all values.")
]
Samples = Annotated[
    list[str] | None,
    typer.Option(
        "--samples",
        metavar="FILE.npy|none",
        help="Sample inputs, first dimension counting them: how large values get bounds the "
        "comparisons. With none they take the whole ring. Once for each input.",
    ),
]
Chart = Annotated[
    Path | None, typer.Option(metavar="PATH", help=f"Draw the layers, as {', '.join(ENDINGS)}.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print numbers as JSON instead of a table.")]
Parties = Annotated[int, typer.Option(help="How many parties hold shares.")]
Timed = Annotated[bool, typer.Option("--time/--no-time", help="Predict the time as well.")]
Remeasure = Annotated[
    bool, typer.Option("--remeasure", help="Time this machine anew, whatever was kept of it.")
]


def cost(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False)],
    inputs: Input = None,
    network: Net = "local",
    digits: Digits = "2^16",
    samples_: Samples = None,
    chart: Chart = None,
    as_json: AsJson = False,
    parties: Parties = 2,
    timed: Timed = True,
    remeasure: Remeasure = False,
) -> None:
    """Rounds, bytes and predicted time of one private run of MODEL, layer by layer.

    MODEL is a network of the zoo (`tacita networks`), or package.module:attribute, an nn.Module in
    eval mode or a function that makes one, importable from here, or a .pt2 archive of
    torch.export.save. Modules are imported and archives are read by torch: only name what you
    trust. Pickled modules are not taken.

    Nothing is run privately. Rounds and bytes are exact; the time rests on how long each kind of
    instruction takes on this machine, which is measured once and kept.
    """
    with complaining():
        if chart is not None and chart.suffix.lower() not in ENDINGS:
            raise UsageError(f"--chart {chart}: name a file that ends in {', '.join(ENDINGS)}")
        on = network_named(network)
        fixed_point = precision(digits)
        module = module_named(model)
        shapes = input_shapes(model, inputs or ())
        known = samples(samples_ or (), len(shapes))
        examples = [torch.rand(each) for each in shapes]
        with _torch_quiet():
            exported = export(module, *examples, precision=fixed_point, samples=known)
        report = _report(exported.program, on, parties, timed, remeasure)
        if chart is not None:
            report.draw(chart)
    if as_json:
        typer.echo(json.dumps({"model": model, "precision": digits, **report.as_dict()}, indent=2))
    else:
        show(report, model, digits, bounded=known is not None, console=Console())


@contextmanager
def _torch_quiet() -> Iterator[None]:
    """Holds back what torch.export writes to stderr, such as whole graphs: an error that it raises
    is told in one line, and without one it may be of interest.
    """
    with redirect_stderr(StringIO()) as said:
        yield
    sys.stderr.write(said.getvalue())


def _report(
    program: Program, network: Network, parties: int, timed: bool, remeasure: bool
) -> Report:
    """With what is being measured shown meanwhile, on stderr and only to people."""
    console = Console(stderr=True)
    columns = (TextColumn("timing {task.description}"), BarColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        tasks = {}

        def measuring(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        return forecast(
            program, network, parties, timed=timed, remeasure=remeasure, progress=measuring
        )
