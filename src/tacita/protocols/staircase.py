"""Step functions of a masked wire: several of them, which rise and fall at the same places.

Shapes: x any; out [M, *shape], one row a function. Range: -2^(k-1) <= x - t <= 2^(k-1) - 2^d for
    every threshold t and the width's k bits, of which d are dropped; k <= 64.
Computes: out[m] = base[m] + Σ_j steps[m][j]·[x >= t_j] for public integers. Each x - t_j has the
    mask of x, so the one-hot tables of r (tables.py) are dealt once and looked at once for each
    threshold; only the trees have masks and products of their own, and all share their rounds.
    The bits are opened flipped, b̂_j = b_j ⊕ s_j, and s_j is dealt additively, so that
        out[m] = base[m] + Σ_j steps[m][j]·(b̂_j + (1 - 2b̂_j)·s_j)
    is local, for any number of functions.
Cost: the rounds of sign.py; dealt: one table, T times the products of a tree, and 8·T bytes an
    element; T bits opened beyond the trees.
Error: none where nothing is dropped. With d bits dropped and thresholds that are multiples of 2^d,
        floor(x̂/2^d) - floor(r/2^d) = floor(x/2^d) + c,  c in {0, 1},
    so the bit is [x >= t - 2^d·c]: 1 from t on and 0 up to t - 2^d; between the two it is 1 with
    probability (x mod 2^d)/2^d. A value so near below a threshold may be taken for one above it.
    The bits of one x are taken with the same c, so they never contradict each other.
Opened: as in sign.py, and b_j ⊕ s_j for independent uniform s_j.
Leaks: shapes and the public fields. Threat model: semi-honest, any n-1 parties, or the dealer
    alone.
Source: the comparison of sign.py; bits to arithmetic shares as in compare.py. That one table serves
    all thresholds is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Steps
from tacita.program.wire import RING_BITS
from tacita.protocols import sign, tables
from tacita.protocols.truncate import flat
from tacita.ring import kernels
from tacita.ring.planes import Layout

RING = 1 << RING_BITS


class Staircase(Unary, frozen=True, tag=True):
    """out[m] = base[m] + Σ_j steps[m][j]·[x >= thresholds[j]]; x is masked, of `shape`.

    thresholds: ascending. steps: as many rows as base, each as long as thresholds.
    """

    thresholds: tuple[int, ...]
    base: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    width: sign.Width

    @property
    def result(self) -> tuple[int, ...]:
        """The shape of out."""
        return (len(self.base), *self.shape)

    def plain(self, machine: PlainMachine) -> None:
        x = machine.value(self.x).view(np.int64).reshape(-1)
        out = np.repeat(ring(self.base)[:, None], x.size, axis=1)
        for threshold, step in zip(self.thresholds, zip(*self.steps, strict=True), strict=True):
            out += ring(step)[:, None] * (x >= threshold).astype(np.uint64)
        machine.write(self.out, out.reshape(self.result))

    def deal(self, dealer: Dealing) -> None:
        r = flat(dealer.mask_of(self.x))
        s = sign.deal_many(dealer, r, self.width, len(self.thresholds))
        dealer.deal((len(self.thresholds), r.size), lambda into: kernels.bits_correction(s, into))

    def evaluate(self, party: Evaluating) -> Steps:
        opened = flat(party.masked(self.x).opened)
        flipped = yield from sign.evaluate_many(party, opened, self.thresholds, self.width)
        dealt = party.dealt((len(self.thresholds), opened.size))
        steps = np.stack([ring(row) for row in self.steps])
        share = kernels.stairs_share(flipped, dealt, ring(self.base), steps, party.first)
        party.write(self.out, share.reshape(self.result))

    def cost(self) -> Cost:
        n, count = prod(self.shape), len(self.thresholds)
        return self.width.cost(Layout(n), count) + Cost(dealt_bytes=8 * n * count)


def ring(values: Sequence[int]) -> Array:
    """Integers as ring elements."""
    return np.array([value % RING for value in values], np.uint64)


def staircase_width(
    least: int, most: int, thresholds: Sequence[int], n: int, *, drop: int = 0
) -> sign.Width:
    """The width for n values of least ... most; `drop` as above, 0 for exact bits.

    Raises ValueError where no width has room for their differences from the thresholds.
    """
    below, above = least - thresholds[-1], most - thresholds[0] + (1 << drop)
    bits = max(2 + drop, (-below - 1).bit_length() + 1, (above - 1).bit_length() + 1)
    if bits > RING_BITS:
        raise ValueError(f"differences from the thresholds take {bits} bits, not {RING_BITS}")
    return sign.Width(bits, drop, tables.shared_plan(bits - 1 - drop, n, len(thresholds)))
