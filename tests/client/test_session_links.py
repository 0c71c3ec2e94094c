"""Eager sessions over daemons pick how values are compared by the ways between these, as the
parties measured them."""

import threading
from contextlib import contextmanager

import pytest
import torch

import tacita as sy
from bench.slow_network import SlowNetwork
from tacita.client.remote_worker import RemoteWorker
from tacita.compiler.prediction import LAN, LOCAL, Link
from tacita.errors import FrameError, Refused
from tacita.network.address import Address
from tacita.protocols.ways import way_of
from tacita.runtime.worker import session_for
from tacita.service import reach
from tacita.service.config import ClientConfig, Limits
from tacita.service.conversations import agree_to
from tacita.service.party import PartyService

from ..service.daemons import Daemons

HOOK = sy.TorchHook(torch)
SOON = 15  # seconds; reached only where something hangs
LIMITS = Limits(round=10, query=20, publish=20, deal=10, stock=5, connect=5, handshake=5)
NEAR = {"round_trip": 1e-5, "sent": 1e12, "received": 1e12}
FAR = {"round_trip": 50e-3, "sent": 20e6 / 8, "received": 20e6 / 8}
LONG = {"round_trip": 50e-3, "sent": 1e12, "received": 1e12}


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    running = Daemons(tmp_path_factory.mktemp("network"), limits=LIMITS).start()
    running.wait_connected()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def no_memory(daemons):
    """As if nobody had asked for a while."""
    for party in daemons.parties.values():
        party._neighbourhood._kept.clear()


@contextmanager
def workers_of(daemons, names=("alice", "bob", "dana"), who="hospital"):
    config = ClientConfig(network=daemons.network, credentials=daemons.credentials[who])
    made = [RemoteWorker(HOOK, id=each, config=config) for each in names]
    try:
        yield made
    finally:
        made[0].clear_objects()


@contextmanager
def session_of(daemons, **options):
    with workers_of(daemons) as (alice, bob, dana):
        yield session_for((alice, bob), dana, **options)


@pytest.fixture
def finding(daemons, monkeypatch):
    """finding({("alice", "bob"): FAR, …}): what the parties measure from now on; who did."""

    def set_up(found):
        measured = []

        def of(name, neighbour):
            measured.append((name, neighbour))
            return found.get((name, neighbour), NEAR)

        for name, party in daemons.parties.items():
            monkeypatch.setattr(
                party._neighbourhood, "_of", lambda neighbour, name=name: of(name, neighbour)
            )
        return measured

    return set_up


def test_the_ways_are_measured_when_the_first_session_is_opened(daemons):
    found = []
    for _ in range(2):
        with session_of(daemons, protocol="auto") as session:
            found.append(session.link)
    kept = {name: each._neighbourhood._kept for name, each in daemons.parties.items()}
    ways = [("alice", "bob"), ("alice", "dana"), ("bob", "dana")]
    assert [(name, other) for name in kept for other in kept[name]] == ways
    between, *_ = measured = [kept[name][other][1] for name, other in ways]
    rates = [between["sent"], *(each["received"] for each in measured)]
    assert found[0] == Link("measured", between["round_trip"], min(rates))
    assert found[1] == found[0], "it was remembered"


def test_each_way_is_measured_once_and_the_slowest_counts(daemons, finding):
    far = {"round_trip": 9.0, "sent": 1.0, "received": 3e6}
    measured = finding({("alice", "bob"): {**FAR, "sent": 4e6, "received": 5e6}})
    with session_of(daemons) as session:
        assert session.link == Link("measured", 50e-3, 4e6)
    assert measured == [("alice", "bob"), ("alice", "dana"), ("bob", "dana")]
    for party in daemons.parties.values():
        party._neighbourhood._kept.clear()
    finding({("alice", "bob"): {**FAR, "sent": 4e6, "received": 5e6}, ("bob", "dana"): far})
    with session_of(daemons) as session:
        assert session.link == Link("measured", 50e-3, 3e6), "the dealer: what comes from it"


@pytest.mark.parametrize(("link", "way"), [(NEAR, "tables"), (LONG, "fss"), (FAR, "tables")])
def test_operations_compare_as_costs_least_over_that_network(daemons, finding, link, way):
    """`fss` takes two messages less, which save 50 ms, and 0.9 MB more, which take 0.35 s."""
    size = 1024
    finding({("alice", "bob"): link})
    values = torch.arange(size) - size / 2
    with workers_of(daemons) as (alice, bob, dana):
        shared = values.fix_precision().share(alice, bob, crypto_provider=dana, protocol="auto")
        session = session_for((alice, bob), dana, protocol="auto")
        ways = []
        choose = session.choose
        session.choose = lambda each: ways.append(way_of(choose(each))) or choose(each)
        result = shared.relu().get().float_precision()
    assert torch.equal(result, values.relu())
    assert {each for each in ways if each is not None} == {way}


@pytest.mark.parametrize("protocol", ["tables", "fss", "snn"])
def test_who_says_how_has_nothing_measured(daemons, finding, protocol):
    measured = finding({})
    with session_of(daemons, protocol=protocol) as session:
        assert session.link == LOCAL
    assert measured == []


# ---- where a party does not say ------------------------------------------------------------------


def refusing(party, stream):
    raise Refused("not you")


def silent_about_bob(party, stream):
    agree_to(stream, SOON, reach.written({"dana": reach.Way(1.0, 1.0, 1.0)}))


def closing(party, stream):
    stream.close("no")


def garbled(party, stream):
    agree_to(stream, SOON, '{"bob":{"round_trip":-1.0,"sent":1e6,"received":1e6}}')


def rambling(party, stream):
    agree_to(stream, SOON, "quite well")


def older(party, stream):
    raise FrameError("a stream began with what cannot be read")


@pytest.mark.parametrize("answer", [refusing, silent_about_bob, closing, garbled, rambling, older])
def test_a_local_network_is_assumed(daemons, monkeypatch, answer):
    monkeypatch.setattr(PartyService, "_tell_reach", answer)
    with session_of(daemons) as session:
        assert session.link == LAN
        session.settle()


def test_what_one_party_says_is_enough(daemons, finding, monkeypatch):
    finding({("alice", "bob"): FAR})
    honest = PartyService._tell_reach

    def tell(party, stream):
        (honest if party is daemons.parties["alice"] else refusing)(party, stream)

    monkeypatch.setattr(PartyService, "_tell_reach", tell)
    with session_of(daemons) as session:
        assert session.link == Link("measured", FAR["round_trip"], FAR["sent"])


def test_nobody_waits_longer_than_told_for_a_party_that_says_nothing(daemons, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(PartyService, "_tell_reach", lambda *_: go_on.wait(SOON))
    with workers_of(daemons) as (alice, _, _):
        assert alice.ways(0.05) == {}
        assert alice.ways(-1.0) == {}, "as where another one has used the time up"
        go_on.set()


# ---- three parties, and a line that is slow ------------------------------------------------------


def test_three_parties_have_nothing_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(PartyService, "_tell_reach", refusing)
    names = ("alice", "bob", "carol")
    daemons = Daemons(tmp_path, names, limits=LIMITS).start()
    try:
        values = torch.tensor([1.5, -2.0])
        with workers_of(daemons, (*names, "dana")) as (*parties, dana):
            x = values.fix_precision().share(*parties, crypto_provider=dana, protocol="auto")
            assert session_for(parties, dana, protocol="auto").link == LOCAL
            assert torch.equal(x.relu().get().float_precision(), values.relu())
        assert not any(each._neighbourhood._kept for each in daemons.parties.values())
    finally:
        daemons.stop()


def test_a_line_that_is_slow(tmp_path):
    """A relay delays by so much at least on any machine; its rate is a three-hundredth of what
    would be assumed without it."""
    delay, rate = 0.02, 1e6
    daemons = Daemons(tmp_path, limits=LIMITS)
    alice, bob = daemons.network.parties
    with SlowNetwork([str(bob.peers)], delay=delay, rate=rate) as slow:
        host, port = slow.addresses[0].rsplit(":", 1)
        relayed = bob.model_copy(update={"peers": Address(host, int(port))})
        seen = daemons.network.model_copy(update={"parties": (alice, relayed)})
        try:
            daemons.start_dealer()
            daemons.start_party("bob")
            daemons.start_party("alice", network=seen)
            daemons.wait_connected()
            with session_of(daemons) as session:
                assert session.link.rtt >= 2 * delay
                assert session.link.bandwidth < LAN.bandwidth
        finally:
            daemons.stop()
