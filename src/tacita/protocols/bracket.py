"""A group of candidates compared all with all: the building block of a tournament (extremum.py).

All g(g-1)/2 pairs are compared at once (sign.py); the mask of a difference is the difference of
the masks. Candidate i wins if it beats all others: an AND of g-1 bits (a level of tables.py). The
winner bits w_i are opened under one-time bits, and the value Σ w_i·x_i and the index Σ w_i·i (or
Σ w_i·index_i, for private indices) are local, as in compare.py and relu.py. A pair's one bit
[x_i >= x_j], i < j, serves both of them, so that ties go to the lower index.
What is opened, and why it is uniform: see sign.py and tables.py. Source of the multi-fan-in AND:
ABY2.0 (Patra, Schneider, Suresh, Yalame, eprint 2020/1225).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import combinations

import msgspec
import numpy as np

from tacita.program.cost import Cost
from tacita.program.readings import Array, Dealing, Evaluating, Masked, Round, subtract_from
from tacita.protocols import sign, tables
from tacita.protocols.truncate import flat
from tacita.ring import kernels
from tacita.ring.planes import Layout


class Bracket(msgspec.Struct, frozen=True):
    """`count` equal groups of `size` candidates; how their pairs are compared."""

    count: int
    size: int
    width: sign.Width | None

    @property
    def candidates(self) -> int:
        return self.count * self.size

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(self.size), 2))


def bracket(count: int, size: int, n: int, bits: int, way: sign.Way = "tables") -> Bracket:
    pairs = size * (size - 1) // 2
    return Bracket(count, size, sign.width(bits, pairs * count * n, way=way) if pairs else None)


@dataclass(repr=False)
class Candidates:
    """This party's view of the candidates of a level; the first level's indices are public."""

    value: Array
    masked: Masked | None
    index: Array | None
    masked_index: Masked | None

    def part(self, part: slice) -> Candidates:
        return Candidates(
            self.value[part],
            self.masked and self.masked.map(lambda v: v[part]),
            None if self.index is None else self.index[part],
            self.masked_index and self.masked_index.map(lambda v: v[part]),
        )


def grouped(values: Array, group: Bracket) -> Array:
    """[count·size, n] as [size, count·n]: every row holds one candidate of each group."""
    count, size = group.count, group.size
    n = values.shape[1]
    return np.ascontiguousarray(
        values.reshape(count, size, n).transpose(1, 0, 2).reshape(size, count * n)
    )


def differences(rows: Array) -> Array:
    """x_i - x_j for every pair i < j, flat."""
    size, columns = rows.shape
    out = np.empty((size * (size - 1) // 2, columns), np.uint64)
    start = 0
    for i in range(size - 1):
        end = start + size - 1 - i
        np.subtract(rows[i], rows[i + 1 :], out=out[start:end])
        start = end
    return out.reshape(-1)


def deal_bracket(
    dealer: Dealing, group: Bracket, r: Array, r_index: Array | None, *, value: bool
) -> None:
    """r: the candidates' masks, [size, count·n]; r_index: those of private indices."""
    s = winner_masks(dealer, group, r)
    dealer.deal((r.size,), lambda into: kernels.bit_correction(s, into))
    bit = kernels.unpack_bits(s, r.size).astype(np.uint64)
    if value:
        dealer.deal((r.size,), subtract_from(bit * flat(r)))
    if r_index is not None:
        dealer.deal((r.size,), subtract_from(bit * flat(r_index)))


def winner_masks(dealer: Dealing, group: Bracket, r: Array) -> Array:
    """Deals what `winners` needs; returns the plane of the winner bits' masks."""
    assert group.width is not None
    layout = Layout(r.size)
    differ = differences(r)
    if group.size == 2:
        # The second wins when the first does not: one bit and its complement, one mask.
        s = kernels.unpack_bits(sign.deal(dealer, differ, group.width), differ.size)
        return kernels.pack_bits(np.concatenate([s, s]), layout.width)
    sign.deal_shared(dealer, differ, group.width)
    tables.deal_level(dealer, layout, (group.size - 1,), order=False)
    return dealer.mask_bits(layout, 1)


def evaluate_bracket(
    party: Evaluating,
    group: Bracket,
    now: Candidates,
    first_index: int,
    *,
    value: bool,
    index: bool,
) -> Generator[Round, list[Array], tuple[Array, Array]]:
    """This party's shares of the winners' values and indices, [count, n] each.

    What is not asked for comes back as zeros of the same shape.
    """
    n = now.value.shape[1]
    nothing = np.zeros((group.count, n), np.uint64)
    if group.width is None:
        return now.value, first_indices(party, group, first_index, n, now)
    assert now.masked is not None
    x = grouped(now.value, group)
    opened = grouped(now.masked.opened, group)
    flipped = yield from winners(party, group, opened)
    s = party.dealt((x.size,))
    size = group.size

    def chosen(share: Array, public: Array) -> Array:
        """Σ over the group of w_i·v_i, from shares of v and its opening."""
        dealt = np.empty((2, x.size), np.uint64)
        dealt[0], dealt[1] = s, party.dealt((x.size,))
        gated = kernels.gate_share(flat(public), flat(share), flipped, dealt)
        total: Array = gated.reshape(size, group.count, n).sum(axis=0, dtype=np.uint64)
        return total

    best = chosen(x, opened) if value else nothing
    if not index:
        return best, nothing
    if now.masked_index is not None:
        assert now.index is not None
        where = chosen(grouped(now.index, group), grouped(now.masked_index.opened, group))
        return best, where
    bits = kernels.bit_share(flipped, s, party.first).reshape(size, group.count, n)
    base = first_index + size * np.arange(group.count, dtype=np.uint64)
    rank = np.arange(size, dtype=np.uint64)[:, None, None]
    where = (bits * (rank + base[None, :, None])).sum(axis=0, dtype=np.uint64)
    return best, where


def first_indices(
    party: Evaluating, group: Bracket, first_index: int, n: int, now: Candidates
) -> Array:
    """The index of a lone candidate: public at the first level, carried along later."""
    if now.index is not None:
        return now.index
    lone = np.zeros((group.count, n), np.uint64)
    if party.first:
        lone += np.uint64(first_index)
    return lone


def winners(
    party: Evaluating, group: Bracket, opened: Array
) -> Generator[Round, list[Array], Array]:
    """The winner bits, flipped by one-time bits, public: one plane over [size, count·n]."""
    assert group.width is not None
    size, columns = opened.shape
    layout = Layout(opened.size)
    differ = differences(opened)
    if size == 2:
        plane = yield from sign.evaluate(party, differ, group.width)
        bits = kernels.unpack_bits(plane, differ.size)
        return kernels.pack_bits(np.concatenate([bits, bits ^ 1]), layout.width)
    plane = yield from sign.evaluate_shared(party, differ, group.width)
    won = kernels.unpack_bits(plane, differ.size).reshape(len(group.pairs), columns)
    lost = won ^ 1 if party.first else won
    inputs = np.empty((size - 1, size, columns), np.uint8)
    for pair, (i, j) in enumerate(group.pairs):
        inputs[j - 1, i] = won[pair]
        inputs[i, j] = lost[pair]
    nodes = np.concatenate(
        [kernels.pack_bits(each.reshape(-1), layout.width) for each in inputs], axis=1
    )
    wins = yield from tables.evaluate_level(party, layout, nodes, (size - 1,), order=False)
    mask = party.mask_bits(layout, 1)
    (flipped,) = yield [mask.hide(wins)]
    return flipped


def bracket_cost(group: Bracket, n: int, *, value: bool, private_index: bool) -> Cost:
    if group.width is None:
        return Cost()
    columns = group.count * n
    pairs = Layout(len(group.pairs) * columns)
    elements = group.size * columns
    layout = Layout(elements)
    dealt = Cost(dealt_bytes=8 * elements * (1 + value + private_index))
    if group.size == 2:
        return group.width.cost(pairs) + dealt
    fan = (group.size - 1,)
    wins = Cost(
        rounds=2,
        opened_bytes=layout.bytes(group.size - 1) + layout.bytes(1),
        dealt_bytes=layout.bytes(kernels.product_count(fan, order=False)),
    )
    return sign.shared_cost(pairs, group.width) + wins + dealt
