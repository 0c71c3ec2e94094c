"""Daemons measure the ways between them: what is found, who may ask, and how much it may cost."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tacita.errors import Busy, FrameError, PeerFailed, PeerTimeout, RateExceeded, Refused
from tacita.service import measuring, reach
from tacita.service.config import Limits, StockSettings
from tacita.service.conversations import LARGEST_MEASURED, Measuring, Reaching, begin
from tacita.service.measuring import FIRST_BYTES, MOST, WINDOW, Answered
from tacita.service.neighbourhood import FRESH, LATELY, Neighbourhood

from .daemons import Daemons
from .rogue import SOON, answer_to, dialed, listening, said

LIMITS = Limits(round=10, query=20, publish=20, deal=10, stock=5, connect=5, handshake=5)
PARTIES = ("alice", "bob", "carol")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    daemons = Daemons(
        tmp_path_factory.mktemp("network"), PARTIES, stock=StockSettings(), limits=LIMITS
    ).start()
    daemons.wait_connected()
    yield daemons
    daemons.stop()


@pytest.fixture(autouse=True)
def no_memory(network):
    """As if nobody had asked for a while."""
    for daemon in (*network.parties.values(), network.dealer):
        daemon._measured = Answered()
    for party in network.parties.values():
        party._neighbourhood._kept.clear()


def test_every_neighbour_is_measured(network):
    watcher = network.principals["hospital"]
    for name in PARTIES:
        found = network.parties[name].neighbours(watcher)
        assert set(found) == {*PARTIES, "dana"} - {name}
        for other, link in found.items():
            assert "error" not in link, (name, other, link)
            assert link["round_trip"] > 0
            assert link["sent"] > 0
            assert link["received"] > 0
            assert link["clock"] == 0  # the same machine's, read in between
            assert (
                link["version"]
                == network.parties[name]._around.neighbours.link(other, SOON).peer_version
            )


def test_who_may_publish_may_have_it_measured(network):
    assert set(network.parties["alice"].neighbours(network.principals["acme"])) == {
        "bob", "carol", "dana",
    }  # fmt: skip


def test_who_may_neither_watch_nor_publish_has_nothing_measured(network):
    alice = network.parties["alice"]
    before = alice.counters.render()
    with pytest.raises(Refused, match=r"\[watch\] and \[publish\]"):
        alice.neighbours(network.principals["clinic"])
    assert not alice._neighbourhood._kept
    assert b'tacita_refusals_total{reason="policy"}' in alice.counters.render() != before


def test_a_measurement_costs_no_more_than_it_may(network):
    alice = network.parties["alice"]
    counts = alice._around.neighbours.counts
    before = {name: counts(name) for name in ("bob", "carol", "dana")}
    alice.neighbours(network.principals["hospital"])
    # Frames and TLS add less than a hundredth; PINGs and what daemons say else are small.
    most = 1.01 * (LARGEST_MEASURED + FIRST_BYTES) + (16 << 10)
    for name, earlier in before.items():
        now = counts(name)
        assert FIRST_BYTES < now.sent - earlier.sent < most
        assert FIRST_BYTES < now.received - earlier.received < most


def test_what_was_measured_lately_is_given_again(network):
    now = [100.0]
    measured = []
    neighbourhood = Neighbourhood(network.parties["alice"]._around, lambda: now[0])
    neighbourhood._of = lambda name: measured.append(name) or {"number": len(measured)}
    first = neighbourhood.measured()
    now[0] += FRESH - 0.001
    assert neighbourhood.measured() == first
    assert len(measured) == 3
    now[0] += 0.001
    assert neighbourhood.measured() != first
    assert len(measured) == 6


def counting(network):
    """Alice's neighbourhood with a clock of the test's, and names in the order of measuring."""
    now, measured = [100.0], []
    neighbourhood = Neighbourhood(network.parties["alice"]._around, lambda: now[0])
    neighbourhood._of = lambda name: measured.append(name) or {"number": len(measured)}
    return neighbourhood, now, measured


def test_who_needs_to_know_roughly_has_it_measured_seldom(network):
    neighbourhood, now, measured = counting(network)
    first = neighbourhood.lately(("bob", "dana"), SOON)
    assert measured == ["bob", "dana"]
    now[0] += LATELY - 0.001
    assert neighbourhood.lately(("bob", "dana"), SOON) == first
    neighbourhood.lately(("carol", "dana"), SOON)
    assert measured == ["bob", "dana", "carol"], "what was not measured yet is"
    now[0] += 0.001
    neighbourhood.lately(("bob", "carol"), SOON)
    assert measured == ["bob", "dana", "carol", "bob"], "each has an age of its own"
    neighbourhood.measured()
    assert measured[4:] == ["dana"], "what others had measured just now is given to everybody"


def test_what_could_not_be_measured_is_tried_again_soon(network):
    neighbourhood, now, measured = counting(network)
    neighbourhood._of = lambda name: measured.append(name) or {"error": "no such luck"}
    neighbourhood.lately(("bob",), SOON)
    now[0] += FRESH - 0.001
    neighbourhood.lately(("bob",), SOON)
    assert measured == ["bob"]
    now[0] += 0.001
    neighbourhood.lately(("bob",), SOON)
    assert measured == ["bob", "bob"]


def test_who_needs_it_lately_waits_for_who_measures(network):
    neighbourhood, _, measured = counting(network)
    quick, begun, go_on = neighbourhood._of, threading.Event(), threading.Event()

    def slow(name):
        begun.set()
        assert go_on.wait(SOON)
        return quick(name)

    neighbourhood._of = slow
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(neighbourhood.lately, ("bob",), SOON)
        assert begun.wait(SOON)
        with pytest.raises(Busy):
            neighbourhood.lately(("bob",), 0.01)
        second = pool.submit(neighbourhood.lately, ("bob",), SOON)
        go_on.set()
        assert first.result(SOON) == second.result(SOON)
    assert measured == ["bob"]


def test_one_at_a_time(network):
    neighbourhood = Neighbourhood(network.parties["alice"]._around)

    def nested(_name):
        with pytest.raises(Busy, match="ask again"):
            neighbourhood.measured()
        return {}

    neighbourhood._of = nested
    assert set(neighbourhood.measured()) == {"bob", "carol", "dana"}


def test_a_neighbour_that_is_away_is_left_out(network):
    network.stop_party("carol")
    try:
        alice = network.parties["alice"]
        network.wait_until(
            lambda: not alice._around.neighbours.connected("carol"), "alice to see that"
        )
        assert set(alice.neighbours(network.principals["hospital"])) == {"bob", "dana"}
    finally:
        network.start_party("carol")
    network.wait_connected()


def test_who_asks_too_often_is_told_so(network):
    alice = network.parties["alice"]._around
    for name in ("bob", "dana"):
        for _ in range(MOST):
            stream = alice.neighbours.open(name, os.urandom(16), SOON)
            begin(stream, Measuring(8), SOON)
            stream.send(said("ask", b"", measuring._zeros(8).arrays), SOON)
            assert answer_to(stream)[0] == "done"
            stream.close()
        found = Neighbourhood(alice)._of(name)
        assert "measured 8 times within 10 s" in found["error"]


def test_how_often_one_is_answered():
    now = [0.0]
    answered = Answered(lambda: now[0])
    for _ in range(MOST):
        answered.admit("bob")
        now[0] += 1
    with pytest.raises(RateExceeded):
        answered.admit("bob")
    answered.admit("dana")
    now[0] = WINDOW  # the first of bob's is over, and no other
    answered.admit("bob")
    with pytest.raises(RateExceeded):
        answered.admit("bob")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (("done", 8), "done of 8 bytes, where 16 were due"),
        (("ask", 8), "ask of 8 bytes, where 16 were due"),
        (("ask", 24), "ask of 24 bytes, where 16 were due"),
    ],
)
def test_other_bytes_than_were_announced(network, message, why):
    kind, size = message
    stream = network.parties["alice"]._around.neighbours.open("bob", os.urandom(16), SOON)
    begin(stream, Measuring(16), SOON)
    stream.send(said(kind, b"", measuring._zeros(size).arrays), SOON)
    found, text = answer_to(stream)
    assert (found, why in text) == ("refuse", True), text


@pytest.mark.parametrize("size", [0, 7, LARGEST_MEASURED + 1, 1 << 40])
def test_more_than_may_be_asked_for(network, size):
    stream = network.parties["alice"]._around.neighbours.open("dana", os.urandom(16), SOON)
    begin(stream, Measuring(size), SOON)
    assert answer_to(stream) == ("refuse", "a stream began with what cannot be read")


def test_users_have_nothing_measured(network):
    for name in ("bob", "dana"):
        with dialed(network, network.credentials["hospital"], name) as link:
            stream = link.open(os.urandom(16))
            begin(stream, Measuring(8), SOON)
            kind, text = answer_to(stream)
            assert kind == "refuse"
            assert "may not" in text


# ---- what users of eager sessions are told -------------------------------------------------------


def told(network, who, name):
    with dialed(network, network.credentials[who], name) as link:
        stream = link.open(os.urandom(16))
        begin(stream, Reaching(), SOON)
        return answer_to(stream)


def test_users_are_told_of_each_way_by_one_of_its_ends(network):
    for name, others in (
        ("alice", {"bob", "carol", "dana"}),
        ("bob", {"carol", "dana"}),
        ("carol", {"dana"}),
    ):
        kind, text = told(network, "hospital", name)
        assert kind == "done", text
        assert set(reach.read(text, name)) == others
        assert set(network.parties[name]._neighbourhood._kept) == others


def test_what_could_not_be_measured_is_not_told(network):
    alice = network.parties["alice"]._neighbourhood
    alice._of = lambda name: (
        {"error": "no such luck"}
        if name == "bob"
        else {"round_trip": 1.0, "sent": 2, "received": 3}
    )
    try:
        text = told(network, "hospital", "alice")[1]
    finally:
        del alice._of
    assert text == (
        '{"carol":{"round_trip":1.0,"sent":2.0,"received":3.0},'
        '"dana":{"round_trip":1.0,"sent":2.0,"received":3.0}}'
    )


def test_who_may_open_no_session_is_told_nothing(network):
    with dialed(network, network.credentials["acme"], "alice") as link:
        network.wait_until(lambda: not link.usable, "alice's refusal")
        assert "no business here" in link.why
    assert not network.parties["alice"]._neighbourhood._kept


def test_neither_the_dealer_tells_nor_are_parties_told(network):
    assert told(network, "hospital", "dana")[0] == "refuse"
    stream = network.parties["alice"]._around.neighbours.open("bob", os.urandom(16), SOON)
    begin(stream, Reaching(), SOON)
    kind, text = answer_to(stream)
    assert (kind, "may not begin a Reaching" in text) == ("refuse", True)


# ---- a neighbour that misbehaves -----------------------------------------------------------------


def asking(network, accept, limit=SOON):
    """What alice finds, where somebody in bob's place answers so."""
    neighbours = network.parties["alice"]._around.neighbours
    network.wait_until(lambda: not neighbours.connected("bob"), "the link before this to be gone")
    with listening(network, "bob", accept):
        network.wait_until(lambda: neighbours.connected("bob"), "alice to connect")
        return measuring.measure(neighbours.link("bob", SOON), lambda: os.urandom(16), limit)


@pytest.fixture
def without_bob(network):
    network.stop_party("bob")
    yield
    network.start_party("bob")
    network.wait_connected()


def replying(*messages):
    def accept(stream):
        topic = stream.receive(SOON).header
        if b"Measuring" not in topic:
            stream.send(said("refuse"), SOON)
            return
        stream.receive(SOON)
        for message in messages:
            stream.send(message, SOON)
        stream.receive(SOON)

    return accept


def test_neighbours_that_answer_badly(network, without_bob):
    zeros = measuring._zeros
    for messages, error, why in (
        ([said("done", b"noon")], FrameError, "else than its time"),
        ([said("done", b"nan")], FrameError, "else than its time"),
        ([said("open")], FrameError, "where its agreement was due"),
        ([said("done", b"0"), zeros(FIRST_BYTES - 8)], FrameError, "bytes, where 65536 were due"),
        ([said("refuse", b"not now")], PeerFailed, "not now"),
    ):
        with pytest.raises(error, match=why):
            asking(network, replying(*messages, *([zeros(FIRST_BYTES)] * (len(messages) == 1))))
    with pytest.raises(PeerTimeout):
        asking(network, lambda stream: stream.receive(SOON), limit=1.0)


@pytest.mark.parametrize("off", [-3600.0, 3600.0])
def test_a_clock_that_is_off(network, without_bob, off):
    def accept(stream):
        if b"Measuring" not in stream.receive(SOON).header:
            stream.send(said("refuse"), SOON)
            return
        message = stream.receive(SOON)
        stream.send(said("done", repr(time.time() + off).encode()), SOON)
        stream.send(message, SOON)
        stream.close()

    found = asking(network, accept)
    # By at least so much, less the time between our two looks at our own clock.
    assert 0 < found.clock / off <= 1 + 1e-3
    assert abs(found.clock) > abs(off) - SOON
