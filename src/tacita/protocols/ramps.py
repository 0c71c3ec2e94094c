"""max(x - t, 0) for several public thresholds t of one masked wire: ReLUs that share its opening.

Shapes: x any; out [T, *shape], one row a threshold. Range: -2^(k-1) <= x - t < 2^(k-1) for every
    threshold t and the width's k bits, k <= 64.
Computes: each x - t has the mask of x, so nothing but x is opened, and the one-hot tables of r are
    dealt once for all thresholds, as in staircase.py. With b_j = [x >= t_j], opened flipped as
    b̂_j = b_j ⊕ s_j, and ŷ_j = x̂ - t_j, the opening of x - t_j under r,
        b_j·(x - t_j) = b̂_j·(x - t_j) + (1 - 2b̂_j)·(s_j·ŷ_j - s_j·r),  dealt: s_j, s_j·r.
Cost: the rounds of sign.py; dealt: one table, T times the products of a tree, and 16·T bytes an
    element; T bits opened beyond the trees.
Error: none; exact.
Opened: as in sign.py, and b_j ⊕ s_j for independent uniform s_j.
Leaks: shapes and the public fields. Threat model: semi-honest, any n-1 parties, or the dealer
    alone.
Source: relu.py for bit times value, staircase.py for the tables that all thresholds share.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Steps
from tacita.protocols import sign
from tacita.protocols.staircase import ring
from tacita.protocols.truncate import flat
from tacita.ring import kernels
from tacita.ring.planes import Layout


class Ramps(Unary, frozen=True, tag=True):
    """out[j] = max(x - thresholds[j], 0); x is masked, of `shape`. thresholds: ascending."""

    thresholds: tuple[int, ...]
    shape: tuple[int, ...]
    width: sign.Width

    @property
    def result(self) -> tuple[int, ...]:
        """The shape of out."""
        return (len(self.thresholds), *self.shape)

    def plain(self, machine: PlainMachine) -> None:
        beyond = self._beyond(flat(machine.value(self.x)))
        out = np.maximum(beyond.view(np.int64), 0).view(np.uint64)
        machine.write(self.out, out.reshape(self.result))

    def _beyond(self, values: Array) -> Array:
        """[T, n]: the values less each threshold."""
        return np.subtract(values[None, :], ring(self.thresholds)[:, None])

    def deal(self, dealer: Dealing) -> None:
        r = flat(dealer.mask_of(self.x))
        s = sign.deal_many(dealer, r, self.width, len(self.thresholds))

        def fill(into: Array) -> None:
            for j in range(len(into)):
                plane = np.ascontiguousarray(s[:, j : j + 1])
                kernels.gate_correction(r, plane, into[j])

        dealer.deal((len(self.thresholds), 2, r.size), fill)

    def evaluate(self, party: Evaluating) -> Steps:
        opened = flat(party.masked(self.x).opened)
        flipped = yield from sign.evaluate_many(party, opened, self.thresholds, self.width)
        dealt = party.dealt((len(self.thresholds), 2, opened.size))
        share = flat(party.share(self.x))
        out = np.empty((len(self.thresholds), opened.size), np.uint64)
        for j, threshold in enumerate(ring(self.thresholds)):
            # x - t is shared like x, but for the first party, which adds public numbers.
            own = np.subtract(share, threshold) if party.first else share
            plane = np.ascontiguousarray(flipped[:, j : j + 1])
            out[j] = kernels.gate_share(np.subtract(opened, threshold), own, plane, dealt[j])
        party.write(self.out, out.reshape(self.result))

    def cost(self) -> Cost:
        n, count = prod(self.shape), len(self.thresholds)
        return self.width.cost(Layout(n), count) + Cost(dealt_bytes=16 * n * count)
