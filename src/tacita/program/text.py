"""The readable form of a program: one line an instruction, under the module that it comes from.

Nothing here knows a concrete instruction: fields are walked as they are declared, and which of
them name wires is found out from what the instruction says that it reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tacita.program.instruction import Instruction
from tacita.program.program import NO_MODULE, Literal, Port, Program
from tacita.program.schedule import cost_of
from tacita.program.wire import Wire

COLUMN = 76  # where what is known of a result starts, if the line is not longer
ITEMS = 8  # of a tuple of numbers; longer ones are only counted

Roles = dict[tuple[type[Instruction], str], str | None]  # of fields: "read", "written" or neither


def text(program: Program) -> str:
    """A valid program as lines: header, instructions, outputs, totals. Its length is that of the
    program; constants and indices are counted, not written out."""
    return "\n".join(_lines(program, _names(program)))


def _lines(program: Program, names: list[str]) -> Iterator[str]:
    yield f"program: base {program.base}, {program.digits} digits"
    yield from _ports("inputs", program.inputs, program, names)
    yield from _ports("weights", program.weights, program, names)
    if program.constants:
        yield f"constants: {len(program.constants)}"
        for literal in program.constants:
            wire = program.wires[literal.wire]
            yield _annotated(f"  {names[literal.wire]}{_single(literal, wire)}", [wire])
    yield "instructions:"
    last: str | None = None
    roles: Roles = {}
    for instruction, place in zip(program.instructions, program.places, strict=True):
        if place != last:
            yield f"  # {place or f'({NO_MODULE})'}"
            last = place
        yield _instruction(instruction, program, names, roles)
    yield from _ports("outputs", program.outputs, program, names)
    yield _totals(program)


def _names(program: Program) -> list[str]:
    """What each wire is called: bound ones by their names, others by their numbers."""
    names = [f"%{wire.id}" for wire in program.wires]
    for port in program.inputs:
        names[port.wire] = f"%input:{port.name}"
    for port in program.weights:
        names[port.wire] = f"%weight:{port.name}"
    for literal in program.constants:
        names[literal.wire] = f"%constant:{literal.wire}"
    return names


def _ports(
    title: str, ports: tuple[Port, ...], program: Program, names: list[str]
) -> Iterator[str]:
    yield f"{title}: {len(ports)}"
    for port in ports:
        name = names[port.wire]
        line = f"  {name}" if title != "outputs" else f"  {port.name} = {name}"
        yield _annotated(line, [program.wires[port.wire]])


def _single(literal: Literal, wire: Wire) -> str:
    """What a constant of one element holds."""
    if wire.size != 1:
        return ""
    return f" = {int.from_bytes(literal.data, 'little', signed=True)}"


def _totals(program: Program) -> str:
    cost = cost_of(program.instructions)
    disclosed = sum(instruction.discloses for instruction in program.instructions)
    return (
        f"totals: {len(program.instructions)} instructions, {cost.rounds} rounds, "
        f"{_bytes(cost.opened_bytes)} to each other party, "
        f"{_bytes(cost.handed_bytes)} dealt"
        + (f"; discloses {disclosed} bits, one for each bound checked" if disclosed else "")
    )


def _bytes(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    size, units = float(count), ["kB", "MB", "GB", "TB"]
    while size >= 999.5 and units:
        size, unit = size / 1000, units.pop(0)
    return f"{size:.3g} {unit}"


# ---- instructions ------------------------------------------------------------------------------


def _instruction(instruction: Instruction, program: Program, names: list[str], roles: Roles) -> str:
    written = [program.wires[wire] for wire in instruction.writes]
    read = [program.wires[wire] for wire in instruction.reads]
    # Fields that say no more than the column of shapes does are left out.
    told = [*(wire.shape for wire in written), tuple(wire.shape for wire in read)]
    operands: list[str] = []
    others: list[str] = []
    for name in instruction.__struct_fields__:
        value = getattr(instruction, name)
        role = _role(instruction, name, value, roles)
        if role == "read":
            operands.extend(_operands(value, names))
        elif role != "written" and value not in told:
            others.append(f"{name}={_value(value)}")
    results = ", ".join(names[wire.id] for wire in written)
    call = f"{type(instruction).__name__}({', '.join([*operands, *others])})"
    # What writes nothing does something to what it reads.
    return _annotated(f"    {results} = {call}" if written else f"    {call}", written or read)


def _role(instruction: Instruction, name: str, value: object, roles: Roles) -> str | None:
    """Whether a field names the wires that are read, or written: does changing it change them?"""
    key = type(instruction), name
    if key not in roles:
        other: object
        if isinstance(value, int) and not isinstance(value, bool):
            other = value + 1
        elif isinstance(value, tuple) and value:
            other = value[:-1]
        else:
            return None  # this value does not tell; another instruction's may
        changed = msgspec.structs.replace(instruction, **{name: other})
        if changed.reads != instruction.reads:
            roles[key] = "read"
        elif changed.writes != instruction.writes:
            roles[key] = "written"
        else:
            roles[key] = None
    return roles[key] if value is not None else None


def _operands(value: object, names: list[str]) -> Iterator[str]:
    """One wire, several, or pairs of a wire and its public coefficient."""
    if isinstance(value, int):
        yield names[value]
        return
    assert isinstance(value, tuple)
    for each in value:
        if isinstance(each, tuple):
            wire, *rest = each
            yield "·".join([*(str(factor) for factor in rest if factor != 1), names[wire]])
        else:
            yield names[each]


def _value(value: object, depth: int = 0) -> str:
    """A public field, shortened: structs by their numbers, long and nested tuples by length."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, tuple):
        plain = all(isinstance(each, int | str | None) for each in value)
        if depth or not plain or len(value) > ITEMS:
            return f"<{len(value)}>"
        return "(" + ", ".join(map(_value, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, msgspec.Struct):
        fields = (
            f"{name}={_value(getattr(value, name), depth + 1)}" for name in value.__struct_fields__
        )
        return f"{type(value).__name__}({', '.join(fields)})"
    if isinstance(value, int) and not isinstance(value, bool):
        return _number(value)
    return repr(value)


# ---- wires -------------------------------------------------------------------------------------


def _annotated(line: str, wires: list[Wire]) -> str:
    """A line with what is public about its results, in a column of its own."""
    return f"{line:<{COLUMN}}  {'; '.join(map(_wire, wires))}".rstrip()


def _wire(wire: Wire) -> str:
    parts = ["[" + "×".join(map(str, wire.shape)) + "]"]
    if wire.scale != 1:
        parts.append(f"scale {_number(wire.scale)}")
    if wire.bit:
        parts.append("bit")
    elif wire.bound is not None:
        parts.append(f"|x| < 2^{wire.bound.bit_length()}")
    return " ".join(parts)


def _number(value: int) -> str:
    """Large powers as powers: that is what scales and divisors are."""
    if value >= 1000:
        for base in (2, 10):
            exponent = _exponent(value, base)
            if exponent is not None:
                return f"{base}^{exponent}"
    return str(value)


def _exponent(value: int, base: int) -> int | None:
    exponent = 0
    while value % base == 0:
        value //= base
        exponent += 1
    return exponent if value == 1 else None
