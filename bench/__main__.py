"""Runs benchmarks, each in a process of its own, one after the other.

    python -m bench                     the suite
    python -m bench --quick             the suite, each as small as it goes
    python -m bench NAME [options]      one: `python -m bench networks --help` tells its options

Names: kernels, elementwise, functions, secure_mlp, networks, transformers, training, accuracy,
daemons, comparisons, peers, protocol_costs, draw.
"""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "kernels", "elementwise", "functions", "secure_mlp", "networks", "transformers", "training",
    "accuracy", "daemons", "comparisons", "peers", "protocol_costs", "draw",
)  # fmt: skip
SUITE: tuple[tuple[str, ...], ...] = (
    ("kernels",),
    ("elementwise",),
    ("functions",),
    ("secure_mlp",),
    ("networks",),
    ("transformers",),
    ("training",),
    ("accuracy", "--bits", "12,16", "--images", "1000"),
)
WITHOUT_QUICK = {"kernels"}


def run(name: str, *words: str) -> int:
    return subprocess.run([sys.executable, "-m", f"bench.{name}", *words], check=False).returncode


def main() -> int:
    words = sys.argv[1:]
    if words and words[0] in NAMES:
        return run(*words)
    if set(words) - {"--quick"}:
        print(__doc__)
        return 0 if set(words) & {"-h", "--help"} else 2
    failed = []
    for name, *options in SUITE:
        print(f"\n== {name}", flush=True)
        if run(name, *options, *(w for w in words if name not in WITHOUT_QUICK)):
            failed.append(name)
    if failed:
        print("failed:", ", ".join(failed), file=sys.stderr)
    return min(len(failed), 1)


if __name__ == "__main__":
    sys.exit(main())
