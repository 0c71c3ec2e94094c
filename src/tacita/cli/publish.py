"""`tacita publish`: an owner's model, as shares, to a network of parties."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from tacita.cli.client_option import HERE, To
from tacita.cli.complaint import complaining
from tacita.cli.model import module_and_shapes, precision, samples
from tacita.cli.terminal import printable
from tacita.client.client import Client
from tacita.errors import UsageError
from tacita.torch.whole.model import Model, export
from tacita.torch.whole.model_file import MAGIC
from tacita.torch.whole.progress import shown

DEFAULT_DIGITS = "2^16"


def publish(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False)],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What clients call it.", prompt=False)
    ],
    to: To = HERE,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="SHAPE",
            help="Shape of an input, batch first: how many rows a query has. A .pt2 archive has "
            "them. Repeatable.",
        ),
    ] = None,
    samples_: Annotated[
        list[str] | None,
        typer.Option(
            "--samples",
            metavar="FILE.npy",
            help="Sample inputs, first dimension counting them: how large values get bounds the "
            "comparisons and makes queries cheaper. Once for each input; they go nowhere.",
        ),
    ] = None,
    digits: Annotated[
        str, typer.Option("--digits", metavar="BASE^DIGITS", help="Fixed point of all values.")
    ] = DEFAULT_DIGITS,
    audience: Annotated[
        list[str] | None,
        typer.Option(
            "--audience",
            metavar="ROLE:NAME",
            help="Who may query it, such as client:carol; client:* is every client. Repeatable. "
            "Each party's policy decides besides.",
            show_default="client:*",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            metavar="HOW",
            help="How values are compared: tables, fss, or auto for the fastest layer by layer, "
            "over --network and out of the stock.",
            show_default="as was chosen for a model of Model.save; otherwise auto",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="NET",
            help="Between the parties, by which auto picks: lan, wan, or RTT,BANDWIDTH: "
            "20ms,1Gbit/s.",
            show_default="as the parties measure it",
        ),
    ] = None,
) -> None:
    """Share a model's weights among the parties, who then answer queries of it under NAME.

    MODEL is a file of Model.save, a .pt2 archive of torch.export.save, package.module:attribute (an
    nn.Module in eval mode or a function that makes one), or a network of the zoo (`tacita
    networks`), whose weights are random. Modules are imported and archives are read by torch: only
    name what you trust.

    Weights are split here, and each party gets a share that says nothing by itself. The
    architecture is public. Your certificate has to be one of an owner. A model of the same name
    that you have published before is replaced.

    Values can be compared in several ways, with the same results. Unless you choose, the parties
    measure the way between them, and each layer gets the one with which a query is the fastest; how
    fast a processor is, is timed on this machine, which takes some seconds the first time. A line
    says what was picked. Where policies do not let you have it measured, it is taken for a local
    network's.
    """
    with complaining():
        ready = _saved(Path(model), inputs, samples_, digits)
        if ready is None:
            ready = _exported(model, inputs, samples_, digits)
        with Client(to) as client, shown() as progress:
            published = client.publish(
                ready,
                name,
                audience=tuple(audience or ("client:*",)),
                protocol=protocol,
                network=network,
                progress=progress,
            )
    typer.echo(f"published {name}: id {published.id}, program {published.digest[:16]}…")
    typer.echo(f"  {printable(published.compared)}")
    for field in published.inputs:
        typer.echo(f"  takes {field}")
    for field in published.outputs:
        typer.echo(f"  gives {field}")


def _saved(
    path: Path, inputs: list[str] | None, samples_: list[str] | None, digits: str
) -> Model | None:
    """The model in a file of Model.save; None if it is something else. Raises UsageError."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
    except OSError:
        return None
    if inputs or samples_ or digits != DEFAULT_DIGITS:
        raise UsageError(
            f"{path} has been exported: --input, --samples and --digits were decided then"
        )
    return Model.load(path)


def _exported(
    model: str, inputs: list[str] | None, samples_: list[str] | None, digits: str
) -> Model:
    fixed_point = precision(digits)
    module, shapes = module_and_shapes(model, inputs or ())
    known = samples(samples_ or (), len(shapes))
    examples = [torch.rand(each) for each in shapes]
    return export(module, *examples, precision=fixed_point, samples=known)
