"""The largest of m candidates and where it is: max, argmax, and by negation min and argmin.

Shapes: candidates along the first of two dimensions, [m, n]. Range: the difference of any two
    candidates lies within the width's bound; k = 64 holds if every |x| < 2^62.
Computes: a tournament in levels of groups (bracket.py). Up to ten candidates form one group; more
    are cut into groups of four, whose winners are masked afresh (one round) for the next level.
    The index is public arithmetic on the winner bits at the first level; later levels select
    among the private indices of the winners. Ties go to the lowest index.
Cost: for a level: the comparison's rounds, one for the AND (where g > 2), one for the winner bits,
    and one for masking unless it is the first.
Error: none.
Opened: masked candidates, and bits under one-time masks; see sign.py and tables.py.
Source: all-pairs comparison as in CrypTen's pairwise argmax (Knott et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.readings import Dealing, Evaluating, Masked, PlainMachine, Steps
from tacita.protocols.bracket import (
    Bracket,
    Candidates,
    bracket,
    bracket_cost,
    deal_bracket,
    evaluate_bracket,
    grouped,
)
from tacita.protocols.side_by_side import side_by_side

WHOLE = 10  # candidates that are compared all with all
SPLIT = 4  # the group size where there are more

Level = tuple[Bracket, ...]


def tournament(m: int, n: int, bits: int) -> tuple[Level, ...]:
    """The levels for m candidates in each of n columns, whose differences fit in `bits`."""
    levels: list[Level] = []
    while m > 1:
        size = m if m <= WHOLE else SPLIT
        sizes = [(m // size, size), (1, m % size)]
        level = tuple(bracket(count, size, n, bits) for count, size in sizes if count and size)
        levels.append(level)
        m = sum(each.count for each in level)
    return tuple(levels)


class Extremum(Instruction, frozen=True, tag=True):
    """value[j] = max_i x[i, j], index[j] the first i that attains it; x is masked, [m, n].

    A wire that nobody wants is None.
    """

    value: int | None
    index: int | None
    x: int
    shape: tuple[int, int]
    levels: tuple[Level, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x,)

    @property
    def writes(self) -> tuple[int, ...]:
        return tuple(wire for wire in (self.value, self.index) if wire is not None)

    def plain(self, machine: PlainMachine) -> None:
        x = machine.value(self.x).view(np.int64)
        index = np.argmax(x, axis=0)
        if self.index is not None:
            machine.write(self.index, index.astype(np.uint64))
        if self.value is not None:
            machine.write(self.value, np.max(x, axis=0).view(np.uint64))

    def deal(self, dealer: Dealing) -> None:
        r, r_index = dealer.mask_of(self.x), None
        for depth, level in enumerate(self.levels):
            if depth:
                shape = (sum(each.count for each in self.levels[depth - 1]), self.shape[1])
                r = dealer.mask(shape)
                r_index = dealer.mask(shape) if self.index is not None else None
            last = depth == len(self.levels) - 1
            for branch, (group, part) in enumerate(parts(level), start=2 * depth + 1):
                if group.width is not None:
                    masks = grouped(r[part], group)
                    indices = None if r_index is None else grouped(r_index[part], group)
                    deal_bracket(
                        dealer.branch(branch),
                        group,
                        masks,
                        indices,
                        value=self._wants_value(last),
                    )

    def _wants_value(self, last: bool) -> bool:
        return self.value is not None or not last

    def evaluate(self, party: Evaluating) -> Steps:
        n = self.shape[1]
        start = party.masked(self.x)
        now = Candidates(party.share(self.x), start, None, None)
        if not self.levels:
            now.index = np.zeros((1, n), np.uint64)
        for depth, level in enumerate(self.levels):
            if depth:
                yield from remask(party, now)
            last = depth == len(self.levels) - 1
            best = yield from side_by_side(
                *(
                    evaluate_bracket(
                        party.branch(branch),
                        group,
                        now.part(part),
                        part.start,
                        value=self._wants_value(last),
                        index=self.index is not None,
                    )
                    for branch, (group, part) in enumerate(parts(level), start=2 * depth + 1)
                )
            )
            now = Candidates(
                np.concatenate([value for value, _ in best]),
                None,
                np.concatenate([index for _, index in best]) if self.index is not None else None,
                None,
            )
        if self.value is not None:
            party.write(self.value, now.value.reshape(n))
        if self.index is not None:
            assert now.index is not None
            party.write(self.index, now.index.reshape(n))

    def cost(self) -> Cost:
        n = self.shape[1]
        total = Cost()
        for depth, level in enumerate(self.levels):
            if depth:
                left = sum(each.count for each in self.levels[depth - 1])
                masked = 2 if self.index is not None else 1
                total += Cost(rounds=1, opened_bytes=8 * left * n * masked)
            last = depth == len(self.levels) - 1
            private_index = depth > 0 and self.index is not None
            costs = (
                bracket_cost(each, n, value=self._wants_value(last), private_index=private_index)
                for each in level
            )
            total += reduce(Cost.beside, costs)
        return total


def parts(level: Level) -> Iterator[tuple[Bracket, slice]]:
    """The brackets of a level with the candidates each of them takes."""
    start = 0
    for each in level:
        yield each, slice(start, start + each.candidates)
        start += each.candidates


def remask(party: Evaluating, now: Candidates) -> Steps:
    """Opens the winners of a level, and their indices, under fresh masks in one round."""
    hidden = [now.value] if now.index is None else [now.value, now.index]
    masks = [party.mask(value.shape) for value in hidden]
    opened = yield [mask.hide(value) for mask, value in zip(masks, hidden, strict=True)]
    masked = [Masked(value, mask.share) for value, mask in zip(opened, masks, strict=True)]
    now.masked = masked[0]
    now.masked_index = masked[1] if len(masked) > 1 else None
