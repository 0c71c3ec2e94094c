"""How dealt batches get into a party's stock, and how the leader sees to it that there are some.

The dealer sends a batch to all parties at once; each writes its part to its own disk and says so.
When all have, the dealer tells all, and the batch is ready. A batch that did not get so far is void
everywhere: by the dealer's word, or when the parties take stock after they lost each other.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread

from tacita.errors import FrameError, MaterialError, NotReady, PeerError
from tacita.network.link import Stream
from tacita.program.readings import Array
from tacita.runtime.orders import decode_dealt
from tacita.runtime.transport import Message
from tacita.service.conversations import (
    BatchDealt,
    Dealing,
    Stocktaking,
    agree_to,
    agreed,
    begin,
    fresh_id,
    refuse,
)
from tacita.service.models import ServedModel
from tacita.service.surroundings import Surroundings

LOOK = 0.5  # seconds between two looks at the level of the stock, if it was not used meanwhile
AFTER_FAILURE = 3.0
CONVERSATIONS = 2  # with the dealer about one model: the next begins while one comes to its end


def receive(around: Surroundings, stream: Stream, topic: BatchDealt) -> None:
    """This party's part of a batch, from the dealer; ready once the dealer says all have theirs."""
    limit = around.limits.deal
    whole = False
    try:
        model = around.models.known(topic.model, topic.digest)
        with around.storehouse.receive(model.id, model.digest, topic.batch, topic.key) as writer:
            while (message := stream.receive(limit)).kind == "material":
                writer.add(*dealt_in(message))
            if message.kind != "end":
                raise FrameError(f"{around.dealer} sent {message.kind} within a batch")
        whole = True  # and the receiving will not clean up any more
        agree_to(stream, limit)
        agreed(stream, around.dealer, limit)
        around.storehouse.ready(topic.batch)
        whole = False
        agree_to(stream, limit)
        around.metrics.dealt(model.name)
    except BaseException as error:
        if whole:
            with suppress(MaterialError):
                around.storehouse.void(topic.batch)
        if isinstance(error, Exception):
            with suppress(PeerError):
                refuse(stream, around.limits.round, error)
        raise
    finally:
        with suppress(PeerError):
            stream.close()


def dealt_in(message: Message) -> tuple[int, dict[int, list[Array]]]:
    """What the dealer sends this party for one instruction: its number, and arrays by branch."""
    header = decode_dealt(message.header)
    if sum(header.counts.values()) != len(message.arrays):
        raise FrameError(f"the dealer's material for instruction {header.number} is incomplete")
    arrays = deque(message.arrays)
    return header.number, {
        branch: [arrays.popleft() for _ in range(count)] for branch, count in header.counts.items()
    }


def take_stock(around: Surroundings, name: str) -> None:
    """Leader: compares with a party that is back which batches there still are."""
    for model in around.models.all():
        # In this order: one that becomes ready between the two questions is in both answers.
        dealing = around.storehouse.dealing(model.id)
        waiting = around.storehouse.waiting(model.id)
        stream = around.neighbours.open(name, fresh_id(), around.limits.round)
        try:
            begin(stream, Stocktaking(model.id, (*dealing, *waiting)), around.limits.round)
            theirs = agreed(stream, name, around.limits.round).split()
            # What is ready here was ready there first: they have used it up, or lost it.
            lost = {batch.hex() for batch in waiting} - set(theirs)
            for batch in sorted(lost):
                with suppress(MaterialError):  # it has been taken meanwhile
                    around.storehouse.void(bytes.fromhex(batch))
            around.log.info("stock compared", model=model.name, peer=name, void=len(lost))
        finally:
            stream.close()


def follow_stocktaking(around: Surroundings, stream: Stream, topic: Stocktaking) -> None:
    """The others: what the leader does not have can never be used, and goes; the rest is told."""
    around.storehouse.void_all_but(topic.model, set(topic.batches))
    here = set(around.storehouse.waiting(topic.model)).intersection(topic.batches)
    agree_to(stream, around.limits.round, " ".join(sorted(batch.hex() for batch in here)))
    stream.close()


class Refiller:
    """At the leader: asks the dealer for more when a model's stock is below the low-water mark.

    What the dealer was asked for counts as if it were there. So while batches are used as fast as
    they come, the next are asked for before the last have come, and the dealer never has to wait.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._ended = Event()
        self._lock = Lock()  # around what follows
        self._asked: Counter[bytes] = Counter()  # runs that have not come, by model
        self._asking: Counter[bytes] = Counter()  # conversations with the dealer about them
        self._failed = False  # one of those
        self._thread = Thread(target=self._keep_looking, name="tacita refilling", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._around.stock_used.set()

    def wait(self, deadline: float) -> bool:
        """After `end`: whether it looks after the stock no more, by `deadline` of time.monotonic.

        What it has asked the dealer for comes over links, and ends with those.
        """
        if self._thread.ident is not None:  # else it was never started
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def deal(self, model: ServedModel, runs: int) -> int:
        """Has so many more runs dealt, and waits; returns the stock. Raises PeerError."""
        if not self._around.leads:
            raise NotReady(f"{self._around.name} does not lead: ask {self._around.leader}")
        ask_dealer(self._around, model, runs)
        return self._around.storehouse.level(model.id)

    def _keep_looking(self) -> None:
        around = self._around
        while not self._ended.is_set():
            around.stock_used.clear()
            failed = False
            for model in around.models.all():
                if self._ended.is_set():
                    return
                try:
                    self._look_at(model)
                except Exception as error:  # whatever it is, the next look may do
                    failed = True
                    self._warn(model, error)
            with self._lock:
                failed, self._failed = failed or self._failed, False
            if failed:
                self._take_stock()
                self._ended.wait(AFTER_FAILURE)
            else:
                around.stock_used.wait(LOOK)

    def _look_at(self, model: ServedModel) -> None:
        around = self._around
        level = around.storehouse.level(model.id)
        around.metrics.stock(model.name, level)
        with self._lock:
            due = level + self._asked[model.id]
            if due >= around.stock.low or self._asking[model.id] >= CONVERSATIONS:
                return
            runs = around.stock.high - due
            self._asked[model.id] += runs
            self._asking[model.id] += 1
        asking = Thread(target=self._ask, args=(model, runs), name="tacita refill", daemon=True)
        try:
            asking.start()
        except BaseException:
            self._over(model, runs)
            raise

    def _ask(self, model: ServedModel, runs: int) -> None:
        missing = runs

        def came() -> None:
            nonlocal missing
            missing -= 1
            with self._lock:
                self._asked[model.id] -= 1

        try:
            ask_dealer(self._around, model, runs, came)
        except Exception as error:  # whatever it is, the next time may do
            self._warn(model, error)
            with self._lock:
                self._failed = True
        finally:
            self._over(model, missing)

    def _over(self, model: ServedModel, missing: int) -> None:
        """The end of a conversation, in which so many of the runs have not come."""
        with self._lock:
            self._asked[model.id] -= missing
            self._asking[model.id] -= 1
            if not self._asking[model.id]:
                del self._asked[model.id], self._asking[model.id]
        self._around.stock_used.set()

    def _warn(self, model: ServedModel, error: Exception) -> None:
        self._around.log.warning("the stock was not refilled", model=model.name, why=error)

    def _take_stock(self) -> None:
        """A dealing that broke off may have left a batch that some parties have and others not."""
        around = self._around
        for name in around.others:
            try:
                if around.neighbours.connected(name):
                    take_stock(around, name)
            except Exception as error:
                around.log.warning("stock was not compared", peer=name, why=error)


def ask_dealer(
    around: Surroundings,
    model: ServedModel,
    runs: int,
    came: Callable[[], None] = lambda: None,
) -> None:
    """Returns when the dealer has dealt them; raises PeerError with its reason otherwise.

    came: called for each run when it is ready.
    """
    limit = around.limits.deal
    stream = around.neighbours.open(around.dealer, fresh_id(), limit)
    try:
        begin(stream, Dealing(model.id, model.digest, runs), limit)
        for _ in range(runs):  # one word for each, in the order in which they become ready
            agreed(stream, around.dealer, limit)
            came()
    finally:
        with suppress(PeerError):
            stream.close()
