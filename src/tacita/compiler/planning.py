"""Which way to compare, instruction by instruction, so that a run takes as little time as it can.

The ways (protocols/ways.py) compute the same, to the bit, and differ in rounds, bytes and work:
fewer rounds pay where messages take long, fewer bytes where the line is narrow, less work where the
values are many. What an instruction adds to a run:

    ahead   hops · (RTT/2 + overhead of a round) + bytes / bandwidth + a party's work; and if it is
            wished a part of the time that dealing and preparing take, which is not free where
            a stock has to be refilled all the time
    live    the same, where besides the dealer works and sends what it deals; the slowest of the
            bounds that prediction.py knows decides, for the run as a whole

Ahead, each instruction is best off by itself. Live they share one bound, so the mix is improved one
instruction at a time, from each way for all and from the best under each bound alone, until no
change helps. What comes out is predicted as a whole, and the best of it and of one way for all is
taken. Rounds of instructions that run side by side are counted for each of them, which can miss a
better mix in a network with branches, and never makes it worse than the best single way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tacita.compiler.costs import by_place
from tacita.compiler.plan import Choice, Outcome, Plan
from tacita.compiler.prediction import (
    Link,
    Machine,
    Sharing,
    Work,
    Works,
    moving_time,
    predicted,
)
from tacita.compiler.validation import validate
from tacita.compiler.work import comparisons
from tacita.errors import UsageError
from tacita.program.instruction import Instruction
from tacita.program.program import NO_MODULE, Program
from tacita.program.schedule import cost_of
from tacita.protocols.sign import Way
from tacita.protocols.ways import WAYS, compared_by, way_of

MOST_HANDED = 1 << 32  # bytes for one instruction; beyond that a role's memory is what matters
MOST_PASSES = 20  # of improvement; two or three are common
DEALING = 0.1  # of a second that somebody waits: a second of dealing ahead, where it is to count
NOTICEABLE = 1e-9  # seconds that a change has to save


# ---- rewriting ---------------------------------------------------------------------------------


def rewritten(program: Program, way: Way) -> Program:
    """The program with all comparisons made in one way. Wires, ports and places are the same."""
    return with_instructions(program, [compared_by(each, way) for each in program.instructions])


def in_way(program: Program, protocol: str, parties: int, *, ahead: bool) -> Program:
    """The program with all comparisons made in the way of that name.

    Raises UsageError where there is no such way, or it is not possible for so many parties or
    ahead of a run; says which to take instead.
    """
    way = next((way for way in WAYS if way == protocol), None)
    if way is None:
        raise UsageError(f"no protocol {protocol!r}; there is {', '.join(WAYS)} and auto")
    programs, left_out = possible(program, parties, ahead=ahead, ways=(way,))
    if way in left_out:
        others = "tables" if parties > 2 else "tables or fss"
        raise UsageError(f"protocol {protocol}: {left_out[way]}; use {others}")
    return programs[way]


def with_instructions(program: Program, instructions: Sequence[Instruction]) -> Program:
    """Raises ProgramError where that makes no program."""
    if all(new is old for new, old in zip(instructions, program.instructions, strict=True)):
        return program
    made = replace(program, instructions=tuple(instructions))
    validate(made)
    return made


def comparing(program: Program) -> list[int]:
    """The instructions that compare."""
    return [number for number, each in enumerate(program.instructions) if way_of(each) is not None]


def possible(
    program: Program, parties: int, *, ahead: bool, ways: Sequence[Way] = WAYS
) -> tuple[dict[Way, Program], dict[Way, str]]:
    """The program in each of `ways` that so many parties can use, and why not in the others."""
    programs: dict[Way, Program] = {}
    left_out: dict[Way, str] = {}
    for way in ways:
        if parties > 2 and way != "tables":
            left_out[way] = f"it is for two parties, not {parties}"
            continue
        made = rewritten(program, way)
        costs = [each.cost() for each in made.instructions]
        if ahead and any(cost.consultations for cost in costs):
            left_out[way] = "it consults the dealer in the run, so it cannot be dealt ahead"
            continue
        most = max((cost.handed_bytes for cost in costs), default=0)
        if way != "tables" and most > MOST_HANDED:
            left_out[way] = (
                f"the dealer would hand out {most / 1e9:.3g} GB for one instruction: take a "
                "smaller batch"
            )
            continue
        programs[way] = made
    return programs, left_out


# ---- planning ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """What an instruction adds to a run, in seconds. waiting: for messages to be there. sending:
    for their bytes. bounds: under each bound, for what is worked and dealt. works: without what is
    dealt."""

    waiting: float
    sending: float
    bounds: tuple[float, ...]
    works: tuple[float, ...]

    @property
    def moving(self) -> float:
        return self.waiting + self.sending


class _Pricing:
    """The parts of instructions, for one link and machine, live or ahead."""

    def __init__(
        self, link: Link, machine: Machine, parties: int, *, ahead: bool, dealing: float
    ) -> None:
        self._link = link
        self._parties = parties
        self._ahead = ahead
        self._dealing = dealing
        self._cores = machine.cores
        self._overheads = over = machine.overheads
        self._share = Sharing(link, machine.cores, parties)
        self._round = over.online_round if ahead else over.live_round
        stretch = over.online_stretch if ahead else over.live_stretch
        self._stretch = stretch if link.local else 1.0

    def part(self, instruction: Instruction, work: Work) -> _Part:
        cost, share = instruction.cost(), self._share
        moved = moving_time(cost, self._link, self._parties)
        hop = self._link.rtt / 2
        parts = (self._stocked,) if self._ahead else share.bounds
        stretch = 1.0 if self._ahead else self._stretch
        return _Part(
            waiting=cost.hops * (hop + self._round),
            sending=moved - cost.hops * hop,
            bounds=tuple(stretch * each(work, cost.handed_bytes) for each in parts),
            works=tuple(stretch * each(work, 0) for each in parts),
        )

    def _stocked(self, work: Work, handed_bytes: int) -> float:
        """The one bound on a run that is dealt for ahead: its work, and a part of what is done
        before."""
        over, share = self._overheads, self._share
        before = work.deal / self._cores + share.preparing(work)
        before += (handed_bytes > 0) * over.deal_step
        before += handed_bytes * (over.deal_byte + over.prepare_byte + 1 / self._link.bandwidth)
        return self._stretch * share.online(work) + self._dealing * before


def planned(
    program: Program,
    works: Mapping[Way, Works],
    machine: Machine,
    link: Link,
    parties: int = 2,
    *,
    ahead: bool,
    dealing: float = 0.0,
) -> tuple[Program, Plan]:
    """The program with each comparison made in the way that makes a run the fastest; and why.

    works: the work of each instruction, with all comparisons made in one way, for each way that is
        to be considered: rehearsal.py measures it. `possible` says which ones can be.
    ahead: dealing is done before; otherwise it is part of the run. dealing: what a second of it
        counts ahead, with what the parties prepare; 0 where it is free.
    The program computes the same, on the same wires. Raises UsageError where no way is left. Cost:
    that of adding up, a few times.
    """
    programs, left_out = possible(program, parties, ahead=ahead)
    left_out |= {way: "it was not to be considered" for way in programs if way not in works}
    programs = {way: made for way, made in programs.items() if way in works}
    if not programs:
        raise UsageError("no way to compare is left to plan with: give works for tables at least")
    pricing = _Pricing(link, machine, parties, ahead=ahead, dealing=dealing)
    numbers = comparing(program)
    parts: dict[Way, list[_Part]] = {
        way: [pricing.part(*each) for each in zip(made.instructions, works[way], strict=True)]
        for way, made in programs.items()
    }

    def outcome(made: Program, work: Works) -> Outcome:
        prediction = predicted(made, by_place(made), work, machine, link, parties)
        return Outcome(cost_of(made.instructions), prediction.total)

    singly = {way: outcome(made, works[way]) for way, made in programs.items()}
    found: list[tuple[Program, Outcome, list[Way]]] = [
        (made, singly[way], [way] * len(numbers)) for way, made in programs.items()
    ]
    for mix in _mixes(parts, numbers):
        picks = dict(zip(numbers, mix, strict=True))
        some = next(iter(programs))
        mixed = with_instructions(
            program,
            [
                programs[picks.get(number, some)].instructions[number]
                for number in range(len(program.instructions))
            ],
        )
        work = [works[picks.get(n, some)][n] for n in range(len(program.instructions))]
        found.append((mixed, outcome(mixed, work), mix))
    best, run, mix = min(found, key=lambda each: each[1].seconds(ahead, dealing))
    choices = _choices(program, programs, parts, numbers, mix)
    return best, Plan(link, parties, ahead, choices, run, singly, left_out, dealing)


def _total(parts: Mapping[Way, Sequence[_Part]], ways: Sequence[Way]) -> tuple[float, list[float]]:
    """Of a run whose instructions compare in these ways: what moves, and each bound."""
    own = [parts[way][number] for number, way in enumerate(ways)]
    count = len(own[0].bounds) if own else 1
    return sum(part.moving for part in own), [sum(p.bounds[k] for p in own) for k in range(count)]


def _mixes(parts: Mapping[Way, Sequence[_Part]], numbers: Sequence[int]) -> list[list[Way]]:
    """Promising ways for the comparing instructions, without doubles."""
    possible = list(parts)
    if len(possible) < 2 or not numbers:
        return []
    count = len(parts[possible[0]])
    bounds = len(parts[possible[0]][0].bounds)
    starts: list[list[Way]] = [[way] * count for way in possible]
    for bound in range(bounds):
        starts.append(
            [
                min(possible, key=lambda way: parts[way][n].moving + parts[way][n].bounds[bound])
                for n in range(count)
            ]
        )
    found: list[list[Way]] = []
    for start in starts:
        mix = _improved(parts, numbers, start)
        picks = [mix[number] for number in numbers]
        if picks not in found:
            found.append(picks)
    return found


def _improved(
    parts: Mapping[Way, Sequence[_Part]], numbers: Sequence[int], ways: list[Way]
) -> list[Way]:
    """The ways after all changes of one instruction that make the run shorter."""
    moving, bounds = _total(parts, ways)
    for _ in range(MOST_PASSES):
        changed = False
        for number in numbers:
            now = parts[ways[number]][number]
            for way in parts:
                new = parts[way][number]
                moved = moving + new.moving - now.moving
                bound = [b + n - o for b, n, o in zip(bounds, new.bounds, now.bounds, strict=True)]
                if moved + max(bound) < moving + max(bounds) - NOTICEABLE:
                    ways[number], now, moving, bounds = way, new, moved, bound
                    changed = True
        if not changed:
            break
    return ways


def _choices(
    program: Program,
    programs: Mapping[Way, Program],
    parts: Mapping[Way, Sequence[_Part]],
    numbers: Sequence[int],
    mix: Sequence[Way],
) -> tuple[Choice, ...]:
    """What was picked, with the times under the bound that holds for the run."""
    picks = dict(zip(numbers, mix, strict=True))
    some = next(iter(programs))
    _, bounds = _total(parts, [picks.get(n, some) for n in range(len(program.instructions))])
    bound = max(range(len(bounds)), key=bounds.__getitem__)
    choices = []
    for number in numbers:
        own = {way: parts[way][number] for way in programs}
        choices.append(
            Choice(
                number=number,
                place=program.places[number] or f"({NO_MODULE})",
                kind=type(program.instructions[number]).__name__,
                comparisons=comparisons(program.instructions[number]),
                costs={way: made.instructions[number].cost() for way, made in programs.items()},
                seconds={way: part.moving + part.bounds[bound] for way, part in own.items()},
                way=picks[number],
                reason=_reason(own, picks[number], bound),
            )
        )
    return tuple(choices)


def _reason(own: Mapping[Way, _Part], way: Way, bound: int) -> str:
    """In what the way that was picked saves most, beside the next best."""
    others = {each: part for each, part in own.items() if each != way}
    if not others:
        return "the only way here"
    mine = own[way]
    second = min(others.values(), key=lambda part: part.moving + part.bounds[bound])
    worked = second.works[bound] - mine.works[bound]
    dealt = second.bounds[bound] - mine.bounds[bound] - worked
    saved = {
        "fewest rounds": second.waiting - mine.waiting,
        "fewest bytes": second.sending - mine.sending + dealt,
        "least work": worked,
    }
    if sum(saved.values()) < 0:
        return "dealer and parties wait less for each other"
    return max(saved, key=saved.__getitem__)
