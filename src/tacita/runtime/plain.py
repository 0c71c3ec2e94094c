"""The `plain` reading: the same instructions on the ring values themselves, in this process.

For tests and previews: what it computes is what the parties compute, but for the one unit that
truncation may round up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from tacita.errors import BoundExceeded
from tacita.program.builder import Handle
from tacita.program.instruction import Instruction
from tacita.program.program import Program
from tacita.program.wire import Wire

Array = NDArray[np.uint64]


class PlainRun:
    """A Builder that runs every instruction at once, in the clear."""

    def __init__(self, *, checked: bool = False) -> None:
        self.checked = checked
        self._ids = count()
        self._values: dict[int, Array] = {}
        self._failed: dict[int, str] = {}

    def new_id(self) -> int:
        return next(self._ids)

    def new_wire(
        self, shape: tuple[int, ...], scale: int = 1, bound: int | None = None, *, bit: bool = False
    ) -> Wire:
        return Wire(self.new_id(), shape, scale, bound, bit)

    def revise(self, wire: Wire) -> None:
        """Handles know; nothing is kept of wires here."""

    def emit(self, instruction: Instruction) -> None:
        failures = [self._failed[wire] for wire in instruction.reads if wire in self._failed]
        if failures:
            for wire in instruction.writes:
                self._failed[wire] = failures[0]
        else:
            instruction.plain(self)

    def flush(self) -> None:
        """Nothing waits here."""

    def input(self, values: Array, shape: tuple[int, ...], scale: int, bound: int | None) -> Handle:
        wire = self.new_wire(shape, scale, bound)
        self._values[wire.id] = values.reshape(shape)
        return Handle(self, wire)

    def constant(self, values: Array, scale: int, bound: int | None) -> Handle:
        handle = self.input(values, values.shape, scale, bound)
        handle.public = True
        return handle

    def mask(self, handles: Sequence[Handle], what: str) -> None:
        for handle in handles:
            handle.mark_masked()

    def forget(self, wire: int) -> None:
        self._values.pop(wire, None)
        self._failed.pop(wire, None)

    def reveal(self, handle: Handle) -> Array:
        """The ring values of a wire."""
        if handle.wire.id in self._failed:
            raise BoundExceeded(self._failed[handle.wire.id])
        return self._values[handle.wire.id]

    def value(self, wire: int) -> Array:
        return self._values[wire]

    def write(self, wire: int, value: Array) -> None:
        self._values[wire] = value

    def fail(self, wire: int, message: str) -> None:
        self._failed[wire] = message

    def values(self) -> dict[int, Array]:
        """Every wire's values."""
        for refusal in self._failed.values():
            raise BoundExceeded(refusal)
        return self._values


def run_plain(
    program: Program, weights: Sequence[Array], inputs: Sequence[Array]
) -> dict[int, Array]:
    """The `plain` reading of a whole program: every wire's values.

    Raises BoundExceeded where a bound that checked mode verifies does not hold.
    """
    run = PlainRun()
    ports = (*program.weights, *program.inputs)
    for port, values in zip(ports, (*weights, *inputs), strict=True):
        run.write(port.wire, values.reshape(program.wires[port.wire].shape))
    for literal in program.constants:
        run.write(literal.wire, literal.array(program.wires[literal.wire].shape))
    for instruction in program.instructions:
        run.emit(instruction)
    return run.values()
