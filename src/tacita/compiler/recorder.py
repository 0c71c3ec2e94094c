"""A Builder that writes down what it is told, as a program."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tacita.program.builder import Handle
from tacita.program.instruction import Instruction
from tacita.program.program import Literal, Port, Program
from tacita.program.readings import Array
from tacita.program.wire import Wire
from tacita.protocols import MaskWires
from tacita.ring.fixed_point import Precision


class Recorder:
    """Implements `program.builder.Builder`; `place` names the module at hand.

    Weights count as masked from the start: whoever binds them masks them beforehand.
    """

    def __init__(self, *, checked: bool = False) -> None:
        self.checked = checked
        self.place = ""
        self._wires: list[Wire] = []
        self._inputs: list[Port] = []
        self._weights: list[Port] = []
        self._constants: dict[tuple[bytes, tuple[int, ...], int], Handle] = {}
        self._instructions: list[Instruction] = []
        self._places: list[str] = []

    def new_wire(
        self, shape: tuple[int, ...], scale: int = 1, bound: int | None = None, *, bit: bool = False
    ) -> Wire:
        wire = Wire(len(self._wires), tuple(shape), scale, bound, bit)
        self._wires.append(wire)
        return wire

    def revise(self, wire: Wire) -> None:
        self._wires[wire.id] = wire

    def input(self, name: str, shape: tuple[int, ...], scale: int, bound: int | None) -> Handle:
        wire = self.new_wire(shape, scale, bound)
        self._inputs.append(Port(name, wire.id))
        return Handle(self, wire)

    def weight(
        self,
        name: str,
        shape: tuple[int, ...],
        scale: int,
        bound: int | None,
        *,
        bit: bool = False,
    ) -> Handle:
        wire = self.new_wire(shape, scale, bound, bit=bit)
        self._weights.append(Port(name, wire.id))
        handle = Handle(self, wire)
        handle.mark_masked()
        return handle

    def constant(self, values: Array, scale: int, bound: int | None) -> Handle:
        """A public tensor; the same values again are the same wire."""
        data = np.ascontiguousarray(values, "<u8").tobytes()
        key = (data, values.shape, scale)
        handle = self._constants.get(key)
        if handle is None:
            handle = Handle(self, self.new_wire(values.shape, scale, bound), public=True)
            self._constants[key] = handle
        return handle

    def emit(self, instruction: Instruction) -> None:
        self._instructions.append(instruction)
        self._places.append(self.place)

    def flush(self) -> None:
        """Nothing waits here."""

    def mask(self, handles: Sequence[Handle], what: str) -> None:
        targets: dict[int, Handle] = {}
        for handle in handles:
            if not handle.masked:
                target = handle.mask_target
                targets[target.wire.id] = target
        if targets:
            wires = [target.wire for target in targets.values()]
            self.emit(MaskWires(tuple(w.id for w in wires), tuple(w.shape for w in wires)))
            for target in targets.values():
                target.mark_masked()

    def forget(self, wire: int) -> None:
        """A program says itself how long a wire is needed."""

    def program(self, outputs: Sequence[tuple[str, Handle]], precision: Precision) -> Program:
        """What was recorded."""
        return Program(
            wires=tuple(self._wires),
            inputs=tuple(self._inputs),
            weights=tuple(self._weights),
            constants=tuple(
                Literal(handle.wire.id, data) for (data, _, _), handle in self._constants.items()
            ),
            outputs=tuple(Port(name, handle.wire.id) for name, handle in outputs),
            instructions=tuple(self._instructions),
            places=tuple(self._places),
            base=precision.base,
            digits=precision.digits,
        )
