"""Wires: the numbered values that instructions read and write, as everybody may see them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

# The widest value (in bits, sign included) that a truncation accepts; see protocols/truncate.py.
TRUNCATION_BITS = 62
RING_BITS = 64


@dataclass(frozen=True, slots=True)
class Wire:
    """What is public about a private value.

    shape: of the tensor.
    scale: the ring integer divided by `scale` is the real value; 1 for plain integers.
    bound: |ring integer| <= bound, or None where nothing is known. A known bound makes
        comparisons narrower; an exceeded one makes them wrong (checked mode finds out).
    bit: every value is 0 or 1, as a comparison results in; never a mere declaration.
    """

    id: int
    shape: tuple[int, ...]
    scale: int = 1
    bound: int | None = None
    bit: bool = False

    @property
    def size(self) -> int:
        return prod(self.shape)

    def comparison_bits(self) -> int:
        """k such that |x| < 2^(k-1), the whole ring where no bound is known."""
        return width_of(self.bound, RING_BITS)

    def truncation_bits(self) -> int:
        """k such that |x| < 2^(k-1), at most what truncation accepts."""
        return width_of(self.bound, TRUNCATION_BITS)


def width_of(bound: int | None, widest: int) -> int:
    """The signed width in bits that holds every |x| <= bound, at most `widest`."""
    if bound is None:
        return widest
    return min(widest, max(2, bound.bit_length() + 1))


def limited(bound: int | None) -> int | None:
    """A bound worth keeping: one that truncation and comparison can use, else None."""
    if bound is None or bound >= 1 << (TRUNCATION_BITS - 1):
        return None
    return bound
