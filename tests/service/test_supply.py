"""The stock: without the dealer, after restarts, and when a dealing breaks off."""

import os
import threading

import pytest

from tacita.errors import MaterialError, PeerError, StockEmpty
from tacita.runtime.orders import Dealt, encode
from tacita.service.config import Limits, StockSettings
from tacita.service.conversations import BatchDealt, begin
from tacita.service.supply import ask_dealer

from .daemons import Daemons
from .rogue import SOON, answer_to, said
from .small_model import small

LIMITS = Limits(round=5, query=12, publish=12, deal=6, stock=3, connect=5, handshake=5)
STOCK = StockSettings(low=3, high=4, prepared=1)


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def network(tmp_path_factory, model):
    daemons = Daemons(tmp_path_factory.mktemp("network"), stock=STOCK, limits=LIMITS).start()
    daemons.published = daemons.publish("small", model.program, model.weights)
    yield daemons
    daemons.stop()


def ask(network, model):
    images = model.images()
    (result,) = network.infer("small", model.inputs(images))
    model.require_right(result, images)


def ask_until_it_fails(network, model, times):
    for _ in range(times):
        ask(network, model)


def waiting(network):
    return [
        set(each._around.storehouse.waiting(network.published)) for each in network.parties.values()
    ]


def settled(network):
    """Waits until both have the same stock, and enough of it."""
    network.wait_until(
        lambda: (
            len({frozenset(each) for each in waiting(network)}) == 1
            and len(waiting(network)[0]) >= STOCK.low
        ),
        "the same stock at both",
    )


def test_without_the_dealer_queries_go_on_as_long_as_the_stock_lasts(network, model):
    settled(network)
    network.stop_dealer()
    for _ in range(STOCK.low):
        ask(network, model)
    with pytest.raises((StockEmpty, PeerError), match="no prepared batch of 'small' for 3 s"):
        ask_until_it_fails(network, model, STOCK.high + STOCK.prepared)
    network.start_dealer()
    settled(network)
    ask(network, model)


@pytest.mark.parametrize("order", [("alice", "bob"), ("bob", "alice"), ("bob", "dana", "alice")])
def test_daemons_that_are_restarted_find_each_other(network, model, order):
    for name in order:
        if name == "dana":
            network.stop_dealer()
        else:
            network.stop_party(name)
    for name in reversed(order):
        if name == "dana":
            network.start_dealer()
        else:
            network.start_party(name)
    network.wait_connected()
    settled(network)
    ask(network, model)


def test_what_one_of_them_lost_goes_at_the_other(network, model):
    """Each gives up one, as a crash in the wrong moment would have it; then they compare."""
    settled(network)
    network.stop_dealer()
    alice, bob = (network.parties[name]._around.storehouse for name in ("alice", "bob"))
    batches = alice.waiting(network.published)
    network.stop_party("bob")
    alice.void(batches[1])
    bob._ledger.void(batches[2])
    bob._ledger.close()
    network.start_party("bob")
    network.wait_until(network.parties["alice"].ready, "bob")
    network.wait_until(
        lambda: not any({batches[1], batches[2]} & each for each in waiting(network)),
        "what is lost to be void at both",
    )
    ask(network, model)
    network.start_dealer()
    settled(network)


def test_an_error_at_one_look_does_not_end_the_looking(network, model, monkeypatch):
    settled(network)
    storehouse, failed = network.parties["alice"]._around.storehouse, []
    level, find = storehouse.level, storehouse.next

    def failing_level(of):
        if not failed:
            failed.append("level")
            raise OSError("too many open files")
        return level(of)

    def failing_next(of, besides):
        if "prepare" not in failed:
            failed.append("prepare")
            raise MaterialError("the ledger is busy")
        return find(of, besides)

    monkeypatch.setattr(storehouse, "level", failing_level)
    network.wait_until(lambda: failed, "the refiller to fail")
    monkeypatch.setattr(storehouse, "next", failing_next)
    for _ in range(3):
        ask(network, model)
    assert failed == ["level", "prepare"]
    settled(network)


def test_several_batches_of_a_request_are_under_way_at_once(network, model, monkeypatch):
    """The first waits, when it is whole, for another that is."""
    settled(network)
    storehouse = network.parties["bob"]._around.storehouse
    ready, whole, several = storehouse.ready, [], threading.Event()

    def ready_with_another(batch):
        whole.append(batch)
        if len(whole) > 1:
            several.set()
        assert several.wait(SOON)
        ready(batch)

    monkeypatch.setattr(storehouse, "ready", ready_with_another)
    around = network.parties["alice"]._around
    before = around.storehouse.level(network.published)
    ask_dealer(around, around.models.all()[0], 4)
    monkeypatch.undo()
    assert around.storehouse.level(network.published) == before + 4
    settled(network)
    ask(network, model)


def test_a_batch_that_fails_ends_its_request_and_the_others_are_whole_or_void(
    network, model, monkeypatch
):
    settled(network)
    houses = [network.parties[name]._around.storehouse for name in ("alice", "bob")]
    ready, asked = houses[1].ready, []

    def fail_once(batch):
        asked.append(batch)
        if len(asked) == 3:
            raise MaterialError("the disk is full")
        ready(batch)

    monkeypatch.setattr(houses[1], "ready", fail_once)
    around = network.parties["alice"]._around
    with pytest.raises(PeerError, match="the disk is full"):
        ask_dealer(around, around.models.all()[0], 1000)
    monkeypatch.undo()
    assert len(asked) < 1000
    network.wait_until(
        lambda: not any(each.dealing(network.published) for each in houses), "nothing to be dealt"
    )
    settled(network)
    assert all(asked[2] not in each for each in waiting(network))
    for _ in range(houses[0].level(network.published) - STOCK.low):
        ask(network, model)


def test_with_nothing_prepared_each_query_has_its_own(tmp_path, model):
    stock = StockSettings(low=1, high=2, prepared=0)
    daemons = Daemons(tmp_path, stock=stock, limits=LIMITS).start()
    try:
        daemons.publish("small", model.program, model.weights)
        ask(daemons, model)
        ask(daemons, model)
    finally:
        daemons.stop()


def test_a_dealer_that_breaks_off_or_errs_leaves_nothing(network, model):
    """Over the dealer's own links, as another dealer program might."""
    settled(network)
    digest = network.parties["bob"]._around.models.all()[0].digest
    ledger = network.parties["bob"]._around.ledger

    def deal(*messages, of=network.published):
        batch = os.urandom(16)
        stream = network.dealer._neighbours.open("bob", batch, SOON)
        begin(stream, BatchDealt(of, digest, batch, os.urandom(16)), SOON)
        for message in messages:
            stream.send(message, SOON)
        return stream, batch

    for messages, why in (
        ([said("material", b"\xc1")], ""),
        ([said("material", encode(Dealt(0, {0: 1})))], "is incomplete"),
        ([said("done")], "sent done within a batch"),
        ([said("end"), said("refuse", b"no")], "refused: no"),
    ):
        stream, batch = deal(*messages)
        kind, text = answer_to(stream)
        if kind == "done":  # all was received; the refusal comes after
            kind, text = answer_to(stream)
        assert kind == "refuse"
        assert why in text
        network.wait_until(
            lambda batch=batch: ledger.states([batch]) == {batch: "void"}, "the batch to be void"
        )
    stream, batch = deal(of=b"m" * 16)
    assert "does not serve model" in answer_to(stream)[1]
    assert ledger.states([batch]) == {}
    stream, batch = deal()
    stream.close("gone")
    network.wait_until(
        lambda: ledger.states([batch]) == {batch: "void"} or not ledger.states([batch]), "its end"
    )
    ask(network, model)
