"""Where and with what a figure was measured, and how figures are written down."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def machine() -> dict[str, object]:
    """The machine, and the versions that matter."""
    import numpy as np
    import torch

    from tacita.ring import kernels

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernels": kernels.paths()[0],
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "load_before": os.getloadavg()[0],
    }


def commit() -> str:
    """The commit measured, marked where the tree differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()

    return git("rev-parse", "--short=12", "HEAD") + (
        "+changes" if git("status", "--porcelain", "-uno") else ""
    )


def write(name: str, settings: dict[str, object], figures: dict[str, object]) -> Path:
    """Writes bench/results/<name>.json and returns its path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    record = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python -m bench." + name + "".join(f" {word}" for word in sys.argv[1:]),
        "commit": commit(),
        "machine": machine(),
        "settings": settings,
        "figures": figures,
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path


def seconds(work: Callable[[], object], runs: int, warmup: int = 1) -> dict[str, float]:
    """Median, least and most seconds over `runs` runs."""
    for _ in range(warmup):
        work()
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return {"median": statistics.median(taken), "least": min(taken), "most": max(taken)}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
