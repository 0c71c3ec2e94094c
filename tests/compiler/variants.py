"""Small changes to a program: every field of every instruction, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from tacita.protocols import AnyInstruction

FAR = 1 << 40

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(AnyInstruction).decode


def variants(value: Any) -> Iterator[Any]:
    """Values of about the same type that are not this one."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from {value + 1, value - 1, -value - 1, 2 * value, 0, 1, FAR, (1 << 63) - 1} - {value}
    elif value is None:
        yield from (0, 1)
    elif isinstance(value, str):
        yield from (value + "!", "\x1b[2J", "x" * 10_000)
    elif isinstance(value, bytes):
        yield from (b"", value[:-1], value + bytes(8), value[:-8] + FAR.to_bytes(8, "little"))
        yield value[:-8] + b"\xff" * 8
    elif isinstance(value, tuple):
        yield from ((), value[:-1], (*value, *value[-1:]), value[::-1])
        for at in {0, len(value) - 1} if value else ():
            for each in variants(value[at]):
                yield (*value[:at], each, *value[at + 1 :])
    elif isinstance(value, msgspec.Struct):
        yield from struct_variants(value)


def struct_variants(struct: msgspec.Struct) -> Iterator[msgspec.Struct]:
    for field in msgspec.structs.fields(struct):
        for each in variants(getattr(struct, field.name)):
            try:
                yield msgspec.structs.replace(struct, **{field.name: each})
            except ValueError:
                continue  # the struct itself refuses it, and so does a decoder


def typed(instruction: Any) -> bool:
    """Whether a decoder lets it through."""
    try:
        return decode(encode(instruction)) == instruction
    except msgspec.ValidationError:
        return False


def program_variants(program) -> Iterator[Any]:
    """The program with one field of one instruction changed, or two neighbours exchanged, or one
    instruction left out or repeated."""
    instructions = program.instructions
    for at, instruction in enumerate(instructions):
        for each in filter(typed, struct_variants(instruction)):
            yield replace(program, instructions=(*instructions[:at], each, *instructions[at + 1 :]))
    for at in range(len(instructions)):
        before, this, after = instructions[:at], instructions[at], instructions[at + 1 :]
        places = (*program.places[:at], *program.places[at + 1 :])
        yield replace(program, instructions=(*before, *after), places=places)
        places = (*program.places, "")
        yield replace(program, instructions=(*before, this, this, *after), places=places)
        if after:
            yield replace(program, instructions=(*before, after[0], this, *after[1:]))
