"""Running a whole program at a party: side by side whatever the data flow allows.

All parties follow the same schedule, which depends on the program alone, so that the openings of a
round mean the same at each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from tacita.program.instruction import Instruction
from tacita.program.readings import Array, Round, Steps
from tacita.protocols import MaskWires
from tacita.runtime.common import Common
from tacita.runtime.deployment import Deployment
from tacita.runtime.material import Corrections, Material
from tacita.runtime.reading import Prepared, begin
from tacita.runtime.store import Store


class Exchange(Protocol):
    """Where rounds are carried out."""

    def __call__(self, round_: Round) -> list[Array]: ...

    def pass_over(self, number: int) -> None:
        """The dealer is not to wait for what this instruction would have asked it."""
        ...


def failure_of(instruction: Instruction, store: Store) -> str | None:
    """Why an instruction is to be passed over: a wire it reads was refused in checked mode.

    Masking such a wire opens something uniform all the same, and others with it: what was passed
    over when it should have been made is opened as zero.
    """
    if not store.failed:
        return None
    if isinstance(instruction, MaskWires):
        for wire, shape in zip(instruction.wires, instruction.shapes, strict=True):
            if wire in store.failed:
                store.hold_zeros(wire, shape)
        return None
    return next((store.failed[w] for w in instruction.reads if w in store.failed), None)


def pass_over(
    instruction: Instruction,
    number: int,
    store: Store,
    material: Material,
    exchange: Exchange,
    failure: str,
    prepared: Prepared | None = None,
) -> None:
    """The refusal goes on to what the instruction would have written.

    The dealer does not know: what it has sent is taken, so that its channel does not fill, and what
    it waits for does not come.
    """
    for wire in instruction.writes:
        store.failed[wire] = failure
    if prepared is not None and number in prepared.drawn:
        return  # what was dealt for it has been taken
    cost = instruction.cost()
    if cost.published_bytes or (material.corrected and cost.dealt_bytes):
        material.corrections(number)
    if cost.consultations:
        exchange.pass_over(number)


class Execution:
    """One run of a program at one party. `carried` counts the instructions that have ended."""

    def __init__(
        self,
        deployment: Deployment,
        store: Store,
        material: Material,
        prepared: Prepared | None,
        exchange: Exchange,
        ended: Callable[[], None],
        common: Common | None = None,
    ) -> None:
        self._deployment = deployment
        self._store = store
        self._material = material
        self._prepared = prepared
        self._exchange = exchange
        self._ended = ended
        self._common = common
        self._waits = list(deployment.schedule.waits)
        self._uses = dict(deployment.schedule.uses)
        self._ready: list[int] = []
        self._waiting: dict[int, tuple[Steps, Corrections | None, Round]] = {}

    def run(self) -> None:
        for number, waits in enumerate(self._waits):
            if not waits:
                heappush(self._ready, number)
        self._start_ready()
        waiting = self._waiting
        while waiting:
            if len(waiting) == 1:  # most rounds of a network that has no branches
                number, (steps, corrections, openings) = waiting.popitem()
                self._advance(number, steps, corrections, self._exchange(openings))
                self._start_ready()
                continue
            round_ = sorted(waiting)
            opened = self._exchange(
                [opening for number in round_ for opening in waiting[number][2]]
            )
            start = 0
            for number in round_:
                steps, corrections, openings = waiting.pop(number)
                answer = opened[start : start + len(openings)]
                start += len(openings)
                self._advance(number, steps, corrections, answer)
            self._start_ready()

    def _start_ready(self) -> None:
        instructions = self._deployment.program.instructions
        ready, store, material, prepared = self._ready, self._store, self._material, self._prepared
        while ready:
            number = heappop(ready)
            instruction = instructions[number]
            failure = failure_of(instruction, store)
            if failure is not None:
                pass_over(instruction, number, store, material, self._exchange, failure, prepared)
                self._end(number)
                continue
            steps, corrections = begin(
                instruction, number, store, material, prepared, common=self._common
            )
            self._advance(number, steps, corrections, None)

    def _advance(
        self,
        number: int,
        steps: Steps,
        corrections: Corrections | None,
        answer: list[Array] | None,
    ) -> None:
        try:
            openings = next(steps) if answer is None else steps.send(answer)
        except StopIteration:
            if corrections is not None:
                corrections.check_spent()
            self._end(number)
        else:
            self._waiting[number] = (steps, corrections, openings)

    def _end(self, number: int) -> None:
        uses, waits = self._uses, self._waits
        for wire in self._deployment.touched[number]:
            uses[wire] = left = uses[wire] - 1
            if not left:
                self._store.forget(wire)
        for follower in self._deployment.schedule.followers[number]:
            waits[follower] = left = waits[follower] - 1
            if not left:
                heappush(self._ready, follower)
        self._ended()
