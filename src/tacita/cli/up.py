"""`tacita up`: a whole network on this machine, to try things out."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tacita.cli.complaint import complaining
from tacita.cli.daemon import Ending
from tacita.client.client import Client
from tacita.client.local_network import LocalNetwork
from tacita.torch.whole.progress import shown

OWNER, CLIENT = "olga", "carol"
MODEL = "digits"
INPUT = "digits.npy"
LOOK = 0.5  # seconds between two looks whether all daemons live


def up(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where its files go. One that has a network already is used again, with the "
            "models published there.",
            show_default="a fresh temporary folder",
        ),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Publish a small model to ask.")
    ] = True,
) -> None:
    """Start a network on this machine: parties alice and bob, the dealer dana, and a model.

    Makes an authority with certificates for development, settings, and three processes that speak
    over loopback as they would between organisations. Prints the command that makes a prediction.
    Ctrl-C ends everything. Nothing of this protects anybody: all keys are in one folder.
    """
    with complaining():
        ending = Ending(second=signal.SIG_IGN)  # nobody else would end the daemons
        place = folder or Path(tempfile.mkdtemp(prefix="tacita-"))
        network = LocalNetwork(place)
        owner = network.client_config("owner", OWNER)
        client = network.client_config("client", CLIENT)
        try:
            typer.echo(f"starting {', '.join(network.names)} in {network.folder} …")
            _start(network, ending)
            if not ending.asked:
                _show(network)
                if publish:
                    _publish(network, owner, client)
                typer.echo(f"\nyour settings: as owner {owner}\n               as client {client}")
                typer.echo("Ctrl-C ends everything")
            while not ending.wait(LOOK):
                network.require_alive()
        finally:
            network.stop()
    typer.echo("ended")


def _start(network: LocalNetwork, ending: Ending) -> None:
    """Ends the wait when it is told to: processes may take a while to come up."""
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            network.start()
        except BaseException as error:
            outcome.append(error)

    starting = threading.Thread(target=run, name="starting")
    starting.start()
    while starting.is_alive():
        if ending.wait(LOOK):
            network.stop()
        starting.join(LOOK)
    if outcome and not ending.asked:
        raise outcome[0]


def _show(network: LocalNetwork) -> None:
    parties, dealer = network.network.parties, network.network.dealer
    where = [(f"party {each.name}", each.name, each.front) for each in parties]
    where.append((f"dealer {dealer.name}", dealer.name, str(dealer.address)))
    for what, name, address in where:
        process = network.process(name).pid
        typer.echo(f"  {what}: {address}, process {process}, log {network.log(name)}")


def _publish(network: LocalNetwork, owner: Path, client: Path) -> None:
    # It brings PyTorch's training and the data sets, which nobody else here needs.
    from tacita.cli.demonstration import demonstration

    typer.echo(f"making the model {MODEL} …")
    example = demonstration()
    path = network.folder / INPUT
    np.save(path, example.input.numpy())
    with Client(owner) as publisher, shown() as progress:
        publisher.publish(example.model, MODEL, progress=progress)
    typer.echo(f"published {MODEL}: {example.source}")
    command = [sys.executable, "-m", "tacita", "predict", MODEL, str(path), "--to", str(client)]
    typer.echo(f"\n{path.name} has {len(example.input)} images to ask about:\n")
    typer.echo(f"    {shlex.join([*command, '--classes'])}")
    if example.labels is not None:
        typer.echo(f"\nthey show {', '.join(map(str, example.labels))}")
