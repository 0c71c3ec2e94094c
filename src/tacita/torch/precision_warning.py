"""The warning for a precision that changes what is computed, of a network or of an optimizer."""

from __future__ import annotations


class PrecisionWarning(UserWarning):
    """At this precision, results are not those that the same code has in the clear."""
