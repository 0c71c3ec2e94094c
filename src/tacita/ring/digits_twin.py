"""Digits of private comparisons in NumPy: the slow, readable twin of the kernels in `digits`.

It checks nothing: bad arguments are the business of `digits`, whose docstring has the layout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
Digits = NDArray[np.uint8]

PRIME = 67  # above any sum of 64 bits and 2
PACKED = 8  # digits in a word
WIDEST = 64  # bits


def words(count: int) -> int:
    """Words that so many digits take."""
    return -(-count // PACKED)


# ---- the kernels -------------------------------------------------------------------------------


def drawn(seeds: U64, into: U64) -> None:
    into[...] = packed(cut(seeds, PRIME))


def lacking(seeds: U64, r: U64, into: U64) -> None:
    bits = seeds.shape[1]
    missing = bits_of(r, bits) + np.uint8(PRIME) - cut(seeds, PRIME)
    into[...] = packed(missing % np.uint8(PRIME))


def hidden(
    places: U64,
    share: U64,
    flips: Digits,
    factors: U64,
    summands: U64,
    turns: U64,
    bits: int,
    into: U64,
    *,
    first: bool,
    order: bool,
) -> None:
    c = compared(places, unpacked(share, bits), flips, bits, first, order)
    into[...] = packed(blinded(c, factors, summands, turns, first=first))


def found(one: U64, other: U64, count: int) -> Digits:
    total = (unpacked(one, count) + unpacked(other, count)) % np.uint8(PRIME)
    zero: Digits = (total == 0).any(axis=-1).astype(np.uint8)
    return zero


# ---- what they do ------------------------------------------------------------------------------


def compared(
    places: U64, share: Digits, flips: Digits, bits: int, first: bool, order: bool
) -> Digits:
    """A party's share of the digits c, [n, bits + 1], from its share of r's, [n, bits].

    flips: β, [n].
    """
    p = bits_of(places, bits)
    own = np.uint8(first)
    prime = np.uint8(PRIME)
    # p ⊕ r = p + (1 - 2p)·r, and a summand that is public is the first party's.
    differ = np.where(p, prime - share, share) % prime + own * p
    before = np.zeros((p.shape[0], bits + 1), np.uint16)
    np.cumsum(differ, axis=1, dtype=np.uint16, out=before[:, 1:])
    beta = flips[:, None]
    r_digits = np.concatenate([share, np.zeros_like(beta)], axis=1)
    p_digits = np.concatenate([p, np.ones_like(beta)], axis=1)
    if order:
        up = own * p_digits + (prime - r_digits)
        down = r_digits + own * (prime - p_digits)
        c = before + own + np.where(beta, down, up)
    else:
        unlike = np.concatenate([differ, np.zeros_like(beta)], axis=1) % prime
        first_unlike = before + own + (prime - unlike)
        first_unlike[:, -1] = own
        none_unlike = np.full_like(before, own)
        none_unlike[:, 0] = before[:, -1]
        c = np.where(beta, first_unlike, none_unlike)
    return (c % np.uint16(PRIME)).astype(np.uint8)


def blinded(c: Digits, factors: U64, summands: U64, turns: U64, *, first: bool) -> Digits:
    """What the dealer is sent of the digits c: u·c ± z, rotated."""
    u, z = cut(factors, PRIME - 1) + np.uint8(1), cut(summands, PRIME)
    prime = np.uint16(PRIME)
    product = c.astype(np.uint16) * u
    product += z if first else np.uint8(PRIME) - z
    sums = (product % prime).astype(np.uint8)
    count = c.shape[1]
    places = np.arange(count, dtype=np.uint8) + cut(turns, count)[:, None]
    places %= np.uint8(count)
    return np.take_along_axis(sums, places.astype(np.intp), axis=1)


def cut(uniform: U64, size: int) -> Digits:
    """Uniform words as uniform numbers below `size`, each by the top of a product."""
    high, low = uniform >> np.uint64(32), uniform & np.uint64(0xFFFFFFFF)
    number = np.uint64(size)
    return ((high * number + (low * number >> np.uint64(32))) >> np.uint64(32)).astype(np.uint8)


def bits_of(values: U64, bits: int) -> Digits:
    """The low bits as digits, [n, bits], the most significant first."""
    as_bytes = values.astype(">u8").view(np.uint8).reshape(-1, 8)
    return np.unpackbits(as_bytes, axis=1)[:, WIDEST - bits :]


def packed(numbers: Digits) -> U64:
    """Digits of the last dimension, eight in a word."""
    *rest, count = numbers.shape
    room = np.zeros((*rest, words(count) * PACKED), np.uint8)
    room[..., :count] = numbers
    return room.view("<u8").astype(np.uint64, copy=False)


def unpacked(numbers: U64, count: int) -> Digits:
    """The other way round. What is no digit becomes one: whoever sent it gets a wrong result."""
    as_bytes = np.ascontiguousarray(numbers).astype("<u8", copy=False).view(np.uint8)
    return as_bytes[..., :count] % np.uint8(PRIME)
