"""How the bits of n elements are laid out as planes.

A block holds 64*W elements; its planes lie one after the other, W words each, so a kernel that
walks through the blocks reads contiguous memory whatever the number of planes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

WIDEST = 8  # words: one cache line, one 512-bit register


@dataclass(frozen=True)
class Layout:
    """The layout of planes for n elements: arrays of shape [blocks, planes, width]."""

    n: int

    @cached_property
    def width(self) -> int:
        """Words a block: the widest that wastes at most an eighth in padding."""
        width = WIDEST
        while width > 1 and -self.n % (64 * width) * 8 > self.n:
            width //= 2
        return width

    @cached_property
    def blocks(self) -> int:
        return -(-self.n // (64 * self.width))

    def shape(self, planes: int) -> tuple[int, int, int]:
        return (self.blocks, planes, self.width)

    def bytes(self, planes: int) -> int:
        return 8 * self.blocks * planes * self.width
