"""What a daemon counts, for Prometheus: sizes, durations and outcomes, nothing about contents.

Label values are names of models and peers that the configuration or a publication made known, and
words listed here. What a stranger sends is never one: series are memory, and live as long as the
process. Count a query for an unknown model under UNKNOWN.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from tacita.errors import (
    PeerError,
    PeerTimeout,
    RateExceeded,
    Refused,
    StockEmpty,
    UsageError,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
UNKNOWN = "unknown"

Outcome = Literal["done", "refused", "malformed", "no_stock", "timeout", "peer", "failed"]
Phase = Literal["batch", "peers", "rounds", "whole"]
Reason = Literal["rate", "policy", "certificate", "handshake", "frame", "size"]

# Seconds: from one round on a loopback to a deep network over a slow line, about three a decade.
BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
)  # fmt: skip


class Metrics:
    """The metrics of one daemon, in a registry of their own; for many threads.

    role: "party:alice"; stands in `tacita_role_info`.
    """

    def __init__(self, role: str) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)
        Gauge("tacita_role_info", "Which role this is.", ["role"], registry=registry).labels(
            role
        ).set(1)
        self._queries = Counter(
            "tacita_queries", "Queries that ended.", ["model", "outcome"], registry=registry
        )
        self._seconds = Histogram(
            "tacita_query_seconds",
            "What queries spend their time on: waiting for a batch, waiting for the other parties, "
            "the rounds with what is computed between them; and the whole.",
            ["model", "phase"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._sent = Counter(
            "tacita_sent_bytes", "Bytes sent to a peer, framing included.", ["peer"],
            registry=registry,
        )  # fmt: skip
        self._received = Counter(
            "tacita_received_bytes", "Bytes received from a peer, framing included.", ["peer"],
            registry=registry,
        )  # fmt: skip
        self._rounds = Counter(
            "tacita_rounds", "Rounds between the parties.", ["model"], registry=registry
        )
        self._stock = Gauge(
            "tacita_stock_batches", "Dealt batches that are ready.", ["model"], registry=registry
        )
        self._stock_bytes = Gauge(
            "tacita_stock_bytes", "Bytes of dealt batches on the disk.", registry=registry
        )
        self._dealt = Counter(
            "tacita_dealt_batches", "Batches dealt to all parties.", ["model"], registry=registry
        )
        self._refusals = Counter(
            "tacita_refusals", "What was turned away, and why.", ["reason"], registry=registry
        )
        self._links = Gauge(
            "tacita_link_up", "Whether there is a link to a peer.", ["peer"], registry=registry
        )

    def query(self, model: str, outcome: Outcome) -> None:
        """A query of this model (its name, or UNKNOWN) has ended so."""
        self._queries.labels(model, outcome).inc()

    def phase(self, model: str, phase: Phase, seconds: float) -> None:
        """A query spent so long on this; batch, peers and rounds are parts of the whole."""
        self._seconds.labels(model, phase).observe(seconds)

    def sent(self, peer: str, count: int) -> None:
        """Bytes, framing included."""
        self._sent.labels(peer).inc(count)

    def received(self, peer: str, count: int) -> None:
        """Bytes, framing included."""
        self._received.labels(peer).inc(count)

    def rounds(self, model: str, count: int) -> None:
        """So many more rounds with the other parties."""
        self._rounds.labels(model).inc(count)

    def stock(self, model: str, level: int) -> None:
        """So many batches are ready for a model."""
        self._stock.labels(model).set(level)

    def stock_bytes(self, count: int) -> None:
        """All batches' files together have so many bytes."""
        self._stock_bytes.set(count)

    def dealt(self, model: str, batches: int = 1) -> None:
        """So many more batches reached all parties."""
        self._dealt.labels(model).inc(batches)

    def refused(self, reason: Reason) -> None:
        """Something was turned away before it became a query, or as one."""
        self._refusals.labels(reason).inc()

    def link(self, peer: str, up: bool) -> None:
        """There is, or is no longer, a link to a peer."""
        self._links.labels(peer).set(int(up))

    def forget_model(self, model: str) -> None:
        """Its stock is no longer reported; what was counted stays, as counters must."""
        with suppress(KeyError):  # it never had any
            self._stock.remove(model)

    def render(self) -> bytes:
        """All of it in Prometheus' text format; its type is CONTENT_TYPE."""
        return generate_latest(self._registry)


def outcome_of(error: BaseException) -> Outcome:
    """How a query that ended with this error is counted."""
    match error:
        case Refused():
            return "refused"
        case UsageError():
            return "malformed"
        case StockEmpty():
            return "no_stock"
        case PeerTimeout():
            return "timeout"
        case PeerError():
            return "peer"
        case _:
            return "failed"


def reason_of(error: Refused) -> Reason:
    """Under which reason a policy's refusal is counted."""
    return "rate" if isinstance(error, RateExceeded) else "policy"
