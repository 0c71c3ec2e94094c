"""Publishing: the parties take the owner's shares of the weights, and mask them in one round.

Every party has the same request of the owner's, with its own shares. All meet on one stream for
each pair, compare what is to be published, get a key from the dealer, open w + r, and store. A
model is served when every party has stored it.

Opened: the masked weights, once for all queries. Uniform, because r comes from the streams of all
parties' keys, which are used for this alone (protocols/mask.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition

import msgspec

from tacita.compiler.archive import DIGEST_BYTES
from tacita.errors import (
    FrameError,
    NotReady,
    PeerError,
    PeerFailed,
    TacitaError,
    UsageError,
)
from tacita.network.endpoint import StreamEndpoint
from tacita.network.identity import Principal
from tacita.network.link import Stream
from tacita.ring.randomness import KEY_BYTES
from tacita.service.conversations import (
    Publishing,
    Removing,
    agree_to,
    agreed,
    begin,
    fresh_id,
    publication_of,
    refuse,
)
from tacita.service.front.engine import Publication
from tacita.service.models import (
    ServedModel,
    deployed,
    masked,
    new_published,
    require_affordable,
    require_weights,
)
from tacita.service.surroundings import Surroundings


class OneAtATime:
    """Has the publications under one name follow each other, at the leader.

    The others join the leader's, so all parties serve the same model in the end.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._names: set[str] = set()

    @contextmanager
    def turn(self, name: str, limit: float) -> Iterator[None]:
        """Waits for those before; raises NotReady after `limit` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: name not in self._names, limit):
                raise NotReady(f"{name!r} is being published still: try again later")
            self._names.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._names.discard(name)
                self._changed.notify_all()


def publish(
    around: Surroundings, owner: Principal, publication: Publication
) -> tuple[ServedModel, ServedModel | None]:
    """Returns once the model is stored at every party, with the one that it replaces.

    Raises ProgramError or UsageError for what does not fit, PeerError where another party or the
    dealer has something else, or does not answer in time; then no party serves it.
    """
    require_own_shares(around, publication)
    published = new_published(
        name=publication.name,
        model=publication.model_id,
        owner=owner,
        audience=publication.audience,
        program=publication.program,
        parties=len(around.parties),
        index=around.index,
    )
    limits = around.limits
    require_affordable(publication.program, program_bytes=int(limits.program_bytes))
    deployment = deployed(
        publication.program,
        publication.model_id,
        run_bytes=int(limits.run_bytes),
        parties=len(around.parties),
    )
    shares = [tensor.values for tensor in publication.weights]
    require_weights(deployment.program, shares)
    topic = Publishing(
        name=published.name,
        model=published.model,
        digest=publication.program[-DIGEST_BYTES:],
        owner=published.owner,
        fingerprint=published.fingerprint,
        audience=tuple(published.audience),
    )
    streams: dict[str, Stream] = {}
    dealt = False
    try:
        gather(around, topic, publication.program, streams)
        key = key_from_dealer(around, streams[around.dealer])
        dealt = True
        peers = {name: streams[name] for name in around.others}
        limit = around.limits.publish
        store = masked(
            around.name,
            around.index,
            deployment.program,
            shares,
            key,
            StreamEndpoint(around.name, peers, limit),
            around.others,
            limit,
        )
        model = around.models.keep(published, deployment, store)
        try:
            everybody_agrees(peers, limit)
            return model, around.models.serve(model)
        except BaseException:
            around.models.give_up(model)
            raise
    except BaseException as error:
        for stream in streams.values():
            with suppress(PeerError):
                refuse(stream, around.limits.round, error)
        if dealt:  # and so it was under this id that the dealer has kept the model
            forget_at_dealer(around, published.model)
        raise
    finally:
        for stream in streams.values():
            with suppress(PeerError):
                stream.close()


def forget_at_dealer(around: Surroundings, model: bytes) -> None:
    """Leader: nothing is to be dealt for a model any more. Does not raise PeerError."""
    if not around.leads:
        return
    limit = around.limits.round
    with suppress(PeerError):  # then it keeps what it has, and is not asked to deal from it
        stream = around.neighbours.open(around.dealer, fresh_id(), limit)
        try:
            begin(stream, Removing(model), limit)
            agreed(stream, around.dealer, limit)
        finally:
            stream.close()


def require_own_shares(around: Surroundings, publication: Publication) -> None:
    for tensor in publication.weights:
        if (tensor.share, tensor.parties) != (around.index, len(around.parties)):
            raise UsageError(
                f"weight {tensor.name!r} is share {tensor.share} of {tensor.parties}, and "
                f"{around.name} takes share {around.index} of {len(around.parties)}"
            )


def gather(
    around: Surroundings, topic: Publishing, program: bytes, streams: dict[str, Stream]
) -> None:
    """Fills in a stream to every other party and the dealer, all of whom publish the same."""
    limit = around.limits.publish
    deadline = time.monotonic() + limit
    session = publication_of(topic.model)
    for name in around.higher:
        streams[name] = around.neighbours.open(name, session, around.limits.connect)
        begin(streams[name], topic, limit)
    for name in around.lower:
        streams[name], theirs = around.meeting.claim(session, name, deadline)
        if not isinstance(theirs, Publishing) or not theirs.agrees(topic):
            raise PeerFailed(f"{name} was sent another model, owner or audience: publish it anew")
    everybody_agrees({name: streams[name] for name in around.others}, limit)
    dealer = streams[around.dealer] = around.neighbours.open(
        around.dealer, session, around.limits.connect
    )
    # The dealer validates programs itself, and needs one copy.
    sent = program if around.leads else b""
    begin(dealer, msgspec.structs.replace(topic, program=sent), limit)


def everybody_agrees(streams: dict[str, Stream], limit: float) -> None:
    """Says yes to all, and waits for theirs; raises PeerFailed with the reason of who refuses."""
    gone: PeerError | None = None
    for stream in streams.values():
        try:
            agree_to(stream, limit)
        except PeerError as error:  # who has closed the stream has said why before
            gone = error
    for name, stream in streams.items():
        agreed(stream, name, limit)
    if gone is not None:
        raise gone


def key_from_dealer(around: Surroundings, stream: Stream) -> bytes:
    message = stream.receive(around.limits.publish)
    if message.kind == "refuse":
        raise PeerFailed(f"{around.dealer} refused: {message.header.decode(errors='replace')}")
    if message.kind != "key" or len(message.header) != KEY_BYTES:
        raise FrameError(f"{around.dealer} sent no key for the weights' masks")
    return message.header


def meet(around: Surroundings, stream: Stream, name: str, topic: Publishing) -> None:
    """A party of lower index publishes: its stream waits for this party's own request."""
    try:
        around.meeting.offer(
            publication_of(topic.model), name, (stream, topic), around.limits.publish
        )
    except TacitaError as error:
        with suppress(PeerError):
            refuse(stream, around.limits.round, error)
        stream.close("not joined")
        raise
