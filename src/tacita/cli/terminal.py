"""Text from elsewhere, made harmless for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Control characters, which could move the cursor or change colours, as escapes."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
