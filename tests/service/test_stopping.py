"""A daemon that has stopped writes nothing any more, and does not wait for ever before that."""

import io
import threading
import time
from contextlib import suppress

import pytest

from tacita.errors import PeerFailed, SessionClosed
from tacita.runtime.stock import StockWriter
from tacita.service.config import StockSettings
from tacita.service.dealer import DealerService
from tacita.service.desk import Desk, Request
from tacita.service.logs import logger
from tacita.service.meeting import Meeting
from tacita.service.party import PartyService

from .daemons import LIMITS, Daemons
from .small_model import small

WAIT = 30.0  # seconds: the limit of every wait
SHORT = 0.2  # for what should not happen
MODEL = small()


class Slow:
    """The disk of one party: the next file of its stock is written when the test says so."""

    def __init__(self, monkeypatch, folder):
        self.writing, self.go_on = threading.Event(), threading.Event()
        self.written = []
        close = StockWriter.close

        def slowly(writer):
            if folder in writer._part.parents:
                self.writing.set()
                assert self.go_on.wait(WAIT)
            close(writer)
            self.written.append(time.monotonic())

        monkeypatch.setattr(StockWriter, "close", slowly)


@pytest.fixture
def network(tmp_path):
    limits = LIMITS.model_copy(update={"shutdown": WAIT})
    running = Daemons(
        tmp_path, stock=StockSettings(low=0, high=1, prepared=0), limits=limits
    ).start()
    running.wait_connected()
    running.publish("small", MODEL.program, MODEL.weights)
    yield running
    running.stop()


def in_the_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def deal(network):
    """Has a batch dealt, which may come to nothing."""

    def ask():
        with suppress(PeerFailed, SessionClosed):
            network.parties["alice"].deal(network.principals["acme"], "small", 1)

    return in_the_background(ask)


def files_in(folder):
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_party_stops_when_its_last_file_is_written(network, monkeypatch):
    slow = Slow(monkeypatch, network.folder / "bob")
    asking = deal(network)
    assert slow.writing.wait(WAIT)
    bob = network.parties.pop("bob")
    stopping = in_the_background(bob.stop)
    stopping.join(SHORT)
    assert stopping.is_alive(), "it did not wait for what writes"
    slow.go_on.set()
    stopping.join(WAIT)
    assert not stopping.is_alive()
    assert bob._around.neighbours.wait(0)
    left = files_in(network.folder / "bob")
    asking.join(WAIT)
    assert not asking.is_alive()
    assert files_in(network.folder / "bob") == left


def test_a_party_waits_no_longer_than_its_limit(network, monkeypatch):
    network.stop_party("bob")
    said = io.StringIO()
    limits = LIMITS.model_copy(update={"shutdown": SHORT})
    config = network.party_config("bob", limits=limits)
    bob = PartyService(config, logger("party:bob", stream=said))
    bob.start()
    network.parties["bob"] = bob
    network.wait_connected()
    slow = Slow(monkeypatch, network.folder / "bob")
    asking = deal(network)
    assert slow.writing.wait(WAIT)
    del network.parties["bob"]
    stopping = in_the_background(bob.stop)
    stopping.join(WAIT)
    assert not stopping.is_alive(), "it waited for what does not end"
    assert "stopped while conversations go on" in said.getvalue()
    slow.go_on.set()
    assert bob._around.neighbours.wait(WAIT)
    asking.join(WAIT)
    assert not asking.is_alive()


def test_a_dealer_stops_when_the_batch_under_way_has_ended(network, monkeypatch):
    computing, go_on = threading.Event(), threading.Event()
    whole = DealerService._deal_batch

    def slowly(dealer, model):
        computing.set()
        assert go_on.wait(WAIT)
        return whole(dealer, model)

    monkeypatch.setattr(DealerService, "_deal_batch", slowly)
    asking = deal(network)
    assert computing.wait(WAIT)
    dealer, network.dealer = network.dealer, None
    stopping = in_the_background(dealer.stop)
    stopping.join(SHORT)
    assert stopping.is_alive()
    go_on.set()
    stopping.join(WAIT)
    assert not stopping.is_alive()
    assert dealer._neighbours.wait(0)
    asking.join(WAIT)
    assert not asking.is_alive()


def test_nothing_begins_after_the_end(network):
    bob = network.parties.pop("bob")
    bob.stop()
    neighbours = bob._around.neighbours
    with pytest.raises(SessionClosed, match="shutting down"):
        neighbours._begin("late", lambda: None)
    assert neighbours.wait(0)


def test_who_waits_at_a_party_that_stops_is_told():
    """Else the end would last as long as the longest of their limits."""
    meeting, desk, told = Meeting(), Desk(), []
    waits = [
        lambda: meeting.claim(b"a", "alice", time.monotonic() + WAIT),
        lambda: meeting.offer(b"b", "alice", (None, None), WAIT),
        lambda: desk.claim(b"c", WAIT),
        lambda: desk.post(b"d", Request("fingerprint", None, []), WAIT),
    ]
    begun = threading.Barrier(len(waits) + 1)

    def wait(for_what):
        begun.wait(WAIT)
        try:
            for_what()
        except SessionClosed as error:
            told.append(str(error))

    threads = [threading.Thread(target=wait, args=(each,), daemon=True) for each in waits]
    for thread in threads:
        thread.start()
    begun.wait(WAIT)
    meeting.end("bob is shutting down")
    desk.end("bob is shutting down")
    for thread in threads:
        thread.join(WAIT / 2)
        assert not thread.is_alive()
    assert told == ["bob is shutting down"] * len(waits)
