"""The largest of m candidates and where it is: max, argmax, and by negation min and argmin.

Shapes: candidates along the first of two dimensions, [m, n]. Range: the difference of any two
    candidates lies within the width's bound; k = 64 holds if every |x| < 2^62.
Computes: a tournament in levels of groups (bracket.py), whose winners are masked afresh (one
    round) for the next level. The index is public arithmetic on the winner bits at the first
    level; later levels select among the private indices of the winners. Ties go to the lowest
    index. Few columns are compared all with all, in one level; many in pairs, which takes more
    rounds and the fewest comparisons, m - 1: `tournament` weighs the two by the declared costs.
Cost: for a level: the comparison's rounds, one for the AND (where g > 2), one for the winner bits,
    and one for masking unless it is the first.
Error: none.
Opened: masked candidates, and bits under one-time masks; see sign.py and tables.py.
Source: all-pairs comparison as in CrypTen's pairwise argmax (Knott et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, reduce

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
from tacita.protocols.sign import Way
from tacita.protocols.tables import DEALT_FOR_A_ROUND

WHOLE = 10  # candidates that may be compared all with all: an AND of one bit fewer
SPLITS = (2, 3, 4)  # group sizes where they are not
# Bytes that a round is worth here: more than where a comparison weighs its levels, since a further
# level of a tournament also masks its candidates afresh, at every role.
WORTH_A_ROUND = 8 * DEALT_FOR_A_ROUND

Level = tuple[Bracket, ...]


@lru_cache(maxsize=1024)
def tournament(
    m: int,
    n: int,
    bits: int,
    *,
    value: bool = True,
    index: bool = True,
    way: Way = "tables",
) -> tuple[Level, ...]:
    """The levels for m candidates in each of n columns, whose differences fit in `bits`.

    value, index: what is asked of the winner. Of all ways to cut the candidates of each level into
    groups of one size, the one with the least `price`.
    """
    # For so many candidates: the cheapest levels from there on, and their price.
    best: dict[tuple[int, bool], tuple[int, tuple[Level, ...]]] = {}

    def cheapest(m: int, first: bool) -> tuple[int, tuple[Level, ...]]:
        if m == 1:
            return 0, ()
        if (m, first) not in best:
            best[m, first] = min(
                (follow(m, size, first) for size in sizes(m)), key=lambda found: found[0]
            )
        return best[m, first]

    def follow(m: int, size: int, first: bool) -> tuple[int, tuple[Level, ...]]:
        groups = [(m // size, size), (1, m % size)]
        level = tuple(bracket(count, of, n, bits, way) for count, of in groups if count and of)
        left = sum(each.count for each in level)
        cost = level_cost(level, n, first=first, value=value or left > 1, index=index)
        rest, levels = cheapest(left, False)
        return price(cost) + rest, (level, *levels)

    return cheapest(m, True)[1]


def sizes(m: int) -> list[int]:
    """The group sizes to choose from; where prices are equal, the fewest levels."""
    return [*([m] if m <= WHOLE else []), *(size for size in reversed(SPLITS) if size < m)]


def price(cost: Cost) -> int:
    """Bytes, with those that a round is worth."""
    sent = cost.dealt_bytes + cost.opened_bytes + cost.published_bytes + cost.consulted_bytes
    return sent + (cost.rounds + cost.consultations) * WORTH_A_ROUND


def level_cost(level: Level, n: int, *, first: bool, value: bool, index: bool) -> Cost:
    """What a level costs, with the masking of what the level before it has left."""
    masking = Cost()
    if not first:
        candidates = sum(each.candidates for each in level)
        masking = Cost(rounds=1, opened_bytes=8 * candidates * n * (1 + index))
    private_index = index and not first
    return masking + reduce(
        Cost.beside,
        (bracket_cost(each, n, value=value, private_index=private_index) for each in level),
    )


def total_cost(levels: tuple[Level, ...], n: int, *, value: bool, index: bool) -> Cost:
    """What a tournament costs; value, index: what is asked of the winner."""
    total = Cost()
    for depth, level in enumerate(levels):
        last = depth == len(levels) - 1
        total += level_cost(level, n, first=depth == 0, value=value or not last, index=index)
    return total


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
        return total_cost(
            self.levels,
            self.shape[1],
            value=self.value is not None,
            index=self.index is not None,
        )

    @property
    def consults(self) -> tuple[int, ...]:
        """The comparison of each level, which comes first, or after the masking of candidates."""
        rounds, at = [], 0
        for depth, level in enumerate(self.levels):
            cost = level_cost(level, self.shape[1], first=depth == 0, value=True, index=True)
            rounds += [at + (depth > 0)] * cost.consultations
            at += cost.rounds
        return tuple(rounds)


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
