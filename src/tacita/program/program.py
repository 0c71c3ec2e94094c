"""A whole program: instructions over numbered wires, with what goes in and what comes out.

Everything in a program is public. Weights and inputs are named by it, not contained in it; only
public constants are. Wires are written once, by one instruction, or bound from outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacita.program.instruction import Instruction
from tacita.program.readings import Array
from tacita.program.wire import Wire

NO_MODULE = "no module"  # what the place "" is called wherever places are shown


@dataclass(frozen=True, slots=True)
class Port:
    """A wire that is bound from outside, or handed out: its name and number."""

    name: str
    wire: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A public tensor: ring elements, little-endian, in row-major order of the wire's shape."""

    wire: int
    data: bytes

    def array(self, shape: tuple[int, ...]) -> Array:
        return np.frombuffer(self.data, "<u8").astype(np.uint64).reshape(shape)


@dataclass(frozen=True, slots=True, repr=False)
class Program:
    """wires: every wire, at the place of its number.
    inputs, weights: private wires, bound for a run and for good; weights are masked beforehand.
    constants: public wires with their values.
    outputs: in the order in which the network returns them.
    places: for each instruction the module that it comes from, or the operation where the network
        itself does it; "" where neither is known.
    base, digits: the precision that weights, inputs and outputs are encoded at.
    """

    wires: tuple[Wire, ...]
    inputs: tuple[Port, ...]
    weights: tuple[Port, ...]
    constants: tuple[Literal, ...]
    outputs: tuple[Port, ...]
    instructions: tuple[Instruction, ...]
    places: tuple[str, ...]
    base: int
    digits: int

    def __repr__(self) -> str:
        return (
            f"Program({len(self.instructions)} instructions, {len(self.inputs)} inputs, "
            f"{len(self.weights)} weights, {len(self.outputs)} outputs)"
        )

    def __str__(self) -> str:
        """Every instruction, readably; see text.py."""
        from tacita.program.text import text  # which imports this module

        return text(self)
