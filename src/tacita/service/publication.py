"""Publishing: the parties take the owner's shares of the weights, and mask them in one round.

Every party has the same request of the owner's, with its own shares. All meet on one stream for
each pair, compare what is to be published, get a key from the dealer, open w + r, and store. A
model is served when every party has stored it.

Opened: the masked weights, once for all queries. Uniform, because r comes from the streams of all
parties' keys, which are used for this alone (protocols/mask.py).
"""

from __future__ import annotations

import time
from contextlib import suppress

import msgspec

from tacita.compiler.archive import DIGEST_BYTES
from tacita.errors import FrameError, PeerError, PeerFailed, TacitaError, UsageError
from tacita.network.endpoint import StreamEndpoint
from tacita.network.identity import Principal
from tacita.network.link import Stream
from tacita.ring.randomness import KEY_BYTES
from tacita.service.conversations import (
    Publishing,
    agree_to,
    agreed,
    begin,
    publication_of,
    refuse,
)
from tacita.service.front.engine import Publication
from tacita.service.models import ServedModel, deployed, masked, new_published, require_weights
from tacita.service.surroundings import Surroundings


def publish(around: Surroundings, owner: Principal, publication: Publication) -> ServedModel:
    """Returns once the model is stored at every party.

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
    deployment = deployed(publication.program, publication.model_id)
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
    try:
        gather(around, topic, publication.program, streams)
        key = key_from_dealer(around, streams[around.dealer])
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
        model = around.models.add(published, deployment, store)
        try:
            everybody_agrees(peers, limit)
        except BaseException:
            around.models.remove(model)
            raise
        return model
    except BaseException as error:
        for stream in streams.values():
            with suppress(PeerError):
                if isinstance(error, Exception):
                    refuse(stream, around.limits.round, error)
        raise
    finally:
        for stream in streams.values():
            with suppress(PeerError):
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
        streams[name] = around.neighbours.open(name, session, limit)
        begin(streams[name], topic, limit)
    for name in around.lower:
        streams[name], theirs = around.meeting.claim(session, name, deadline)
        if not isinstance(theirs, Publishing) or not theirs.agrees(topic):
            raise PeerFailed(f"{name} was sent another model, owner or audience: publish it anew")
    everybody_agrees({name: streams[name] for name in around.others}, limit)
    dealer = streams[around.dealer] = around.neighbours.open(around.dealer, session, limit)
    # The dealer validates programs itself, and needs one copy.
    sent = program if around.leads else b""
    begin(dealer, msgspec.structs.replace(topic, program=sent), limit)


def everybody_agrees(streams: dict[str, Stream], limit: float) -> None:
    """Says yes to all, and waits for theirs; raises PeerFailed with the reason of who refuses."""
    for stream in streams.values():
        agree_to(stream, limit)
    for name, stream in streams.items():
        agreed(stream, name, limit)


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
