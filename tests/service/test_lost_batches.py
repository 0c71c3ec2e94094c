"""Clients who ask one party alone cost batches, and so are soon refused; others are not."""

import os

import pytest

from tacita.errors import ComeBack, PeerError
from tacita.service.config import Limits, StockSettings

from .daemons import POLICY, Daemons
from .small_model import small

LIMITS = Limits(round=1, query=10, publish=15, deal=15, stock=10, connect=5, handshake=5)
STOCK = StockSettings(low=4, high=6, prepared=1)
PER_MINUTE = 8


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture
def network(tmp_path, model):
    strict = POLICY.replace("per_minute = 100000", f"per_minute = {PER_MINUTE}")
    (tmp_path / "alice.policy.toml").write_text(strict)
    daemons = Daemons(tmp_path, stock=STOCK, limits=LIMITS).start()
    daemons.published = daemons.publish("small", model.program, model.weights)
    yield daemons
    daemons.stop()


def ask(network, model, client):
    images = model.images()
    (result,) = network.infer("small", model.inputs(images), client=client)
    model.require_right(result, images)


def spent(network):
    counts = network.parties["alice"]._around.ledger.counts().get(network.published, {})
    return counts.get("spent", 0)


def refusal_of(attempt):
    """What ends a client's attempts; those that cost a batch fail with PeerError."""
    for lost in range(PER_MINUTE + 1):
        try:
            with pytest.raises(PeerError):
                attempt()
        except ComeBack as refused:
            return lost, refused
    raise AssertionError("nothing refused the client")


def test_who_asks_the_leader_alone_is_refused_before_long(network, model):
    tensors = network.requests(model.inputs(model.images()))[0]
    alice, clinic = network.parties["alice"], network.principals["clinic"]
    before = spent(network)
    lost, refused = refusal_of(lambda: alice.infer(clinic, "small", os.urandom(16), tensors))
    # Each counts as itself and one more; while they are tried some seconds' worth is earned.
    assert lost < PER_MINUTE
    assert f"{lost} that were not at every party have cost a batch" in str(refused)
    assert refused.retry_after > 0
    assert spent(network) - before <= lost + 2 * STOCK.prepared
    ask(network, model, "hospital")


def test_a_request_that_one_party_refuses_counts_as_well(network, model):
    whole, cut = network.requests(model.inputs(model.images()))
    cut = [*cut, *cut]  # an input twice

    def attempt():
        query = os.urandom(16)
        clinic = network.principals["clinic"]

        def send(party, index):
            return party.infer(clinic, "small", query, (whole, cut)[index])

        network.at_all(send)

    lost, refused = refusal_of(attempt)
    assert lost < PER_MINUTE
    assert "were not at every party" in str(refused)
    ask(network, model, "hospital")


def test_who_asks_all_of_them_is_not_held_back(network, model):
    for _ in range(PER_MINUTE - 1):
        ask(network, model, "clinic")
