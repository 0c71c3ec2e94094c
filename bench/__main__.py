"""Runs every benchmark in a process of its own, one after the other.

python -m bench [--quick]
"""

from __future__ import annotations

import subprocess
import sys

SUITE = ("bench.kernels", "bench.relu", "bench.secure_mlp")


def main() -> int:
    failed = []
    for name in SUITE:
        print(f"\n== {name}", flush=True)
        takes_quick = name == "bench.secure_mlp"
        words = [word for word in sys.argv[1:] if takes_quick or word != "--quick"]
        if subprocess.run([sys.executable, "-m", name, *words], check=False).returncode:
            failed.append(name)
    if failed:
        print("failed:", ", ".join(failed), file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
