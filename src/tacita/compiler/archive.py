"""The binary form of a program: what is registered with parties, and kept in files.

    magic       8 bytes
    version     4 bytes, little-endian
    length      8 bytes, little-endian: of the body
    body        msgpack, of the types below alone
    digest      32 bytes: SHA-256 of all that stands before it

The form is canonical: a program has one encoding, and whatever else would decode to it is
refused, so programs are equal exactly where their digests are. The digest tells a cut or altered
file from a malformed one; it is no signature. Nothing in a file is evaluated, and what it says of
its sizes is checked against what is there before anything is made of it.
"""

from __future__ import annotations

import hashlib
import struct
from os import PathLike
from pathlib import Path
from typing import Annotated

import msgspec

from tacita.compiler import validation
from tacita.errors import ProgramError
from tacita.program.program import Literal, Port, Program
from tacita.program.wire import Wire
from tacita.protocols import AnyInstruction

MAGIC = b"\x89Tacita\n"  # no text file starts like this, and line-ending repairs break it
VERSION = 1
LARGEST = 1 << 30  # bytes of an archive: public constants can be a whole network's weights
MOST_ITEMS = 1 << 20  # numbers, names and lists in a body; ResNet-50 has eleven thousand
DEEPEST = 16  # lists in lists; the instructions of today take 11

_HEAD = struct.Struct("<8sIQ")
DIGEST_BYTES = hashlib.sha256().digest_size


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    shape: Annotated[tuple[int, ...], msgspec.Meta(max_length=validation.MOST_DIMENSIONS)]
    scale: int
    bound: int | None
    bit: bool


class _Port(msgspec.Struct, array_like=True, frozen=True):
    name: str
    wire: int


class _Literal(msgspec.Struct, array_like=True, frozen=True):
    wire: int
    data: bytes


_Ports = Annotated[tuple[_Port, ...], msgspec.Meta(max_length=validation.MOST_PORTS)]


class _Body(msgspec.Struct, array_like=True, frozen=True):
    """A program; a place is named once, and then by its number in `places`."""

    base: int
    digits: int
    wires: Annotated[tuple[_Wire, ...], msgspec.Meta(max_length=validation.MOST_WIRES)]
    inputs: _Ports
    weights: _Ports
    constants: Annotated[tuple[_Literal, ...], msgspec.Meta(max_length=validation.MOST_CONSTANTS)]
    outputs: _Ports
    places: Annotated[tuple[str, ...], msgspec.Meta(max_length=validation.MOST_INSTRUCTIONS)]
    place_of: Annotated[tuple[int, ...], msgspec.Meta(max_length=validation.MOST_INSTRUCTIONS)]
    instructions: Annotated[
        tuple[AnyInstruction, ...], msgspec.Meta(max_length=validation.MOST_INSTRUCTIONS)
    ]


_encode_body = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(_Body).decode


def encode(program: Program) -> bytes:
    """The archive of a valid program. Raises ProgramError where it is malformed or too large."""
    validation.validate(program)
    sealed = _sealed(_encode_body(_body_of(program)))
    if len(sealed) > LARGEST:
        raise ProgramError(f"an archive of {len(sealed)} bytes; the most are {LARGEST}")
    return sealed


def decode(data: bytes) -> Program:
    """The program of an archive, validated; encode(decode(data)) == data.

    Raises ProgramError where the archive is cut, altered, of another version, too large or
    malformed. Memory: twice the archive's beside it, and an object for each of its items.
    """
    body = _opened(data)
    check_extent(body)
    try:
        read = _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise ProgramError(f"the program is malformed: {str(problem)[:200]}") from None
    program = _program_of(read)
    validation.validate(program)
    # msgpack can say the same in several ways, and skips what it does not know.
    if _encode_body(_body_of(program)) != body:
        raise ProgramError("the program is malformed: it is not in the one form that it can have")
    return program


def digest(program: Program) -> bytes:
    """SHA-256 of the canonical encoding: the 32 bytes that end the archive."""
    return encode(program)[-DIGEST_BYTES:]


def save(program: Program, path: str | PathLike[str]) -> None:
    """Writes the archive of a valid program to a file."""
    Path(path).write_bytes(encode(program))


def load(path: str | PathLike[str]) -> Program:
    """The validated program of a file. Raises ProgramError, naming the file."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            # Read no more than there was, whatever happens to the file meanwhile.
            data = file.read(size) if size <= LARGEST else None
    except OSError as problem:
        raise ProgramError(f"{path}: cannot be read: {problem.strerror}") from None
    if data is None:
        raise ProgramError(f"{path}: {size} bytes; the most are {LARGEST}")
    try:
        return decode(data)
    except ProgramError as problem:
        raise ProgramError(f"{path}: {problem}") from None


# ---- the frame ---------------------------------------------------------------------------------


def _sealed(body: bytes) -> bytes:
    framed = _HEAD.pack(MAGIC, VERSION, len(body)) + body
    return framed + hashlib.sha256(framed).digest()


def _opened(data: bytes) -> memoryview:
    """The body of an archive whose frame is in order; not a copy of it."""
    if len(data) > LARGEST:
        raise ProgramError(f"an archive of {len(data)} bytes; the most are {LARGEST}")
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise ProgramError("this is no archive of a program")
    if len(data) < _HEAD.size + DIGEST_BYTES:
        raise ProgramError(f"the archive is cut: it ends after {len(data)} bytes")
    _, version, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise ProgramError(
            f"the archive is of version {version}, and this release reads version {VERSION}: "
            "compile the model again"
        )
    whole = _HEAD.size + length + DIGEST_BYTES
    if len(data) != whole:
        how = "cut" if len(data) < whole else "longer than it says"
        raise ProgramError(f"the archive is {how}: {len(data)} bytes instead of {whole}")
    framed = memoryview(data)[:-DIGEST_BYTES]
    if hashlib.sha256(framed).digest() != data[-DIGEST_BYTES:]:
        raise ProgramError("the archive has been altered: its digest does not fit")
    return framed[_HEAD.size :]


# The lengths that follow a tag, and what they count: elements of a list, two for each entry of a
# map, or bytes. Numbers have a length of their own.
_LISTS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_TEXTS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_NUMBERS = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8,
    0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
}  # fmt: skip


def check_extent(body: memoryview) -> None:
    """Walks through msgpack without making anything of it: nothing is nested too deep, there are
    not too many items, and none is longer than what is there."""
    at, items, size = 0, 0, len(body)
    open_lists = [1]
    while open_lists:
        if not open_lists[-1]:
            open_lists.pop()
            continue
        if at >= size:
            raise ProgramError("the program is malformed: it ends early")
        open_lists[-1] -= 1
        items += 1
        if items > MOST_ITEMS:
            raise ProgramError(f"the program has more than {MOST_ITEMS} items")
        tag = body[at]
        at += 1
        if tag < 0x80 or tag >= 0xE0:
            continue
        inside = 0
        if tag < 0x90:
            inside = 2 * (tag & 0x0F)
        elif tag < 0xA0:
            inside = tag & 0x0F
        elif tag < 0xC0:
            at += tag & 0x1F
        elif tag in _NUMBERS:
            at += _NUMBERS[tag]
        elif tag in _TEXTS:
            count = int.from_bytes(body[at : at + _TEXTS[tag]], "big")
            at += _TEXTS[tag] + count
        elif tag in _LISTS or tag in _MAPS:
            width = _LISTS.get(tag) or _MAPS[tag]
            inside = int.from_bytes(body[at : at + width], "big") * (1 + (tag in _MAPS))
            at += width
        else:
            raise ProgramError(f"the program is malformed: byte {at - 1} starts nothing known")
        if inside:
            open_lists.append(inside)
            if len(open_lists) > DEEPEST:
                raise ProgramError(f"the program is nested deeper than {DEEPEST} levels")
    if at != size:
        raise ProgramError(f"the program is malformed: {size - at} bytes too many or too few")


# ---- bodies ------------------------------------------------------------------------------------


def _body_of(program: Program) -> _Body:
    number_of = {place: number for number, place in enumerate(dict.fromkeys(program.places))}
    return _Body(
        base=program.base,
        digits=program.digits,
        wires=tuple(_Wire(w.shape, w.scale, w.bound, w.bit) for w in program.wires),
        inputs=_ports_to(program.inputs),
        weights=_ports_to(program.weights),
        constants=tuple(_Literal(each.wire, each.data) for each in program.constants),
        outputs=_ports_to(program.outputs),
        places=tuple(number_of),
        place_of=tuple(number_of[place] for place in program.places),
        # Only listed instructions have a rule, so that validated programs have no others.
        instructions=program.instructions,  # type: ignore[arg-type]
    )


def _program_of(body: _Body) -> Program:
    if not all(0 <= number < len(body.places) for number in body.place_of):
        raise ProgramError("the program is malformed: an instruction comes from no known place")
    return Program(
        wires=tuple(
            Wire(number, wire.shape, wire.scale, wire.bound, wire.bit)
            for number, wire in enumerate(body.wires)
        ),
        inputs=_ports_from(body.inputs),
        weights=_ports_from(body.weights),
        constants=tuple(Literal(each.wire, each.data) for each in body.constants),
        outputs=_ports_from(body.outputs),
        instructions=body.instructions,
        places=tuple(body.places[number] for number in body.place_of),
        base=body.base,
        digits=body.digits,
    )


def _ports_to(ports: tuple[Port, ...]) -> tuple[_Port, ...]:
    return tuple(_Port(port.name, port.wire) for port in ports)


def _ports_from(ports: tuple[_Port, ...]) -> tuple[Port, ...]:
    return tuple(Port(port.name, port.wire) for port in ports)
