"""`tacita dealer`: the dealer of a network, until it is told to end."""

from __future__ import annotations

from contextlib import ExitStack
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
from tacita.service.config import load_dealer
from tacita.service.dealer import DealerService
from tacita.service.logs import Level, logger


def dealer(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The dealer's settings, dealer.toml.")
    ],
    level: Annotated[
        Level, typer.Option("--log", help="The least that is logged, on stderr.")
    ] = "info",
    until_eof: UntilEof = False,
) -> None:
    """Run the dealer until SIGTERM or Ctrl-C.

    The dealer makes the correlated randomness that parties use up, ahead of queries. It sees no
    input, weight or result, but must not work together with a party: whoever has its keys and one
    party's view knows everything.
    """
    with failing(), ExitStack() as stack:
        settings = load_dealer(config)
        log = logger(f"dealer:{settings.name}", level=level)
        listen_to_libraries(log, level)
        ending = Ending(until_eof=until_eof)
        service = DealerService(settings, log)
        stack.callback(service.stop)
        service.start()
        stack.enter_context(serving_metrics(settings.metrics, service.counters))
        typer.echo(
            f"dealer {settings.name} is ready: parties at {settings.address.host}:{service.port}"
        )
        collect_seldom()
        ending.wait()
        log.info("ending")
