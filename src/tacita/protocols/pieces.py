"""Dealing in pieces: where many words are dealt for each element, a few elements at a time.

A party draws its share of a piece and uses it while it lies in the cache, and the dealer turns the
sum of shares into a correction likewise; whole rows of a large tensor would go through memory for
each of these steps.
"""

from __future__ import annotations

from collections.abc import Iterator

WORDS = 1 << 18  # of a piece: two megabytes, as much as a core may hope for
MOST = 1 << 10  # pieces


def pieces(elements: int, words: int) -> Iterator[slice]:
    """The elements in order, cut where dealer and parties alike cut them; none for no elements.

    words: dealt for each element.
    """
    size = max(WORDS // max(words, 1), -(-elements // MOST), 1)
    for start in range(0, elements, size):
        yield slice(start, min(start + size, elements))
