"""Checked mode: |x| <= bound for every element, or the wire is marked as failed at every party.

Shapes: any. Range: every ring element, for a bound below 2^62 (else x + bound could wrap around).
Computes: [x + bound >= 0] and [bound - x >= 0] for all elements at the full width (sign.py), whose
    AND over all elements is taken by a tree of multi-fan-in ANDs (tables.py) and opened.
Cost: the comparison's rounds, one for each factor of eight in the number of bits, one to open.
Opened: masked bits, and the result: ONE bit, whether everything lies within the bound. That is
    what checked mode discloses, to the parties and the user, on purpose.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import (
    Array,
    Dealing,
    Evaluating,
    PlainMachine,
    Preparing,
    Steps,
    reveal_bits,
)
from tacita.protocols import sign, tables
from tacita.protocols.truncate import flat
from tacita.ring import kernels
from tacita.ring.planes import Layout


class WithinBound(Unary, frozen=True, tag=True):
    """out is x if every |x| <= bound, else a failed wire that names `what`; x is masked.

    scale: ring units in 1, in a whole network's program, whose bounds come from its export.
    said: whether `what` is all of the error, as eager code says it.
    """

    discloses: ClassVar[int] = 1
    aliases: ClassVar[bool] = True

    bound: int
    what: str
    shape: tuple[int, ...]
    width: sign.Width
    scale: Annotated[int, msgspec.Meta(ge=1)] | None = None
    said: bool = False

    @property
    def message(self) -> str:
        if self.said:
            return self.what
        outside = f"a value of the private tensor of shape {self.shape} lies outside the bound of"
        if self.scale is None:
            return (
                f"{self.what}: {outside} {self.bound} ring units; declare a larger bound or use a "
                "lower precision"
            )
        return (
            f"{self.what}: {outside} {self.bound / self.scale:.6g}; export with more samples, a "
            "larger margin= or a lower precision"
        )

    def prepare(self, party: Preparing) -> None:
        party.alias(self.out, self.x, same)

    def plain(self, machine: PlainMachine) -> None:
        value = machine.value(self.x)
        machine.write(self.out, value)
        signed = value.view(np.int64)
        if np.any(signed > self.bound) or np.any(signed < -self.bound):
            machine.fail(self.out, self.message)

    def deal(self, dealer: Dealing) -> None:
        r = flat(dealer.mask_of(self.x))
        sign.deal_shared(dealer, np.concatenate([r, np.negative(r)]), self.width)
        for fan, layout in reductions(2 * r.size):
            tables.deal_level(dealer, layout, (fan,), order=False)
        dealer.alias(self.out, self.x, same)

    def evaluate(self, party: Evaluating) -> Steps:
        opened = flat(party.masked(self.x).opened)
        bound = np.uint64(self.bound)
        sides = np.concatenate([np.add(opened, bound), np.subtract(bound, opened)])
        plane = yield from sign.evaluate_shared(party, sides, self.width)
        bits = kernels.unpack_bits(plane, sides.size)
        for fan, layout in reductions(sides.size):
            nodes = np.full((fan, layout.n), int(party.first), np.uint8)
            nodes.reshape(-1)[: bits.size] = bits
            planes = [kernels.pack_bits(row, layout.width) for row in nodes]
            both = np.concatenate(planes, axis=1)
            plane = yield from tables.evaluate_level(party, layout, both, (fan,), order=False)
            bits = kernels.unpack_bits(plane, layout.n)
        # One bit, and nothing of the padding beside it.
        (within,) = yield [reveal_bits(bits.astype(np.uint64))]
        party.alias(self.out, self.x, same)
        if not int(within.all()):
            party.fail(self.out, self.message)

    def cost(self) -> Cost:
        n = 2 * prod(self.shape)
        cost = sign.shared_cost(Layout(n), self.width) + Cost(rounds=1, opened_bytes=8 if n else 0)
        for fan, layout in reductions(n):
            cost += Cost(
                rounds=1,
                opened_bytes=layout.bytes(fan),
                dealt_bytes=layout.bytes(kernels.product_count((fan,), order=False)),
            )
        return cost


def same(value: Array) -> Array:
    return value


def reductions(n: int) -> list[tuple[int, Layout]]:
    """The fan and the result's layout of each level that ANDs n bits into one."""
    levels = []
    while n > 1:
        fan = min(tables.WIDEST_FAN, n)
        n = -(-n // fan)
        levels.append((fan, Layout(n)))
    return levels
