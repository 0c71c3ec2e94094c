"""A plan: how each comparison of a program is to be made, why, and what it does to a run.

Made by planning.py; shown by plan_table.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tacita.compiler.prediction import Link, Time
from tacita.compiler.report import time_as_dict
from tacita.program.cost import Cost
from tacita.protocols.sign import Way
from tacita.protocols.ways import WAYS


@dataclass(frozen=True, slots=True)
class Choice:
    """One comparing instruction, of the program that was planned.

    number, place, kind: which it is. comparisons: how many pairs of numbers it compares.
    costs, seconds: what it adds to a run in each way that is possible, live or ahead as planned.
    way: the one that was picked. reason: why, in words.
    """

    number: int
    place: str
    kind: str
    comparisons: int
    costs: Mapping[Way, Cost]
    seconds: Mapping[Way, float]
    way: Way
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a whole run costs and takes. cost: of the run. time: see prediction.py; of a program
    that consults the dealer, only the live time means anything."""

    cost: Cost
    time: Time

    def seconds(self, ahead: bool, dealing: float = 0.0) -> float:
        """What a plan makes small. dealing: as in `Plan`."""
        if not ahead:
            return self.time.live
        return self.time.online + dealing * (self.time.dealing + self.time.preparing)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a program is to compare, and how it does that way and others.

    link: for which it was made. ahead: whether dealing is done before. dealing: what a second of it
    counts then, with what the parties prepare, beside one that somebody waits.
    choices: for each comparing instruction. planned: the run as it was planned.
    singly: one way for all, by way, in the order of WAYS. left_out: ways that cannot be used here,
    and why.
    """

    link: Link
    parties: int
    ahead: bool
    choices: tuple[Choice, ...]
    planned: Outcome
    singly: Mapping[Way, Outcome]
    left_out: Mapping[Way, str]
    dealing: float = 0.0

    @property
    def ways(self) -> tuple[Way, ...]:
        """Those that were picked for some instruction, in the order of WAYS."""
        picked = {choice.way for choice in self.choices}
        return tuple(way for way in WAYS if way in picked)

    @property
    def best_single(self) -> Way:
        """The fastest way for all instructions alike."""
        return min(self.singly, key=lambda way: self._seconds(self.singly[way]))

    def _seconds(self, outcome: Outcome) -> float:
        return outcome.seconds(self.ahead, self.dealing)

    def reason(self) -> str:
        """Why the run was planned as it was, in one sentence."""
        if not self.choices:
            return "nothing is compared"
        what = "out of the stock" if self.ahead else "live, dealing included"
        if self.ahead and self.dealing:
            what += f", a second of dealing counted as {self.dealing:g}"
        if len(self.singly) == 1:
            return f"{self.ways[0]}: the only way here"
        if len(self.ways) == 1:
            words = _most(choice.reason for choice in self.choices)
            return f"{self.ways[0]} for all, the fastest {what}: {words}"
        parts = []
        for way in self.ways:
            own = [choice for choice in self.choices if choice.way == way]
            words = _most(choice.reason for choice in own)
            parts.append(f"{way} for {len(own)} of {len(self.choices)} ({words})")
        return f"{', '.join(parts)}: the fastest {what}"

    def as_dict(self) -> dict[str, Any]:
        """In numbers: seconds, bytes and counts, ready for JSON."""

        def outcome(each: Outcome) -> dict[str, Any]:
            possible = not each.cost.consultations
            return {**_cost(each.cost, self.parties), "seconds": time_as_dict(each.time, possible)}

        return {
            "ahead": self.ahead,
            "dealing": self.dealing,
            "reason": self.reason(),
            "planned": {"ways": list(self.ways), **outcome(self.planned)},
            "singly": {way: outcome(each) for way, each in self.singly.items()},
            "left_out": dict(self.left_out),
            "choices": [
                {
                    "instruction": choice.number,
                    "place": choice.place,
                    "kind": choice.kind,
                    "comparisons": choice.comparisons,
                    "way": choice.way,
                    "reason": choice.reason,
                    "ways": {
                        way: {**_cost(cost, self.parties), "seconds": choice.seconds[way]}
                        for way, cost in choice.costs.items()
                    },
                }
                for choice in self.choices
            ],
        }


def _cost(cost: Cost, parties: int) -> dict[str, int]:
    figures = {name: getattr(cost, name) for name in cost.__dataclass_fields__}
    return {**figures, "online_bytes": cost.online_bytes(parties)}


def _most(words: Iterable[str]) -> str:
    counted: dict[str, int] = {}
    for each in words:
        counted[each] = counted.get(each, 0) + 1
    return max(counted, key=counted.__getitem__)
