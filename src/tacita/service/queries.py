"""Queries: batches are prepared with the other parties, and each answers one query.

The leader begins; the others follow, each with the client's own request for that query at hand.
What they tell each other, apart from openings, are ids, digests and a certificate's fingerprint.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock

from tacita.errors import (
    MaterialError,
    NotReady,
    PeerError,
    PeerFailed,
)
from tacita.network.identity import Principal
from tacita.network.link import Stream
from tacita.program.readings import Array
from tacita.ring import kernels
from tacita.runtime.transport import Message
from tacita.service.batches import PreparedBatch, Preparer, run, taken
from tacita.service.conversations import (
    Declining,
    Joining,
    Preparing,
    Query,
    agree_to,
    agreed,
    begin,
    fresh_id,
    query_of,
    refuse,
    send_query,
    session_of,
    told,
)
from tacita.service.desk import Request, declined
from tacita.service.models import ServedModel
from tacita.service.surroundings import Surroundings

CLAIM = 0.75  # of a round's limit: who waits for a client says so before the leader gives up


class Leading:
    """The leader's part: which batch is for which query."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._lock = Lock()
        self._in_hand: set[bytes] = set()
        self._preparers: dict[bytes, Preparer] = {}
        self._leaving: list[Preparer] = []  # those that were ended and may be at work still

    def serve(self, model: ServedModel) -> None:
        """Begins to prepare batches of a model, in the place of an older one of its name."""
        with self._lock:
            older = [each for each in self._preparers.values() if each.model.name == model.name]
            for each in older:
                del self._preparers[each.model.id]
            self._leave(older)
            self._preparers[model.id] = Preparer(
                model,
                self._around.stock.prepared,
                self.prepare,
                lambda error: self._around.log.warning(
                    "no batch was prepared", model=model.name, why=error
                ),
            )
        for each in older:
            each.end()

    def withdraw(self, model: ServedModel) -> None:
        with self._lock:
            preparer = self._preparers.pop(model.id, None)
            self._leave([preparer] if preparer is not None else [])
        if preparer is not None:
            preparer.end()

    def end(self) -> None:
        with self._lock:
            preparers = list(self._preparers.values())
            self._preparers.clear()
            self._leave(preparers)
        for each in preparers:
            each.end()

    def wait(self, deadline: float) -> bool:
        """After `end`: whether no batch is being prepared, by `deadline` of time.monotonic."""
        with self._lock:
            leaving = list(self._leaving)
        return all(each.wait(deadline) for each in leaving)

    def _leave(self, preparers: Sequence[Preparer]) -> None:
        left = [each for each in self._leaving if not each.wait(0.0)]
        self._leaving = [*left, *preparers]

    def prepared(self, model: ServedModel) -> int:
        with self._lock:
            preparer = self._preparers.get(model.id)
        return 0 if preparer is None else preparer.count

    def prepare(self, model: ServedModel) -> PreparedBatch | None:
        """One batch out of the stock, at every party; None where the stock is empty.

        A batch that another party cannot take is burned. Raises PeerError, MaterialError.
        """
        around = self._around
        with self._lock:
            batch = around.storehouse.next(model.id, self._in_hand)
            if batch is None:
                return None
            self._in_hand.add(batch)
        try:
            # Without a link to each of them nothing is taken, and the batch stays.
            limit = around.limits.round
            links = {name: around.neighbours.link(name, limit) for name in around.others}
            streams: dict[str, Stream] = {}
            try:
                for name, link in links.items():
                    streams[name] = link.open(batch)
                topic = Preparing(model.id, model.digest, batch)
                for stream in streams.values():
                    begin(stream, topic, limit)
                material, prepared = taken(model, batch, around.storehouse, around.name)
                around.stock_used.set()
                ready = PreparedBatch(model, batch, material, prepared, streams)
                try:
                    for name, stream in streams.items():
                        agreed(stream, name, limit)
                except BaseException:
                    ready.burn("another party has not prepared it")
                    raise
                return ready
            except BaseException:
                for stream in streams.values():
                    with suppress(PeerError):
                        stream.close("the batch is not used")
                with suppress(MaterialError):
                    around.storehouse.void(batch)
                raise
        finally:
            with self._lock:
                self._in_hand.discard(batch)

    def answer(
        self, principal: Principal, model: ServedModel, query: bytes, inputs: list[Array]
    ) -> list[Array]:
        """This party's shares of the results. Raises StockEmpty, PeerError, BoundExceeded."""
        around = self._around
        with self._lock:
            preparer = self._preparers.get(model.id)
        if preparer is None:
            raise NotReady(f"{model.name!r} was removed or published anew: ask again")
        waited = time.monotonic()
        with preparer.batch(around.limits.stock) as ready:
            around.metrics.phase(model.name, "batch", time.monotonic() - waited)
            return self._run(principal, query, ready, inputs)

    def _run(
        self, principal: Principal, query: bytes, ready: PreparedBatch, inputs: list[Array]
    ) -> list[Array]:
        around, model = self._around, ready.model
        word = Query(
            session=session_of(principal.fingerprint, query),
            model=model.id,
            digest=model.digest,
            fingerprint=principal.fingerprint,
            batch=ready.batch,
        )
        try:
            for stream in ready.streams.values():
                send_query(stream, word, around.limits.round)
            return timed_run(around, ready, inputs)
        except BaseException as error:
            tell_failure(around, ready, error)
            raise given_reason(ready, error) from None
        finally:
            ready.burn("the query has ended")


def decline(around: Surroundings, session: bytes, what: str, error: BaseException) -> None:
    """This party will not take part in a query or publication; nobody is to wait for it."""
    why = declined(around.name, what, error)[:900]
    around.desk.decline(session, why)  # what others begin here finds this
    around.meeting.decline(session, why)
    for name in around.higher:
        # Who is not connected has nothing to wait for, and is not waited for.
        if around.neighbours.connected(name):
            with suppress(PeerError):
                stream = around.neighbours.open(name, fresh_id(), around.limits.round)
                begin(stream, Declining(session, why), around.limits.round)
                stream.close()


def timed_run(around: Surroundings, ready: PreparedBatch, inputs: list[Array]) -> list[Array]:
    kernels.pool_arrays()  # the front's threads, which the leader runs in, do not by themselves
    began = time.monotonic()
    results, rounds = run(ready, around.name, around.others, inputs, around.limits.round)
    around.metrics.phase(ready.model.name, "rounds", time.monotonic() - began)
    around.metrics.rounds(ready.model.name, rounds)
    return results


def tell_failure(around: Surroundings, ready: PreparedBatch, error: BaseException) -> None:
    """Nobody is to wait for this party until a limit runs out."""
    text = f"{type(error).__name__}: {told(error)}"
    for stream in ready.streams.values():
        with suppress(PeerError):
            stream.send(Message("fail", text.encode()), around.limits.round)


def given_reason(ready: PreparedBatch, error: BaseException) -> BaseException:
    """The word of a party that stopped, where all that was noticed is that its stream has ended."""
    if not isinstance(error, PeerError):
        return error
    for name, stream in ready.streams.items():
        with suppress(PeerError):
            while True:
                message = stream.receive(0)
                if message.kind == "fail":
                    return PeerFailed(f"{name} stopped: {message.header.decode(errors='replace')}")
    return error


def follow(around: Surroundings, stream: Stream, topic: Preparing) -> None:
    """The others' part: prepares a batch that the leader chose, and runs the query it is for."""
    kernels.pool_arrays()
    limit = around.limits.round
    streams: dict[str, Stream] = {around.leader: stream}
    try:
        model = around.models.known(topic.model, topic.digest)
        meet_the_rest(around, topic.batch, streams)
        material, prepared = taken(model, topic.batch, around.storehouse, around.leader)
    except BaseException as error:
        with suppress(PeerError):
            if isinstance(error, Exception):
                refuse(stream, limit, error)
        for each in streams.values():
            with suppress(PeerError):
                each.close("the batch is not used")
        with suppress(MaterialError):
            around.storehouse.void(topic.batch)
        raise
    ready = PreparedBatch(model, topic.batch, material, prepared, streams)
    try:
        agree_to(stream, limit)
        # It waits for its query as long as the leader is there, which notices when a link is lost.
        message = stream.receive(None)
        if message.kind != "begin":
            raise PeerFailed(f"{around.leader} sent {message.kind} where a query was due")
        answer(around, ready, query_of(message))
    except BaseException as error:
        tell_failure(around, ready, error)
        raise
    finally:
        ready.burn("the query has ended")


def meet_the_rest(around: Surroundings, batch: bytes, streams: dict[str, Stream]) -> None:
    """With three parties or more: a stream to each of those that do not lead either."""
    limit = around.limits.round
    for name in around.higher:
        streams[name] = around.neighbours.open(name, batch, limit)
        begin(streams[name], Joining(batch), limit)
    deadline = time.monotonic() + limit
    for name in around.lower:
        if name != around.leader:
            streams[name], _ = around.meeting.claim(batch, name, deadline)


def answer(around: Surroundings, ready: PreparedBatch, query: Query) -> None:
    if (query.batch, query.model, query.digest) != (
        ready.batch,
        ready.model.id,
        ready.model.digest,
    ):
        raise PeerFailed(f"{around.leader} named another batch or model than it had prepared")
    try:
        request = around.desk.claim(query.session, CLAIM * around.limits.round)
    except PeerError as error:
        around.desk.decline(query.session, told(error))  # it need not come any more
        raise
    try:
        if request.fingerprint != query.fingerprint or request.model is not ready.model:
            raise PeerFailed(
                f"{around.leader} has this query from another principal, or for another model"
            )
        results = timed_run(around, ready, request.inputs)
    except Exception as error:
        reason = given_reason(ready, error)
        request.fail(reason if isinstance(reason, Exception) else error)
        raise
    request.answer(results)


def wait_for_leader(
    around: Surroundings,
    principal: Principal,
    model: ServedModel,
    query: bytes,
    inputs: list[Array],
) -> list[Array]:
    """A client's request at a party that does not lead."""
    request = Request(principal.fingerprint, model, inputs)
    session = session_of(principal.fingerprint, query)
    return around.desk.post(
        session,
        request,
        around.limits.query,
        led=lambda: around.neighbours.connected(around.leader),
        grace=around.limits.connect,
    )
