"""`tacita cost`: what one private run of a network will cost, and how long it will take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from tacita.cli.complaint import complaining
from tacita.cli.model import module_and_shapes, precision, samples
from tacita.compiler.chart import ENDINGS
from tacita.compiler.plan import Plan
from tacita.compiler.plan_table import show_plan
from tacita.compiler.planning import DEALING, in_way
from tacita.compiler.prediction import Link, link_named
from tacita.compiler.report import Report
from tacita.compiler.table import show
from tacita.errors import UsageError
from tacita.program.program import Program
from tacita.runtime.choosing import AUTO
from tacita.runtime.forecast import forecast, plan
from tacita.torch.whole.model import export
from tacita.torch.whole.progress import shown

Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="Shape of an input, batch first; a .pt2 archive has them. Repeatable.",
    ),
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
        metavar="FILE.npy",
        help="Sample inputs, first dimension counting them: how large values get bounds the "
        "comparisons. Without it they take the whole ring. Once for each input.",
    ),
]
Chart = Annotated[
    Path | None, typer.Option(metavar="PATH", help=f"Draw the layers, as {', '.join(ENDINGS)}.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print numbers as JSON instead of a table.")]
Parties = Annotated[int, typer.Option(help="How many parties hold shares.")]
Timed = Annotated[bool, typer.Option("--time/--no-time", help="Predict the time as well.")]
Protocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="HOW",
        help="How values are compared: tables, fss, snn, or auto: all side by side, and what is "
        "the fastest layer by layer.",
        show_default="auto; with --no-time tables",
    ),
]
Ahead = Annotated[
    bool,
    typer.Option(
        "--ahead",
        help="Pick for runs that are dealt for before, as `publish` does: a second of dealing "
        "counts a tenth of one that somebody waits.",
    ),
]
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
    protocol: Protocol = None,
    ahead: Ahead = False,
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

    Values can be compared in several ways, with the same results. They are set side by side, and
    each layer gets the one with which a run is the fastest over this network. --protocol looks at
    one of them alone.

    The weights of the zoo's networks are random. Bounds on values, which make comparisons cheaper,
    rest on --samples alone; without samples there are none.
    """
    with complaining():
        if chart is not None and chart.suffix.lower() not in ENDINGS:
            raise UsageError(f"--chart {chart}: name a file that ends in {', '.join(ENDINGS)}")
        if protocol is None:
            protocol = AUTO if timed else "tables"
        if ahead and protocol != AUTO:
            raise UsageError("--ahead says what to pick for: leave --no-time and --protocol out")
        if protocol == AUTO and not timed:
            raise UsageError("--protocol auto weighs times: leave --no-time out")
        link = link_named(network)
        fixed_point = precision(digits)
        module, shapes = module_and_shapes(model, inputs or ())
        known = samples(samples_ or (), len(shapes))
        examples = [torch.rand(each) for each in shapes]
        exported = export(module, *examples, precision=fixed_point, samples=known)
        program, picked = _compared(exported.program, protocol, link, parties, ahead, remeasure)
        report = _report(program, link, parties, timed, remeasure and picked is None)
        if chart is not None:
            report.draw(chart, title=model)
    if as_json:
        told = {"model": model, "precision": digits, "protocol": protocol, **report.as_dict()}
        if picked is not None:
            told["plan"] = picked.as_dict()
        typer.echo(json.dumps(told, indent=2))
    else:
        console = Console()
        show(report, console, title=model, precision=digits)
        if picked is not None:
            show_plan(picked, console)
        if known is None:
            console.print(
                "No bounds are known (--samples): comparisons take the width of the whole ring"
            )


def _compared(
    program: Program, protocol: str, link: Link, parties: int, ahead: bool, remeasure: bool
) -> tuple[Program, Plan | None]:
    """The program with its comparisons made as asked for, and the plan where one was made."""
    if protocol != AUTO:
        return in_way(program, protocol, parties, ahead=False), None
    with shown() as progress:
        return plan(
            program,
            link,
            parties,
            ahead=ahead,
            dealing=DEALING,
            remeasure=remeasure,
            progress=progress,
        )


def _report(program: Program, link: Link, parties: int, timed: bool, remeasure: bool) -> Report:
    """With what is being measured shown meanwhile, on stderr and only to people."""
    with shown() as progress:
        return forecast(program, link, parties, timed=timed, remeasure=remeasure, progress=progress)
