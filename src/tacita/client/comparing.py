"""How a model that is published compares its values: as it was asked for, as the model was made
to before, or as is the fastest between these parties as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tacita.client.connection import PartyConnection
from tacita.client.links import described, measured_link
from tacita.compiler.planning import DEALING, comparing
from tacita.compiler.prediction import LAN, Link, link_named
from tacita.errors import TacitaError
from tacita.program.program import Program
from tacita.protocols.sign import Way
from tacita.protocols.ways import WAYS, way_of
from tacita.runtime.choosing import AUTO
from tacita.runtime.progress import Progress
from tacita.torch.whole.model import Model

PLAIN: Way = "tables"  # what a model is exported with, and what any number of parties can use
MEASURING = "measuring the ways between the parties"


async def compared(
    model: Model,
    protocol: str | None,
    network: str | Link | None,
    parties: Sequence[PartyConnection],
    limit: float,
    progress: Progress,
) -> tuple[Model, str]:
    """The model as it is to be published to these parties; and how it compares and why, in a line.

    protocol, network: as for `AsyncClient.publish`. limit: seconds that a party may measure for.
    Raises UsageError for a protocol or network that there is not, or not for so many parties.
    """
    count = len(parties)
    if isinstance(network, str):
        network = link_named(network)
    if not comparing(model.program):
        protocol, why = None, ""
    elif protocol not in (None, AUTO):
        why = "as asked for"
    elif protocol is None and is_chosen(model):
        why = "as was chosen for the model before"
    elif count > 2:
        protocol, why = PLAIN, f"the only way for {count} parties"
    else:
        protocol = AUTO
        network, why = await _known(network, parties, limit, progress)
    if protocol is not None:
        model = await asyncio.to_thread(
            model.compared_by,
            protocol,
            network=network or LAN,
            parties=count,
            ahead=True,
            dealing=DEALING,
            progress=progress,
        )
    return model, f"{told_of(model.program)}: {why}" if why else told_of(model.program)


def is_chosen(model: Model) -> bool:
    """Whether somebody has said how the model compares."""
    program = model.program
    ways = {way_of(program.instructions[number]) for number in comparing(program)}
    return model.chosen or not ways <= {PLAIN}


async def _known(
    network: Link | None, parties: Sequence[PartyConnection], limit: float, progress: Progress
) -> tuple[Link, str]:
    """The network to pick for, and in words what it is and who says so."""
    if network is not None:
        return network, f"{described(network)}, as given"
    progress(MEASURING, 0, 1)
    try:
        link = await measured_link(parties, limit)
        why = f"{described(link)} between the parties"
    except TacitaError as error:
        link, why = LAN, f"{described(LAN)} assumed, since it could not be measured ({error})"
    progress(MEASURING, 1, 1)
    return link, why


def told_of(program: Program) -> str:
    """How its layers compare, in words: "compares with fss (2 of 3 layers), tables (1)"."""
    layers: dict[Way, set[str | int]] = {}
    for number in comparing(program):
        way = way_of(program.instructions[number])
        assert way is not None
        layers.setdefault(way, set()).add(program.places[number] or number)
    if not layers:
        return "compares nothing"
    most, *others = sorted(layers, key=lambda way: (-len(layers[way]), WAYS.index(way)))
    if not others:
        return f"compares with {most}"
    total = len(set[str | int]().union(*layers.values()))
    rest = "".join(f", {way} ({len(layers[way])})" for way in others)
    return f"compares with {most} ({len(layers[most])} of {total} layers){rest}"
