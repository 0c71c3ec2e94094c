"""What every daemon counts, for Prometheus: its links, its bytes, and whom it turned away.

Label values are names of models and peers that the configuration or a publication made known, and
words listed here. What a stranger sends is never one: series are memory, and live as long as the
process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tacita.errors import CredentialError, FrameError, RateExceeded, Refused, TacitaError
from tacita.service.traffic import LinkCounts

CONTENT_TYPE = CONTENT_TYPE_LATEST
USERS = "eager users"  # all who have eager sessions, together; no name of a role has a space

Reason = Literal["rate", "policy", "certificate", "handshake", "frame"]

# Seconds: from one round on a loopback to a deep network over a slow line, about three a decade.
BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0,
)  # fmt: skip


class DaemonMetrics:
    """The metrics of one daemon, in a registry of their own; for many threads.

    role: "party:alice"; stands in `tacita_role_info`. peers: the daemons that it has links with.
    counts: what the links with one of them have carried, or with USERS; asked when somebody reads.
    """

    def __init__(
        self,
        role: str,
        *,
        peers: Sequence[str] = (),
        counts: Callable[[str], LinkCounts] = lambda _: LinkCounts(),
    ) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge("tacita_role_info", "Which role this is.", ["role"], registry=registry).labels(
            role
        ).set(1)
        registry.register(_Links(tuple(peers), counts))
        self._refusals = Counter(
            "tacita_refusals", "What was turned away, and why.", ["reason"], registry=registry
        )

    def refused(self, reason: Reason) -> None:
        """Something was turned away."""
        self._refusals.labels(reason).inc()

    def render(self) -> bytes:
        """All of it in Prometheus' text format; its type is CONTENT_TYPE."""
        return generate_latest(self._registry)


class _Links(Collector):
    """Read from the links themselves at every scrape, so that nothing has to be told of them."""

    def __init__(self, peers: tuple[str, ...], counts: Callable[[str], LinkCounts]) -> None:
        self._peers = peers
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "tacita_link_up", "Whether there is a link to a peer.", labels=["peer"]
        )
        sent = CounterMetricFamily(
            "tacita_sent_bytes", "Bytes sent to a peer, framing and TLS included.", labels=["peer"]
        )
        received = CounterMetricFamily(
            "tacita_received_bytes",
            "Bytes received from a peer, framing and TLS included.",
            labels=["peer"],
        )
        for peer in (*self._peers, USERS):
            counts = self._counts(peer)
            if peer != USERS:
                up.add_metric([peer], int(counts.up))
            sent.add_metric([peer], counts.sent)
            received.add_metric([peer], counts.received)
        yield from (up, sent, received)


def reason_of(error: TacitaError) -> Reason:
    """Under which reason something that ended with this error is counted, if it was turned away.

    rate and policy: of a Refused. The others are of connections: a certificate that names no role,
    what is no frame of this version, and a TLS handshake that did not come about.
    """
    match error:
        case RateExceeded():
            return "rate"
        case Refused():
            return "policy"
        case CredentialError():
            return "certificate"
        case FrameError():
            return "frame"
        case _:
            return "handshake"
