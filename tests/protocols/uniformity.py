"""Whether what was drawn is uniform and used once, at a known rate of false alarms.

Among `count` independent draws, each a hit with probability p, the hits miss count·p by

    t = a/3 + √(a²/9 + 2·a·count·p·(1 - p))

or more with a probability below 2·e^-a: Bernstein's inequality, for any count and p. With a = 32
that is 2.6e-14 for one comparison, and 2.6e-10 for ten thousand of them, which is more than all
tests make that use this. Two of k uniform words are equal with a probability below k²/2^65.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

CERTAINTY = 32.0  # a


def slack(count: int, probability: float) -> float:
    """How far the hits may lie from count·probability."""
    third = CERTAINTY / 3
    return third + sqrt(third**2 + 2 * CERTAINTY * count * probability * (1 - probability))


def assert_hits(hits: np.ndarray | int, count: int, probability: float, what: str) -> None:
    """hits: as many counts as are to be checked, of so many draws each."""
    expected = count * probability
    # Otherwise what never happens would pass.
    assert slack(count, probability) < expected, f"{what}: too few draws"
    worst = np.abs(np.asarray(hits) - expected).max()
    assert worst <= slack(count, probability), f"{what}: off by {worst} of {expected} in {count}"


def assert_bits(words: np.ndarray, what: str) -> None:
    """That each of the 64 bits is set in half of the words."""
    octets = np.ascontiguousarray(words, "<u8").reshape(-1, 1).view(np.uint8)
    hits = np.unpackbits(octets, axis=1, bitorder="little").sum(axis=0, dtype=np.int64)
    assert_hits(hits, words.size, 1 / 2, what)


def assert_numbers(numbers: np.ndarray, size: int, what: str) -> None:
    """That each number below `size` comes up as often as any other, and none else does."""
    hits = np.bincount(np.ravel(numbers), minlength=size)
    assert hits.size == size, f"{what}: a number above {size - 1}"
    assert_hits(hits, numbers.size, 1 / size, what)


def assert_distinct(words: np.ndarray, what: str) -> None:
    """That no word comes twice."""
    assert words.size < 1 << 16, "more words than are distinct but for 2^-33"
    assert np.unique(words).size == words.size, f"{what}: a word comes twice"
