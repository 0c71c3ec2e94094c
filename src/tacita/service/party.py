"""A party's daemon: what its front asks for, and what other daemons begin with it.

It decides on its own who may do what (`policy.py`), writes down what it hands out (`audit.py`), and
keeps what it was given sealed on its disk. It implements `front.engine.Engine`.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from tacita.compiler.archive import DIGEST_BYTES
from tacita.errors import (
    AlreadyUsed,
    NotReady,
    PeerError,
    PeerFailed,
    Refused,
    ShapeError,
    TacitaError,
    UnknownModel,
    UsageError,
)
from tacita.network.identity import Principal, Role
from tacita.network.link import Stream
from tacita.network.tensors import Tensor
from tacita.program.program import Port
from tacita.program.readings import Array
from tacita.ring import kernels
from tacita.service import supply
from tacita.service.audit import AuditLog
from tacita.service.config import PartyConfig
from tacita.service.conversations import (
    AnyTopic,
    BatchDealt,
    Declining,
    Describing,
    Joining,
    Preparing,
    Publishing,
    Session,
    Stocktaking,
    Withdrawing,
    publication_of,
    refuse,
    session_of,
    told,
    topic_of,
)
from tacita.service.desk import Desk
from tacita.service.front.engine import ModelInfo, Publication, TensorInfo
from tacita.service.ledger import Ledger
from tacita.service.logs import Log
from tacita.service.meeting import Meeting
from tacita.service.metrics import UNKNOWN, Metrics, outcome_of, reason_of
from tacita.service.models import Models, ServedModel
from tacita.service.neighbours import Neighbours
from tacita.service.policy import Policy, PolicyFile, RateKeeper, Terms
from tacita.service.publication import OneAtATime, forget_at_dealer, meet, publish
from tacita.service.queries import Leading, decline, follow, wait_for_leader
from tacita.service.sessions import Sessions
from tacita.service.storehouse import Storehouse, own_secret
from tacita.service.surroundings import Surroundings

RECORDING = 8  # reveals that are being written into the audit log at once


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
        self._around = around = Surroundings(
            principal=principal,
            parties=network.names,
            index=config.index,
            dealer=network.dealer.name,
            limits=config.limits,
            stock=config.stock,
            models=Models(config.data / "models", config.name, secret),
            ledger=ledger,
            storehouse=Storehouse(
                config.data / "stock",
                ledger,
                party=config.index,
                parties=len(network.parties),
                secret=secret,
                room=int(config.stock.bytes),
            ),
            neighbours=Neighbours(
                config.credentials,
                config.peers,
                dialed,
                accept=self._accept,
                welcome=self._welcome,
                joined=self._joined,
                refused=lambda peer, error: log.warning("refused", peer=peer, why=error),
                failed=lambda peer, error: log.warning("no link", peer=peer, why=error),
                limits=config.limits,
            ),
            meeting=Meeting(),
            desk=Desk(),
            metrics=Metrics(str(principal)),
            log=log,
        )
        self._policy = PolicyFile(config.policy) if config.policy is not None else None
        self._rates = RateKeeper()
        self._audit = AuditLog(config.audit_path)
        self._recording = ThreadPoolExecutor(RECORDING, "tacita audit")
        self._sessions = Sessions(
            around, lambda principal: self._allowed.may_open_sessions(principal), self._audit
        )
        self._leading = Leading(around) if around.leads else None
        self._publishing = OneAtATime()
        self._refiller = supply.Refiller(around) if around.leads else None
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

    def stop(self) -> None:
        if self._refiller is not None:
            self._refiller.end()
        if self._leading is not None:
            self._leading.end()
        self._around.neighbours.close()
        self._around.ledger.close()
        self._recording.shutdown()
        self._audit.close()

    # ---- what other daemons begin ----------------------------------------------------------------

    def _welcome(self, principal: Principal) -> bool:
        if principal.role == "party":
            return principal.name in self._around.lower
        return principal.role in ("client", "owner") and self._allowed.may_open_sessions(principal)

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
            case Session() if lower or user:
                self._sessions.follow(stream, peer, topic)
            case Stocktaking() if leads:
                supply.follow_stocktaking(around, stream, topic)
            case _:
                raise PeerFailed(f"{peer} may not begin a {type(topic).__name__} with this party")

    # ---- what the front asks for: models ---------------------------------------------------------

    def ready(self) -> bool:
        around = self._around
        return all(around.neighbours.connected(name) for name in around.others)

    def status(self, principal: Principal) -> dict[str, Any]:
        around = self._around
        watches = self._allowed.may_watch(principal)
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
                {"name": model.name, "stock": around.storehouse.level(model.id)}
                for model in around.models.all()
                if watches or self._may_see(principal, model)
            ],
        }

    def models(self, principal: Principal) -> list[ModelInfo]:
        return [
            self._info(model)
            for model in self._around.models.all()
            if self._may_see(principal, model)
        ]

    def model(self, principal: Principal, name: str) -> ModelInfo:
        return self._info(self._visible(principal, name))

    def program(self, principal: Principal, name: str) -> bytes:
        return self._visible(principal, name).published.program

    def check_query(self, principal: Principal, model: str) -> None:
        self._visible(principal, model)

    def check_publish(self, principal: Principal, model: str) -> None:
        self._allowed.check_publish(principal, model)

    def decline_query(self, principal: Principal, query: bytes, error: TacitaError) -> None:
        decline(self._around, session_of(principal.fingerprint, query), "query", error)
        self._audit.record("refuse", principal, query=query.hex(), outcome=told(error))

    def decline_publication(self, model_id: bytes, error: TacitaError) -> None:
        decline(self._around, publication_of(model_id), "publication", error)

    def publish(self, principal: Principal, publication: Publication) -> ModelInfo:
        around = self._around
        digest = publication.program[-DIGEST_BYTES:].hex()
        try:
            self._allowed.check_publish(principal, publication.name)
            model = self._publish(principal, publication)
        except Exception as error:
            decline(around, publication_of(publication.model_id), "publication", error)
            self._audit.record(
                "publish", principal, model=publication.name, program=digest, outcome=told(error)
            )
            raise
        self._audit.record("publish", principal, model=publication.name, program=digest)
        around.log.info("published", model=model.name, id=model.id.hex(), owner=str(principal))
        return self._info(model)

    def _publish(self, principal: Principal, publication: Publication) -> ServedModel:
        around, name = self._around, publication.name
        if self._leading is None:
            around.models.require_replaceable(name, principal)
            model, older = publish(around, principal, publication)
        else:
            with self._publishing.turn(name, around.limits.publish):
                around.models.require_replaceable(name, principal)
                model, older = publish(around, principal, publication)
                self._leading.serve(model)
        if older is not None:
            self._forget(older)
        return model

    def remove(self, principal: Principal, name: str) -> None:
        model = self._owned(principal, name)
        self._around.models.remove(model)
        if self._leading is not None:
            self._leading.withdraw(model)
        self._forget(model)
        self._audit.record("remove", principal, model=name, program=model.digest.hex())

    def deal(self, principal: Principal, name: str, runs: int) -> int:
        model = self._owned(principal, name)
        if self._refiller is None:
            raise NotReady(f"{self._around.name} does not lead: ask {self._around.leader}")
        return self._refiller.deal(model, runs)

    def metrics(self, principal: Principal) -> bytes:
        if not self._allowed.may_watch(principal):
            raise Refused(
                f"{principal} may not read metrics here: [watch] in the policy says who may"
            )
        return self._around.metrics.render()

    def _forget(self, model: ServedModel) -> None:
        """The stock of a model that is not served any more goes, here and at the dealer."""
        around = self._around
        around.storehouse.forget_model(model.id)
        if around.models.named(model.name) is None:
            around.metrics.forget_model(model.name)
        forget_at_dealer(around, model.id)

    # ---- what the front asks for: queries --------------------------------------------------------

    def infer(
        self, principal: Principal, model: str, query: bytes, inputs: list[Tensor]
    ) -> list[Tensor]:
        around = self._around
        began = time.monotonic()
        name = UNKNOWN
        log = around.log.bind(query=query.hex(), principal=str(principal))
        try:
            served = self._visible(principal, model)
            name = served.name
            results = self._answer(principal, served, query, inputs)
        except Exception as error:
            around.metrics.query(name, outcome_of(error))
            if not isinstance(error, AlreadyUsed):
                decline(around, session_of(principal.fingerprint, query), "query", error)
            if isinstance(error, Refused):
                around.metrics.refused(reason_of(error))
                self._audit.record(
                    "refuse", principal, model=model, query=query.hex(), outcome=str(error)
                )
            log.warning("query failed", model=model, why=error)
            raise
        around.metrics.query(name, "done")
        around.metrics.phase(name, "whole", time.monotonic() - began)
        log.info("query answered", model=name, seconds=round(time.monotonic() - began, 4))
        return results

    def _answer(
        self, principal: Principal, model: ServedModel, query: bytes, inputs: list[Tensor]
    ) -> list[Tensor]:
        around = self._around
        terms = self._terms(principal, model)
        terms.check_batch(batch_of(inputs))
        shares = self._shares(model, inputs)
        outputs = model.program.outputs
        record = partial(
            self._audit.record,
            "reveal",
            principal,
            model=model.name,
            program=model.digest.hex(),
            query=query.hex(),
            shapes={port.name: model.program.wires[port.wire].shape for port in outputs},
        )
        with self._rates.slot(principal, terms):
            around.desk.remember(session_of(principal.fingerprint, query))
            # The disk is waited for beside the rounds, and before any share leaves.
            recorded = self._recording.submit(record)
            try:
                if self._leading is not None:
                    results = self._leading.answer(principal, model, query, shares)
                else:
                    results = wait_for_leader(around, principal, model, query, shares)
            except Exception as error:
                record(outcome=f"nothing was revealed: {told(error)}"[:900])
                raise
            recorded.result(around.limits.round)
        return [
            self._tensor(model, port, result) for port, result in zip(outputs, results, strict=True)
        ]

    def _tensor(self, model: ServedModel, port: Port, values: Array) -> Tensor:
        wire = model.program.wires[port.wire]
        around = self._around
        shaped = values.reshape(wire.shape)
        return Tensor(port.name, wire.shape, shaped, wire.scale, around.index, len(around.parties))

    def _shares(self, model: ServedModel, inputs: list[Tensor]) -> list[Array]:
        """In the order of the program's ports; raises ShapeError, naming the input."""
        around = self._around
        given = {tensor.name: tensor for tensor in inputs}
        ports = model.program.inputs
        if sorted(given) != sorted(port.name for port in ports) or len(given) != len(inputs):
            raise ShapeError(
                f"{model.name!r} takes the inputs {[port.name for port in ports]}, and came with "
                f"{[tensor.name for tensor in inputs]}"
            )
        shares = []
        for port in ports:
            tensor, wire = given[port.name], model.program.wires[port.wire]
            if tensor.shape != wire.shape:
                raise ShapeError(f"{port.name!r} has shape {tensor.shape}, not {wire.shape}")
            if tensor.scale != wire.scale:
                raise UsageError(f"{port.name!r} has scale {tensor.scale}, not {wire.scale}")
            if (tensor.share, tensor.parties) != (around.index, len(around.parties)):
                raise UsageError(
                    f"{port.name!r} is share {tensor.share} of {tensor.parties}, and {around.name} "
                    f"takes share {around.index} of {len(around.parties)}"
                )
            shares.append(tensor.values)
        return shares

    # ---- who may see what ------------------------------------------------------------------------

    def _may_see(self, principal: Principal, model: ServedModel) -> bool:
        if model.published.owner == str(principal):
            return True
        try:
            self._terms(principal, model)
        except Refused:
            return False
        return True

    def _terms(self, principal: Principal, model: ServedModel) -> Terms:
        return self._allowed.query_terms(principal, model.name, model.published.audience)

    @property
    def _allowed(self) -> Policy:
        """The policy in force; without one, nobody may do anything."""
        return Policy.closed() if self._policy is None else self._policy.policy

    def _visible(self, principal: Principal, name: str) -> ServedModel:
        model = self._around.models.named(name)
        if model is None or not self._may_see(principal, model):
            raise UnknownModel(
                f"no model {name!r} is published here that {principal} may use: `tacita models` "
                "lists those"
            )
        return model

    def _owned(self, principal: Principal, name: str) -> ServedModel:
        model = self._visible(principal, name)
        if model.published.owner != str(principal):
            raise Refused(f"{name!r} belongs to {model.published.owner}, not to {principal}")
        self._allowed.check_publish(principal, name)
        return model

    def _info(self, model: ServedModel) -> ModelInfo:
        around, program = self._around, model.program

        def described(ports: tuple[Port, ...]) -> tuple[TensorInfo, ...]:
            wires = [(port.name, program.wires[port.wire]) for port in ports]
            return tuple(TensorInfo(name, wire.shape, wire.scale) for name, wire in wires)

        return ModelInfo(
            name=model.name,
            model_id=model.id,
            digest=model.digest.hex(),
            owner=model.published.owner,
            ready=self.ready(),
            stock=around.storehouse.level(model.id),
            inputs=described(program.inputs),
            outputs=described(program.outputs),
            party=around.index,
            parties=len(around.parties),
        )


def batch_of(inputs: list[Tensor]) -> int:
    """How many rows a query has: the longest first dimension."""
    return max((tensor.shape[0] for tensor in inputs if tensor.shape), default=1)
