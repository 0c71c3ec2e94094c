"""Where and with what a figure was measured, and how figures are written down."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
MEASURED = ROOT / "bench" / "measured"
FOLDERS = re.compile(r"(?<![^\s=(\"'])/(?:[^/\s]+/)+")  # in front of a file's name


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


class Record:
    """bench/results/<name>.json, written anew after each figure: a long run that is cut leaves
    what it had. The machine's load is that from before the first figure."""

    def __init__(self, name: str, settings: dict[str, object]) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        self.path = RESULTS / f"{name}.json"
        words = "".join(f" {without_folders(word)}" for word in sys.argv[1:])
        self.figures: dict[str, object] = {}
        self._head = {
            "benchmark": name,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": f"python -m bench.{name}{words}",
            "commit": commit(),
            "machine": machine(),
            "settings": settings,
        }

    def add(self, name: str, figure: object) -> None:
        self.figures[name] = figure
        self.path.write_text(json.dumps(self._head | {"figures": self.figures}, indent=2) + "\n")

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))


def write(name: str, settings: dict[str, object], figures: dict[str, object]) -> Path:
    """Writes bench/results/<name>.json at once and returns its path."""
    record = Record(name, settings)
    for title, figure in figures.items():
        record.add(title, figure)
    return record.path


def without_folders(text: str) -> str:
    """The text with absolute paths cut to their last part: records say nothing of a machine's
    folders."""
    return FOLDERS.sub("", text)


def spread(taken: Sequence[float]) -> dict[str, float]:
    """Median, quartiles, least and most of one or more figures."""
    if len(taken) > 1:
        lower, median, upper = statistics.quantiles(taken, n=4, method="inclusive")
    else:
        lower = median = upper = taken[0]
    return {
        "median": median,
        "lower_quartile": lower,
        "upper_quartile": upper,
        "least": min(taken),
        "most": max(taken),
    }


def seconds(
    work: Callable[[], object],
    runs: int,
    warmup: int = 1,
    before: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """The spread of the seconds that `work` takes, over `runs` runs.

    before: done before each run, warm-ups included; its time does not count.
    """
    taken = []
    for run in range(warmup + runs):
        before()
        start = time.perf_counter()
        work()
        if run >= warmup:
            taken.append(time.perf_counter() - start)
    return spread(taken)


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
