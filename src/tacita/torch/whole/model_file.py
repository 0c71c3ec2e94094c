"""A model in a file: what its owner exports once and publishes later.

    magic       8 bytes
    version     4 bytes, little-endian
    lengths     8 bytes each, little-endian: of the header, the program and the weights
    header      msgpack, of the type below alone
    program     its archive (compiler/archive.py), with a frame and a digest of its own
    weights     ring elements, 8 bytes each, little-endian, in the order and shapes of the program
    digest      32 bytes: SHA-256 of all that stands before it

Nothing in a file is evaluated, and what it says of its sizes is checked against what is there
before anything is made of it. The digest tells a cut or altered file from a malformed one; it is no
signature. The weights stand in it as they are, so only its owner may read it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import numpy as np
from torch.utils import _pytree as pytree

from tacita.compiler import archive, validation
from tacita.errors import ProgramError, UsageError
from tacita.program.program import Program
from tacita.ring.fixed_point import Array

MAGIC = b"\x89TcModl\n"  # no text file starts like this, and line-ending repairs break it
VERSION = 1
LARGEST_HEADER = 1 << 24  # bytes: the names of tensors that the program shows
LARGEST_WEIGHTS = 1 << 36  # bytes: more than any program's ports name in practice
ELEMENT = np.dtype("<u8")
DIGEST_BYTES = hashlib.sha256().digest_size

_HEAD = struct.Struct("<8sIQQQ")
_LONGEST_NAME = 1 << 12

Name = Annotated[str, msgspec.Meta(max_length=_LONGEST_NAME)]


class Results(msgspec.Struct, frozen=True):
    """How a network puts its results together. keys: of a dict, in the order of the results."""

    kind: Literal["tensor", "tuple", "list", "dict"]
    count: Annotated[int, msgspec.Meta(ge=0, le=validation.MOST_PORTS)]
    keys: tuple[Name, ...] = ()

    def structure(self) -> pytree.TreeSpec:
        """Raises ProgramError where count and keys contradict the kind."""
        fits = self.count == 1 if self.kind == "tensor" else True
        if self.kind == "dict":
            fits = len(set(self.keys)) == len(self.keys) == self.count
        elif self.keys:
            fits = False
        if not fits:
            raise ProgramError("the model is malformed: its results cannot be put together")
        leaves = range(self.count)
        shapes: dict[str, Any] = {
            "tensor": 0,
            "tuple": tuple(leaves),
            "list": list(leaves),
            "dict": dict(zip(self.keys, leaves, strict=False)),
        }
        return pytree.tree_structure(shapes[self.kind])


class _Header(msgspec.Struct, frozen=True):
    """public: the names of the module's tensors that the program shows to every role."""

    checked: bool
    public: Annotated[tuple[Name, ...], msgspec.Meta(max_length=validation.MOST_CONSTANTS)]
    results: Results
    chosen: bool = False


_decode_header = msgspec.msgpack.Decoder(_Header).decode


@dataclass(frozen=True, eq=False, repr=False)
class Saved:
    """What of a model is written. weights: ring elements, in the order of the program's ports.
    chosen: somebody has said how values are compared."""

    program: Program
    weights: Sequence[Array]
    structure: pytree.TreeSpec
    public: tuple[str, ...]
    checked: bool
    chosen: bool = False


def results_of(structure: pytree.TreeSpec) -> Results:
    """The written form of a structure: one tensor, or a flat tuple, list or dict of them.

    Raises UsageError for any other.
    """
    count = structure.num_leaves
    whole = pytree.tree_unflatten(range(count), structure)
    found = None
    if type(whole) is int:
        found = Results("tensor", count)
    elif type(whole) is tuple:
        found = Results("tuple", count)
    elif type(whole) is list:
        found = Results("list", count)
    elif type(whole) is dict and all(isinstance(key, str) for key in whole):
        found = Results("dict", count, tuple(whole))
    if found is None or found.structure() != structure:
        raise UsageError(
            "a model is saved where its module returns one tensor, or a flat tuple, list or dict "
            "(with strings as keys) of tensors: have the module return one of these"
        )
    return found


# ---- writing -------------------------------------------------------------------------------------


def write(path: str | os.PathLike[str], saved: Saved) -> None:
    """Writes a model to a file that its owner alone can read; one that is there is replaced.

    The file appears whole or not at all. Memory: the program's archive, and one weight.
    Raises UsageError for a structure that has no written form, or where the disk refuses.
    """
    header = msgspec.msgpack.encode(
        _Header(saved.checked, saved.public, results_of(saved.structure), saved.chosen)
    )
    program = archive.encode(saved.program)
    sizes = list(weight_sizes(saved.program))
    if [weight.size for weight in saved.weights] != sizes:
        raise ProgramError("the weights do not have the shapes that the program takes")
    lengths = (len(header), len(program), ELEMENT.itemsize * sum(sizes))
    require_lengths(*lengths)
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        # 0600 from the first byte on, and never through a link that somebody has put there.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                digest = hashlib.sha256()
                for piece in pieces(_HEAD.pack(MAGIC, VERSION, *lengths), header, program, saved):
                    digest.update(piece)
                    file.write(piece)
                file.write(digest.digest())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written: {problem.strerror}") from None


def pieces(head: bytes, header: bytes, program: bytes, saved: Saved) -> Iterator[bytes]:
    yield head
    yield header
    yield program
    for weight in saved.weights:
        yield np.ascontiguousarray(weight, ELEMENT).tobytes()


def weight_sizes(program: Program) -> Iterator[int]:
    for port in program.weights:
        yield prod(program.wires[port.wire].shape)


def require_lengths(header: int, program: int, weights: int) -> None:
    for what, length, most in (
        ("header", header, LARGEST_HEADER),
        ("program", program, archive.LARGEST),
        ("weights", weights, LARGEST_WEIGHTS),
    ):
        if length > most:
            raise ProgramError(f"the model's {what} takes {length} bytes; the most are {most}")


# ---- reading -------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str]) -> Saved:
    """The model of a file, its program validated.

    Raises ProgramError, naming the file, where it cannot be read, or is cut, altered, of another
    version, too large or malformed. Memory: the weights, and twice the program's archive.
    """
    try:
        with Path(path).open("rb") as file:
            return read_from(file)
    except OSError as problem:
        raise ProgramError(f"{path}: cannot be read: {problem.strerror}") from None
    except ProgramError as problem:
        raise ProgramError(f"{path}: {problem}") from None


def read_from(file: BinaryIO) -> Saved:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    digest = hashlib.sha256()
    head = file.read(_HEAD.size)
    digest.update(head)
    header_length, program_length, weights_length = lengths_of(head, size)
    header = taken(file, header_length, digest)
    program_archive = taken(file, program_length, digest)
    # The digest comes before anything is made of what it covers; weights are read once for that.
    body = bytearray(weights_length)
    if file.readinto(body) != weights_length:  # type: ignore[attr-defined]
        raise ProgramError("the model is cut: the file became shorter while it was read")
    digest.update(body)
    if file.read(DIGEST_BYTES) != digest.digest():
        raise ProgramError("the model has been altered: its digest does not fit")
    try:
        about = _decode_header(header)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise ProgramError(f"the model is malformed: {str(problem)[:200]}") from None
    program = archive.decode(program_archive)
    if about.results.count != len(program.outputs):
        raise ProgramError("the model is malformed: it has another number of results")
    return Saved(
        program,
        weights_of(program, body),
        about.results.structure(),
        about.public,
        about.checked,
        about.chosen,
    )


def lengths_of(head: bytes, size: int) -> tuple[int, int, int]:
    """The lengths of the parts, which add up to the file's size."""
    if head[: len(MAGIC)] != MAGIC[: len(head)]:
        raise ProgramError("this is no file of a model")
    if size < _HEAD.size + DIGEST_BYTES:
        raise ProgramError(f"the model is cut: the file ends after {size} bytes")
    _, version, *lengths = _HEAD.unpack(head)
    if version != VERSION:
        raise ProgramError(
            f"the model is of version {version}, and this release reads version {VERSION}: export "
            "and save it again"
        )
    header, program, weights = lengths
    require_lengths(header, program, weights)
    whole = _HEAD.size + header + program + weights + DIGEST_BYTES
    if size != whole:
        how = "cut" if size < whole else "longer than it says"
        raise ProgramError(f"the model is {how}: {size} bytes instead of {whole}")
    return header, program, weights


def taken(file: BinaryIO, length: int, digest: Any) -> bytes:
    data = file.read(length)
    digest.update(data)
    return data


def weights_of(program: Program, body: bytearray) -> list[Array]:
    """Views of `body`, one for each of the program's weights."""
    values = np.frombuffer(body, ELEMENT) if len(body) % ELEMENT.itemsize == 0 else None
    if values is None or values.size != sum(weight_sizes(program)):
        raise ProgramError("the model is malformed: its weights are not those of its program")
    weights, start = [], 0
    for port, size in zip(program.weights, weight_sizes(program), strict=True):
        part = values[start : start + size].astype(np.uint64, copy=False)
        weights.append(part.reshape(program.wires[port.wire].shape))
        start += size
    return weights
