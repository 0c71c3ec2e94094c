"""The dealer's daemon: keys for the masks of weights, and batches for the parties' stocks.

It knows programs and masks, and learns neither shares, opened values nor results. It keeps, for
each model, the program and the keys of the weights' masks, sealed on its disk; of a batch it keeps
nothing. A batch's id and keys are fresh from the operating system, so none is dealt to two takers,
whatever was lost or restarted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

from tacita.errors import PeerError, PeerFailed, ProgramError, Refused, TacitaError
from tacita.network.endpoint import StreamEndpoint
from tacita.network.identity import Principal
from tacita.network.link import Stream
from tacita.ring import kernels
from tacita.ring.randomness import StreamKey, fresh_key
from tacita.runtime.at_rest import own_secret
from tacita.runtime.dealer import BATCH_BYTES, Dealer, material
from tacita.runtime.dealing import DealingOrder, Handout, deal_batch
from tacita.runtime.deployment import Deployment
from tacita.runtime.offer import CONSULTING
from tacita.runtime.serving import USER, WITHOUT_STOCK, serve
from tacita.runtime.store import MaskStore
from tacita.runtime.transport import Message
from tacita.service import measuring, weights
from tacita.service.config import DealerConfig
from tacita.service.conversations import (
    BatchDealt,
    Consulting,
    Dealing,
    Measuring,
    Publishing,
    Removing,
    Session,
    agree_to,
    agreed,
    begin,
    desk_of_session,
    eager_session_of,
    end_session,
    publication_of,
    refuse,
    told,
    topic_of,
)
from tacita.service.daemon_metrics import reason_of
from tacita.service.dealer_metrics import DealerMetrics
from tacita.service.logs import Log
from tacita.service.meeting import Meeting
from tacita.service.models import deployed, masking_of, require_affordable
from tacita.service.neighbours import Neighbours
from tacita.service.session_limits import SessionLimits
from tacita.service.sessions import require_same
from tacita.service.weights import Published

AT_ONCE = 4  # batches of one request that are computed, sent or acknowledged


class DealtModel:
    """A program, and the masks of its weights, expanded from the parties' keys when needed."""

    def __init__(
        self, published: Published, keys: Sequence[bytes], run_bytes: int | None = None
    ) -> None:
        self.published = published
        self.deployment: Deployment = deployed(
            published.program, published.model, run_bytes, published.parties
        )
        self._keys = tuple(keys)
        self._lock = Lock()
        self._masks: MaskStore | None = None

    def __repr__(self) -> str:
        return f"DealtModel({self.published.name!r})"

    @property
    def masks(self) -> MaskStore:
        """The parties' masks of the weights; nothing else draws from these keys."""
        with self._lock:
            if self._masks is None:
                store = MaskStore()
                for wire in range(len(self.deployment.program.weights)):
                    store.known(wire)
                instruction = masking_of(self.deployment.program)
                keys = [StreamKey(key) for key in self._keys]
                instruction.deal(
                    DealingOrder(store, lambda n, b: [key.open(n, b) for key in keys], 0)
                )
                self._masks = store
            return self._masks


class DealerService:
    """See the module. One batch is computed at a time, on all cores, while the parties write others
    to their disks."""

    def __init__(self, config: DealerConfig, log: Log) -> None:
        self.principal = config.credentials.check(role="dealer", name=config.name)
        self._name = config.name
        self._parties = [each.name for each in config.network.parties]
        self._limits = config.limits
        self._session_limits = SessionLimits(config.limits)
        self._log = log
        self._folder = Path(config.data) / "models"
        self._secret = own_secret(Path(config.data))
        self._meeting = Meeting()
        self._measured = measuring.Answered()
        self._models: dict[bytes, DealtModel] = {}
        self._dealing = Lock()
        self._neighbours = Neighbours(
            config.credentials,
            config.address,
            {},
            accept=self._accept,
            welcome=self._welcome,
            refused=self._turned_away,
            limits=config.limits,
        )
        self.counters = DealerMetrics(
            str(self.principal),
            peers=self._parties,
            counts=self._neighbours.counts,
            models=lambda: len(self._models),
        )

    def start(self) -> None:
        if self._folder.is_dir():
            for path in sorted(self._folder.iterdir()):
                if path.suffix == "":
                    published, keys = weights.load_dealt(path, self._secret)
                    if weights.is_retired(self._folder, published.model):  # a crash came between
                        weights.remove(self._folder, published.model)
                        continue
                    self._models[published.model] = DealtModel(published, keys)
        self._neighbours.start()
        self._log.info("dealer started", port=self.port, models=len(self._models))

    @property
    def port(self) -> int:
        return self._neighbours.port

    def stop(self) -> None:
        """Waits for what is being dealt or written, no longer than `limits.shutdown`."""
        self._meeting.end(f"{self._name} is shutting down")
        self._neighbours.close()
        if not self._neighbours.wait(self._limits.shutdown):
            limit = self._limits.shutdown
            self._log.warning("stopped while conversations go on", seconds=limit)

    def _welcome(self, principal: Principal) -> bool:
        if principal.role == "party":
            return principal.name in self._parties
        return principal.role in ("client", "owner")  # eager sessions, which parties vouch for

    def _turned_away(self, peer: str, error: TacitaError) -> None:
        self._log.warning("refused", peer=peer, why=error)
        self.counters.refused(reason_of(error))

    def _accept(self, stream: Stream) -> None:
        kernels.pool_arrays()
        peer = stream.link.peer
        try:
            topic = topic_of(stream, self._limits.handshake)
            if isinstance(topic, Session):
                self._join(stream, topic)
                return
            if peer.role != "party":
                raise Refused(f"{peer} may not speak to the dealer of {type(topic).__name__}")
            match topic:
                case Consulting():
                    limit = self._limits.connect
                    self._meeting.offer(topic.desk, peer.name, (stream, topic), limit)
                case Publishing():
                    self._publish(stream, peer.name, topic)
                case Dealing() if peer.name == self._parties[0]:
                    self._deal(stream, topic)
                case Removing():
                    self._remove(stream, topic)
                case Measuring():
                    self._measured.admit(peer.name)
                    measuring.answer(stream, topic, self._limits.round)
                case _:
                    raise Refused(f"{peer} may not ask the dealer for {type(topic).__name__}")
        except Exception as error:
            self._log.warning("a conversation failed", peer=str(peer), why=error)
            if isinstance(error, Refused):
                self.counters.refused(reason_of(error))
            with suppress(PeerError):
                refuse(stream, self._limits.round, error)
            with suppress(PeerError):
                stream.close("refused")

    # ---- models --------------------------------------------------------------------------------

    def _publish(self, stream: Stream, name: str, topic: Publishing) -> None:
        limit = self._limits.publish
        if name != self._parties[0]:
            self._meeting.offer(publication_of(topic.model), name, (stream, topic), limit)
            return
        streams = {name: stream}
        try:
            deadline = time.monotonic() + limit
            for other in self._parties[1:]:
                streams[other], theirs = self._meeting.claim(
                    publication_of(topic.model), other, deadline
                )
                if not isinstance(theirs, Publishing) or not theirs.agrees(topic):
                    raise PeerFailed(f"{other} publishes something else than {name}")
            keys = self._keep(topic)
            for party, key in zip(self._parties, keys, strict=True):
                streams[party].send(Message("key", key), limit)
            self._log.info("model", name=topic.name, model=topic.model.hex(), owner=topic.owner)
        except BaseException as error:
            for each in streams.values():
                with suppress(PeerError):
                    refuse(each, limit, error)
            raise
        finally:
            for each in streams.values():
                with suppress(PeerError):
                    each.close()

    def _keep(self, topic: Publishing) -> list[bytes]:
        """Fresh keys for the masks of a model's weights, stored before anybody has them."""
        # What was dealt for an id fits the masks of its weights: with others, results would be
        # wrong, and hidden by masks that do not belong to them.
        if topic.model in self._models or weights.is_retired(self._folder, topic.model):
            raise PeerFailed(
                f"model {topic.model.hex()} was published before, and its masks are used: publish "
                "under a fresh id"
            )
        if not topic.program.endswith(topic.digest):
            raise ProgramError("the program is not the one that was announced")
        require_affordable(topic.program, program_bytes=int(self._limits.program_bytes))
        keys = [fresh_key() for _ in self._parties]
        published = Published(
            name=topic.name,
            model=topic.model,
            owner=topic.owner,
            fingerprint=topic.fingerprint,
            audience=topic.audience,
            program=topic.program,
            parties=len(self._parties),
            index=-1,
            made=time.time(),
        )
        run_bytes = int(self._limits.run_bytes)
        model = DealtModel(published, keys, run_bytes)  # validates the program
        weights.save_dealt(self._folder, published, keys, self._secret)
        self._models[topic.model] = model
        return keys

    def _remove(self, stream: Stream, topic: Removing) -> None:
        if topic.model in self._models:
            weights.retire(self._folder, topic.model)  # first: nobody is to publish it in between
            self._models.pop(topic.model, None)
            weights.remove(self._folder, topic.model)
        agree_to(stream, self._limits.round)
        stream.close()

    # ---- eager sessions --------------------------------------------------------------------------

    def _join(self, stream: Stream, topic: Session) -> None:
        """Deals for a session as it goes, once every party, by its own policy, has joined it."""
        peer = stream.link.peer
        limit = self._limits.connect
        session = eager_session_of(peer.fingerprint, topic.session)
        streams: dict[str, Stream] = {USER: stream}
        asking: dict[str, Stream] = {}
        deadline = time.monotonic() + limit
        try:
            if peer.role == "party":
                self._meeting.offer(topic.session, peer.name, (stream, topic), limit)
                return
            require_same(topic, self._parties, self._name)
            among = msgspec.structs.replace(topic, session=session)
            for name in self._parties:
                streams[name], theirs = self._meeting.claim(session, name, deadline)
                if theirs != among:
                    raise PeerFailed(f"{name} was told of another session than {self._name}")
            if topic.protocol == CONSULTING:
                for name in self._parties:
                    desk = desk_of_session(session)
                    asking[name], _ = self._meeting.claim(desk, name, deadline)
            endpoint = StreamEndpoint(self._name, streams, self._limits.round)
            role = Dealer(
                endpoint,
                self._parties,
                USER,
                checked=topic.checked,
                run_bytes=int(self._limits.run_bytes),
                budget=self._session_limits.budget(),
                desk=StreamEndpoint(self._name, asking, self._limits.round) if asking else None,
                limit=self._limits.round,
            )
            self._log.info("session begins", principal=str(peer))
            with self._session_limits.place(peer):
                serve(role, endpoint, self._parties, kinds=WITHOUT_STOCK)
            self._log.info("session ended", principal=str(peer), instructions=role.carried)
        except TacitaError as error:
            # The parties have reasons of their own to end, which their user is to hear.
            with suppress(PeerError):
                end_session(stream, limit, error)
            for each in (*asking.values(), *(s for name, s in streams.items() if name != USER)):
                with suppress(PeerError):
                    each.close(told(error))
            raise
        for each in (*asking.values(), *streams.values()):
            with suppress(PeerError):
                each.close("the session has ended")

    # ---- batches -------------------------------------------------------------------------------

    def _deal(self, stream: Stream, topic: Dealing) -> None:
        model = self._models.get(topic.model)
        if model is None or model.deployment.digest != topic.digest:
            raise PeerFailed(
                f"the dealer has no model {topic.model.hex()} with that program: publish it again"
            )
        workers = min(AT_ONCE, topic.runs)
        with ThreadPoolExecutor(workers, "tacita batch", initializer=kernels.pool_arrays) as pool:
            asked = [pool.submit(self._deal_counted, model) for _ in range(topic.runs)]
            try:
                # In any order; after an error those under way end by themselves, ready or void.
                for done in as_completed(asked):
                    agree_to(stream, self._limits.deal, done.result().hex())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        stream.close()

    def _deal_counted(self, model: DealtModel) -> bytes:
        name, began = model.published.name, time.monotonic()
        try:
            batch = self._deal_batch(model)
        except BaseException:
            self.counters.failed(name)
            raise
        finally:
            self.counters.phase(name, "whole", time.monotonic() - began)
        self.counters.dealt(name)
        return batch

    def _deal_batch(self, model: DealtModel) -> bytes:
        """One batch to all parties; returns when each has said that it may be used."""
        limit = self._limits.deal
        if self._models.get(model.published.model) is not model:
            raise PeerFailed(f"model {model.published.model.hex()} was removed")
        batch = os.urandom(BATCH_BYTES)
        keys = [fresh_key() for _ in self._parties]
        streams: dict[str, Stream] = {}

        def write(number: int, handout: Handout) -> None:
            *others, last = self._parties
            for name in others:
                if handout.others:
                    streams[name].send(material(number, handout.others), limit)
            streams[last].send(material(number, handout.last), limit)

        try:
            # The streams begin here too: nobody is to wait on one while others are computed.
            with self._dealing:
                began = time.monotonic()
                for name, key in zip(self._parties, keys, strict=True):
                    streams[name] = self._neighbours.open(name, batch, self._limits.connect)
                    topic = BatchDealt(model.published.model, model.deployment.digest, batch, key)
                    begin(streams[name], topic, limit)
                deal_batch(model.deployment, model.masks, keys, write)
                for stream in streams.values():
                    stream.send(Message("end"), limit)
                computing = time.monotonic() - began
            self.counters.phase(model.published.name, "computing", computing)
            for name, stream in streams.items():
                agreed(stream, name, limit)
            # The leader is told last: what it knows to be ready is ready everywhere.
            for name in reversed(self._parties):
                agree_to(streams[name], limit)
                agreed(streams[name], name, limit)
        except BaseException:
            for stream in streams.values():
                with suppress(PeerError):
                    stream.close("the batch could not be dealt to everybody")
            raise
        for stream in streams.values():
            with suppress(PeerError):
                stream.close()
        return batch
