"""The sign of a masked wire as a flipped bit: the common core of comparison, ReLU and maximum.

Shapes: n elements. Range: |x| < 2^(k-1), k <= 64; k = 64 holds for every ring element.
Computes: for y = x + 2^(k-1) with opening ŷ = y + r, bit k-1 of y is [x >= 0], and
        bit_{k-1}(ŷ - r) = bit_{k-1}(ŷ) ⊕ bit_{k-1}(r) ⊕ [ŷ_low < r_low]
    over the k-1 low bits, in one of three ways: tables.py and fss.py share that bit, and the
    parties open b̂ = b ⊕ s for a one-time bit s: each masks its share with a bit of its seed, and
    the dealer's s is the XOR of those bits and of bit_{k-1}(r), which so costs nothing. By snn.py
    b̂ is what the dealer answers, with s the XOR of a bit of each party's seed.
    `drop` low bits may be left out. With both x̂ and r cut by the same 2^drop, b is exactly the
    sign of the value that truncation by 2^drop makes of x (truncate.py), not that of x.
Cost: the rounds of the plan, and for tables and fss one more, in which a bit an element is opened.
Opened: b ⊕ s with s uniform; and what the plan's own file says.
Source: the comparison with a masked opening goes back to Damgård, Fitzi, Kiltz, Nielsen, Toft
    (TCC 2006); the tables are ours.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Literal

import msgspec
import numpy as np

from tacita.program.cost import Cost
from tacita.program.readings import Array, Dealing, Evaluating, Round
from tacita.program.wire import RING_BITS
from tacita.protocols import fss, snn, tables
from tacita.ring import kernels
from tacita.ring.planes import Layout

RING = 1 << RING_BITS

Plan = tables.Plan | fss.Plan | snn.Plan
Way = Literal["tables", "fss", "snn"]  # to compare


class Width(msgspec.Struct, frozen=True):
    """|x| < 2^(bits-1), without the `drop` lowest bits, by the plan of `bits - 1 - drop` bits."""

    bits: int
    drop: int
    plan: Plan

    def __post_init__(self) -> None:
        if self.plan.bits != self.bits - 1 - self.drop:
            raise ValueError(f"a plan for {self.plan.bits} bits cannot serve {self}")

    def cost(self, layout: Layout, thresholds: int = 1) -> Cost:
        return self.plan.opened_cost(layout, order=True, trees=thresholds)


def width(bits: int, n: int, *, drop: int = 0, way: Way = "tables") -> Width:
    """The width for n values with |x| < 2^(bits-1)."""
    return Width(bits=bits, drop=drop, plan=plan(way, bits - 1 - drop, n, order=True))


def plan(way: Way, bits: int, n: int, *, order: bool) -> Plan:
    """How n values of so many bits are compared in this way."""
    if way == "fss":
        return fss.Plan(bits)
    if way == "snn":
        return snn.Plan(bits)
    return tables.plan(bits, n, order=order)


def way_of(plan: Plan) -> Way:
    if isinstance(plan, fss.Plan):
        return "fss"
    return "snn" if isinstance(plan, snn.Plan) else "tables"


def cut(values: Array, width: Width) -> tuple[Layout, Array, Array]:
    """The layout of flat values, the planes of their compared low bits, and that of bit k-1."""
    layout = Layout(values.size)
    planes = kernels.to_planes(values, width.drop, width.bits - width.drop, layout.width)
    return layout, np.ascontiguousarray(planes[:, :-1]), planes[:, -1:]


def shifted(values: Array, width: Width) -> Array:
    """Flat values without the bits that the width drops."""
    return np.right_shift(values, np.uint64(width.drop))


def tops(values: Array, width: Width) -> Array:
    """The plane of bit k-1 of flat values."""
    return kernels.to_planes(values, width.bits - 1, 1, Layout(values.size).width)


def placed(opened: Array, thresholds: Sequence[int], width: Width) -> Array:
    """x̂ - t + 2^(k-1) for each threshold t, [thresholds, n]."""
    lift = 1 << (width.bits - 1)
    lifts = np.array([(lift - t) % RING for t in thresholds], np.uint64)
    return np.add(opened[None, :], lifts[:, None])


# ---- flipped by a one-time bit, and public ------------------------------------------------------


def deal(dealer: Dealing, r: Array, width: Width) -> Array:
    """Deals for the flat masks r; returns the plane of s."""
    return deal_many(dealer, r, width, 1)


def deal_many(dealer: Dealing, r: Array, width: Width, count: int) -> Array:
    """Deals for `evaluate_many` with so many thresholds; returns their planes of s."""
    plan = width.plan
    if isinstance(plan, snn.Plan):
        return snn.deal(dealer, shifted(r, width), plan, order=True, count=count)
    if isinstance(plan, fss.Plan):
        fss.deal(dealer, shifted(r, width), plan)
        layout, top = Layout(r.size), tops(r, width)
    else:
        layout, low, top = cut(r, width)
        tables.deal(dealer, layout, low, plan, order=True, trees=count)
    return np.bitwise_xor(dealer.mask_bits(layout, count), top)


def evaluate(
    party: Evaluating, opened: Array, width: Width
) -> Generator[Round, list[Array], Array]:
    """b̂ = [x >= 0] ⊕ s, public: one plane."""
    if isinstance(width.plan, snn.Plan):
        return (yield from evaluate_many(party, opened, (0,), width))
    bit = yield from shares(party, opened, width)
    mask = party.mask_bits(Layout(opened.size), 1)
    (flipped,) = yield [mask.hide(bit)]
    return flipped


def evaluate_many(
    party: Evaluating, opened: Array, thresholds: Sequence[int], width: Width
) -> Generator[Round, list[Array], Array]:
    """b̂_j = [x >= t_j] ⊕ s_j, public: one plane a threshold, all in the rounds of one."""
    layout, plan = Layout(opened.size), width.plan
    if isinstance(plan, snn.Plan):
        places = shifted(placed(opened, thresholds, width), width)
        flipped, _ = yield from snn.evaluate(party, places, plan, order=True)
        return flipped
    if isinstance(plan, fss.Plan):
        bits = by_points(party, opened, thresholds, width, plan)
    else:
        bits = yield from by_tables(party, opened, thresholds, width, plan)
    (flipped,) = yield [party.mask_bits(layout, len(thresholds)).hide(bits)]
    return flipped


# ---- shared ------------------------------------------------------------------------------------


def deal_shared(dealer: Dealing, r: Array, width: Width) -> None:
    """As `deal`, for `evaluate_shared`: the bit stays shared, and so is the top bit of r."""
    plan = width.plan
    if isinstance(plan, snn.Plan):
        deal(dealer, r, width)
        return
    if isinstance(plan, fss.Plan):
        fss.deal(dealer, shifted(r, width), plan)
        layout, top = Layout(r.size), tops(r, width)
    else:
        layout, low, top = cut(r, width)
        tables.deal(dealer, layout, low, plan, order=True)

    def fill(into: Array) -> None:
        np.bitwise_xor(into, top, out=into)

    dealer.deal_bits(layout, 1, fill)


def evaluate_shared(
    party: Evaluating, opened: Array, width: Width
) -> Generator[Round, list[Array], Array]:
    """[x >= 0] as an XOR share, one plane; nothing of it is opened here."""
    plan = width.plan
    if isinstance(plan, snn.Plan):
        places = shifted(placed(opened, (0,), width), width)
        flipped, s = yield from snn.evaluate(party, places, plan, order=True)
        return np.bitwise_xor(flipped, s) if party.first else s
    bit = yield from shares(party, opened, width)
    return np.bitwise_xor(bit, party.dealt_bits(Layout(opened.size), 1))


def shared_cost(layout: Layout, width: Width) -> Cost:
    return width.plan.shared_cost(layout, order=True)


# ---- parts -------------------------------------------------------------------------------------


def shares(party: Evaluating, opened: Array, width: Width) -> Generator[Round, list[Array], Array]:
    """This party's XOR share of bit_{k-1}(ŷ) ⊕ [ŷ_low < r_low]; `opened` is flat, of x itself."""
    plan = width.plan
    assert not isinstance(plan, snn.Plan)
    if isinstance(plan, fss.Plan):
        return by_points(party, opened, (0,), width, plan)
    layout, low, top = cut(np.add(opened, np.uint64(1 << (width.bits - 1))), width)
    bit = yield from tables.evaluate(party, layout, low, plan, order=True)
    return np.bitwise_xor(bit, top) if party.first else bit


def by_points(
    party: Evaluating, opened: Array, thresholds: Sequence[int], width: Width, plan: fss.Plan
) -> Array:
    """As `shares`, a plane for each threshold."""
    values = placed(opened, thresholds, width)
    bits = fss.evaluate(party, shifted(values, width), plan, order=True)
    if party.first:
        bits ^= np.concatenate([tops(each, width) for each in values], axis=1)
    return bits


def by_tables(
    party: Evaluating, opened: Array, thresholds: Sequence[int], width: Width, plan: tables.Plan
) -> Generator[Round, list[Array], Array]:
    """As `shares`, a plane for each threshold."""
    layout, trees = Layout(opened.size), len(thresholds)
    hot = party.dealt_bits(layout, plan.entries)
    planes = kernels.to_planes(opened, width.drop, plan.bits + 1, layout.width)
    nodes, top = kernels.lookup_many(planes, hot, plan.chunks, offsets(thresholds, width))
    for fan in plan.levels:
        nodes = yield from tables.evaluate_level(party, layout, nodes, fan, order=True, trees=trees)
    return np.bitwise_xor(nodes, top) if party.first else nodes


def offsets(thresholds: Sequence[int], width: Width) -> Array:
    """What to add to x̂ so that it opens x - t + 2^(k-1), for each threshold t, both cut by the
    width's `drop` bits, of which the thresholds have none."""
    lift = 1 << (width.bits - 1)
    return np.array([(lift - t) % RING >> width.drop for t in thresholds], np.uint64)
