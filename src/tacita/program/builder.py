"""Building programs: handles on wires, and where instructions go.

A `Builder` takes instructions one at a time. `runtime.Session` sends them to the parties and the
dealer; `runtime.PlainRun` runs their `plain` reading. What decides on instructions (the aten
table) is written once, against this interface.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tacita.program.instruction import Instruction
from tacita.program.wire import Wire


class Handle:
    """A reference to a wire; when the last one goes, the wire is forgotten everywhere.

    base: the handle of which this one is a view, if any: a mask on the base serves the view.
    public: True for a constant that every role holds.
    derived: what has been computed of this wire alone, to be used again; it goes when the handle
        does. Nothing in it may refer to the handle itself.
    """

    __slots__ = ("__weakref__", "_masked", "base", "builder", "derived", "public", "wire")

    def __init__(
        self, builder: Builder, wire: Wire, *, base: Handle | None = None, public: bool = False
    ) -> None:
        self.builder = builder
        self.wire = wire
        self.base = base
        self.public = public
        self.derived: dict[Hashable, Any] | None = None
        self._masked = False

    def __del__(self) -> None:
        self.builder.forget(self.wire.id)

    @property
    def masked(self) -> bool:
        return self._masked or (self.base is not None and self.base.masked)

    def revise(self, wire: Wire) -> None:
        """The same wire, of which more is known."""
        self.wire = wire
        self.builder.revise(wire)

    def mark_masked(self) -> None:
        self._masked = True

    @property
    def mask_target(self) -> Handle:
        """What to mask when this needs a mask: the source of a view that is no smaller than it."""
        if self.base is not None and self.base.wire.size <= self.wire.size:
            return self.base.mask_target
        return self


class Builder(Protocol):
    """Takes instructions in order; errors of the caller's are raised before anything is sent."""

    checked: bool

    def new_wire(
        self, shape: tuple[int, ...], scale: int = 1, bound: int | None = None, *, bit: bool = False
    ) -> Wire:
        """A wire with a number never used before."""
        ...

    def revise(self, wire: Wire) -> None:
        """More is known of a wire than when it was made: a tighter bound, or that it is a bit."""
        ...

    def emit(self, instruction: Instruction) -> None: ...

    def flush(self) -> None:
        """Hands over what was emitted: called at the end of an operation of the user's."""
        ...

    def constant(self, values: NDArray[np.uint64], scale: int, bound: int | None) -> Handle:
        """A public tensor of ring elements."""
        ...

    def mask(self, handles: Sequence[Handle], what: str) -> None:
        """Sees to it that all handles are masked, in at most one round.

        Raises MissingDealerError, naming `what`, where there is no dealer.
        """
        ...

    def forget(self, wire: int) -> None:
        """Called when nobody holds the wire any more; may be called from any thread."""
        ...
