"""`tacita party`: one computing party, until it is told to end."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from tacita.cli.daemon import (
    Ending,
    UntilEof,
    collect_seldom,
    failing,
    listen_to_libraries,
    serving_metrics,
)
from tacita.service.config import Limits, load_party
from tacita.service.front.limits import FrontLimits
from tacita.service.front.serving import Front
from tacita.service.logs import Level, logger
from tacita.service.party import PartyService

OTHER_REQUESTS = 8  # of one principal, besides its queries


def party(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The party's settings, party.toml.")
    ],
    level: Annotated[
        Level, typer.Option("--log", help="The least that is logged, on stderr.")
    ] = "info",
    until_eof: UntilEof = False,
) -> None:
    """Run one computing party until SIGTERM or Ctrl-C.

    A party holds one share of every weight, input and result, and learns nothing from it. It
    serves clients over HTTPS at `front` and the other parties at `peers`. What it lets whom do
    stands in its policy, which may be edited while it runs.

    Certificates come from `tacita keys`. To see a whole network at work first: `tacita up`.
    """
    with failing(), ExitStack() as stack:
        settings = load_party(config)
        log = logger(f"party:{settings.name}", level=level)
        listen_to_libraries(log, level)
        ending = Ending(until_eof=until_eof)
        service = PartyService(settings, log)
        stack.callback(service.stop)
        service.start()
        front = Front(
            service,
            settings.front,
            settings.credentials,
            front_limits(settings.limits),
            version("tacita"),
        )
        stack.callback(front.stop)
        front.start()
        stack.enter_context(serving_metrics(settings.metrics, service.counters))
        typer.echo(
            f"party {settings.name} is ready: clients at https://{settings.front.host}:"
            f"{front.port}, parties at {settings.peers.host}:{service.port}"
        )
        collect_seldom()
        ending.wait()
        log.info("ending")


def front_limits(limits: Limits) -> FrontLimits:
    """What of a party's [limits] concerns its front."""
    return FrontLimits(
        queries_at_once=limits.queries_at_once,
        uploads_at_once=limits.queries_at_once,
        # How many queries one principal may have at once is the policy's to say.
        requests_each=limits.queries_at_once + OTHER_REQUESTS,
        largest_query=int(limits.request_bytes),
        largest_publication=int(limits.request_bytes),
        query_seconds=limits.query,
        publication_seconds=limits.publish,
        handshake_seconds=limits.handshake,
        connections=limits.links,
        shutdown_seconds=limits.shutdown,
    )
