"""The sign of a masked wire as a flipped bit: the common core of comparison, ReLU and maximum.

Shapes: n elements. Range: |x| < 2^(k-1), k <= 64; k = 64 holds for every ring element.
Computes: for y = x + 2^(k-1) with opening ŷ = y + r, bit k-1 of y is [x >= 0], and
        bit_{k-1}(ŷ - r) = bit_{k-1}(ŷ) ⊕ bit_{k-1}(r) ⊕ [ŷ_low < r_low]
    over the k-1 low bits (tables.py). The parties open b̂ = b ⊕ s for a one-time bit s: each masks
    its share with a bit of its seed, and the dealer's s is the XOR of those bits and of
    bit_{k-1}(r), which so costs nothing.
    `drop` low bits may be left out. With both x̂ and r cut by the same 2^drop, b is exactly the
    sign of the value that truncation by 2^drop makes of x (truncate.py), not that of x.
Cost: the rounds of the plan and one more; one bit an element opened beyond the plan.
Opened: b ⊕ s with s uniform.
Source: the comparison with a masked opening goes back to Damgård, Fitzi, Kiltz, Nielsen, Toft
    (TCC 2006); the tables are ours.
"""

from __future__ import annotations

from collections.abc import Generator

import msgspec
import numpy as np

from tacita.program.cost import Cost
from tacita.program.readings import Array, Dealing, Evaluating, Round
from tacita.protocols import tables
from tacita.ring import kernels
from tacita.ring.planes import Layout


class Width(msgspec.Struct, frozen=True):
    """|x| < 2^(bits-1), without the `drop` lowest bits, by the plan of `bits - 1 - drop` bits."""

    bits: int
    drop: int
    plan: tables.Plan

    def __post_init__(self) -> None:
        if self.plan.bits != self.bits - 1 - self.drop:
            raise ValueError(f"a plan for {self.plan.bits} bits cannot serve {self}")

    def cost(self, layout: Layout) -> Cost:
        return self.plan.cost(layout, order=True) + Cost(rounds=1, opened_bytes=layout.bytes(1))


def width(bits: int, n: int, *, drop: int = 0) -> Width:
    """The width for n values with |x| < 2^(bits-1)."""
    return Width(bits=bits, drop=drop, plan=tables.plan(bits - 1 - drop, n, order=True))


def cut(values: Array, width: Width) -> tuple[Layout, Array, Array]:
    """The layout of flat values, the planes of their compared low bits, and that of bit k-1."""
    layout = Layout(values.size)
    planes = kernels.to_planes(values, width.drop, width.bits - width.drop, layout.width)
    return layout, np.ascontiguousarray(planes[:, :-1]), planes[:, -1:]


def deal(dealer: Dealing, r: Array, width: Width) -> Array:
    """Deals for the flat masks r; returns the plane of s."""
    layout, low, top = cut(r, width)
    tables.deal(dealer, layout, low, width.plan, order=True)
    return np.bitwise_xor(dealer.mask_bits(layout, 1), top)


def shares(party: Evaluating, opened: Array, width: Width) -> Generator[Round, list[Array], Array]:
    """This party's XOR share of bit_{k-1}(ŷ) ⊕ [ŷ_low < r_low]; `opened` is flat, of x itself."""
    layout, low, top = cut(np.add(opened, np.uint64(1 << (width.bits - 1))), width)
    bit = yield from tables.evaluate(party, layout, low, width.plan, order=True)
    return np.bitwise_xor(bit, top) if party.first else bit


def evaluate(
    party: Evaluating, opened: Array, width: Width
) -> Generator[Round, list[Array], Array]:
    """b̂ = [x >= 0] ⊕ s, public: one plane."""
    bit = yield from shares(party, opened, width)
    mask = party.mask_bits(Layout(opened.size), 1)
    (flipped,) = yield [mask.hide(bit)]
    return flipped


def deal_shared(dealer: Dealing, r: Array, width: Width) -> None:
    """As `deal`, for `evaluate_shared`: the bit stays shared, and so is the top bit of r."""
    layout, low, top = cut(r, width)
    tables.deal(dealer, layout, low, width.plan, order=True)

    def fill(into: Array) -> None:
        np.bitwise_xor(into, top, out=into)

    dealer.deal_bits(layout, 1, fill)


def evaluate_shared(
    party: Evaluating, opened: Array, width: Width
) -> Generator[Round, list[Array], Array]:
    """[x >= 0] as an XOR share, one plane; nothing of it is opened here."""
    bit = yield from shares(party, opened, width)
    return np.bitwise_xor(bit, party.dealt_bits(Layout(opened.size), 1))


def shared_cost(layout: Layout, width: Width) -> Cost:
    return width.plan.cost(layout, order=True) + Cost(dealt_bytes=layout.bytes(1))
