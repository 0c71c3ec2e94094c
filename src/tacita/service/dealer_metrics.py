"""What the dealer counts besides what every daemon does: the batches that it deals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from tacita.service.daemon_metrics import BUCKETS, DaemonMetrics
from tacita.service.traffic import LinkCounts

DealPhase = Literal["computing", "whole"]


class DealerMetrics(DaemonMetrics):
    """models: how many the dealer has keys for; asked at every scrape."""

    def __init__(
        self,
        role: str,
        *,
        peers: Sequence[str] = (),
        counts: Callable[[str], LinkCounts] = lambda _: LinkCounts(),
        models: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(role, peers=peers, counts=counts)
        registry = self._registry
        self._dealt = Counter(
            "tacita_dealt_batches", "Batches dealt to all parties.", ["model"], registry=registry
        )
        self._failed = Counter(
            "tacita_failed_batches",
            "Batches that did not reach all parties, and are void.",
            ["model"],
            registry=registry,
        )
        self._seconds = Histogram(
            "tacita_deal_seconds",
            "What a batch takes: computing and sending it, one at a time; and the whole, until all "
            "parties have it on their disks, or it failed.",
            ["model", "phase"],
            buckets=BUCKETS,
            registry=registry,
        )
        Gauge(
            "tacita_models", "Models that the dealer has keys for.", registry=registry
        ).set_function(models)

    def dealt(self, model: str) -> None:
        """One more batch reached all parties."""
        self._dealt.labels(model).inc()

    def failed(self, model: str) -> None:
        """One more batch did not."""
        self._failed.labels(model).inc()

    def phase(self, model: str, phase: DealPhase, seconds: float) -> None:
        """A batch took so long; computing is part of the whole, and waits for no other batch."""
        self._seconds.labels(model, phase).observe(seconds)
