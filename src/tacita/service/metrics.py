"""What a party counts besides what every daemon does: queries, rounds and its stock.

Sizes, durations and outcomes, nothing about contents. Count a query for an unknown model under
UNKNOWN: what a stranger sends is no label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from tacita.errors import PeerError, PeerTimeout, Refused, StockEmpty, UsageError
from tacita.service.daemon_metrics import BUCKETS, DaemonMetrics
from tacita.service.traffic import LinkCounts

UNKNOWN = "unknown"

Outcome = Literal["done", "refused", "malformed", "no_stock", "timeout", "peer", "failed"]
Phase = Literal["batch", "rounds", "whole"]


class Metrics(DaemonMetrics):
    """The metrics of one party. stock_bytes: of all batches on its disk; asked at every scrape."""

    def __init__(
        self,
        role: str,
        *,
        peers: Sequence[str] = (),
        counts: Callable[[str], LinkCounts] = lambda _: LinkCounts(),
        stock_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(role, peers=peers, counts=counts)
        registry = self._registry
        self._queries = Counter(
            "tacita_queries", "Queries that ended.", ["model", "outcome"], registry=registry
        )
        self._seconds = Histogram(
            "tacita_query_seconds",
            "What queries spend their time on: waiting for a batch, the rounds with what is "
            "computed between them; and the whole.",
            ["model", "phase"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._rounds = Counter(
            "tacita_rounds", "Rounds between the parties.", ["model"], registry=registry
        )
        self._stock = Gauge(
            "tacita_stock_batches", "Dealt batches that are ready.", ["model"], registry=registry
        )
        Gauge(
            "tacita_stock_bytes", "Bytes of dealt batches on the disk.", registry=registry
        ).set_function(stock_bytes)
        self._dealt = Counter(
            "tacita_dealt_batches", "Batches dealt to all parties.", ["model"], registry=registry
        )

    def query(self, model: str, outcome: Outcome) -> None:
        """A query of this model (its name, or UNKNOWN) has ended so."""
        self._queries.labels(model, outcome).inc()

    def phase(self, model: str, phase: Phase, seconds: float) -> None:
        """A query spent so long on this; batch and rounds are parts of the whole."""
        self._seconds.labels(model, phase).observe(seconds)

    def rounds(self, model: str, count: int) -> None:
        """So many more rounds with the other parties."""
        self._rounds.labels(model).inc(count)

    def stock(self, model: str, level: int) -> None:
        """So many batches are ready for a model."""
        self._stock.labels(model).set(level)

    def dealt(self, model: str, batches: int = 1) -> None:
        """So many more batches reached all parties."""
        self._dealt.labels(model).inc(batches)

    def forget_model(self, model: str) -> None:
        """Its stock is no longer reported; what was counted stays, as counters must."""
        with suppress(KeyError):  # it never had any
            self._stock.remove(model)


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
