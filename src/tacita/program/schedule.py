"""Who waits for whom: the order that a program's data flow allows, and its rounds.

Instructions that do not wait for one another run side by side, and what they open in the same
round travels together. The schedule depends on the program alone, so all roles have the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction


@dataclass(frozen=True, slots=True)
class Schedule:
    """waits: for each instruction, how many others have to end before it.
    followers: for each instruction, those that wait for it.
    uses: for each wire, how many instructions read or write it.
    """

    waits: tuple[int, ...]
    followers: tuple[tuple[int, ...], ...]
    uses: dict[int, int]


def schedule(instructions: Sequence[Instruction]) -> Schedule:
    """An instruction waits for whoever writes what it reads, and for the masks on that.

    A wire has a mask of its own, or that of a wire which it is a view of: the nearest, which is
    the earliest, since a view of what is masked needs no mask. Linear in reads and writes.
    """
    origin: dict[int, int] = {}  # of a view: what it shows in the end
    writer: dict[int, int] = {}
    masker: dict[int, int] = {}
    for index, instruction in enumerate(instructions):
        for wire in instruction.masks:
            masker.setdefault(wire, index)
    last_on: dict[int, int] = {}  # the last mask on a wire or a view of it
    uses: Counter[int] = Counter()
    waits: list[int] = []
    followers: list[list[int]] = [[] for _ in instructions]
    for index, instruction in enumerate(instructions):
        before = set()
        for wire in instruction.reads:
            if wire in writer:
                before.add(writer[wire])
            if masker.get(wire, index) < index:
                before.add(masker[wire])
        for wire in instruction.masks:
            # Masks on views of one wire keep their order: a view that has its own comes first.
            shown = origin.get(wire, wire)
            if last_on.get(shown, index) != index:
                before.add(last_on[shown])
            last_on[shown] = index
        for earlier in before:
            followers[earlier].append(index)
        waits.append(len(before))
        for wire in instruction.writes:
            writer[wire] = index
            if instruction.aliases:
                (source,) = instruction.reads
                origin[wire] = origin.get(source, source)
                if source in masker:
                    masker[wire] = min(masker.get(wire, masker[source]), masker[source])
        uses.update((*instruction.reads, *instruction.writes))
    return Schedule(tuple(waits), tuple(map(tuple, followers)), dict(uses))


def starts(instructions: Sequence[Instruction]) -> tuple[list[int], int]:
    """The round before which each instruction starts, if it starts as soon as it may; the total."""
    plan = schedule(instructions)
    start = [0] * len(instructions)
    total = 0
    for index, followers in enumerate(plan.followers):
        end = start[index] + instructions[index].cost().rounds
        total = max(total, end)
        for follower in followers:
            start[follower] = max(start[follower], end)
    return start, total


def cost_of(instructions: Sequence[Instruction]) -> Cost:
    """What a run costs, with independent openings and consultations merged into rounds."""
    start, total = starts(instructions)
    costs = sum((instruction.cost() for instruction in instructions), start=Cost())
    return replace(costs, rounds=total, consultations=len(consulting(instructions, start)))


def consulting(instructions: Sequence[Instruction], start: Sequence[int]) -> dict[int, int]:
    """The rounds of a run that go by the dealer, ascending, each with the first instruction that
    asks in it. start: as `starts` has it."""
    asking: dict[int, int] = {}
    for number, instruction in enumerate(instructions):
        for own in instruction.consults:
            asking.setdefault(start[number] + own, number)
    return dict(sorted(asking.items()))
