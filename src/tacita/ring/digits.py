"""Digits modulo 67, eight in a word: what `snn` computes on arrays.

A number's **digits** are one byte each, the number's bits with the most significant first. Packed,
digit i of an element is byte i % 8 of its word i // 8, from the lowest byte on, and the bytes after
the last digit are 0. A byte that is no digit counts modulo 67. **Uniform words** w become digits
below q as ⌊w·q / 2^64⌋. What the digits stand for, and why what is told is uniform, is in
protocols/snn.py.

Arrays are C-contiguous, uint64 but for the bytes of bits; n may be 0, and bits lie in 1 … 64. Every
function is constant-time in all its arrays, the rotation too, takes one core, releases the
interpreter lock where there is much to do, and raises ValueError, naming the argument, where a
shape, type or layout does not fit. `path` forces one of `kernels.paths()`; `digits_twin` has the
same functions, slow and readable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacita.ring import _kernels, kernels
from tacita.ring.digits_twin import words

__all__ = ["drawn", "found", "hidden", "lacking", "words"]

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]


def drawn(seeds: U64, into: U64, *, path: str | None = None) -> None:
    """into ← the digits that uniform words make, packed: [n, words(bits)] from [n, bits]."""
    _kernels.draw_digits(kernels.path_number(path), seeds, into)


def lacking(seeds: U64, r: U64, into: U64, *, path: str | None = None) -> None:
    """into ← what the digits of `drawn` lack of r's bits, packed: (r's - drawn) mod 67.

    seeds is [n, bits], r [n], of which the low `bits` bits count, into [n, words(bits)].
    """
    _kernels.lack_digits(kernels.path_number(path), seeds, r, into)


def hidden(
    places: U64,
    share: U64,
    flips: U8,
    factors: U64,
    summands: U64,
    turns: U64,
    bits: int,
    into: U64,
    *,
    first: bool,
    order: bool,
    path: str | None = None,
) -> None:
    """into ← what a party tells the dealer, [n, words(bits + 1)] packed: u·c ± z, rotated.

    places, [n], are the public points, of which the low `bits` bits count; share, [n, words(bits)],
    is this party's of r's digits, packed; flips, [n], are β, 0 or 1. Uniform words that the parties
    have alike: factors and summands, [n, bits + 1], and turns, [n], of which digits u - 1 below 66,
    z below 67 and rotations below bits + 1 are made. The `first` party adds z, the other subtracts
    it. c has a zero where [r > p] ⊕ β holds, or with `order` False where [r = p] ⊕ β does.
    """
    _kernels.hide_digits(
        kernels.path_number(path),
        order,
        places,
        share,
        flips,
        factors,
        summands,
        turns,
        bits,
        first,
        into,
    )


def found(one: U64, other: U64, count: int, *, path: str | None = None) -> U8:
    """[some digit of one + other is 0 modulo 67], [n]: both are [n, words(count)], packed."""
    out = np.empty(len(one), np.uint8)
    _kernels.find_zeros(kernels.path_number(path), one, other, count, out)
    return out
