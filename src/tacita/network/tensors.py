"""Shares of tensors in HTTP bodies: the binary tensor data extension of KServe's protocol v2.

A body is a JSON head, whose length stands in the header `Inference-Header-Content-Length`, and the
raw little-endian words of all tensors behind it, in the order of the head. Both ends of it stand
here: client and party encode and decode with the same rules.

Of the standard, only what shares need is spoken: every tensor is UINT64 (a ring element a word) and
binary; `parameters` of a tensor say which share of how many it is, and its scale. A program travels
as an *attachment*, a BYTES tensor of one element. Unknown `parameters` are tolerated, since the
standard has them for extensions; any other unknown field is refused. Bulk data are copied at most
once: decoded tensors are views of the body wherever its words are aligned, which the encoder's
padding of the head sees to.

Source: KServe, "Open Inference Protocol v2" and "Binary Tensor Data Extension".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tacita.errors import ShapeError, UsageError

ID = "Tacita-Id"  # the id as a header too: a party that refuses before the body can say of what
HEAD_LENGTH = "Inference-Header-Content-Length"
CONTENT_TYPE = "application/octet-stream"
QUERY_BYTES = 16
WORD = 8
JOINED_BELOW = 256 << 10  # bytes: one small buffer is one TLS record and one system call

Buffer: TypeAlias = bytes | bytearray | memoryview
Parameter: TypeAlias = str | bool | int | float
Parameters: TypeAlias = Mapping[str, Parameter]

_QUERY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class TensorLimits:
    """What a decoder accepts. elements: of one tensor. head_bytes: of the JSON."""

    tensors: int = 4096
    dimensions: int = 16
    elements: int = 1 << 28
    head_bytes: int = 1 << 20
    name_length: int = 200


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One share of a tensor.

    values: uint64, of `shape`; ring elements. scale: the ring integer divided by it is the value.
    share: which one of `parties` shares this is. Its repr has no values.
    """

    name: str
    shape: tuple[int, ...]
    values: NDArray[np.uint64] = field(repr=False)
    scale: int
    share: int
    parties: int


@dataclass(frozen=True, slots=True)
class InferRequest:
    query: bytes
    tensors: tuple[Tensor, ...]
    parameters: Parameters
    attachments: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class InferResponse:
    model: str
    query: bytes
    tensors: tuple[Tensor, ...]
    parameters: Parameters


# ---- the heads, as they stand in JSON ----------------------------------------------------------

_Fields: TypeAlias = dict[str, Parameter]


class _Entry(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Fields = msgspec.field(default_factory=dict)
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: _Fields = msgspec.field(default_factory=dict)


class _Request(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    inputs: list[_Entry]
    id: str = ""
    parameters: _Fields = msgspec.field(default_factory=dict)
    outputs: list[_Wanted] = msgspec.field(default_factory=list)


class _Response(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    model_name: str
    outputs: list[_Entry]
    model_version: str = ""
    id: str = ""
    parameters: _Fields = msgspec.field(default_factory=dict)


_Head = TypeVar("_Head", _Request, _Response)


# ---- encoding ----------------------------------------------------------------------------------


def encode_request(
    query: bytes,
    tensors: Sequence[Tensor],
    parameters: Parameters | None = None,
    attachments: Mapping[str, bytes] | None = None,
) -> tuple[dict[str, str], list[Buffer]]:
    """HTTP headers and the buffers of a body, to be sent one behind the other.

    `query` has 16 bytes: the query's id, or a model's when it is published. Large tensors are not
    copied, so they must not change until they were sent. Raises ShapeError, UsageError.
    """
    entries, bulk = _entries(tensors, attachments or {})
    wanted = {"binary_data_output": True, **(parameters or {})}
    headers, buffers = _body(_Request(entries, _hex(query), wanted), bulk)
    return {**headers, ID: _hex(query)}, buffers


def encode_response(
    model: str,
    version: str,
    query: bytes,
    tensors: Sequence[Tensor],
    parameters: Parameters | None = None,
) -> tuple[dict[str, str], list[Buffer]]:
    """As `encode_request`, for an answer."""
    entries, bulk = _entries(tensors, {})
    head = _Response(model, entries, version, _hex(query), dict(parameters or {}))
    return _body(head, bulk)


def _entries(
    tensors: Sequence[Tensor], attachments: Mapping[str, bytes]
) -> tuple[list[_Entry], list[Buffer]]:
    entries: list[_Entry] = []
    bulk: list[Buffer] = []
    for tensor in tensors:
        values = tensor.values
        if values.dtype != np.uint64 or values.shape != tensor.shape:
            raise ShapeError(
                f"tensor {tensor.name!r} has values of {values.dtype} {values.shape}; "
                f"declared are uint64 {tensor.shape}"
            )
        words = np.ascontiguousarray(values, "<u8").reshape(-1)
        parameters: _Fields = {
            "share": tensor.share,
            "parties": tensor.parties,
            "scale": tensor.scale,
            "binary_data_size": words.nbytes,
        }
        entries.append(_Entry(tensor.name, list(tensor.shape), "UINT64", parameters))
        bulk.append(words.view(np.uint8).data)
    # Attachments come last: their length would take the words behind them off their alignment.
    for name, content in attachments.items():
        size = len(content).to_bytes(4, "little")
        entries.append(_Entry(name, [1], "BYTES", {"binary_data_size": 4 + len(content)}))
        bulk += [size, content]
    return entries, bulk


def _body(head: _Request | _Response, bulk: list[Buffer]) -> tuple[dict[str, str], list[Buffer]]:
    text = msgspec.json.encode(head)
    text += b" " * (-len(text) % WORD)  # so that the words behind it are aligned
    size = len(text) + sum(map(len, bulk))
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(size),
        HEAD_LENGTH: str(len(text)),
    }
    if size < JOINED_BELOW:
        return headers, [b"".join([text, *bulk])]
    return headers, [text, *bulk]


def id_in(headers: Mapping[str, str]) -> bytes | None:
    """The id of a request whose body was not read; None without a proper one."""
    text = headers.get(ID, "")
    return bytes.fromhex(text) if _QUERY.fullmatch(text) else None


def _hex(query: bytes) -> str:
    if len(query) != QUERY_BYTES:
        raise UsageError(f"an id has {QUERY_BYTES} bytes, this one {len(query)}")
    return query.hex()


# ---- decoding ----------------------------------------------------------------------------------


def decode_request(
    headers: Mapping[str, str],
    body: Buffer,
    limits: TensorLimits,
    attachments: Sequence[str] = (),
) -> InferRequest:
    """What `encode_request` made; `attachments` names the BYTES tensors that may be there.

    Tensors are views of `body`, which must not change. Raises UsageError and ShapeError, naming
    the tensor, for whatever is not exactly of this format or over the limits.
    """
    text, binary = _parts(headers, body, limits)
    head = _parsed(text, _Request)
    for wanted in head.outputs:
        if wanted.parameters.get("binary_data") is False:
            raise UsageError(f"output {wanted.name!r} is wanted as JSON; outputs are binary only")
    if head.parameters.get("binary_data_output") is False:
        raise UsageError("binary_data_output is false; outputs are binary only")
    tensors, attached = _tensors(head.inputs, binary, limits, attachments)
    return InferRequest(_query(head.id), tensors, head.parameters, attached)


def decode_response(
    headers: Mapping[str, str], body: Buffer, limits: TensorLimits
) -> InferResponse:
    """What `encode_response` made; as `decode_request`."""
    text, binary = _parts(headers, body, limits)
    head = _parsed(text, _Response)
    tensors, _ = _tensors(head.outputs, binary, limits, ())
    return InferResponse(head.model_name, _query(head.id), tensors, head.parameters)


def _parts(
    headers: Mapping[str, str], body: Buffer, limits: TensorLimits
) -> tuple[memoryview, memoryview]:
    """The head and the words behind it."""
    whole = memoryview(body).cast("B")
    declared = headers.get(HEAD_LENGTH) or headers.get(HEAD_LENGTH.lower())
    if declared is None:
        raise UsageError(f"the header {HEAD_LENGTH} is missing: tensors are binary only")
    if not (declared.isascii() and declared.isdigit() and len(declared) <= 12):
        raise UsageError(f"the header {HEAD_LENGTH} is not a number of bytes")
    length = int(declared)
    if length > limits.head_bytes:
        raise UsageError(f"a JSON head of {length} bytes; at most {limits.head_bytes} are taken")
    if length > len(whole):
        raise UsageError(f"a JSON head of {length} bytes in a body of {len(whole)}")
    return whole[:length], whole[length:]


def _parsed(text: memoryview, kind: type[_Head]) -> _Head:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise UsageError(f"the JSON head: {ascii(str(error))[1:200]}") from None


def _query(text: str) -> bytes:
    if not _QUERY.fullmatch(text):
        raise UsageError("the id is not 32 lower-case hexadecimal digits")
    return bytes.fromhex(text)


def _tensors(
    entries: list[_Entry], binary: memoryview, limits: TensorLimits, attachments: Sequence[str]
) -> tuple[tuple[Tensor, ...], dict[str, bytes]]:
    if len(entries) > limits.tensors:
        raise UsageError(f"{len(entries)} tensors; at most {limits.tensors} are taken")
    tensors: list[Tensor] = []
    attached: dict[str, bytes] = {}
    names: set[str] = set()
    start = 0
    for entry in entries:
        name = entry.name
        if not name or len(name) > limits.name_length:
            raise UsageError(f"a tensor's name has 1 to {limits.name_length} characters")
        if name in names:
            raise UsageError(f"tensor {name!r} is there twice")
        names.add(name)
        if entry.data is not msgspec.UNSET:
            raise UsageError(f"tensor {name!r} has its data in JSON; tensors are binary only")
        size = _whole_number(entry, "binary_data_size", 0, 1 << 62)
        if size > len(binary) - start:
            left = len(binary) - start
            raise ShapeError(f"tensor {name!r} declares {size} bytes; the body has {left} for it")
        piece = binary[start : start + size]
        start += size
        if entry.datatype == "BYTES" and name in attachments:
            attached[name] = _attachment(entry, piece)
        elif entry.datatype == "UINT64":
            tensors.append(_tensor(entry, piece, limits))
        else:
            _refuse_datatype(entry, attachments)
    if start != len(binary):
        raise ShapeError(f"{len(binary) - start} bytes behind the last tensor")
    _check_shares(tensors)
    return tuple(tensors), attached


def _tensor(entry: _Entry, piece: memoryview, limits: TensorLimits) -> Tensor:
    name, shape = entry.name, tuple(entry.shape)
    if len(shape) > limits.dimensions:
        raise ShapeError(
            f"tensor {name!r} has {len(shape)} dimensions; at most {limits.dimensions} are taken"
        )
    if any(not 0 < length <= limits.elements for length in shape):
        raise ShapeError(f"tensor {name!r} has a dimension that is not 1 to {limits.elements}")
    elements = math.prod(shape)
    if elements > limits.elements:
        raise ShapeError(
            f"tensor {name!r} has {elements} elements; at most {limits.elements} are taken"
        )
    if len(piece) != elements * WORD:
        raise ShapeError(
            f"tensor {name!r} of shape {shape} has {elements * WORD} bytes, "
            f"but binary_data_size is {len(piece)}"
        )
    parties = _whole_number(entry, "parties", 2, 1 << 16)
    share = _whole_number(entry, "share", 0, parties - 1)
    scale = _whole_number(entry, "scale", 1, (1 << 63) - 1)
    words = np.frombuffer(piece, "<u8")
    if not words.flags.aligned or not words.dtype.isnative:
        words = words.astype(np.uint64)
    return Tensor(name, shape, words.reshape(shape), scale, share, parties)


def _attachment(entry: _Entry, piece: memoryview) -> bytes:
    """The one element of a BYTES tensor: four bytes of length, then as many bytes."""
    if entry.shape != [1]:
        raise ShapeError(f"tensor {entry.name!r} of BYTES must have the shape [1]")
    if len(piece) < 4 or int.from_bytes(piece[:4], "little") != len(piece) - 4:
        raise ShapeError(f"tensor {entry.name!r} of BYTES is not one element of its declared size")
    return bytes(piece[4:])


def _refuse_datatype(entry: _Entry, attachments: Sequence[str]) -> NoReturn:
    right = "BYTES" if entry.name in attachments else "UINT64"
    datatype = ascii(entry.datatype[:20])
    raise UsageError(f"tensor {entry.name!r} has the datatype {datatype}; it must be {right}")


def _check_shares(tensors: list[Tensor]) -> None:
    """One body goes to one party: all tensors of it are the same share of as many."""
    for tensor in tensors:
        first = tensors[0]
        if (tensor.share, tensor.parties) != (first.share, first.parties):
            raise UsageError(
                f"tensor {tensor.name!r} is share {tensor.share} of {tensor.parties}, but "
                f"{first.name!r} is share {first.share} of {first.parties}"
            )


def _whole_number(entry: _Entry, parameter: str, least: int, most: int) -> int:
    value = entry.parameters.get(parameter)
    if type(value) is not int or not least <= value <= most:
        raise UsageError(
            f"tensor {entry.name!r} needs the parameter {parameter!r}, "
            f"a whole number from {least} to {most}"
        )
    return value
