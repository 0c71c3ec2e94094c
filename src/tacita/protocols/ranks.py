"""The place of each of n candidates in their order, all pairs compared at once.

Shapes: candidates along the first of two dimensions, [n, m]; out the same. Range: the difference of
    any two candidates of a column lies within the width's bound; k = 64 holds if every |x| < 2^62.
Computes: out[i] = how many candidates of the column come before the i-th when they descend; of
    equal ones the first comes first, as in a stable sort. For i < j the one bit b = [x_i >= x_j]
    counts for both: the j-th comes behind if it is 1, else the i-th does. The mask of a difference
    is the difference of the masks, so nothing but x is opened.
Cost: the rounds of sign.py; for each of the n(n-1)/2·m pairs its tables, one bit opened beyond,
    and 8 bytes dealt.
Error: none.
Opened: see sign.py and tables.py. Leaks: shapes. Threat model: semi-honest, any n-1 parties, or the
    dealer alone.
Source: sorting by counting (Knuth, TAOCP 3, 5.2, comparison counting), on the pairs of bracket.py.
"""

from __future__ import annotations

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Steps
from tacita.protocols import sign
from tacita.protocols.bracket import differences
from tacita.ring import kernels
from tacita.ring.planes import Layout


class Ranks(Unary, frozen=True, tag=True):
    """out[i, j] = the place of x[i, j] among x[:, j] when they descend; x is masked."""

    shape: tuple[int, int]
    width: sign.Width

    def plain(self, machine: PlainMachine) -> None:
        # ~x descends where x ascends, for every ring element.
        order = np.argsort(~machine.value(self.x).view(np.int64), axis=0, kind="stable")
        machine.write(self.out, np.argsort(order, axis=0).astype(np.uint64))

    def deal(self, dealer: Dealing) -> None:
        r = differences(dealer.mask_of(self.x))
        s = sign.deal(dealer, r, self.width)
        dealer.deal((r.size,), lambda into: kernels.bit_correction(s, into))

    def evaluate(self, party: Evaluating) -> Steps:
        opened = differences(party.masked(self.x).opened)
        flipped = yield from sign.evaluate(party, opened, self.width)
        bits = kernels.bit_share(flipped, party.dealt((opened.size,)), party.first)
        party.write(self.out, self._counted(bits, first=party.first))

    def _counted(self, bits: Array, *, first: bool) -> Array:
        """A share of the ranks from one of the pairs' bits, in the order of `differences`."""
        n, m = self.shape
        out = np.zeros(self.shape, np.uint64)
        if first:  # whoever is not before, as if all pairs were lost
            out += np.arange(n - 1, -1, -1, dtype=np.uint64)[:, None]
        pairs, start = bits.reshape(n * (n - 1) // 2, m), 0
        for i in range(n - 1):
            won = pairs[start : start + n - 1 - i]
            out[i] -= won.sum(axis=0, dtype=np.uint64)
            out[i + 1 :] += won
            start += n - 1 - i
        return out

    def cost(self) -> Cost:
        pairs = pair_count(self.shape)
        return self.width.cost(Layout(pairs)) + Cost(dealt_bytes=8 * pairs)


def ranks(out: int, x: int, shape: tuple[int, int], bits: int) -> Ranks:
    """The instruction for candidates whose differences fit in `bits`; two of them at least."""
    return Ranks(out, x, shape, sign.width(bits, pair_count(shape)))


def pair_count(shape: tuple[int, int]) -> int:
    n, m = shape
    return n * (n - 1) // 2 * m
