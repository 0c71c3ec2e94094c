"""One configuration in a process of its own, so that memory and caches do not mix.

The child prints one line of JSON at the end; what comes before it is chatter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.record import ROOT, without_folders


def run(
    module: str, words: Sequence[str], *, python: str | Path = sys.executable, limit: float
) -> dict[str, Any]:
    """What `python -m module words…` reports, or {"failed": why}, after `limit` seconds at most."""
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    child = subprocess.Popen(
        [str(python), "-m", module, *words], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        said, complaints = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        end(child)
        return {"failed": f"took longer than {limit:g} s"}
    except BaseException:
        end(child)
        raise
    lines = said.strip().splitlines()
    if child.returncode == 0 and lines:
        return json.loads(lines[-1])
    if child.returncode < 0:
        return {"failed": f"ended by signal {-child.returncode}; 9 is what too little memory gives"}
    last = next((line for line in reversed(complaints.splitlines()) if error_line(line)), "")
    return {"failed": without_folders(last or f"ended with {child.returncode}")}


def end(child: subprocess.Popen[str]) -> None:
    """Ends a child with the processes that it has started; they are a group of their own."""
    os.killpg(child.pid, 9)
    child.communicate()


def error_line(line: str) -> bool:
    """Whether a traceback's line names the error, and not a place."""
    return bool(line) and not line[0].isspace() and ":" in line


def report(figure: dict[str, Any]) -> None:
    """The child's last line."""
    print(json.dumps(figure), flush=True)
