"""`tacita up`: a whole network on this machine, to try things out."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
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
INTERRUPTED = 130  # exit code, as shells know it
LOOK = 0.5  # seconds between two looks whether all daemons live


def up(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where its files go. One that has a network already is used again, with the "
            "models published there.",
            show_default="a temporary folder, removed at the end",
        ),
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Publish a small model to ask.")
    ] = True,
) -> None:
    """Start a network on this machine: parties alice and bob, the dealer dana, and a model.

    Makes an authority with certificates for development, settings, and three processes that speak
    over loopback as they would between organisations. Prints the command that makes a prediction.
    Ctrl-C ends everything, a second one at once. Nothing of this protects anybody: all keys
    are in one folder.
    """
    with complaining(), ExitStack() as stack:
        hurried = ExitStack()  # what is to be done even if there is no time for the rest

        def at_once(_number: int, _frame: FrameType | None) -> None:
            hurried.close()
            os._exit(INTERRUPTED)  # whatever else is under way may take its time

        ending = Ending(second=at_once)
        place = folder
        if place is None:
            place = Path(tempfile.mkdtemp(prefix="tacita-"))
            for each in (stack, hurried):
                each.callback(shutil.rmtree, place, ignore_errors=True)
        network = LocalNetwork(place)
        stack.callback(network.stop)
        hurried.callback(network.kill_all)
        _run(network, ending, publish)
    typer.echo("ended" if folder is None else f"ended; its files stay in {network.folder}")


def _run(network: LocalNetwork, ending: Ending, publish: bool) -> None:
    owner = network.client_config("owner", OWNER)
    client = network.client_config("client", CLIENT)
    typer.echo(f"starting {', '.join(network.names)} in {network.folder} …")
    _start(network, ending)
    if not ending.asked:
        _show(network)
        if publish:
            _publish(network, owner, client, ending)
    if not ending.asked:
        typer.echo(f"\nyour settings: as owner {owner}\n               as client {client}")
        typer.echo("Ctrl-C ends everything")
    while not ending.wait(LOOK):
        network.require_alive()


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


def _publish(network: LocalNetwork, owner: Path, client: Path, ending: Ending) -> None:
    # It brings PyTorch's training and the data sets, which nobody else here needs.
    from tacita.cli.demonstration import demonstration

    typer.echo(f"making the model {MODEL} …")
    example = demonstration()
    if ending.wait(0):
        return
    path = network.folder / INPUT
    np.save(path, example.input.numpy())
    with Client(owner) as publisher, shown() as progress:
        publisher.publish(example.model, MODEL, progress=progress)
    if ending.wait(0):
        return
    typer.echo(f"published {MODEL}: {example.source}")
    command = [sys.executable, "-m", "tacita", "predict", MODEL, str(path), "--to", str(client)]
    typer.echo(f"\n{path.name} has {len(example.input)} images to ask about:\n")
    typer.echo(f"    {shlex.join([*command, '--classes'])}")
    if example.labels is not None:
        typer.echo(f"\nthey show {', '.join(map(str, example.labels))}")
