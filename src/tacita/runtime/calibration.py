"""What a run takes beside the work on its instructions, measured on this machine.

Threads that wake each other, one interpreter lock for all of them, messages, files of dealt
material: none of it is in the time of an instruction by itself (rehearsal.py). So three small
programs are run in a session of their own, and what they take beyond their instructions is put
down to runs, rounds, instructions and bytes. They compute on zeros, and their session ends here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from tacita.compiler import archive
from tacita.compiler.prediction import LOCAL, Overheads, Sharing, Work, dealt_steps
from tacita.compiler.recorder import Recorder
from tacita.program.builder import Handle
from tacita.program.program import Program
from tacita.program.schedule import cost_of
from tacita.protocols import Product, ReLU
from tacita.protocols.relu import relu_width
from tacita.ring.fixed_point import Precision
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.rehearsal import rehearsed
from tacita.runtime.session import Session

PARTIES = ("first", "last")
SHORT, LONG, WIDE = (1, 3), (9, 3), (3, 256)  # layers; rows and columns of their matrices
RUNS, WIDE_RUNS = 20, 8  # of each program, each way
MOST_STRETCHED = 2.0  # beyond that, something else was going on


def measured_overheads(cores: int) -> Overheads:
    """The overheads of sessions of this process, on so many cores. Cost: two seconds."""
    short, long, wide = (
        _Trial.of(_network(*size), cores, runs)
        for size, runs in ((SHORT, RUNS), (LONG, RUNS), (WIDE, WIDE_RUNS))
    )
    rounds = long.rounds - short.rounds
    live_round = max(0.0, (long.live.beside - short.live.beside) / rounds)
    live_run = max(0.0, short.live.beside - short.rounds * live_round)
    online_round = max(0.0, (long.online.beside - short.online.beside) / rounds)
    online_run = max(0.0, short.online.beside - short.rounds * online_round)
    deal_step = max(0.0, (long.dealing.beside - short.dealing.beside) / (long.steps - short.steps))
    deal_run = max(0.0, short.dealing.beside - short.steps * deal_step)
    prepare_run = max(0.0, short.preparing.beside)
    return Overheads(
        live_run=live_run,
        live_round=live_round,
        live_stretch=wide.live.stretch(live_run + wide.rounds * live_round),
        online_run=online_run,
        online_round=online_round,
        online_stretch=wide.online.stretch(online_run + wide.rounds * online_round),
        deal_run=deal_run,
        deal_step=deal_step,
        deal_byte=max(0.0, wide.dealing.beside - deal_run - wide.steps * deal_step) / wide.bytes,
        prepare_run=prepare_run,
        prepare_byte=max(0.0, wide.preparing.beside - prepare_run) / wide.bytes,
    )


@dataclass(frozen=True, slots=True)
class _Taken:
    """Seconds that something took, and those that the work in it takes by itself."""

    time: float
    work: float

    @property
    def beside(self) -> float:
        return self.time - self.work

    def stretch(self, overhead: float) -> float:
        """How many times as long the work took, without the overhead."""
        return min(MOST_STRETCHED, max(1.0, (self.time - overhead) / self.work))


@dataclass(frozen=True, slots=True)
class _Trial:
    """A program that was run in each way, and what is in it."""

    live: _Taken
    online: _Taken
    dealing: _Taken
    preparing: _Taken
    rounds: int
    steps: int
    bytes: int

    @classmethod
    def of(cls, program: Program, cores: int, runs: int) -> _Trial:
        works = rehearsed(program, len(PARTIES))
        work = sum(works, start=Work())
        cost = cost_of(program.instructions)
        sharing = Sharing(LOCAL, cores, len(PARTIES))
        times = _times(program, runs)
        return cls(
            live=_Taken(times["live"], max(each(work, 0) for each in sharing.bounds)),
            online=_Taken(times["online"], sharing.online(work)),
            dealing=_Taken(times["dealing"], work.deal / cores),
            preparing=_Taken(times["preparing"], sharing.preparing(work)),
            rounds=cost.rounds,
            steps=dealt_steps(program, range(len(works))),
            bytes=cost.handed_bytes,
        )


def _network(layers: int, size: int) -> Program:
    """Products with one square weight and ReLUs in turn: what networks are made of.

    A product comes last, as in most of them: for it the last party reads all that was dealt ahead.
    """
    recorder = Recorder()
    shape = (size, size)
    weight = recorder.weight("w", shape, 1, None).wire.id
    handle = recorder.input("x", shape, 1, None)

    def product(x: Handle) -> Handle:
        recorder.mask([x], "calibration")
        out = Handle(recorder, recorder.new_wire(shape))
        recorder.emit(Product(out.wire.id, x.wire.id, weight, True, shape))
        return out

    def relu(x: Handle) -> Handle:
        recorder.mask([x], "calibration")
        out = Handle(recorder, recorder.new_wire(shape))
        width = relu_width(None, size**2, 1)
        recorder.emit(ReLU(out=out.wire.id, x=x.wire.id, divisor=1, shape=shape, width=width))
        return out

    for _ in range(layers):
        handle = relu(product(handle))
    return recorder.program([("output", product(handle))], Precision(base=2, digits=16))


def _times(program: Program, runs: int) -> dict[str, float]:
    """Seconds of each way of running, in a session that ends with this."""
    session = EmbeddedSession(PARTIES, "dealer")
    try:
        with TemporaryDirectory(prefix="tacita-calibration-") as folder:
            return _run(program, session, Path(folder), runs)
    finally:
        session.close()


def _run(program: Program, session: Session, folder: Path, runs: int) -> dict[str, float]:
    (port,) = program.inputs
    (output,) = program.outputs
    shape = program.wires[port.wire].shape
    zeros = np.zeros(shape, np.uint64)
    weight = session.input(zeros, shape, 1, None)
    session.mask([weight], "calibration")
    number = session.deploy(
        archive.encode(program), len(program.instructions), [weight], os.urandom(16)
    )
    made = program.wires[output.wire]
    kept: list[bytes] = []

    def run(batch: bytes = b"") -> None:
        given = session.input(zeros, shape, 1, None)
        (result,) = session.run(number, [given], [session.new_wire(made.shape)], batch)
        session.reveal(result)

    def deal() -> None:
        kept.extend(session.deal_ahead(number, 1, str(folder), lambda *_: None))

    def prepare() -> None:
        session.prepare(number, kept[-1], str(folder))

    def use() -> None:
        run(kept[-1])

    ways = {"live": run, "dealing": deal, "preparing": prepare, "online": use}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(runs):
        # In turn, so that a busy moment of the machine falls on all of them.
        for way, action in ways.items():
            start = perf_counter()
            action()
            times[way].append(perf_counter() - start)
    # What else the machine does only ever adds to a time; the least of all are lucky ones.
    return {way: sorted(taken)[runs // 4] for way, taken in times.items()}
