"""The option --to, which all commands of owners and clients have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

VARIABLE = "TACITA_CLIENT_CONFIG"
HERE = Path("client.toml")

To = Annotated[
    Path,
    typer.Option(
        "--to",
        metavar="CONFIG",
        envvar=VARIABLE,
        help="Your client.toml: the network's file and your certificate.",
    ),
]
