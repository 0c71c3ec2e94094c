"""Metrics: what Prometheus reads is what was counted, in a registry of the daemon's own."""

import threading

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from tacita.errors import (
    BoundExceeded,
    FrameError,
    MaterialError,
    PeerFailed,
    PeerTimeout,
    RateExceeded,
    Refused,
    ShapeError,
    StockEmpty,
)
from tacita.service.daemon_metrics import USERS, reason_of
from tacita.service.dealer_metrics import DealerMetrics
from tacita.service.metrics import UNKNOWN, Metrics, outcome_of
from tacita.service.traffic import LinkCounts


def values(metrics):
    """By name and labels, all that a scrape finds."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics, name, **labels):
    return values(metrics).get((name, *sorted(labels.items())))


@pytest.fixture
def metrics():
    return Metrics("party:alice")


def test_queries(metrics):
    for outcome in ("done", "done", "refused"):
        metrics.query("resnet20", outcome)
    metrics.query(UNKNOWN, "refused")
    name = "tacita_queries_total"
    assert value(metrics, name, model="resnet20", outcome="done") == 2
    assert value(metrics, name, model="resnet20", outcome="refused") == 1
    assert value(metrics, name, model=UNKNOWN, outcome="refused") == 1
    assert value(metrics, name, model="resnet20", outcome="failed") is None


def test_phases(metrics):
    for seconds in (0.004, 0.3, 1000):
        metrics.phase("resnet20", "rounds", seconds)
    labels = {"model": "resnet20", "phase": "rounds"}
    name = "tacita_query_seconds"
    assert value(metrics, f"{name}_count", **labels) == 3
    assert value(metrics, f"{name}_sum", **labels) == pytest.approx(1000.304, rel=1e-12)
    assert value(metrics, f"{name}_bucket", le="0.005", **labels) == 1
    assert value(metrics, f"{name}_bucket", le="0.5", **labels) == 2
    assert value(metrics, f"{name}_bucket", le="100.0", **labels) == 2
    assert value(metrics, f"{name}_bucket", le="+Inf", **labels) == 3


def test_rounds(metrics):
    metrics.rounds("resnet20", 31)
    metrics.rounds("resnet20", 31)
    assert value(metrics, "tacita_rounds_total", model="resnet20") == 62


def test_links_and_bytes_are_read_when_somebody_asks():
    counts = {
        "bob": LinkCounts(True, 1024, 5),
        "dana": LinkCounts(False, 0, 7),
        USERS: LinkCounts(True, 3, 4),
    }
    stock = [0]
    metrics = Metrics(
        "party:alice", peers=("bob", "dana"), counts=counts.get, stock_bytes=lambda: stock[0]
    )
    assert value(metrics, "tacita_sent_bytes_total", peer="bob") == 1024
    assert value(metrics, "tacita_received_bytes_total", peer="dana") == 7
    assert value(metrics, "tacita_received_bytes_total", peer=USERS) == 4
    assert value(metrics, "tacita_link_up", peer="bob") == 1
    assert value(metrics, "tacita_link_up", peer="dana") == 0
    assert value(metrics, "tacita_link_up", peer=USERS) is None
    assert value(metrics, "tacita_stock_bytes") == 0
    counts["bob"], stock[0] = LinkCounts(False, 1030, 5), 1 << 40
    assert value(metrics, "tacita_link_up", peer="bob") == 0
    assert value(metrics, "tacita_sent_bytes_total", peer="bob") == 1030
    assert value(metrics, "tacita_stock_bytes") == 1 << 40


def test_stock_and_refusals(metrics):
    metrics.stock("resnet20", 8)
    metrics.stock("resnet20", 5)
    metrics.dealt("resnet20")
    metrics.dealt("resnet20", 3)
    metrics.refused("rate")
    assert value(metrics, "tacita_stock_batches", model="resnet20") == 5
    assert value(metrics, "tacita_dealt_batches_total", model="resnet20") == 4
    assert value(metrics, "tacita_refusals_total", reason="rate") == 1


def test_what_a_dealer_counts():
    metrics = DealerMetrics("dealer:dana", peers=("alice",), models=lambda: 2)
    metrics.dealt("resnet20")
    metrics.dealt("resnet20")
    metrics.failed("resnet20")
    metrics.phase("resnet20", "computing", 0.5)
    metrics.phase("resnet20", "whole", 3)
    assert value(metrics, "tacita_dealt_batches_total", model="resnet20") == 2
    assert value(metrics, "tacita_failed_batches_total", model="resnet20") == 1
    assert value(metrics, "tacita_models") == 2
    name = "tacita_deal_seconds_sum"
    assert value(metrics, name, model="resnet20", phase="computing") == 0.5
    assert value(metrics, name, model="resnet20", phase="whole") == 3
    assert value(metrics, "tacita_role_info", role="dealer:dana") == 1


def test_a_model_that_is_gone(metrics):
    metrics.stock("resnet20", 8)
    metrics.query("resnet20", "done")
    metrics.forget_model("resnet20")
    metrics.forget_model("never there")
    assert value(metrics, "tacita_stock_batches", model="resnet20") is None
    assert value(metrics, "tacita_queries_total", model="resnet20", outcome="done") == 1


def test_each_daemon_counts_for_itself(metrics):
    other = Metrics("party:bob")
    metrics.rounds("resnet20", 1)
    assert value(other, "tacita_rounds_total", model="resnet20") is None
    assert value(metrics, "tacita_role_info", role="party:alice") == 1
    assert value(other, "tacita_role_info", role="party:bob") == 1
    assert not [each.name for each in REGISTRY.collect() if each.name.startswith("tacita")]


def test_names_with_quotes(metrics):
    name = 'a "model"\\\n'
    metrics.stock(name, 1)
    assert value(metrics, "tacita_stock_batches", model=name) == 1


def test_threads(metrics):
    def count():
        for _ in range(500):
            metrics.rounds("mlp", 2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert value(metrics, "tacita_rounds_total", model="mlp") == 4000


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Refused(), "refused"),
        (RateExceeded(), "refused"),
        (ShapeError(), "malformed"),
        (StockEmpty(), "no_stock"),
        (PeerTimeout(), "timeout"),
        (FrameError(), "peer"),
        (PeerFailed(), "peer"),
        (BoundExceeded(), "failed"),
        (MaterialError(), "failed"),
        (ValueError(), "failed"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_how_a_query_that_failed_is_counted(error, outcome):
    assert outcome_of(error) == outcome


def test_why_a_policy_refused():
    assert (reason_of(RateExceeded()), reason_of(Refused())) == ("rate", "policy")
