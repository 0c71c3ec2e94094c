"""Batches that all parties have prepared together, each waiting for one query.

The leader chooses batches out of its stock, and opens for each a stream to every other party, with
the batch's id as its name. All take the batch (their ledgers say so, durably, before a byte of it
is used), do the work that needs no input, and say so. The stream then carries that one query and
ends. If it ends otherwise (a crash, a lost link) the batch is burned at every party: what was taken
is not given back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Condition, Event, Thread

import msgspec

from tacita.errors import FrameError, MaterialError, NotReady, PeerError, StockEmpty
from tacita.network.endpoint import StreamEndpoint
from tacita.network.link import Stream
from tacita.ring import kernels
from tacita.runtime.common import RunCommon, SessionCommon, agreed_key
from tacita.runtime.execution import Execution
from tacita.runtime.material import BatchMaterial
from tacita.runtime.reading import Preparation, Prepared
from tacita.runtime.rounds import Rounds
from tacita.runtime.store import Held, Store
from tacita.runtime.transport import Array
from tacita.service.conversations import told
from tacita.service.models import ServedModel
from tacita.service.storehouse import Storehouse

EMPTY_POLL = 0.1  # seconds between two looks at an empty stock
AFTER_FAILURE = 1.0  # a peer is away, or a batch was refused
LOOK = 1.0  # between two looks whether what is prepared is usable still


@dataclass(repr=False, eq=False)
class PreparedBatch:
    """One batch at one party, and the streams to the others on which it will be used."""

    model: ServedModel
    batch: bytes
    material: BatchMaterial
    prepared: Prepared
    streams: dict[str, Stream]

    def burn(self, why: str) -> None:
        """It will not be used: the others are told, and the file goes."""
        for stream in self.streams.values():
            with suppress(PeerError):
                stream.close(why)
        with suppress(MaterialError):
            self.material.close()

    @property
    def usable(self) -> bool:
        """Whether the others have it still: who gives it up closes its stream."""
        return all(stream.why is None for stream in self.streams.values())


def taken(
    model: ServedModel, batch: bytes, storehouse: Storehouse, taker: str
) -> tuple[BatchMaterial, Prepared]:
    """Takes a batch for good, and does what needs no input; raises MaterialError."""
    file = storehouse.take(model.id, model.digest, batch, taker)
    try:
        deployment = model.deployment
        material = BatchMaterial(file, deployment.size, deployment.dealt, deployment.published)
        preparation = Preparation(material, deployment.bound_store(model.store))
        return material, preparation.go_through(deployment.program.instructions)
    except BaseException:
        file.close()
        raise


def run(
    ready: PreparedBatch, party: str, peers: Sequence[str], inputs: Sequence[Array], limit: float
) -> tuple[list[Array], int]:
    """One query on a prepared batch: this party's shares of the results, and how many rounds.

    Raises BoundExceeded where checked mode refused a result, PeerError where another party failed.
    """
    deployment = ready.model.deployment
    given = Store(party, first=ready.model.store.first)
    for wire, share in enumerate(inputs):
        given.hold(wire, Held(share))
    store = deployment.bound_store(ready.model.store)
    deployment.bind_inputs(store, given, range(len(inputs)))
    endpoint = StreamEndpoint(party, ready.streams, limit)
    rounds = Rounds(endpoint, peers, 0, ready.batch, limit)
    key = SessionCommon(lambda: agreed_key(endpoint, peers, first=store.first, limit=limit))
    common = RunCommon(key, 0, deployment.size)
    execution = Execution(
        deployment, store, ready.material, ready.prepared, rounds, lambda: None, common
    )
    try:
        execution.run()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise FrameError("another party opened what cannot be read") from None
    ready.material.finish()
    return [store.share(port.wire) for port in deployment.program.outputs], rounds.count


class Taker:
    """A query that waits for a batch; `came` is set when it has one, or when none will come."""

    def __init__(self) -> None:
        self.came = Event()
        self.batch: PreparedBatch | None = None


class Preparer:
    """Keeps some batches of one model prepared, at the leader; queries take them as they came.

    count: how many wait prepared; with 0, one is prepared when a query asks for it. make: prepares
    a batch with the other parties, or returns None where the stock is empty. failed: is told of
    what it raises.
    """

    def __init__(
        self,
        model: ServedModel,
        count: int,
        make: Callable[[ServedModel], PreparedBatch | None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.model = model
        self._wanted = count
        self._make = make
        self._failed = failed
        self._changed = Condition()  # around what follows
        self._ready: deque[PreparedBatch] = deque()
        self._making = 0
        self._takers: deque[Taker] = deque()
        self._running = 0  # queries that have their batch
        self._ended = False
        self._failure: Exception | None = None
        self._threads = [
            Thread(target=self._keep_making, name="tacita preparing", daemon=True)
            for _ in range(max(1, count))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def count(self) -> int:
        return len(self._ready)

    @contextmanager
    def batch(self, limit: float) -> Iterator[PreparedBatch]:
        """A block in which a query has a batch; see `take`."""
        batch = self.take(limit)
        try:
            yield batch
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def take(self, limit: float) -> PreparedBatch:
        """The next batch whose streams are alive.

        Raises StockEmpty after `limit` seconds, NotReady once the model is not served any more.
        """
        deadline = time.monotonic() + limit
        taker = Taker()
        with self._changed:
            self._drop_unusable()
            if self._ready and not self._takers:
                self._running += 1
                return self._ready.popleft()
            self._takers.append(taker)
            self._changed.notify_all()
        while True:
            taker.came.wait(max(0.0, deadline - time.monotonic()))
            with self._changed:
                if taker.batch is not None and taker.batch.usable:
                    self._running += 1
                    return taker.batch
                if taker.batch is not None:
                    taker.batch.burn("another party has given it up")
                    taker.batch = None
                    taker.came.clear()
                    self._takers.appendleft(taker)
                    self._changed.notify_all()
                if self._ended or time.monotonic() >= deadline:
                    with suppress(ValueError):
                        self._takers.remove(taker)
                    raise self._refusal(limit)

    def _refusal(self, limit: float) -> NotReady | StockEmpty:
        if self._ended:
            return NotReady(f"{self.model.name!r} was removed or published anew: ask again")
        reason = "" if self._failure is None else f": {told(self._failure)}"
        return StockEmpty(f"no prepared batch of {self.model.name!r} for {limit:g} s{reason}")

    def _hand_out(self, batch: PreparedBatch) -> None:
        """To whoever has waited longest; otherwise it waits for a query itself."""
        if self._takers:
            taker = self._takers.popleft()
            taker.batch = batch
            taker.came.set()
        else:
            self._ready.append(batch)

    def _keep_making(self) -> None:
        kernels.pool_arrays()
        while self._one_is_wanted():
            batch, failure, pause = None, None, EMPTY_POLL
            try:
                batch = self._make(self.model)
            except Exception as error:  # whatever it is, the next batch may do
                failure, pause = error.with_traceback(None), AFTER_FAILURE
                self._failed(error)
            with self._changed:
                self._making -= 1
                self._failure = failure
                if batch is None:
                    self._changed.wait_for(lambda: self._ended, pause)
                elif not self._ended:
                    self._hand_out(batch)
                    batch = None
            if batch is not None:
                batch.burn("the model is not served any more")

    def _one_is_wanted(self) -> bool:
        """Waits until a batch is to be made; False at the end."""
        with self._changed:
            while not self._ended:
                self._drop_unusable()
                missing = self._wanted + len(self._takers) - len(self._ready) - self._making
                # A query that runs has the processor first, while there is a batch for the next.
                if missing > 0 and not (self._running and self._ready):
                    self._making += 1
                    return True
                self._changed.wait(LOOK)
            return False

    def _drop_unusable(self) -> None:
        """Burns those whose streams have ended while they waited."""
        for batch in [each for each in self._ready if not each.usable]:
            self._ready.remove(batch)
            batch.burn("another party has given it up")

    def end(self) -> None:
        """Burns what is prepared; whoever waits is told."""
        with self._changed:
            self._ended = True
            left = list(self._ready)
            self._ready.clear()
            for taker in self._takers:
                taker.came.set()
            self._changed.notify_all()
        for batch in left:
            batch.burn("the model is not served any more")

    def wait(self, deadline: float) -> bool:
        """After `end`: whether no batch is being made any more, by `deadline` of time.monotonic."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)
