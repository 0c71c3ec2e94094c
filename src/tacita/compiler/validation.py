"""Refusing malformed programs, before anybody runs them.

After `validate`, carrying out a program can fail for want of memory, material or peers, and for a
bound that checked mode refuses; not because an index, a shape, a plan or an order is wrong. The
program is taken in the order in which its instructions stand, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from reprlib import repr as brief

from tacita.compiler import shapes
from tacita.errors import EncodingError, ProgramError
from tacita.program.instruction import Instruction
from tacita.program.program import NO_MODULE, Port, Program
from tacita.program.wire import Wire
from tacita.protocols import MaskWires
from tacita.protocols.linear import Linear
from tacita.protocols.views import View
from tacita.ring.fixed_point import Precision

MOST_WIRES = 1 << 21
MOST_INSTRUCTIONS = 1 << 20
MOST_PORTS = 1 << 16  # inputs, weights and outputs, each
MOST_CONSTANTS = 1 << 16
MOST_DIMENSIONS = 8
LARGEST_NUMBER = (1 << 63) - 1  # of scales and bounds
LONGEST_NAME = 512  # characters
DEEPEST_VIEW = 256  # views of views: roles find a mask by walking down to it
BEFOREHAND, NEVER = 0, 1 << 62  # turns at which wires are masked
MOST_OPENED = 1 << 37  # bytes that one instruction opens, or that are dealt for it


def validate(program: Program) -> None:
    """Raises ProgramError, naming the instruction, its module and the wire, for what no role can
    carry out. Cost: that of reading the program; no array of a wire's size is made."""
    _check_counts(program)
    _check_precision(program)
    for number, wire in enumerate(program.wires):
        _check_wire(number, wire)
    state = _State(program)
    for port in program.inputs:
        state.bind(f"input {port.name!r}", port.wire)
    for port in program.weights:
        state.bind(f"weight {port.name!r}", port.wire)
        state.masked[port.wire] = BEFOREHAND
    for literal in program.constants:
        state.bind("a constant", literal.wire)
        state.public[literal.wire] = True
        size = program.wires[literal.wire].size
        if len(literal.data) != 8 * size:
            raise ProgramError(
                f"the constant of wire {literal.wire} has {len(literal.data)} bytes, not 8 for "
                f"each of {size} elements"
            )
    for number, instruction in enumerate(program.instructions):
        try:
            state.take(instruction)
        except ProgramError as problem:
            place = program.places[number] or NO_MODULE
            name = type(instruction).__name__
            raise ProgramError(f"instruction {number} ({name}, {place}): {problem}") from None
    for port in program.outputs:
        try:
            state.need_written(port.wire)
        except ProgramError as problem:
            raise ProgramError(f"output {port.name!r}: {problem}") from None


class _State:
    """What is known of each wire after the instructions so far.

    masked: the turn at which a wire gets a mask, of its own or as a view of what gets one; turns
    count all wires of all MaskWires. A view may be older than the mask on what it shows, so the
    turns of masks are read off the whole program first, and a view takes the earlier of its own
    and its source's. So nobody walks through views of views, of which a hostile program has many.
    """

    def __init__(self, program: Program) -> None:
        count = len(program.wires)
        self.wires = program.wires
        self.written = [False] * count
        self.public = [False] * count  # a constant, or a view of one
        self.depth = [0] * count  # how many views lie between a wire and what it shows
        self.turn = 0
        self.masked = [NEVER] * count
        turn = 0
        for instruction in program.instructions:
            for wire in instruction.masks:
                turn += 1
                if 0 <= wire < count:
                    self.masked[wire] = min(self.masked[wire], turn)

    def bind(self, what: str, wire: int) -> None:
        if not 0 <= wire < len(self.wires):
            raise ProgramError(f"{what}: there is no wire {wire}")
        if self.written[wire]:
            raise ProgramError(f"{what}: wire {wire} is bound twice")
        self.written[wire] = True

    def need_written(self, wire: int) -> None:
        if not 0 <= wire < len(self.wires):
            raise ProgramError(f"there is no wire {wire}")
        if not self.written[wire]:
            raise ProgramError(f"wire {wire} is read before it is written")

    def has_mask(self, wire: int) -> bool:
        """Of its own, or that of what it is a view of."""
        return self.masked[wire] <= self.turn

    def take(self, instruction: Instruction) -> None:
        for wire in instruction.reads:
            self.need_written(wire)
        _check_dimensions(instruction)
        results = shapes.written(instruction, *(self.wires[w].shape for w in instruction.reads))
        for wire in masked_operands(instruction):
            if not self.has_mask(wire):
                raise ProgramError(f"wire {wire} is not masked before it")
        for wire in public_operands(instruction):
            if not self.public[wire]:
                raise ProgramError(f"wire {wire} is private where a constant is due")
        for wire, shape in zip(instruction.writes, results, strict=True):
            self._write(wire, shape)
        if instruction.aliases:
            self._alias(instruction)
        for wire in instruction.masks:
            self._mask(wire)
        cost = instruction.cost()
        if max(cost.opened_bytes, cost.handed_bytes, cost.consulted_bytes) > MOST_OPENED:
            raise ProgramError(f"it takes more than {MOST_OPENED} bytes of material")

    def _write(self, wire: int, shape: tuple[int, ...]) -> None:
        if not 0 <= wire < len(self.wires):
            raise ProgramError(f"there is no wire {wire}")
        if self.written[wire]:
            raise ProgramError(f"wire {wire} is written twice")
        if self.wires[wire].shape != shape:
            raise ProgramError(
                f"wire {wire} is declared with the shape {self.wires[wire].shape}, and becomes "
                f"{brief(shape)}"
            )
        self.written[wire] = True

    def _alias(self, instruction: Instruction) -> None:
        (source,) = instruction.reads
        (wire,) = instruction.writes
        self.masked[wire] = min(self.masked[wire], self.masked[source])
        self.public[wire] = self.public[source]
        self.depth[wire] = self.depth[source] + 1
        if self.depth[wire] > DEEPEST_VIEW:
            raise ProgramError(f"wire {wire} is a view of more than {DEEPEST_VIEW} others")

    def _mask(self, wire: int) -> None:
        if self.public[wire]:
            raise ProgramError(f"wire {wire} is public and needs no mask")
        # With two masks to choose from, what runs side by side would not agree on one.
        if self.has_mask(wire):
            raise ProgramError(f"wire {wire} is masked already")
        self.turn += 1


def masked_operands(instruction: Instruction) -> tuple[int, ...]:
    """The wires whose openings it takes: all, unless it is linear, a view or makes masks."""
    return () if isinstance(instruction, Linear | View | MaskWires) else instruction.reads


def public_operands(instruction: Instruction) -> tuple[int, ...]:
    """The wires that every role has to hold."""
    public = getattr(instruction, "public", None)
    return () if public is None else (public,)


# ---- the parts of a program --------------------------------------------------------------------


def _check_counts(program: Program) -> None:
    for what, count, most in (
        ("wires", len(program.wires), MOST_WIRES),
        ("inputs", len(program.inputs), MOST_PORTS),
        ("weights", len(program.weights), MOST_PORTS),
        ("outputs", len(program.outputs), MOST_PORTS),
        ("constants", len(program.constants), MOST_CONSTANTS),
        ("instructions", len(program.instructions), MOST_INSTRUCTIONS),
    ):
        if count > most:
            raise ProgramError(f"{count} {what}; the most are {most}")
    if len(program.places) != len(program.instructions):
        raise ProgramError(
            f"{len(program.places)} places for {len(program.instructions)} instructions"
        )
    for name in _names(program):
        if len(name) > LONGEST_NAME:
            raise ProgramError(f"a name of {len(name)} characters; the most are {LONGEST_NAME}")
        # Names are printed: nothing in them may act on a terminal.
        if not name.isprintable():
            raise ProgramError(f"the name {name!r} cannot be printed")
    for what, ports in (("input", program.inputs), ("weight", program.weights)):
        _check_distinct(what, ports)


def _check_dimensions(instruction: Instruction) -> None:
    """Before anybody multiplies them: a product of very many numbers takes very long."""
    shape = getattr(instruction, "shape", ())
    if len(shape) > MOST_DIMENSIONS:
        raise ProgramError(f"a shape of {len(shape)} dimensions; the most are {MOST_DIMENSIONS}")


def _names(program: Program) -> Iterator[str]:
    for port in (*program.inputs, *program.weights, *program.outputs):
        yield port.name
    yield from dict.fromkeys(program.places)
    for instruction in program.instructions:
        what = getattr(instruction, "what", None)
        if isinstance(what, str):
            yield what


def _check_distinct(what: str, ports: tuple[Port, ...]) -> None:
    seen: set[str] = set()
    for port in ports:
        if port.name in seen:
            raise ProgramError(f"{what} {port.name!r} stands twice")
        seen.add(port.name)


def _check_precision(program: Program) -> None:
    try:
        Precision(program.base, program.digits)
    except EncodingError as problem:
        raise ProgramError(str(problem)) from None


def _check_wire(number: int, wire: Wire) -> None:
    if wire.id != number:
        raise ProgramError(f"wire {number} has the number {brief(wire.id)}")
    shape = wire.shape
    if len(shape) > MOST_DIMENSIONS or any(size < 0 for size in shape):
        raise ProgramError(f"wire {number} cannot have the shape {brief(shape)}")
    # Dimensions of size 0 count as 1: NumPy refuses [0, 2^62, 8] as well.
    if prod(max(size, 1) for size in shape) > shapes.LARGEST_WIRE:
        raise ProgramError(
            f"wire {number} of the shape {brief(shape)} has more than {shapes.LARGEST_WIRE} "
            "elements"
        )
    if not 1 <= wire.scale <= LARGEST_NUMBER:
        raise ProgramError(f"wire {number} cannot have the scale {brief(wire.scale)}")
    if wire.bound is not None and not 0 <= wire.bound <= LARGEST_NUMBER:
        raise ProgramError(f"wire {number} cannot have the bound {brief(wire.bound)}")
