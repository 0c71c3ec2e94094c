"""What has been timed on this machine, kept between runs in a file of the user's cache.

The file is JSON, of the types below and nothing else; one that is damaged or of another build is
measured anew. It holds times of public instructions, and no name or value of anybody's network.
"""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from tacita.compiler.prediction import Machine, Overheads, Work
from tacita.ring import _kernels, kernels

LARGEST = 16 << 20  # bytes of a file that is read
SLOWEST = 1e5  # seconds; no time is longer, or below 0


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """build: what the times hold for. works: by fingerprint (rehearsal.py)."""

    build: str
    overheads: Overheads
    works: dict[str, Work]


class Timings:
    """The times of one machine and build. works: to be added to by whoever measures."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: instead of the user's cache."""
        self.cores = os.cpu_count() or 1
        self.processor = processor()
        self.build = build(self.processor, self.cores)
        self.overheads: Overheads | None = None
        self.works: dict[str, Work] = {}
        name = hashlib.sha256(self.build.encode()).hexdigest()[:16]
        self._path = (folder or user_cache_path("tacita") / "timings") / f"{name}.json"

    def load(self) -> None:
        """Takes what was kept, if it is of this build."""
        try:
            if self._path.stat().st_size > LARGEST:
                return
            record = msgspec.json.decode(self._path.read_bytes(), type=Record)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return
        times = [
            *_numbers(record.overheads),
            *(t for w in record.works.values() for t in _numbers(w)),
        ]
        if record.build == self.build and all(0 <= each < SLOWEST for each in times):
            self.overheads = record.overheads
            self.works = dict(record.works)

    def save(self) -> None:
        """Keeps what is known. Where the cache cannot be written, the next run measures again."""
        if self.overheads is None:
            return
        data = msgspec.json.encode(Record(self.build, self.overheads, self.works))
        beside = self._path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(data)
            beside.replace(self._path)

    @property
    def machine(self) -> Machine:
        assert self.overheads is not None
        return Machine(self.processor, self.cores, self.overheads)


def _numbers(times: Overheads | Work) -> list[float]:
    return [getattr(times, name) for name in times.__dataclass_fields__]


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown processor"


def build(processor: str, cores: int) -> str:
    """Of the machine and of everything here whose change may change a time."""
    try:
        release = version("tacita")
    except PackageNotFoundError:  # used from a source tree
        release = "0"
    extension = Path(str(_kernels.__file__)).stat()
    return "; ".join(
        (
            processor,
            f"{cores} cores",
            f"version {release}",
            f"kernels {extension.st_size}.{extension.st_mtime_ns} {kernels.paths()[0]}",
        )
    )
