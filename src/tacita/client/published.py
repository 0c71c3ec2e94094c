"""What the parties say of a published model, and whether they all say the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from tacita.errors import PeerFailed
from tacita.network.tensors import WORD

MOST_DIMENSIONS = 16
LARGEST_SCALE = 1 << 62
HEAD_ROOM = 1 << 20  # bytes of JSON in front of the words of an answer


@dataclass(frozen=True, slots=True)
class Field:
    """An input or output: its name, shape, and the scale of its fixed point."""

    name: str
    shape: tuple[int, ...]
    scale: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name} {'×'.join(map(str, self.shape)) or 'scalar'}"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A model that all parties serve and agree on.

    id, digest: of the publication and of its program, hexadecimal. owner: "owner:name". ready: at
    every party. stock: how many runs are dealt and ready, at the party that has fewest. compared:
    how values are compared and why, in a line, where it was just published; otherwise empty.
    """

    name: str
    id: str
    digest: str
    owner: str
    ready: bool
    stock: int
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    compared: str = field(default="", compare=False)

    @property
    def answer_bytes(self) -> int:
        """The most that a party's answer to a query can have."""
        return HEAD_ROOM + WORD * sum(each.elements for each in self.outputs)


# ---- as a party writes it; what else stands there is not looked at ------------------------------


class _Scale(msgspec.Struct):
    scale: int


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    parameters: _Scale


class _Parameters(msgspec.Struct):
    model_id: str
    digest: str
    owner: str
    ready: bool
    stock: int
    party: int
    parties: int


class _Metadata(msgspec.Struct):
    name: str
    inputs: list[_Tensor]
    outputs: list[_Tensor]
    parameters: _Parameters


class _IndexEntry(msgspec.Struct):
    name: str
    state: str = ""


Written = TypeVar("Written")


def _read(value: object, kind: type[Written], party: str) -> Written:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise PeerFailed(
            f"{party} describes its models in another way than this version reads: {error}"
        ) from None


def agreed_model(name: str, parties: Sequence[str], answers: Sequence[object]) -> PublishedModel:
    """The model that all parties describe, each in its answer's JSON.

    Raises PeerFailed, naming the parties, where they do not describe the same model, or count the
    parties in another order than `parties`.
    """
    read = [_read(value, _Metadata, who) for who, value in zip(parties, answers, strict=True)]
    for place, (who, each) in enumerate(zip(parties, read, strict=True)):
        own = each.parameters
        if each.name != name:
            raise PeerFailed(f"{who} was asked for the model {name!r} and describes another")
        if (own.party, own.parties) != (place, len(parties)):
            raise PeerFailed(
                f"{who} is party {own.party} of {own.parties} by its own account, and {place} of "
                f"{len(parties)} in this network's file: all roles need the same file"
            )
    first = read[0]
    for what, values in (
        ("publications", [each.parameters.model_id for each in read]),
        ("programs", [each.parameters.digest for each in read]),
        ("owners", [each.parameters.owner for each in read]),
        ("inputs", [_fields(each.inputs, who) for who, each in zip(parties, read, strict=True)]),
        ("outputs", [_fields(each.outputs, who) for who, each in zip(parties, read, strict=True)]),
    ):
        require_same(f"{what} of {name!r}", dict(zip(parties, values, strict=True)))
    return PublishedModel(
        name=name,
        id=first.parameters.model_id,
        digest=first.parameters.digest,
        owner=first.parameters.owner,
        ready=all(each.parameters.ready for each in read),
        stock=min(each.parameters.stock for each in read),
        inputs=_fields(first.inputs, parties[0]),
        outputs=_fields(first.outputs, parties[0]),
    )


def names_in(party: str, index: object) -> list[str]:
    """The names in a party's index of models."""
    return [each.name for each in _read(index, list[_IndexEntry], party)]


def require_same(what: str, values: Mapping[str, object]) -> None:
    """Raises PeerFailed, naming who differs from whom, where not all values are equal."""
    parties = list(values)
    first = parties[0]
    others = [who for who in parties if values[who] != values[first]]
    if others:
        raise PeerFailed(
            f"the {what} differ: {first} has another than {', '.join(others)}. Nothing was sent; "
            "have the model published anew, or ask the parties' operators"
        )


def _fields(tensors: list[_Tensor], party: str) -> tuple[Field, ...]:
    for each in tensors:
        fits = len(each.shape) <= MOST_DIMENSIONS and all(size >= 0 for size in each.shape)
        if not fits or not 1 <= each.parameters.scale <= LARGEST_SCALE:
            raise PeerFailed(f"{party} describes a tensor {each.name!r} that cannot be")
    return tuple(Field(each.name, tuple(each.shape), each.parameters.scale) for each in tensors)
