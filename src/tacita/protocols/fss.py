"""`fss`: comparing an opened value with its secret mask by a distributed point function.

Computes, for a public p and a mask r that the dealer knows, XOR shares of [p_low < r_low] (or of
[p_low = r_low]) over `bits` low bits, as tables.py does, but without a message.

Shapes: n elements, and so many points each. Parties: two.
Computes: a point function's key is a seed for each party and a correction word a level, the same
    for both. Walking down to p, a party has a node s and its lowest bit t at every level. On the
    path to α = r_low the parties' nodes differ by a secret Δ, whose lowest bit is 1; off the path
    they are equal. So the XOR of both t is [α lies below this node], and where p turns left, the
    node on the right of its path has the XOR of what it and its parent have:
        [p < α] = ⊕_{i: p_i = 0} (t_{i-1} ⊕ t_i), and then α's place among the last 128 points,
    which one hash turns into a leaf of 128 bits, seven levels above the single points.
    One key serves any number of public points.
Cost: no round; published: 16 bytes for each of bits - 7 levels and for the leaf, and 16 for each
    PIECE of the elements; nothing else is dealt, as the seeds come from the parties' streams. One
    AES a level for each party, two for the dealer. Of 32 bits 31 are compared: 400 bytes an
    element.
Error: none; exact for all inputs.
Opened: nothing. What is published: C_i = H(s_0) ⊕ H(s_1) ⊕ (1 - α_i)·Δ. To the party that has
    s_0, s_1 = s_0 ⊕ Δ with 127 bits of Δ unknown to it, so C_i is as good as uniform if
    x ↦ H(x ⊕ Δ) ⊕ b·Δ is (circular correlation robustness). H(x) = π(σ(x)) ⊕ σ(x), with σ a linear
    orthomorphism and π AES-128 under a public key, has that property if π is an ideal permutation
    (Guo, Katz, Wang, Yu, eprint 2019/074, section 7.3). That is an assumption of this protocol
    which `tables` does not make. Who tries π on many inputs finds the Δ of one of all the hashes
    under one key after 2^127 / hashes of them, so a key serves PIECE elements: 2^110 at 32 bits,
    however many are compared.
Leaks: shapes and bits. Threat model: semi-honest, one of the two parties, or the dealer alone.
Source: point functions (Boyle, Gilboa, Ishai, EUROCRYPT 2015, and eprint 2018/707 with early
    termination); the correlated tree (Guo, Yang, Wang, Zhang, Xie, Liu, Zhao: half-tree, eprint
    2022/1431); comparison by a point function's control bits (Gupta et al.: SIGMA, eprint
    2023/1269; Storrier et al.: Grotto, eprint 2023/108). Ours: seeds from the parties' streams, and
    the bit of a sibling as the XOR of two that are there, so that no sibling is ever hashed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np

from tacita.program.cost import Cost
from tacita.program.readings import Array, Dealing, Evaluating
from tacita.protocols.shared_bit import SharedBit
from tacita.ring import kernels, points
from tacita.ring.planes import Layout

PIECE = 1 << 12  # elements whose tree is hashed under one key
KEY = 2  # words of such a key
ROOT = 2


class Plan(SharedBit, frozen=True, tag="fss"):
    """A comparison of `bits` low bits."""

    bits: int

    def cost(self, layout: Layout, order: bool, trees: int = 1) -> Cost:
        """trees: so many points compared with one r; they cost nothing but work."""
        keys = KEY * len(pieces(layout.n))
        return Cost(published_bytes=8 * (keys + points.key_words(layout.n, self.bits)))


def pieces(n: int) -> list[slice]:
    """The elements in order, cut where dealer and parties alike cut them."""
    return [slice(start, min(start + PIECE, n)) for start in range(0, n, PIECE)]


def cut(published: Array, n: int, plan: Plan) -> Iterator[tuple[slice, Array, Array]]:
    """Each piece of the elements with what is published for it: π's key, and corrections."""
    start = 0
    for piece in pieces(n):
        middle = start + KEY
        end = middle + points.key_words(piece.stop - piece.start, plan.bits)
        yield piece, published[start:middle], published[middle:end]
        start = end


def deal(dealer: Dealing, r: Array, plan: Plan) -> None:
    """Deals what `evaluate` needs; r: flat, its low bits count."""
    if not r.size:
        return
    roots = dealer.seeds((r.size, ROOT))
    drawn = reduce(np.bitwise_xor, dealer.seeds((len(pieces(r.size)), KEY)))

    def fill(into: Array) -> None:
        for (piece, key, corrections), fresh in zip(cut(into, r.size, plan), drawn, strict=True):
            key[...] = fresh
            both = np.stack([root[piece] for root in roots])
            points.generate(r[piece], both, plan.bits, fresh, corrections)

    dealer.publish((_words(plan, r.size),), fill)


def evaluate(party: Evaluating, places: Array, plan: Plan, *, order: bool) -> Array:
    """This party's shares of [p < r] (order) or [p = r] for `places` p of [points, n]: a plane for
    each point."""
    count, n = places.shape
    layout = Layout(n)
    if not n:
        return np.zeros(layout.shape(count), np.uint64)
    root = party.seed((n, ROOT))
    party.seed((len(pieces(n)), KEY))  # a share of π's keys, which are published
    compare = points.greater if order else points.equal
    bits = np.empty(places.shape, np.uint8)
    for piece, key, corrections in cut(party.published((_words(plan, n),)), n, plan):
        there = np.ascontiguousarray(places[:, piece])
        bits[:, piece] = compare(there, root[piece], corrections, plan.bits, key, party.first)
    return np.concatenate([kernels.pack_bits(each, layout.width) for each in bits], axis=1)


def _words(plan: Plan, n: int) -> int:
    return plan.cost(Layout(n), order=True).published_bytes // 8
