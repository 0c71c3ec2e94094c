"""What long work tells whoever looks on."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # what is done, how much of it already, of how much


def silent(_: str, __: int, ___: int) -> None:
    """Progress that nobody wants to see."""
