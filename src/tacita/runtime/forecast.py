"""From a program to a report of its cost and time, with what has to be measured for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tacita.compiler.costs import by_place
from tacita.compiler.plan import Plan
from tacita.compiler.planning import planned, possible
from tacita.compiler.prediction import LOCAL, Link, Machine, Works, predicted
from tacita.compiler.report import Report
from tacita.errors import UsageError
from tacita.program.program import Program
from tacita.protocols.sign import Way
from tacita.protocols.ways import WAYS
from tacita.runtime.calibration import measured_overheads
from tacita.runtime.progress import Progress, silent
from tacita.runtime.rehearsal import rehearsed
from tacita.runtime.timings import Timings


def forecast(
    program: Program,
    link: Link = LOCAL,
    parties: int = 2,
    *,
    timed: bool = True,
    remeasure: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """What a run of the program costs and, if `timed`, how long it will take over such a link.

    remeasure: forget what was timed on this machine before. cache: a folder for what is timed,
    instead of the user's. Raises UsageError for fewer than two parties. Cost: a second the first
    time on a machine, and about as much work as a run for instructions that are new.
    """
    if parties < 2:
        raise UsageError(f"a run takes 2 parties or more, not {parties}")
    layers = by_place(program)
    if not timed:
        return Report.of(program, layers, parties)
    machine, works = measured(program, parties, remeasure, cache, progress or silent)
    times = predicted(program, layers, works, machine, link, parties)
    return Report.of(program, layers, parties, times)


def plan(
    program: Program,
    link: Link = LOCAL,
    parties: int = 2,
    *,
    ahead: bool = False,
    dealing: float = 0.0,
    ways: Sequence[Way] = WAYS,
    remeasure: bool = False,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Program, Plan]:
    """The program with each comparison made in the way that suits such a link; see planning.py.

    ahead: randomness is dealt before the run. dealing: what a second of that counts. ways: to
    choose from.
    remeasure, cache: as in `forecast`. Raises UsageError for fewer than two parties. Cost: that of
    a forecast for each way.
    """
    if parties < 2:
        raise UsageError(f"a run takes 2 parties or more, not {parties}")
    tell = progress or silent
    programs, _ = possible(program, parties, ahead=ahead, ways=ways)
    works: dict[Way, Works] = {}
    for way, made in programs.items():
        machine, works[way] = measured(made, parties, remeasure and not works, cache, tell)
    return planned(program, works, machine, link, parties, ahead=ahead, dealing=dealing)


def measured(
    program: Program, parties: int, remeasure: bool, cache: Path | None, progress: Progress
) -> tuple[Machine, Works]:
    timings = Timings(cache)
    if not remeasure:
        timings.load()
    if timings.overheads is None:
        progress("timing this machine", 0, 1)
        timings.overheads = measured_overheads(timings.cores)
        progress("timing this machine", 1, 1)
    works = rehearsed(program, parties, timings.works, progress)
    timings.save()
    return timings.machine, works
