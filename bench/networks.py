"""Whole networks, weights and images secret: time, memory, bytes, rounds and agreement.

    python -m bench networks [--networks lenet,resnet20] [--batches 1,64] [--repeat 5]

Two parties and a dealer as threads of one process, a fresh one for each network and batch size;
`bench.one_network` says what each figure means. Medians of `repeat` runs after a warm-up.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from bench import child
from bench.record import Record
from tacita import zoo

# What runs when nothing is asked for: some minutes on two cores.
SUITE = {
    "mlp": (1, 128),
    "lenet": (1, 64),
    "resnet20": (1, 32),
    "resnet18_32": (1, 8),
    "resnet18": (1,),
    "resnet50": (1,),
}
SAMPLES = 128
SAMPLES_LARGE = 16  # of 224×224
LIMIT = 3600.0  # seconds for one configuration


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    return [int(word) for word in words(text)]


def parsed(description: str | None) -> argparse.ArgumentParser:
    """The options that `networks` and `peers` have in common."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=words, help=f"of {', '.join(zoo.names())}")
    parser.add_argument("--batches", type=numbers, help="batch sizes for each of them")
    parser.add_argument("--repeat", type=int, default=5, help="runs that count")
    parser.add_argument("--bits", type=int, default=16, help="of the fraction")
    parser.add_argument("--samples", type=int, help="that bounds are calibrated on")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one configuration")
    parser.add_argument("--quick", action="store_true", help="one run of each, small batches only")
    return parser


def configurations(
    options: argparse.Namespace, suite: dict[str, tuple[int, ...]]
) -> list[dict[str, Any]]:
    """The settings of each child; raises SystemExit for networks that the zoo does not have."""
    unknown = set(options.networks or ()) - set(zoo.names())
    if unknown:
        raise SystemExit(f"no network is named {', '.join(sorted(unknown))}")
    made = []
    for name in options.networks or suite:
        batches = options.batches or suite.get(name, (1,))
        for batch in batches[:1] if options.quick else batches:
            large = zoo.input_shape(name)[-1] > 32
            made.append(
                {
                    "network": name,
                    "batch": batch,
                    "repeat": 1 if options.quick else options.repeat,
                    "bits": options.bits,
                    "samples": options.samples or (SAMPLES_LARGE if large else SAMPLES),
                }
            )
    return made


def ours(settings: dict[str, Any], limit: float) -> dict[str, Any]:
    """The figure of one configuration, or {"failed": why}."""
    return child.run("bench.one_network", [json.dumps(settings)], limit=limit)


COLUMNS = (
    ("network", 12), ("batch", 5), ("live", 9), ("deal", 9), ("prepare", 9), ("online", 9),
    ("of whole", 8), ("predicted", 11), ("torch", 9), ("rounds", 6), ("online MB", 9),
    ("dealt MB", 9), ("GMAC", 7), ("peak MiB", 8), ("off by", 8), ("equal", 6),
)  # fmt: skip


def heading() -> str:
    return "  ".join(
        f"{name:<{width}}" if name == "network" else f"{name:>{width}}" for name, width in COLUMNS
    )


def row(settings: dict[str, Any], figure: dict[str, Any]) -> str:
    """A line of the table: milliseconds for a batch, plaintext on all threads."""
    start = f"{settings['network']:<12}  {settings['batch']:>5}"
    if "failed" in figure:
        return f"{start}  failed: {figure['failed']}"

    def ms(name: str) -> str:
        return f"{1e3 * figure[name]['median']:,.1f}"

    def ratio(name: str) -> str:
        return f"{figure['predicted_s'][name] / figure[f'{name}_s']['median']:.2f}"

    counted = figure["measured"]
    cells = (
        ms("live_s"), ms("dealing_s"), ms("preparation_s"), ms("online_s"),
        f"{figure['online_share_of_whole']:.0%}",
        f"{ratio('live')} / {ratio('online')}",
        f"{1e3 * figure['plaintext_s']['all_threads']['median']:,.2f}",
        f"{counted['rounds']}", f"{counted['online_bytes_a_party'] / 1e6:,.2f}",
        f"{counted['dealt_bytes'] / 1e6:,.2f}", f"{figure['multiply_adds'] / 1e9:.4g}",
        f"{figure['peak_bytes'] / 2**20:,.0f}", f"{figure['largest_difference']:.1e}",
        f"{figure['equal_argmax']:.1%}",
    )  # fmt: skip
    widths = [width for _, width in COLUMNS[2:]]
    return "  ".join([start, *(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))])


def disagreement(figure: dict[str, Any]) -> str | None:
    """Where what was declared before the run is not what the transport counted."""
    names = [
        name
        for name, declared in figure.get("declared", {}).items()
        if declared != figure["measured"][name]
    ]
    return f"declared is not measured: {', '.join(names)}" if names else None


def main() -> int:
    options = parsed(__doc__).parse_args()
    made = configurations(options, SUITE)
    settings = {
        "parties": 2,
        "precision": f"base 2, {options.bits} bits",
        "margin": "the default of export()",
        "warm-up runs": 1,
        "times": "seconds for a batch",
    }
    record = Record("networks", settings)
    print("milliseconds for a batch; torch in the clear on all threads")
    print("predicted: the predicted time over the measured one, live / online\n")
    print(heading(), flush=True)
    failed = 0
    for each in made:
        figure = ours(each, options.limit)
        failed += "failed" in figure
        record.add(f"{each['network']}; batch {each['batch']}", figure)
        print(row(each, figure), flush=True)
        if note := disagreement(figure):
            print(f"    {note}", flush=True)
    print(f"\n{record}")
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
