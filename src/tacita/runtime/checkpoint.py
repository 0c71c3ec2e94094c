"""What everybody may know of private tensors that were saved: names, shapes, precision, whose.

A checkpoint is what one `save` of a session left with its parties: some tensors, of which each
party keeps its own share, and public values beside them, such as a learning rate or the number of
an epoch. A name has versions, of which each party keeps its own list (`checkpoints.py`).

Only shares are kept, never a mask, an opening or a key. What is loaded is a wire without a mask,
that gets a fresh one, from the new session's keys, when something first opens it. Its share is the
one that the party had before, and need not be another: the parties' shares leave them in a reveal
alone, which hands all of them to somebody who may see the value, and what is opened, x + r with a
fresh uniform r each time, is independent of shares and of all other openings. What fresh shares
would help against is somebody who gets into one party this year and into the other the next, and
even that only if all old files are destroyed; who fears that calls `refresh()` and saves again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import msgspec

from tacita.errors import PeerFailed, UsageError
from tacita.runtime.restrictions import Loans

ID_BYTES = 16
MOST_TENSORS = 1 << 16
MOST_TERMS = 16 << 20  # bytes of all terms of one checkpoint, encoded
FORM = 1  # of the encoding of a checkpoint; another one is not read
LONGEST_PREFIX = 5  # bytes before an encoded array or text, or of a small number

Id = Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
LONGEST_NAME = 100
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
Label = Annotated[str, msgspec.Meta(max_length=1000)]
Dimension = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Pattern = Annotated[str, msgspec.Meta(max_length=200)]
Patterns = Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=100)]


class SavedTensor(msgspec.Struct, frozen=True, array_like=True):
    """What is public of one tensor. scale, bound: of the ring elements; bit: they are 0 or 1.

    base, digits: of the fixed precision; base 0 is for integers. working_scale: what products take
    it at, which is finer than its precision for gradients, and 1 for integers.
    """

    name: Label
    shape: Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=16)]
    scale: Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]
    bound: Annotated[int, msgspec.Meta(ge=0)] | None
    bit: bool
    base: Annotated[int, msgspec.Meta(ge=0, le=1 << 16)]
    digits: Annotated[int, msgspec.Meta(ge=0, le=62)]
    working_scale: Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]


class Description(msgspec.Struct, frozen=True, array_like=True):
    """What is public of a checkpoint, and the same at every party.

    holders: who has shares, in their order. values: what is public beside the tensors, as whoever
    saved it wrote it. borrowers, audience: who else may compute with it, and see what comes of it.
    owner: filled in by the party, from the certificate; empty where all is in one process.
    """

    name: Name
    holders: Annotated[tuple[Label, ...], msgspec.Meta(min_length=2, max_length=1000)]
    tensors: Annotated[tuple[SavedTensor, ...], msgspec.Meta(max_length=MOST_TENSORS)]
    values: bytes
    borrowers: Patterns = ()
    audience: Patterns = ()
    owner: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Version(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Which of the checkpoints of a name: later ones are larger; of two at once, either may be."""

    sequence: Annotated[int, msgspec.Meta(ge=1, lt=1 << 62)]
    id: Id


class Checkpoint(msgspec.Struct, frozen=True, array_like=True, tag=FORM):
    """What one party keeps beside its shares.

    loans: that any of it was computed under, each once, since many tensors have the same. terms: of
    each tensor, which of the loans, by their places.
    """

    version: Version
    about: Description
    loans: tuple[bytes, ...]
    terms: Annotated[tuple[tuple[int, ...], ...], msgspec.Meta(max_length=MOST_TENSORS)]

    def __post_init__(self) -> None:
        count = len(self.loans)
        for each in self.terms:
            if each and not (min(each) >= 0 and max(each) < count):
                raise ValueError(f"terms of a tensor lie outside of {count} loans")

    def loans_behind(self) -> Iterator[Loans]:
        """Of each tensor, those that it was computed under."""
        return (frozenset(self.loans[place] for place in each) for each in self.terms)

    def __repr__(self) -> str:
        return f"Checkpoint({self.about.name!r}, version {self.version.sequence})"


class Found(msgspec.Struct, frozen=True, array_like=True):
    """A party's answer to who looks for a checkpoint."""

    version: Version
    about: Description


def places_of(behind: Iterable[Loans], name: str) -> tuple[list[bytes], list[tuple[int, ...]]]:
    """`Checkpoint`'s loans and terms, of the loans behind each tensor; name: of the checkpoint.

    Raises UsageError where they would take more than MOST_TERMS bytes, before they do.
    """
    places: dict[bytes, int] = {}
    terms = []
    size = 0
    for loans in behind:
        size += LONGEST_PREFIX * (1 + len(loans))
        size += sum(LONGEST_PREFIX + len(loan) for loan in loans if loan not in places)
        if size > MOST_TERMS:
            raise UsageError(
                f"what {name!r} was computed from came under terms of more than {MOST_TERMS} bytes "
                "for all its tensors together: save fewer tensors under one name"
            )
        terms.append(tuple(places.setdefault(loan, len(places)) for loan in sorted(loans)))
    return list(places), terms


encode = msgspec.msgpack.Encoder().encode
_decode_description = msgspec.msgpack.Decoder(Description).decode
_decode_found = msgspec.msgpack.Decoder(Found).decode


def description_of(data: bytes) -> Description:
    """Raises UsageError for what is none."""
    try:
        return _decode_description(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UsageError("this is no description of what is to be saved") from None


def found_in(text: str, party: str) -> Found:
    """A party's answer; raises PeerFailed for what is none."""
    try:
        return _decode_found(bytes.fromhex(text))
    except (msgspec.MsgspecError, ValueError):
        raise PeerFailed(f"{party} sent a description that cannot be read") from None


def newest_of_all(lists: Iterable[Sequence[Version]]) -> Version | None:
    """The newest version that every party has; None where there is none."""
    common: set[Version] | None = None
    for versions in lists:
        common = set(versions) if common is None else common.intersection(versions)
    return max(common, default=None) if common else None
