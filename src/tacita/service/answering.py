"""A client's query at one party: is it allowed, does it fit the model, is it on record, and then
the run.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tacita.errors import AlreadyUsed, Refused, ShapeError, TacitaError, UsageError
from tacita.network.identity import Principal
from tacita.network.tensors import Tensor
from tacita.program.program import Port
from tacita.program.readings import Array
from tacita.service.audit import AuditLog
from tacita.service.catalogue import Catalogue
from tacita.service.conversations import session_of, told
from tacita.service.daemon_metrics import reason_of
from tacita.service.desk import not_everywhere
from tacita.service.metrics import UNKNOWN, outcome_of
from tacita.service.models import ServedModel
from tacita.service.policy import RateKeeper
from tacita.service.queries import Leading, decline, wait_for_leader
from tacita.service.surroundings import Surroundings

RECORDING = 8  # reveals that are being written into the audit log at once


class Answering:
    """leading: of the party that leads; None at the others."""

    def __init__(
        self,
        around: Surroundings,
        catalogue: Catalogue,
        audit: AuditLog,
        leading: Leading | None,
    ) -> None:
        self._around = around
        self._catalogue = catalogue
        self._audit = audit
        self._leading = leading
        self._rates = RateKeeper()
        self._recording = ThreadPoolExecutor(RECORDING, "tacita audit")

    def end(self) -> None:
        """Waits for records that are being written; to be called before the log is closed."""
        self._recording.shutdown()

    def decline(self, principal: Principal, query: bytes, error: TacitaError) -> None:
        """A query was refused before its body came: the other parties are not to wait."""
        self._around.metrics.query(UNKNOWN, outcome_of(error))
        decline(self._around, session_of(principal.fingerprint, query), "query", error)
        self._audit.record("refuse", principal, query=query.hex(), outcome=told(error))

    def infer(
        self, principal: Principal, model: str, query: bytes, inputs: list[Tensor]
    ) -> list[Tensor]:
        """This party's shares of the results; see `front.engine.Engine.infer`."""
        around = self._around
        began = time.monotonic()
        name = UNKNOWN
        log = around.log.bind(query=query.hex(), principal=str(principal))
        try:
            served = self._catalogue.visible(principal, model)
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
        terms = self._catalogue.terms(principal, model)
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
                if self._leading is not None and not_everywhere(error):
                    self._rates.lose(principal, terms)
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


def batch_of(inputs: list[Tensor]) -> int:
    """How many rows a query has: the longest first dimension."""
    return max((tensor.shape[0] for tensor in inputs if tensor.shape), default=1)
