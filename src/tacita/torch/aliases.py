"""Which tensors share memory in torch's eyes.

Handles are immutable, so writing to a tensor in place gives it another handle. A view of it would
go on showing the old values where torch promises the new ones: such a write is refused instead.
torch keeps the source of a view alive as long as the view, so a view always counts as one.
"""

from __future__ import annotations

import weakref
from typing import Any

from tacita.errors import UsageError

# Tensors by id: tensors compare by value, which private ones cannot.
Aliases = dict[int, Any]


def share_memory(source: Any, view: Any) -> None:
    """Notes that `view` is a view of `source`."""
    if source._aliases is None:
        source._aliases = {}
        _enter(source._aliases, source)
    view._aliases = source._aliases
    _enter(view._aliases, view)


def _enter(aliases: Aliases, tensor: Any) -> None:
    key = id(tensor)
    aliases[key] = weakref.ref(tensor, lambda _: aliases.pop(key, None))


def unaliased(tensor: Any) -> bool:
    """Whether no other living tensor shares memory with this one."""
    return tensor._aliases is None or len(tensor._aliases) <= 1


def require_unaliased(tensor: Any, what: str) -> None:
    """Raises UsageError where another living tensor shares memory with this one."""
    aliases = tensor._aliases
    if aliases is None:
        return
    if not unaliased(tensor):
        raise UsageError(
            f"{what} on a tensor that has views, or is one: the others would not see the change. "
            "Write y = x + … (and no in-place activation), or take a clone() first"
        )
    # Alone again: torch.utils.swap_tensors accepts no tensor with a weak reference to it.
    tensor._aliases = None
