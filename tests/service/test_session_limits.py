"""Eager sessions have so many wires, so much memory and time, at every party and at the dealer."""

import threading
from contextlib import ExitStack

import pytest
import torch

import tacita as sy
from tacita.client.remote_worker import RemoteWorker
from tacita.errors import Busy, PeerError, PeerFailed, RateExceeded
from tacita.network.identity import Principal
from tacita.service.config import ClientConfig, Limits
from tacita.service.session_limits import SessionLimits

from .daemons import LIMITS, Daemons

HOOK = sy.TorchHook(torch)
EVERYTHING = {"session_wires": 1000, "session_bytes": 1 << 30}


class Uneven(Daemons):
    """One of them, or everybody, has smaller limits than the others."""

    def start_with(self, strict, **small):
        roomy = self.limits.model_copy(update=EVERYTHING)
        tight = roomy.model_copy(update=small)
        self.limits = tight if strict in ("dana", "everybody") else roomy
        self.start_dealer()
        for name in self.names:
            self.start_party(name, limits=tight if strict in (name, "everybody") else roomy)
        self.wait_connected()
        return self


@pytest.fixture
def network(tmp_path):
    made = []

    def start(strict, **small):
        made.append(Uneven(tmp_path).start_with(strict, **small))
        return made[0]

    yield start
    for each in made:
        each.stop()


def workers(network):
    config = ClientConfig(
        network=network.network, credentials=network.credentials["hospital"], limits=LIMITS
    )
    return [RemoteWorker(HOOK, id=name, config=config) for name in ("alice", "bob", "dana")]


def shared(network, values):
    alice, bob, dana = workers(network)
    return values.fix_precision().share(alice, bob, crypto_provider=dana)


def ask_for_ever(x):
    while True:
        torch.relu(x).get()


def fill(x):
    """Keeps one result after the other; what is refused is heard of with the last."""
    kept = [torch.relu(x) for _ in range(60)]
    kept[-1].get()


def conversations():
    return [each for each in threading.enumerate() if each.name == "tacita stream"]


@pytest.mark.parametrize("strict", ["alice", "bob", "dana"])
def test_who_holds_too_many_wires_is_told_by_whom_it_is_too_many(network, strict):
    x = shared(network(strict, session_wires=40), torch.rand(3))
    with pytest.raises(PeerFailed, match=f"{strict} stopped: .*a session may hold 40 wires"):
        fill(x)


@pytest.mark.parametrize("strict", ["alice", "dana"])
def test_who_lets_go_of_wires_may_go_on(network, strict):
    x = shared(network(strict, session_wires=40), torch.tensor([1.0, -2.0]))
    for _ in range(60):
        result = torch.relu(x)
        assert torch.equal(result.get().float_precision(), torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("strict", ["bob", "dana"])
def test_who_holds_too_much_memory_is_told(network, strict):
    x = shared(network(strict, session_bytes=1 << 20), torch.rand(10_000))
    with pytest.raises(PeerFailed, match=f"{strict} stopped: Refused: a session may have 1048576"):
        fill(x)


def test_what_would_be_huge_is_never_made(network):
    x = shared(network("alice", session_bytes=1 << 20), torch.rand(10))
    # It is more than any party's limit, and the one that says so first ends the session.
    refused = r"(alice|bob|dana) stopped: Refused: a session may have \d+ bytes"
    with pytest.raises(PeerFailed, match=refused):
        (x.expand(1 << 40, 10) + x).get()


@pytest.mark.parametrize("strict", ["bob", "dana"])
def test_a_session_ends_when_its_time_is_over(network, strict):
    x = shared(network(strict, session=3), torch.rand(3))
    with pytest.raises(PeerError, match=f"{strict} stopped: Refused: a session may last 3 s"):
        ask_for_ever(x)


def test_a_session_that_nobody_uses_ends_as_well(network):
    running = network("everybody", session=1)
    x = shared(running, torch.rand(3))
    running.wait_until(lambda: not conversations(), "the session to end")
    with pytest.raises(PeerError, match="stopped: Refused: a session may last 1 s"):
        x.get()


def test_one_user_does_not_take_all_places():
    limits = SessionLimits(Limits(sessions_at_once=3, sessions_each=2))
    carol, dave = (Principal("client", name, "0" * 64) for name in ("carol", "dave"))
    with ExitStack() as all_, ExitStack() as one:
        all_.enter_context(limits.place(carol))
        one.enter_context(limits.place(carol))
        with pytest.raises(RateExceeded, match="client:carol has 2 sessions here"):
            all_.enter_context(limits.place(carol))
        with limits.place(dave), pytest.raises(Busy, match="3 sessions run here"):
            all_.enter_context(limits.place(dave))
        one.close()
        all_.enter_context(limits.place(carol))  # the place of what has ended


@pytest.mark.parametrize("strict", ["alice", "dana"])
def test_one_user_s_sessions_are_counted_at_every_role(network, strict):
    running = network(strict, sessions_each=1)
    first = shared(running, torch.rand(3))
    with pytest.raises(PeerError, match="client:hospital has 1 sessions here"):
        shared(running, torch.rand(3)).get()
    assert first.get().shape == (3,)


@pytest.mark.parametrize("strict", ["alice", "dana"])
def test_no_more_sessions_than_there_are_places_for(network, strict):
    running = network(strict, sessions_at_once=1)
    first = shared(running, torch.rand(3))
    with pytest.raises(PeerError, match="1 sessions run here"):
        shared(running, torch.rand(3)).get()
    assert first.get().shape == (3,)
