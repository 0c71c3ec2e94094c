"""How the bits of n elements are laid out as planes.

A block holds 64*W elements; its planes lie one after the other, W words each, so a kernel that
walks through the blocks reads contiguous memory whatever the number of planes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WIDEST = 8  # words: one cache line, one 512-bit register


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of planes for n elements: arrays of shape [blocks, planes, width].

    width: words a block, the widest that wastes at most an eighth in padding.
    """

    n: int
    width: int = field(init=False, compare=False)
    blocks: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        n, width = self.n, WIDEST
        while width > 1 and -n % (64 * width) * 8 > n:
            width //= 2
        object.__setattr__(self, "width", width)
        object.__setattr__(self, "blocks", -(-n // (64 * width)))

    def shape(self, planes: int) -> tuple[int, int, int]:
        return (self.blocks, planes, self.width)

    def bytes(self, planes: int) -> int:
        return 8 * self.blocks * planes * self.width
