"""How fast the ways between parties are, out of what these say; nothing waits for a network."""

import asyncio
import math

import pytest

from tacita.client import links
from tacita.client.links import described, measured_link, neighbours_of, slowest
from tacita.compiler.prediction import LAN, LOCAL, WAN, Link
from tacita.errors import Busy, NotReady, PeerFailed, PeerTimeout, Refused, UnknownModel
from tacita.service.reach import Way

PARTIES = ("alice", "bob")
FAST = {"round_trip": 0.0002, "sent": 500e6, "received": 400e6}
FAR = {"round_trip": 0.05, "sent": 2.5e6, "received": 2e6}


class Party:
    """A front that gives these answers to one question after the other; the last for ever."""

    def __init__(self, name, *answers):
        self.name = name
        self.answers = list(answers)
        self.asked = 0

    async def json(self, method, path, limit):
        assert (method, path, limit) == ("GET", "/v2/neighbours", 7.0)
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wrong(self, what):
        return PeerFailed(f"{self.name} sent {what}")


def measured(*parties):
    return asyncio.run(measured_link(parties, 7.0))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(links, "PAUSE", 0.0)


def test_the_first_party_tells_of_the_way_between_them():
    alice, bob = Party("alice", {"bob": FAR, "dana": FAST}), Party("bob", {"alice": FAST})
    assert measured(alice, bob) == Link("measured", 0.05, 2e6)
    assert bob.asked == 0, "it would measure the same"


def test_the_dealer_counts_for_nothing_that_is_dealt_ahead():
    slow = {"round_trip": 3.0, "sent": 10.0, "received": 10.0}
    alice = Party("alice", {"bob": FAST, "dana": slow})
    assert measured(alice, Party("bob", {})) == Link("measured", 0.0002, 400e6)


CANNOT = {
    "a refusal": Refused("alice answered 403: not you"),
    "an older version": UnknownModel("alice answered 404: there is no such path"),
    "silence": PeerTimeout("alice did not answer"),
    "no table": ["bob", 0.05],
    "nobody": {},
    "the dealer alone": {"dana": FAST},
    "an error": {"bob": {"error": "sent nothing"}},
    "no number": {"bob": {**FAR, "sent": math.nan}},
    "too large a number": {"bob": {**FAR, "round_trip": math.inf}},
    "words": {"bob": "as fast as light"},
}


@pytest.mark.parametrize("answer", CANNOT.values(), ids=CANNOT)
def test_where_one_party_cannot_say_the_other_is_asked(answer):
    alice, bob = Party("alice", answer), Party("bob", {"alice": FAR})
    assert measured(alice, bob) == Link("measured", 0.05, 2e6)
    with pytest.raises((Refused, UnknownModel, PeerTimeout, PeerFailed), match="alice"):
        measured(alice, Party("bob", Refused("bob answered 403")))


def test_a_party_that_measures_for_others_is_asked_again():
    busy = Busy("for somebody else")
    alice = Party("alice", *[busy] * (links.TRIES - 1), {"bob": FAST})
    assert asyncio.run(neighbours_of(alice, 7.0)) == {"bob": FAST}
    assert alice.asked == links.TRIES
    alice = Party("alice", busy)
    with pytest.raises(NotReady):
        asyncio.run(neighbours_of(alice, 7.0))
    assert alice.asked == links.TRIES


def test_the_slowest_way_counts():
    ways = {
        "alice": {"bob": Way(0.02, 5e6, 9e6), "carol": Way(0.05, 8e6, 7e6)},
        "bob": {"carol": Way(0.01, 6e6, 4e6)},
    }
    assert slowest(ways, ("alice", "bob", "carol")) == Link("measured", 0.05, 4e6)


def test_of_the_dealer_counts_what_comes_from_it():
    ways = {
        "alice": {"bob": Way(0.02, 5e6, 9e6), "dana": Way(1.0, 10.0, 8e6)},
        "bob": {"dana": Way(2.0, 10.0, 3e6)},
    }
    assert slowest(ways, PARTIES, "dana") == Link("measured", 0.02, 3e6)
    assert slowest(ways, PARTIES) == Link("measured", 0.02, 5e6)
    del ways["bob"]
    assert slowest(ways, PARTIES, "dana") == Link("measured", 0.02, 5e6)


def test_without_a_way_between_parties_nothing_is_known():
    dealers = {"alice": {"dana": Way(1.0, 1.0, 1.0)}, "bob": {"dana": Way(1.0, 1.0, 1.0)}}
    for said in ({}, {"alice": {}, "bob": {}}, dealers, {"alice": {"alice": Way(1.0, 1.0, 1.0)}}):
        assert slowest(said, PARTIES, "dana") is None


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (Link("measured", 0.0211, 12e6), "21.1 ms round trip, 96 Mbit/s"),
        (LAN, "0.3 ms round trip, 3 Gbit/s"),
        (WAN, "40 ms round trip, 400 Mbit/s"),
        (Link("measured", 12.345, 123456.0), "12300 ms round trip, 0.988 Mbit/s"),
        (LOCAL, "as in one process"),
    ],
)
def test_in_words(link, words):
    assert described(link) == words
