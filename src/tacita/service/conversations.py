"""How daemons begin to talk: the first message of every stream says what it is about.

Each conversation has a stream of its own (`network/link.py`), whose first message is of kind
`begin` with one of these structs as its header. What is named in them is public between the
parties: principals, ids, digests; the keys of `BatchDealt` and `MaskKey` travel from the dealer to
the one party that they are for, over a link that nobody else reads.
"""

from __future__ import annotations

import hashlib
import os
from typing import Annotated

import msgspec

from tacita.errors import FrameError, PeerFailed, TacitaError
from tacita.network.link import Stream
from tacita.runtime.transport import Message

LARGEST_MEASURED = 2 << 20  # bytes that one daemon may have another send for a measurement

Id = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Text = Annotated[str, msgspec.Meta(max_length=1000)]


class Topic(msgspec.Struct, frozen=True, array_like=True):
    """What a conversation is about; the tag on the wire is the name of the class."""


class Publishing(Topic, frozen=True, tag=True):
    """Party to party, and each party to the dealer: the weights of a model are to be masked.

    program: its encoding where the party leads and speaks to the dealer; empty otherwise.
    """

    name: Text
    model: Id
    digest: Digest
    owner: Text
    fingerprint: Text
    audience: tuple[Text, ...]
    program: bytes = b""

    def agrees(self, other: Publishing) -> bool:
        return msgspec.structs.replace(self, program=b"") == msgspec.structs.replace(
            other, program=b""
        )


class Removing(Topic, frozen=True, tag=True):
    """Party to dealer: nothing will be dealt for this model any more."""

    model: Id


class Dealing(Topic, frozen=True, tag=True):
    """Leader to dealer: deal for so many runs of a model."""

    model: Id
    digest: Digest
    runs: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class BatchDealt(Topic, frozen=True, tag=True):
    """Dealer to a party: its part of a batch follows.

    key: of this party's streams. What is published, and corrections for the last party, follow in
    messages of kind `material`, and `end` in any case.
    """

    model: Id
    digest: Digest
    batch: Id
    key: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class Preparing(Topic, frozen=True, tag=True):
    """Leader to the others: take this batch from the stock, prepare it, and wait for its query.

    The stream lives as long as the batch: when it ends, what was prepared is burned.
    """

    model: Id
    digest: Digest
    batch: Id


class Declining(Topic, frozen=True, tag=True):
    """To parties of higher index: this one will not take part, so that nobody waits for it.

    session: of a query (`session_of`), from the leader; or of a publication (`publication_of`).
    """

    session: Id
    why: Text


class Joining(Topic, frozen=True, tag=True):
    """Between parties that do not lead: the stream on which they open values to each other."""

    session: Id


class Stocktaking(Topic, frozen=True, tag=True):
    """Leader to the others, when they meet again: which batches of a model it still has.

    Those that it does not have are of no use to the others, who say which of them they have.
    """

    model: Id
    batches: tuple[Id, ...]


class Session(Topic, frozen=True, tag=True):
    """A user to every role, and the roles to each other: an eager session."""

    session: Id
    holders: tuple[Text, ...]
    dealer: Text
    checked: bool = False
    protocol: Text = "tables"


class Consulting(Topic, frozen=True, tag=True):
    """Party to dealer: the stream of an eager session on which the party asks the dealer.

    desk: its name, `desk_of_session`.
    """

    desk: Id


class Describing(Topic, frozen=True, tag=True):
    """A user to a party: what lies there under a name, if this user may compute with it."""

    name: Text


class Withdrawing(Topic, frozen=True, tag=True):
    """An owner to a party: a deposit is not to be lent any more."""

    name: Text


class Reaching(Topic, frozen=True, tag=True):
    """A user to a party, before a session: how fast are its ways to the parties after it, and to
    the dealer? See `reach.py`."""


class Measuring(Topic, frozen=True, tag=True):
    """Party to party, and to the dealer: how fast is the way between us? See `measuring.py`.

    size: bytes that follow, and are to come back.
    """

    size: Annotated[int, msgspec.Meta(ge=8, le=LARGEST_MEASURED)]


AnyTopic = (
    Publishing
    | Removing
    | Dealing
    | BatchDealt
    | Preparing
    | Declining
    | Joining
    | Stocktaking
    | Session
    | Consulting
    | Describing
    | Withdrawing
    | Reaching
    | Measuring
)


class Query(msgspec.Struct, frozen=True, array_like=True):
    """Leader to the others, on the stream of a prepared batch: whose query it is for.

    session: from the client's certificate and the query's id (`session_of`).
    """

    session: Id
    model: Id
    digest: Digest
    fingerprint: Text
    batch: Id


_encode = msgspec.msgpack.Encoder().encode
_decode_topic = msgspec.msgpack.Decoder(AnyTopic).decode
_decode_query = msgspec.msgpack.Decoder(Query).decode


def begin(stream: Stream, topic: Topic, limit: float) -> None:
    stream.send(Message("begin", _encode(topic)), limit)


def topic_of(stream: Stream, limit: float) -> AnyTopic:
    """What a stream that somebody opened is about; raises FrameError for what cannot be read."""
    message = stream.receive(limit)
    if message.kind != "begin":
        raise FrameError(f"a stream began with {message.kind}, not with what it is about")
    try:
        topic: AnyTopic = _decode_topic(message.header)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise FrameError("a stream began with what cannot be read") from None
    return topic


def send_query(stream: Stream, query: Query, limit: float) -> None:
    stream.send(Message("begin", _encode(query)), limit)


def query_of(message: Message) -> Query:
    try:
        query: Query = _decode_query(message.header)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise FrameError("a query that cannot be read") from None
    return query


def agree_to(stream: Stream, limit: float, text: str = "") -> None:
    stream.send(Message("done", text.encode()), limit)


def told(error: BaseException) -> str:
    """What others may read of an error: all of one of ours; a foreign one may quote values."""
    return str(error) if isinstance(error, TacitaError) else f"a {type(error).__name__} of its own"


def refuse(stream: Stream, limit: float, error: BaseException) -> None:
    """Says why not."""
    stream.send(Message("refuse", told(error).encode()), limit)


def end_session(stream: Stream, limit: float, error: Exception) -> None:
    """Tells the user's side of an eager session that this role is not with it, and why."""
    stream.send(Message("fail", told(error).encode()), limit)


def agreed(stream: Stream, name: str, limit: float) -> str:
    """Waits for the other side's word; raises PeerFailed with its reason where it refuses."""
    message = stream.receive(limit)
    text = message.header.decode(errors="replace")
    if message.kind in ("refuse", "fail"):
        raise PeerFailed(f"{name} refused: {text}")
    if message.kind != "done":
        raise FrameError(f"{name} sent {message.kind} where its agreement was due")
    return text


def fresh_id() -> bytes:
    """Of a conversation that has no other name."""
    return os.urandom(16)


def session_of(fingerprint: str, query: bytes) -> bytes:
    """The name of a query between parties: no client can name another's."""
    return _named(b"query", fingerprint.encode() + query)


def publication_of(model: bytes) -> bytes:
    """The stream on which a model's weights are masked."""
    return _named(b"publication", model)


def eager_session_of(fingerprint: str, session: bytes) -> bytes:
    return _named(b"session", fingerprint.encode() + session)


def desk_of_session(session: bytes) -> bytes:
    """The stream on which a party of an eager session, so named, asks the dealer."""
    return _named(b"desk", session)


def _named(what: bytes, data: bytes) -> bytes:
    return hashlib.sha256(b"tacita " + what + b"\0" + data).digest()[:16]
