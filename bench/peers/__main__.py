"""Tacita beside other systems, on the same networks and batches, in one run.

    python -m bench peers [--networks mlp,lenet] [--batches 1] [--peers crypten,spu]

A peer is run by the Python that has it: `--python spu=PATH`, or else .venv/peers/spu/bin/python in
the checkout if there is one, or else this one. One that cannot be imported is passed over, with a
word on how to install it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench import child, networks
from bench.peers import folding, portable
from bench.record import ROOT, Record, without_folders
from bench.subjects import subject

PEERS = ("crypten", "spu")
SUITE = {"mlp": (1, 128), "lenet": (1,), "resnet20": (1,)}
LIMIT = 600.0  # seconds for one configuration of a peer


def interpreter(peer: str, given: dict[str, str]) -> str:
    own = ROOT / ".venv" / "peers" / peer / "bin" / "python"
    return given.get(peer) or (str(own) if own.is_file() else sys.executable)


def importable(peer: str, python: str) -> bool:
    """Whether that Python finds the package; the package itself is not run for it."""
    question = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({peer!r}) is None)"
    try:
        asked = subprocess.run([python, "-P", "-c", question], check=False, capture_output=True)
    except OSError:
        return False
    return asked.returncode == 0


def how_to_install(peer: str) -> str:
    """The last paragraph of the peer's file."""
    text = importlib.import_module(f"bench.peers.{peer}").__doc__ or ""
    return text[text.index("Install") :].rstrip()


def variants(peer: str) -> tuple[str, ...]:
    return importlib.import_module(f"bench.peers.{peer}").VARIANTS


def line(name: str, settings: dict[str, Any], figure: dict[str, Any]) -> str:
    start = f"{settings['network']:<12}{settings['batch']:>6}  {name:<16}"
    if "failed" in figure:
        return f"{start}failed: {figure['failed']}"
    if name == "tacita":
        steps = (figure[f"{each}_s"]["median"] for each in ("dealing", "preparation", "online"))
        live, ahead = figure["live_s"]["median"], [f"{1e3 * each:,.1f}" for each in steps]
        return (
            f"{start}{1e3 * live:>12,.1f} ms live; dealt ahead {' + '.join(ahead)}"
            f", off by {figure['largest_difference']:.1e}"
        )
    traffic = f", {figure['bytes_a_party'] / 1e6:,.2f} MB" if "bytes_a_party" in figure else ""
    return (
        f"{start}{1e3 * figure['whole_s']['median']:>12,.1f} ms{traffic}"
        f", off by {figure['largest_difference']:.1e}"
    )


def main() -> int:
    parser = networks.parsed(__doc__)
    parser.add_argument(
        "--peers", type=networks.words, default=list(PEERS),
        help="of crypten, spu; crypten:TFP is one variant of it",
    )  # fmt: skip
    parser.add_argument(
        "--python", action="append", default=[], metavar="PEER=PATH", help="the Python that has it"
    )
    parser.set_defaults(limit=LIMIT, repeat=3)
    options = parser.parse_args()
    chosen = there(parser, options)
    record = Record(
        "peers",
        {"parties": 2, "peers": [f"{p} {v}" for p, _, v in chosen], "warm-up runs": 1},
    )
    for settings in networks.configurations(options, SUITE):
        key = f"{settings['network']}; batch {settings['batch']}"
        figure = networks.ours(settings, networks.LIMIT)
        record.add(f"tacita; {key}", figure)
        print(line("tacita", settings, figure), flush=True)
        with TemporaryDirectory(prefix="tacita-peers-") as folder:
            path = Path(folder) / "network.npz"
            about = subject(settings["network"], settings["batch"], settings["samples"])
            portable.write(path, folding.portable(about.module, about.images))
            for peer, python, variant in chosen:
                words = [str(path), json.dumps({"repeat": settings["repeat"], "variant": variant})]
                module = f"bench.peers.{peer}"
                figure = child.run(module, words, python=python, limit=options.limit)
                record.add(f"{peer} {variant}; {key}", figure)
                print(line(f"{peer} {variant}", settings, figure), flush=True)
    if record.figures:
        print(f"\n{record}")
    return 0


def there(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> list[tuple[str, str, str]]:
    """Peer, its Python and variant, for each that is asked for and installed."""
    given = dict(word.split("=", 1) for word in options.python if "=" in word)
    chosen = []
    for word in options.peers:
        peer, _, variant = word.partition(":")
        if peer not in PEERS or (variant and variant not in variants(peer)):
            parser.error(f"no peer is named {word}")
        python = interpreter(peer, given)
        if importable(peer, python):
            chosen += [(peer, python, each) for each in ([variant] if variant else variants(peer))]
        else:
            print(f"{peer} is not installed for {without_folders(python)}; passed over.")
            print(how_to_install(peer) + "\n")
    return chosen


if __name__ == "__main__":
    raise SystemExit(main())
