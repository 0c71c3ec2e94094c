"""What is known of values inside an operation: public ranges of what no node of a graph shows.

Exporting a network observes them on the owner's samples, with room to spare (whole/inner.py), and
an operation that finds them is lowered to less work. They are bounds like any other: what lies
outside makes results wrong, and in checked mode is an error.
"""

from __future__ import annotations

from typing import NamedTuple

VARIANCE = "variance"  # that a normalisation divides by the root of, eps included
SCORES = "scores"  # of attention, before a mask
SHOWN = "masked scores"  # the same with the mask, where it does not hide them
SUMS = "logarithms of sums"  # log Σ e^score of each row, masked
MASK = "mask"  # what is added to the scores


class Interval(NamedTuple):
    """In reals, both ends included."""

    least: float
    most: float
