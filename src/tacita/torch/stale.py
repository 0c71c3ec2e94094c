"""Parameters that a module has no longer: conversion gave it others, and an optimizer may not know.

`share()`, `fix_precision()`, `get()` and `float_precision()` of a module replace its parameters. An
optimizer made before holds the old ones, to which no gradient comes any more: it would train
nothing, without a word. So the old ones remember that they were replaced, and by what.
"""

from __future__ import annotations

from typing import Any

import torch

REPLACED = "_tacita_replaced"  # on a parameter: what replaced it, and its gradient's version then


def mark_replaced(old: torch.Tensor, new: torch.Tensor) -> None:
    """Remembers, on the old parameter, that a module has the new one in its place."""
    grad = old.grad
    setattr(old, REPLACED, (type(new).__name__, None if grad is None else grad._version))


def is_stale(parameter: torch.Tensor) -> bool:
    """Whether a parameter was replaced, and no gradient has come to it since.

    One with a gradient of its own is in another module as well, where it may well be trained.
    """
    found: tuple[str, int | None] | None = getattr(parameter, REPLACED, None)
    if found is None:
        return False
    grad: Any = parameter.grad
    return grad is None or grad._version == found[1]


def replaced_by_kind(parameter: torch.Tensor) -> str:
    """The type of what replaced a stale parameter, for errors."""
    name: str = getattr(parameter, REPLACED)[0]
    return name
