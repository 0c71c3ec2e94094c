"""What a run costs, by the layers of the network that it comes from; from the program alone.

Bytes, work and comparisons of a layer are those of its instructions. Rounds are not: what is
independent shares them. A layer is charged for its part of one longest chain of rounds, so that
the rounds of all layers add up to those of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tacita.compiler.work import comparisons, multiply_adds
from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.program import NO_MODULE, Program
from tacita.program.schedule import consulting, schedule, starts

OUTSIDE = f"({NO_MODULE})"


@dataclass(slots=True)
class LayerCost:
    """place: as in the program: the path of a module or the name of an operation; or OUTSIDE.
    cost: its rounds are those it adds to the run, its consultations those of the run's rounds by
        way of the dealer in which it is the first to ask; its bytes are its instructions'.
    multiply_adds: of its products, once. comparisons: of pairs of numbers. parts: how many
        instructions of each kind.
    instructions: their places in the program, ascending. first: the first of them that opens or is
        dealt something, or the length of the program.
    """

    place: str
    first: int
    cost: Cost = field(default_factory=Cost)
    multiply_adds: int = 0
    comparisons: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    instructions: list[int] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return self.cost.rounds

    @property
    def opened_bytes(self) -> int:
        return self.cost.opened_bytes

    @property
    def handed_bytes(self) -> int:
        """What the dealer sends to the last party."""
        return self.cost.handed_bytes

    def online_bytes(self, parties: int) -> int:
        """What one party sends in all when `parties` take part."""
        return self.cost.online_bytes(parties)


def by_place(program: Program) -> list[LayerCost]:
    """A LayerCost for each module, in the order in which they first open or are dealt something;
    the others come last.

    The sums over all layers are `cost_of(program.instructions)`. Cost: that of the schedule.
    """
    layers: dict[str, LayerCost] = {}
    end = len(program.instructions)
    steps = zip(program.instructions, program.places, strict=True)
    for number, (instruction, place) in enumerate(steps):
        layer = layers.setdefault(place, LayerCost(place or OUTSIDE, first=end))
        cost = instruction.cost()
        layer.cost += replace(cost, rounds=0, consultations=0)
        layer.multiply_adds += multiply_adds(instruction, program)
        layer.comparisons += comparisons(instruction)
        layer.parts[type(instruction).__name__] += 1
        layer.instructions.append(number)
        if cost != Cost():  # views of weights say nothing about where a layer stands
            layer.first = min(layer.first, number)
    for number in longest_chain(program.instructions):
        layers[program.places[number]].cost += Cost(program.instructions[number].cost().rounds)
    asking = consulting(program.instructions, starts(program.instructions)[0])
    for number in asking.values():
        layers[program.places[number]].cost += Cost(consultations=1)
    return sorted(layers.values(), key=lambda layer: layer.first)


def longest_chain(instructions: Sequence[Instruction]) -> list[int]:
    """Instructions with rounds, each of which starts in the round in which the one before it ends,
    from the first round of the run to its last; of several such chains the one that stands first.
    """
    start, total = starts(instructions)
    ends = [at + each.cost().rounds for at, each in zip(start, instructions, strict=True)]
    before: list[list[int]] = [[] for _ in instructions]
    for number, followers in enumerate(schedule(instructions).followers):
        for follower in followers:
            before[follower].append(number)
    chain: list[int] = []
    # Whoever starts after a round waits for somebody who ends with it, perhaps through others.
    candidates: Sequence[int] = range(len(instructions))
    round_ = total
    while round_ > 0:
        number = next(each for each in candidates if ends[each] == round_)
        if start[number] < round_:
            chain.append(number)
            round_ = start[number]
        candidates = before[number]
    return chain[::-1]
