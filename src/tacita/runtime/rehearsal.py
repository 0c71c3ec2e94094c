"""Timing a program's instructions on this machine, one after the other.

Every reading (deal, prepare, evaluate) is carried out, and what the dealer answers where it is
consulted, as the roles do it, by the roles' own
classes, at the actual shapes, and with random numbers for values: the work does not depend on
them. Each is timed by itself, in processor time; those of the parties once more with all at it at
once, as threads of this process, since they share cores, caches, memory and an interpreter lock.
What waits for what is left to compiler/prediction.py.

An instruction that differs from another by the numbers of its wires alone takes as long: such
instructions have one fingerprint, and are timed together. Once a fingerprint has been timed well
enough, its instructions are passed over, and their results are memory that nobody has written to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, BrokenBarrierError
from time import perf_counter, thread_time

import msgspec

from tacita.compiler.prediction import Work, Works
from tacita.program.program import Program
from tacita.program.readings import Array
from tacita.ring import kernels
from tacita.ring.randomness import Stream, StreamKey, fresh_key
from tacita.runtime.dealing import DealingOrder
from tacita.runtime.progress import Progress, silent
from tacita.runtime.store import Known, MaskStore
from tacita.runtime.understudy import Understudy, in_turn

PASSES = 5  # through the program
ENOUGH = 0.1  # seconds spent on a fingerprint, after which it is known well enough
MOST = 3.0  # seconds after which no further pass begins
# Fields that name wires, in whatever instruction.
WIRES = frozenset({"out", "x", "w", "public", "wires", "parts", "value", "index"})


def rehearsed(
    program: Program,
    parties: int,
    known: dict[str, Work] | None = None,
    progress: Progress | None = None,
) -> Works:
    """How long each instruction takes a party and the dealer, by itself, in processor time.

    known: what was timed before, by fingerprint; what is timed here is added to it. Cost: as much
    work as a run is for each role, up to PASSES times while that is quick; memory as for a run.
    """
    marks = fingerprints(program, parties)
    known = {} if known is None else known
    if any(mark not in known for mark in marks):
        with ThreadPoolExecutor(1, "tacita rehearsal", initializer=kernels.pool_arrays) as thread:
            rehearsal = Rehearsal(program, parties, marks, known, progress or silent)
            known.update(thread.submit(rehearsal.timed).result())
    return [known[mark] for mark in marks]


def fingerprints(program: Program, parties: int) -> list[str]:
    """For each instruction a name of the work that it is.

    The same for the same kind, public fields and shapes, whatever the numbers of the wires. Views
    are carried out when what they show is first needed, so those that lead to an operand count.
    """
    views: dict[int, list[str]] = {}
    marks = []
    for each in program.instructions:
        operands = [[program.wires[wire].shape, views.get(wire, [])] for wire in each.reads]
        fields = {name: getattr(each, name) for name in each.__struct_fields__ if name not in WIRES}
        if "terms" in fields:  # pairs of a wire and its coefficient
            fields["terms"] = [coefficient for _, coefficient in fields["terms"]]
        data = msgspec.msgpack.encode([type(each).__name__, fields, operands, parties])
        mark = hashlib.sha256(data).hexdigest()[:24]
        if each.aliases:
            views[each.writes[0]] = [*views.get(each.reads[0], []), mark]
        marks.append(mark)
    return marks


class Rehearsal:
    """Passes through one program, and what has been timed of it."""

    def __init__(
        self,
        program: Program,
        parties: int,
        marks: list[str],
        known: dict[str, Work],
        progress: Progress,
    ) -> None:
        self._program = program
        self._parties = parties
        self._marks = marks
        self._known = set(known)
        self._progress = progress
        self._done = 0
        self._total = 5 * len(program.instructions)
        # By what is done and the fingerprint.
        self._samples: dict[tuple[str, str], list[float]] = {}
        self._spent: dict[str, float] = {}
        # One array serves as share, opened value and mask of all bound wires of a shape.
        self._bound: dict[tuple[int, ...], Array] = {}

    def timed(self) -> dict[str, Work]:
        """The work of each fingerprint that was not known."""
        start = perf_counter()
        for _ in range(PASSES):
            skip = self._passed_over()
            self._deal(skip)
            self._alone(skip)
            self._beside(skip)
            self._total = self._done  # the first pass is what takes long
            if perf_counter() - start > MOST:
                break
        return {
            mark: Work(
                deal=self._typical("deal", mark),
                prepare=self._typical("prepare", mark),
                online=self._typical("evaluate", mark),
                prepare_beside=self._typical("prepare beside", mark),
                online_beside=self._typical("evaluate beside", mark),
                answer=self._typical("answer", mark),
            )
            for mark in self._marks
            if mark not in self._known
        }

    def _typical(self, what: str, mark: str) -> float:
        """The lower quartile: what else the machine does only ever adds."""
        samples = sorted(self._samples.get((what, mark), [0.0]))
        return samples[len(samples) // 4]

    def _passed_over(self) -> set[int]:
        """Instructions that a pass leaves out, now that enough is known of them.

        What others look for in later instructions, views and masks, is always carried out.
        """
        steps = zip(self._program.instructions, self._marks, strict=True)
        return {
            number
            for number, (each, mark) in enumerate(steps)
            if not (each.aliases or each.masks)
            and (mark in self._known or self._spent.get(mark, 0.0) > ENOUGH)
        }

    # ---- what is timed -------------------------------------------------------------------------

    @contextmanager
    def _timing(self, what: str, number: int) -> Iterator[None]:
        """Processor time, so that whatever else this machine does counts for less."""
        start = thread_time()
        yield
        self._record(what, number, thread_time() - start)

    def _record(self, what: str, number: int, took: float) -> None:
        mark = self._marks[number]
        self._samples.setdefault((what, mark), []).append(took)
        self._spent[mark] = self._spent.get(mark, 0.0) + took
        self._done += 1
        self._progress(
            "timing the network's instructions", min(self._done, self._total), self._total
        )

    def _alone(self, skip: set[int]) -> None:
        self._understudy().play(skip, self._timing)

    def _beside(self, skip: set[int]) -> None:
        """All parties at once, who begin every instruction together; the slowest counts."""
        start = Barrier(self._parties)
        took: list[dict[tuple[str, int], float]] = [{} for _ in range(self._parties)]

        def play(place: int) -> None:
            @contextmanager
            def timing(what: str, number: int) -> Iterator[None]:
                start.wait()
                before = perf_counter()
                yield
                took[place][what, number] = perf_counter() - before

            try:
                self._understudy().play(skip, timing)
            except BaseException:
                start.abort()  # nobody waits for one who is gone
                raise

        with ThreadPoolExecutor(self._parties, "tacita rehearsal", kernels.pool_arrays) as threads:
            plays = [threads.submit(play, place) for place in range(self._parties)]
            errors = [error for each in plays if (error := each.exception()) is not None]
        for error in sorted(errors, key=lambda each: isinstance(each, BrokenBarrierError)):
            raise error  # what went wrong, rather than that the others gave up
        for what, number in took[0]:
            slowest = max(times[what, number] for times in took)
            self._record(f"{what} beside", number, slowest)

    def _understudy(self) -> Understudy:
        bound = {port.wire: self._array(port.wire) for port in self._program.inputs}
        weights = {port.wire: self._array(port.wire) for port in self._program.weights}
        return Understudy(self._program, self._parties, bound, weights)

    def _array(self, wire: int) -> Array:
        shape = self._program.wires[wire].shape
        if shape not in self._bound:
            self._bound[shape] = StreamKey(fresh_key()).open(0).draw(shape)
        return self._bound[shape]

    def _deal(self, skip: set[int]) -> None:
        program = self._program
        store = MaskStore()
        for port in program.weights:
            store.know(port.wire, Known(self._array(port.wire)))
        ranges = [
            StreamKey(fresh_key()).reserve(0, len(program.instructions))
            for _ in range(self._parties)
        ]

        def open_streams(number: int, branch: int) -> list[Stream]:
            return [streams.open(number, branch) for streams in ranges]

        for number, instruction in in_turn(self._program, store.forget):
            if instruction.concerns_dealer and number not in skip:
                dealing = DealingOrder(store, open_streams, number)
                with self._timing("deal", number):
                    instruction.deal(dealing)
                self._answer(dealing, number)

    def _answer(self, dealing: DealingOrder, number: int) -> None:
        """What the dealer does when it is asked; the parties' words are random."""
        assists = dealing.handout.assists.values()
        random = StreamKey(fresh_key()).open(0)
        asked = [[random.draw(each.shape) for _ in range(self._parties)] for each in assists]
        if asked:
            with self._timing("answer", number):
                for each, words in zip(assists, asked, strict=True):
                    each.reply(words)
