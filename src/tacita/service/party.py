"""A party's daemon: it puts the parts together, starts and ends them, and says who may begin which
conversation with it.

It decides on its own who may do what (`policy.py`), writes down what it hands out (`audit.py`), and
keeps what it was given sealed on its disk. Towards its front it is an `engine.Engine`, whose parts
are `catalogue.py` (what there is), `repository.py` (what owners change), `answering.py` (queries)
and `neighbourhood.py` (how well it reaches the others).
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from tacita.errors import PeerError, Refused, TacitaError
from tacita.network.identity import Principal, Role
from tacita.network.link import Stream
from tacita.network.tensors import Tensor
from tacita.ring import kernels
from tacita.runtime.at_rest import own_secret
from tacita.runtime.checkpoint_files import InFolder
from tacita.runtime.checkpoints import Checkpoints
from tacita.service import measuring, reach, supply
from tacita.service.answering import Answering
from tacita.service.audit import AuditLog
from tacita.service.catalogue import Catalogue
from tacita.service.config import PartyConfig
from tacita.service.conversations import (
    AnyTopic,
    BatchDealt,
    Declining,
    Describing,
    Joining,
    Measuring,
    Preparing,
    Publishing,
    Reaching,
    Session,
    Stocktaking,
    Withdrawing,
    agree_to,
    refuse,
    topic_of,
)
from tacita.service.daemon_metrics import reason_of
from tacita.service.desk import Desk
from tacita.service.front.engine import ModelInfo, Publication
from tacita.service.ledger import Ledger
from tacita.service.logs import Log
from tacita.service.meeting import Meeting
from tacita.service.metrics import Metrics
from tacita.service.models import Models
from tacita.service.neighbourhood import Neighbourhood
from tacita.service.neighbours import Neighbours
from tacita.service.policy import Policy, PolicyFile
from tacita.service.publication import meet
from tacita.service.queries import Leading, follow
from tacita.service.repository import Repository
from tacita.service.sessions import Sessions
from tacita.service.storehouse import Storehouse
from tacita.service.surroundings import Surroundings

MOST_UNREADABLE = 100  # files that a status names


class PartyService:
    """See the module. Everything it waits for has a limit, in its configuration."""

    def __init__(self, config: PartyConfig, log: Log) -> None:
        principal = config.credentials.check(role="party", name=config.name)
        network = config.network
        secret = own_secret(config.data)
        ledger = Ledger(config.ledger_url, party=config.name)
        dialed: dict[str, tuple[Role, Any]] = {
            each.name: ("party", each.peers) for each in network.parties[config.index + 1 :]
        }
        dialed[network.dealer.name] = ("dealer", network.dealer.address)
        storehouse = Storehouse(
            config.data / "stock",
            ledger,
            party=config.index,
            parties=len(network.parties),
            secret=secret,
            room=int(config.stock.bytes),
        )
        neighbours = Neighbours(
            config.credentials,
            config.peers,
            dialed,
            accept=self._accept,
            welcome=self._welcome,
            joined=self._joined,
            refused=self._turned_away,
            failed=lambda peer, error: log.warning("no link", peer=peer, why=error),
            limits=config.limits,
        )
        others = [name for name in network.names if name != config.name]
        self._around = around = Surroundings(
            principal=principal,
            parties=network.names,
            index=config.index,
            dealer=network.dealer.name,
            limits=config.limits,
            stock=config.stock,
            models=Models(config.data / "models", config.name, secret),
            ledger=ledger,
            storehouse=storehouse,
            neighbours=neighbours,
            meeting=Meeting(),
            desk=Desk(),
            metrics=Metrics(
                str(principal),
                peers=(*others, network.dealer.name),
                counts=neighbours.counts,
                stock_bytes=lambda: storehouse.bytes_on_disk,
            ),
            log=log,
        )
        self._checkpoints = checkpoints = Checkpoints(
            InFolder(config.data / "checkpoints", secret), int(config.limits.saved_bytes)
        )
        self._policy = PolicyFile(config.policy) if config.policy is not None else None
        self._audit = audit = AuditLog(config.audit_path)
        self._sessions = Sessions(
            around, lambda principal: self._allowed.may_open_sessions(principal), audit, checkpoints
        )
        self._leading = Leading(around) if around.leads else None
        self._refiller = supply.Refiller(around) if around.leads else None
        self._catalogue = catalogue = Catalogue(around, lambda: self._allowed)
        self._repository = Repository(around, catalogue, audit, self._leading, self._refiller)
        self._answering = Answering(around, catalogue, audit, self._leading)
        self._neighbourhood = Neighbourhood(around)
        self._measured = measuring.Answered()
        self._started = time.time()

    def start(self) -> None:
        """Recovers what a crash left, and connects. Raises MaterialError, ConfigError."""
        around = self._around
        around.ledger.recover()
        around.storehouse.sweep()
        around.models.load()
        served = {model.id for model in around.models.all()}
        for gone in around.ledger.counts().keys() - served:
            around.storehouse.forget_model(gone)
        for each in self._checkpoints.unreadable:
            around.log.warning("a saved file cannot be read", file=each.file, why=each.why)
        around.neighbours.start()
        if self._leading is not None and self._refiller is not None:
            for model in around.models.all():
                self._leading.serve(model)
            self._refiller.start()
        around.log.info("party started", peers=self.port, models=len(around.models.all()))

    @property
    def port(self) -> int:
        """Where other parties reach this one."""
        return self._around.neighbours.port

    @property
    def counters(self) -> Metrics:
        """What this party counts, for whoever serves it without asking who reads it."""
        return self._around.metrics

    def stop(self) -> None:
        """Ends all conversations. What they have on the disk is as it stays when this returns.

        Waits for them no longer than `limits.shutdown`; the log says so where that was not enough.
        """
        around = self._around
        if self._refiller is not None:
            self._refiller.end()
        if self._leading is not None:
            self._leading.end()
        why = f"{around.name} is shutting down"
        around.meeting.end(why)
        around.desk.end(why)
        around.neighbours.close()
        self._wait_for_writers(time.monotonic() + around.limits.shutdown)
        around.ledger.close()
        self._answering.end()
        self._audit.close()

    def _wait_for_writers(self, deadline: float) -> None:
        ended = self._around.neighbours.wait(deadline - time.monotonic())
        if self._refiller is not None:
            ended &= self._refiller.wait(deadline)
        if self._leading is not None:
            ended &= self._leading.wait(deadline)
        if not ended:
            limit = self._around.limits.shutdown
            self._around.log.warning("stopped while conversations go on", seconds=limit)

    @property
    def _allowed(self) -> Policy:
        """The policy in force; without one, nobody may do anything."""
        return Policy.closed() if self._policy is None else self._policy.policy

    # ---- what other daemons begin ----------------------------------------------------------------

    def _welcome(self, principal: Principal) -> bool:
        if principal.role == "party":
            return principal.name in self._around.lower
        return principal.role in ("client", "owner") and self._allowed.may_open_sessions(principal)

    def _turned_away(self, peer: str, error: TacitaError) -> None:
        self._around.log.warning("refused", peer=peer, why=error)
        self.counters.refused(reason_of(error))

    def _joined(self, name: str) -> None:
        """A link has come about: with another party the leader takes stock."""
        around = self._around
        if around.leads and name in around.others:
            try:
                supply.take_stock(around, name)
            except Exception as error:
                around.log.warning("stock was not compared", peer=name, why=error)

    def _accept(self, stream: Stream) -> None:
        kernels.pool_arrays()
        around = self._around
        peer = stream.link.peer
        try:
            self._converse(stream, topic_of(stream, around.limits.handshake))
        except Exception as error:
            around.log.warning("a conversation failed", peer=str(peer), why=error)
            if isinstance(error, Refused):
                self.counters.refused(reason_of(error))
            with suppress(PeerError):
                refuse(stream, around.limits.round, error)
            with suppress(PeerError):
                stream.close("refused")

    def _converse(self, stream: Stream, topic: AnyTopic) -> None:
        around = self._around
        peer, name = stream.link.peer, stream.link.peer.name
        # A client may have the name of a party or of the dealer, and is neither.
        leads = peer.role == "party" and name == around.leader
        lower = peer.role == "party" and name in around.lower
        user = peer.role in ("client", "owner")
        match topic:
            case Preparing() if leads:
                follow(around, stream, topic)
            case BatchDealt() if peer.role == "dealer" and name == around.dealer:
                supply.receive(around, stream, topic)
            case Joining() if lower:
                limit = around.limits.round
                around.meeting.offer(topic.session, name, (stream, topic), limit)
            case Publishing() if lower:
                meet(around, stream, name, topic)
            case Declining() if lower:
                around.meeting.decline(topic.session, topic.why)
                if leads:
                    around.desk.decline(topic.session, topic.why)
                stream.close()
            case Describing() if user:
                self._sessions.describe(stream, peer, topic)
            case Withdrawing() if user:
                self._sessions.withdraw(stream, peer, topic)
            case Reaching() if user:
                self._tell_reach(stream)
            case Session() if lower or user:
                self._sessions.follow(stream, peer, topic)
            case Stocktaking() if leads:
                supply.follow_stocktaking(around, stream, topic)
            case Measuring() if peer.role == "party":
                self._measured.admit(name)
                measuring.answer(stream, topic, around.limits.round)
            case _:
                raise Refused(f"{peer} may not begin a {type(topic).__name__} with this party")

    def _tell_reach(self, stream: Stream) -> None:
        """How fast the ways are that no party before this one tells of."""
        around = self._around
        limit = around.limits.round
        found = self._neighbourhood.lately((*around.higher, around.dealer), limit)
        agree_to(stream, limit, reach.written(reach.ways_in(found)))

    # ---- what the front asks for -----------------------------------------------------------------

    def ready(self) -> bool:
        return self._catalogue.ready()

    def status(self, principal: Principal) -> dict[str, Any]:
        around = self._around
        watches = self._allowed.may_watch(principal)
        shown = around.models.all() if watches else self._catalogue.seen_by(principal)
        return {
            "party": around.name,
            "index": around.index,
            "parties": list(around.parties),
            "dealer": around.dealer,
            "seconds": round(time.time() - self._started, 1),
            "time": time.time(),
            "links": {
                name: around.neighbours.connected(name) for name in (*around.others, around.dealer)
            },
            "models": [
                {"name": model.name, "stock": around.storehouse.level(model.id)} for model in shown
            ],
            # Whose they are, nobody knows who cannot read them.
            "unreadable": self._unreadable() if watches else [],
        }

    def _unreadable(self) -> list[str]:
        told = [each.why for each in self._checkpoints.unreadable]
        more = len(told) - MOST_UNREADABLE
        return [*told[:MOST_UNREADABLE], *([f"and {more} more; see the log"] if more > 0 else [])]

    def metrics(self, principal: Principal) -> bytes:
        if not self._allowed.may_watch(principal):
            self.counters.refused("policy")
            raise Refused(
                f"{principal} may not read metrics here: [watch] in the policy says who may"
            )
        return self.counters.render()

    def neighbours(self, principal: Principal) -> dict[str, Any]:
        if not self._allowed.may_measure(principal):
            self.counters.refused("policy")
            raise Refused(
                f"{principal} may not have links measured here: [watch] and [publish] in the "
                "policy say who may"
            )
        return self._neighbourhood.measured()

    def models(self, principal: Principal) -> list[ModelInfo]:
        return [self._catalogue.info(model) for model in self._catalogue.seen_by(principal)]

    def model(self, principal: Principal, name: str) -> ModelInfo:
        return self._catalogue.info(self._catalogue.visible(principal, name))

    def program(self, principal: Principal, name: str) -> bytes:
        return self._catalogue.visible(principal, name).published.program

    def check_query(self, principal: Principal, model: str) -> None:
        self._catalogue.visible(principal, model)

    def check_publish(self, principal: Principal, model: str) -> None:
        try:
            self._allowed.check_publish(principal, model)
        except Refused as error:
            self.counters.refused(reason_of(error))
            raise

    def decline_query(self, principal: Principal, query: bytes, error: TacitaError) -> None:
        self._answering.decline(principal, query, error)

    def decline_publication(self, model_id: bytes, error: TacitaError) -> None:
        self._repository.decline(model_id, error)

    def infer(
        self, principal: Principal, model: str, query: bytes, inputs: list[Tensor]
    ) -> list[Tensor]:
        return self._answering.infer(principal, model, query, inputs)

    def publish(self, principal: Principal, publication: Publication) -> ModelInfo:
        return self._repository.publish(principal, publication)

    def remove(self, principal: Principal, name: str) -> None:
        self._repository.remove(principal, name)

    def deal(self, principal: Principal, name: str, runs: int) -> int:
        return self._repository.deal(principal, name, runs)
