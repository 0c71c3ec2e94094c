"""A party without peers: it carries out a program's instructions one by one, to be timed.

Nothing it computes means anything: inputs and weights are random, and what its peers would send is
taken to be what it sends itself. Its randomness comes from a key of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager

import numpy as np

from tacita.errors import MaterialMismatch
from tacita.program.instruction import Instruction
from tacita.program.program import Program
from tacita.program.readings import Array, Consultation, Masked, Round
from tacita.program.schedule import schedule
from tacita.ring.randomness import Stream, StreamKey, fresh_key
from tacita.runtime.common import RunCommon, SessionCommon
from tacita.runtime.material import Corrections, Dealt
from tacita.runtime.reading import Preparation, Prepared, begin
from tacita.runtime.rounds import joined
from tacita.runtime.store import Held, Store

Timing = Callable[[str, int], AbstractContextManager[None]]  # "prepare" or "evaluate", and which


class Understudy:
    """inputs, weights: an array for each of these wires; one may serve several wires, and serves as
    share, as opened value and as mask alike.
    """

    def __init__(
        self,
        program: Program,
        parties: int,
        inputs: Mapping[int, Array],
        weights: Mapping[int, Array],
    ) -> None:
        self._program = program
        self._parties = parties
        self._inputs = inputs
        count = len(program.instructions)
        self._material = OwnMaterial(count)
        self._common = RunCommon(SessionCommon(fresh_key), 0, count)
        self._store = store = Store("rehearsal", first=True)
        for wire, values in weights.items():
            store.hold(wire, Held(values, Masked(values, values)))
        for literal in program.constants:
            values = literal.array(program.wires[literal.wire].shape)
            store.hold(literal.wire, Held(values, public=True))

    def play(self, skip: Set[int], timing: Timing) -> None:
        """Prepares and evaluates all instructions but those to be skipped, whose results are
        memory that nobody has written to. Once only, as any run.
        """
        paced = Paced(self._program.instructions, skip, timing)
        prepared = Preparation(self._material, self._store).go_through(paced)
        for wire, values in self._inputs.items():
            self._store.hold(wire, Held(values))
        for number, instruction in in_turn(self._program, self._store.forget):
            if number in skip:
                for wire in instruction.writes:
                    shape = self._program.wires[wire].shape
                    self._store.hold(wire, Held(np.empty(shape, np.uint64)))
                continue
            with timing("evaluate", number):
                self._evaluate(instruction, number, prepared)

    def _evaluate(self, instruction: Instruction, number: int, prepared: Prepared) -> None:
        steps, _ = begin(
            instruction,
            number,
            self._store,
            self._material,
            prepared,
            common=self._common,
            corrections=OwnCorrections(self._material, number),
        )
        try:
            openings = next(steps)
            while True:
                openings = steps.send(self._exchanged(openings))
        except StopIteration:
            pass

    def _exchanged(self, openings: Round) -> list[Array]:
        """As if the peers had sent the same, and the dealer answered nothing but zeros."""
        sums = []
        for opening in openings:
            if isinstance(opening, Consultation):
                sums.append(np.zeros(opening.shape, np.uint64))
                continue
            total = opening.summand
            for _ in range(self._parties - 1):
                total = joined(opening.boolean, total, opening.summand)
            sums.append(total)
        return sums


def in_turn(program: Program, forget: Callable[[int], None]) -> Iterator[tuple[int, Instruction]]:
    """The instructions with their numbers; wires are forgotten after their last use."""
    uses = dict(schedule(program.instructions).uses)
    for number, instruction in enumerate(program.instructions):
        yield number, instruction
        for wire in (*instruction.reads, *instruction.writes):
            uses[wire] -= 1
            if not uses[wire]:
                forget(wire)


class Paced(tuple[Instruction, ...]):
    """A program's instructions, for somebody to go through them once while they are timed.

    What is skipped appears as an instruction that has nothing to prepare.
    """

    _skip: Set[int]
    _timing: Timing

    def __new__(
        cls, instructions: tuple[Instruction, ...], skip: Set[int], timing: Timing
    ) -> Paced:
        made = super().__new__(cls, instructions)
        made._skip, made._timing = skip, timing
        return made

    def __iter__(self) -> Iterator[Instruction]:
        for number, instruction in enumerate(super().__iter__()):
            if number in self._skip:
                yield Instruction()
            else:
                with self._timing("prepare", number):
                    yield instruction


class OwnMaterial:
    """Implements `runtime.material.Material` for a party that expands all of it from one key."""

    def __init__(self, count: int) -> None:
        self.corrected = False
        self._streams = StreamKey(fresh_key()).reserve(0, count)

    def stream(self, number: int, branch: int) -> Stream:
        return self._streams.open(number, branch)

    def corrections(self, number: int) -> Dealt:
        raise MaterialMismatch(f"no dealer takes part in a rehearsal: instruction {number}")


class OwnCorrections(Corrections):
    """Whatever is asked for, uniform: what a dealer publishes looks like that too."""

    __slots__ = ("_stream",)

    def __init__(self, material: OwnMaterial, number: int) -> None:
        super().__init__(material, number)
        self._stream: Stream | None = None

    def take(self, branch: int, shape: tuple[int, ...]) -> Array:
        if self._stream is None:
            self._stream = StreamKey(fresh_key()).open(0)
        return self._stream.draw(shape)
