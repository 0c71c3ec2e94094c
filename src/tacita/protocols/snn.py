"""`snn`: comparing an opened value with its secret mask by SecureNN's private compare.

Computes, for a public p and a mask r that the dealer knows, [p_low < r_low] (or [p_low = r_low])
over `bits` low bits, flipped by a one-time bit s, with the dealer taking part as a third party.

Shapes: n elements, and so many points each. Parties: two.
Computes: dealt are shares of r's bits modulo 67. The parties have words in common that the dealer
    does not know: a bit β, and for each digit a factor u ≠ 0 and a summand z, and a rotation. Of
    the m + 1 digits p' = (p, 1) and r' = (r, 0), the most significant first, so that they are never
    equal,
        c_i = (1 - 2β)·(p'_i - r'_i) + 1 + Σ_{j<i} (p'_j ⊕ r'_j)   (mod 67)
    is linear in r, and one of them is 0 exactly when r' > p' (β = 0) or r' < p' (β = 1). The first
    party sends the dealer u·c + z, the other u·c - z, both turned by the same rotation. The dealer
    adds the two, and answers both with
        v = [some digit is 0] ⊕ r_top ⊕ s,
    from which v ⊕ β ⊕ p_top is the bit of sign.py under s. Equality: for β = 0 the one digit
    Σ (p_j ⊕ r_j), for β = 1 the digits 1 - (p_i ⊕ r_i) + Σ_{j<i} (p_j ⊕ r_j), and ones beside.
Cost: one round, which goes by the dealer and back; dealt: a byte a bit; consulted: a byte a digit;
    answered: a bit.
Error: none; exact for all inputs, since no sum exceeds 66.
Opened: to the dealer, digits of which each party's are uniform by z, and whose sums are uniform
    among 1 … 66 by u but for one that is 0 or not as β says, which is uniform, at a place which the
    rotation makes uniform. To the parties, v, uniform by s. Uniform modulo 67 is taken from 64
    bits, within 2^-59 of it; a million comparisons of 64 bits, with 200 such numbers each, are
    within 2^-30, by adding up, and within 2^-44, by Pinsker's inequality.
Leaks: shapes and bits. Threat model: semi-honest, one of the two parties, or the dealer alone.
Source: Wagh, Gupta, Chandran: SecureNN (PETS 2019, eprint 2018/442), algorithm 3. What differs:
    - The masked wire is opened in Z_2^64 and the dealer knows the mask's top bit. So the most
      significant bit follows from one comparison, and ComputeMSB's way around (doubling in an odd
      ring, ShareConvert into it, the share of the least significant bit) has nothing to do; the
      cases that its share conversion got wrong do not come about.
    - A last digit makes p' and r' differ. Algorithm 3 needs a case of its own where r + 1 wraps
      around, with made-up digits, and equality decides by β there.
    - The dealer dealt the shares of r's bits, so it could divide u·c of one party by what it knows
      and see p. The paper adds shares of zero between protocols; here z stands in this one.
    - A rotation instead of a permutation: all digits but one are uniform and independent, so only
      the place of that one has to be hidden.
    - Select share is not needed: s is dealt, and bit times value is local (relu.py).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import msgspec
import numpy as np

from tacita.program.cost import Cost
from tacita.program.readings import Array, Dealing, Evaluating, Round
from tacita.ring import digits, kernels
from tacita.ring.planes import Layout

AT_ONCE = 1 << 17  # uniform words that are drawn and used together: they stay in the cache


class Plan(msgspec.Struct, frozen=True, tag="snn"):
    """A comparison of `bits` low bits."""

    bits: int

    def cost(self, layout: Layout, order: bool, trees: int = 1) -> Cost:
        """trees: so many points compared with one r, each by digits of its own."""
        if not layout.n:
            return Cost(rounds=1, consultations=1)
        return Cost(
            rounds=1,
            consultations=1,
            dealt_bytes=8 * layout.n * digits.words(self.bits),
            consulted_bytes=8 * trees * layout.n * digits.words(self.bits + 1),
            answered_bytes=layout.bytes(trees),
        )

    def opened_cost(self, layout: Layout, order: bool, trees: int = 1) -> Cost:
        """The answer is the bit under a one-time bit: there is nothing left to open."""
        return self.cost(layout, order, trees)

    def shared_cost(self, layout: Layout, order: bool) -> Cost:
        """The one-time bit is shared already."""
        return self.cost(layout, order)


def deal(dealer: Dealing, r: Array, plan: Plan, *, order: bool, count: int = 1) -> Array:
    """Deals for `evaluate` with so many points; returns the planes of s. r: flat, of which `bits`
    low bits count, and the bit above them where there is an order."""
    layout, n, bits = Layout(r.size), r.size, plan.bits
    r = np.ascontiguousarray(r)
    lacking = np.empty((n, digits.words(bits)), np.uint64)
    for part, size in pieces(n, bits):
        digits.lacking(dealer.seeds((size, bits))[0], r[part], lacking[part])

    def fill(into: Array) -> None:
        into[...] = lacking

    dealer.deal(lacking.shape, fill)
    s = dealer.mask_bits(layout, count)
    flip = s ^ top(r, plan, layout) if order else s
    said = digits.words(bits + 1)

    def reply(sent: list[Array]) -> Array:
        one, other = (np.ascontiguousarray(each).reshape(count * n, said) for each in sent)
        found = digits.found(one, other, bits + 1).reshape(count, n)
        rows = [kernels.pack_bits(each, layout.width) for each in found]
        return np.concatenate(rows, axis=1) ^ flip

    dealer.assist((count, n, said), reply)
    return s


def evaluate(
    party: Evaluating, places: Array, plan: Plan, *, order: bool
) -> Generator[Round, list[Array], tuple[Array, Array]]:
    """b̂ = b ⊕ s, public, and this party's share of s: a plane for each point of `places`,
    [points, n]. b is the bit of sign.py where there is an order, else [p = r]."""
    (count, n), bits = places.shape, plan.bits
    layout, places = Layout(n), np.ascontiguousarray(places)
    own = np.empty((n, digits.words(bits)), np.uint64)
    for part, size in pieces(n, bits):
        seeds = party.seed((size, bits))  # the dealer draws those of both parties
        if party.first:
            digits.drawn(seeds, own[part])
    dealt = party.dealt(own.shape)
    share = own if party.first else dealt
    mask = party.mask_bits(layout, count)
    flips = party.common(layout.shape(count))
    said = np.empty((count, n, digits.words(bits + 1)), np.uint64)
    for point in range(count):
        flip = kernels.unpack_bits(np.ascontiguousarray(flips[:, point : point + 1]), n)
        for part, size in pieces(n, 2 * bits + 3):
            digits.hidden(
                places[point, part],
                share[part],
                flip[part],
                party.common((size, bits + 1)),
                party.common((size, bits + 1)),
                party.common((size,)),
                bits,
                said[point, part],
                first=party.first,
                order=order,
            )
    (answer,) = yield [party.consult(said, layout.shape(count))]
    flipped = answer ^ flips
    if order:
        flipped ^= np.concatenate([top(each, plan, layout) for each in places], axis=1)
    return flipped, mask.share


def pieces(n: int, words: int) -> Iterator[tuple[slice, int]]:
    """Slices of n elements, with their lengths, that take so many uniform words each."""
    step = max(1, AT_ONCE // words)
    for start in range(0, n, step):
        yield slice(start, start + step), min(step, n - start)


def top(values: Array, plan: Plan, layout: Layout) -> Array:
    """The plane of the bit above those compared."""
    return kernels.to_planes(values, plan.bits, 1, layout.width)
