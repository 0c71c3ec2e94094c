"""What the plans of tables.py and fss.py have in common: they end with the bit in shares."""

from __future__ import annotations

import msgspec

from tacita.program.cost import Cost
from tacita.ring.planes import Layout


class SharedBit(msgspec.Struct, frozen=True):
    """A plan that shares the bit under XOR, and what it costs to go on from there."""

    def cost(self, layout: Layout, order: bool, trees: int = 1) -> Cost:
        raise NotImplementedError

    def opened_cost(self, layout: Layout, order: bool, trees: int = 1) -> Cost:
        """With the opening of the bits under one-time bits."""
        return self.cost(layout, order, trees) + Cost(rounds=1, opened_bytes=layout.bytes(trees))

    def shared_cost(self, layout: Layout, order: bool) -> Cost:
        """With the top bits of r, in the same sharing as the result's."""
        return self.cost(layout, order) + Cost(dealt_bytes=layout.bytes(1))
