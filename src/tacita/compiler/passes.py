"""Passes over programs: each takes a program and results in one that computes the same."""

from __future__ import annotations

from dataclasses import replace

from tacita.program.instruction import Instruction
from tacita.program.program import Program
from tacita.program.schedule import starts
from tacita.protocols import MaskWires


def optimised(program: Program) -> Program:
    """All passes, in the order that suits them."""
    return in_order_of_start(without_dead_code(program))


def without_dead_code(program: Program) -> Program:
    """Leaves out what no output needs, masks that nobody asks for, and unused constants.

    Inputs and weights stay: they are the program's signature.
    """
    needed = {port.wire for port in program.outputs}
    for instruction in reversed(program.instructions):
        if not needed.isdisjoint(instruction.writes):
            needed.update(instruction.reads)
    kept = [
        (pruned, place)
        for instruction, place in zip(program.instructions, program.places, strict=True)
        if (pruned := _pruned(instruction, needed)) is not None
    ]
    return replace(
        program,
        instructions=tuple(instruction for instruction, _ in kept),
        places=tuple(place for _, place in kept),
        constants=tuple(each for each in program.constants if each.wire in needed),
    )


def _pruned(instruction: Instruction, needed: set[int]) -> Instruction | None:
    """What is needed of an instruction; a mask may come after the view that is needed of it."""
    if not isinstance(instruction, MaskWires):
        return None if needed.isdisjoint(instruction.writes) else instruction
    pairs = zip(instruction.wires, instruction.shapes, strict=True)
    kept = [(wire, shape) for wire, shape in pairs if wire in needed]
    if not kept:
        return None
    return MaskWires(tuple(wire for wire, _ in kept), tuple(shape for _, shape in kept))


def in_order_of_start(program: Program) -> Program:
    """Sorts the instructions by the round in which they can start.

    A dealer then deals in the order in which the parties ask, and openings that could share a
    round stand side by side.
    """
    start, _ = starts(program.instructions)
    order = sorted(range(len(start)), key=lambda index: (start[index], index))
    return replace(
        program,
        instructions=tuple(program.instructions[i] for i in order),
        places=tuple(program.places[i] for i in order),
    )
