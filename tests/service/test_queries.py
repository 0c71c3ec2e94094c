"""What clients do: twice, at one party only, with what does not fit, all at once."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tacita.errors import (
    AlreadyUsed,
    NotReady,
    PeerError,
    PeerFailed,
    RateExceeded,
    Refused,
    ShapeError,
    TacitaError,
    UnknownModel,
    UsageError,
)
from tacita.service.config import Limits, StockSettings

from .daemons import POLICY, Daemons, together
from .small_model import small

# Those who are told at once are told long before these are over.
LIMITS = Limits(round=60, query=60, publish=60, deal=60, stock=60, connect=20, handshake=20)
AT_ONCE = 30  # seconds
STOCK = StockSettings(low=8, high=12, prepared=2)
BOBS = """
[[query]]
models = ["alone"]
allow = ["client:hospital"]
[[query]]
models = ["rare"]
allow = ["client:*"]
per_minute = 1
"""
ALICES = BOBS.replace("rare", "rarer").replace("alone", "nobody")


@pytest.fixture(scope="module")
def model():
    return small(1)


@pytest.fixture(scope="module")
def other():
    return small(2)


@pytest.fixture(scope="module")
def network(tmp_path_factory, model, other):
    folder = tmp_path_factory.mktemp("network")
    (folder / "alice.policy.toml").write_text(ALICES + POLICY)
    (folder / "bob.policy.toml").write_text(BOBS + POLICY)
    daemons = Daemons(folder, stock=STOCK, limits=LIMITS).start()
    daemons.publish("small", model.program, model.weights)
    daemons.publish("other", other.program, other.weights)
    yield daemons
    daemons.stop()


@pytest.fixture(autouse=True)
def works_afterwards(network, model):
    yield
    ask(network, model)
    for party in network.parties.values():
        network.wait_until(lambda desk=party._around.desk: not desk._waiting, "an empty desk")


def ask(network, model, name="small", **options):
    images = model.images()
    (result,) = network.infer(name, model.inputs(images), **options)
    model.require_right(result, images)


class Asking:
    """One query, of which each party's part is sent on its own."""

    def __init__(self, network, model, name="small", client="hospital"):
        self.images = model.images()
        self.parts = network.requests(model.inputs(self.images))
        self.query = os.urandom(16)
        self._network, self._name = network, name
        self._principal = network.principals[client]
        self._pool = ThreadPoolExecutor(8)

    def at(self, party):
        """A future of the party's answer."""
        service = self._network.parties[party]
        part = self.parts[self._network.names.index(party)]
        return self._pool.submit(service.infer, self._principal, self._name, self.query, part)


def failures(asking, first="alice", second="bob"):
    """What both parties say, which they do at once."""
    asked = {first: asking.at(first), second: asking.at(second)}
    return tuple(asked[name].exception(AT_ONCE) for name in ("alice", "bob"))


def test_an_id_is_for_one_query(network, model):
    asking = Asking(network, model)
    (result,) = together(results(asking))
    model.require_right(result, asking.images)
    for error in failures(asking):
        assert isinstance(error, AlreadyUsed)


def results(asking):
    asked = [asking.at("alice"), asking.at("bob")]
    return [each.result(AT_ONCE) for each in asked]


def test_an_id_that_comes_again_while_its_query_runs_does_not_disturb_it(network, model):
    asking = Asking(network, model)
    first = asking.at("bob")
    network.wait_until(lambda: network.parties["bob"]._around.desk._waiting, "bob to have it")
    assert isinstance(asking.at("bob").exception(AT_ONCE), AlreadyUsed)
    (result,) = together([asking.at("alice").result(AT_ONCE), first.result(AT_ONCE)])
    model.require_right(result, asking.images)


def test_two_clients_may_choose_the_same_id(network, model):
    mine, theirs = Asking(network, model), Asking(network, model, client="clinic")
    theirs.query = mine.query
    asked = [(each, each.at("alice"), each.at("bob")) for each in (mine, theirs)]
    for asking, *parts in asked:
        (result,) = together([each.result(AT_ONCE) for each in parts])
        model.require_right(result, asking.images)


@pytest.mark.parametrize("bad", ["alice", "bob"])
@pytest.mark.parametrize("first", ["alice", "bob"])
def test_an_input_that_does_not_fit_at_one_party(network, model, bad, first):
    index = network.names.index(bad)
    second = "alice" if first == "bob" else "bob"
    for change, kind in (
        (lambda tensor: {"shape": (2, 2), "values": tensor.values.reshape(2, 2)}, ShapeError),
        (lambda _: {"scale": 7}, UsageError),
        (lambda _: {"share": 1 - index}, UsageError),
        (lambda _: {"parties": 3}, UsageError),
        (lambda _: {"name": "another"}, ShapeError),
    ):
        asking = Asking(network, model)
        (tensor,) = asking.parts[index]
        asking.parts[index] = [replace(tensor, **change(tensor))]
        errors = failures(asking, first, second)
        assert isinstance(errors[index], kind)
        assert isinstance(errors[1 - index], PeerFailed)
        assert f"{bad} declined the query" in str(errors[1 - index])


def test_what_one_partys_policy_refuses_ends_at_both(network, model):
    network.publish("alone", model.program, model.weights)
    for party, name in (("bob", "alone"), ("alice", "nobody")):
        network.publish(name, model.program, model.weights)
        index = network.names.index(party)
        text = network.policy(party).read_text()
        network.policy(party).write_text(text.replace('["*"]', '["small", "other", "rare"]'))
        try:
            errors = failures(Asking(network, model, name, client="clinic"))
        finally:
            network.policy(party).write_text(text)
        assert isinstance(errors[index], UnknownModel)
        assert f"{party} declined the query" in str(errors[1 - index])


def test_who_is_not_in_the_audience_sees_no_model(network, model):
    network.publish("private", model.program, model.weights, audience=("client:hospital",))
    ask(network, model, "private")
    for error in failures(Asking(network, model, "private", client="clinic")):
        assert isinstance(error, UnknownModel)


@pytest.mark.parametrize(("party", "name"), [("bob", "rare"), ("alice", "rarer")])
def test_who_asks_too_often_at_one_party_is_told_at_both(network, model, party, name):
    network.publish(name, model.program, model.weights)
    ask(network, model, name)
    index = network.names.index(party)
    errors = failures(Asking(network, model, name))
    assert isinstance(errors[index], RateExceeded)
    assert "queries a minute" in str(errors[1 - index])


def test_a_model_that_is_published_anew_between_two_requests(network, model, other):
    network.publish("changing", model.program, model.weights)
    for late, early in (("alice", "bob"), ("bob", "alice")):
        asking = Asking(network, model, "changing")
        first = asking.at(early)
        around = network.parties["bob"]._around
        if early == "bob":
            network.wait_until(lambda around=around: around.desk._waiting, "bob to have it")
        else:  # its batch is prepared, and bob has heard of the query
            network.wait_until(lambda: streams_in(queries_claim), "bob to hear of it")
        network.publish("changing", other.program, other.weights)
        for asked in (asking.at(late), first):
            error = asked.exception(AT_ONCE)
            assert isinstance(error, (PeerError, NotReady))
        ask(network, other, "changing")
        network.publish("changing", model.program, model.weights)


def queries_claim(frame):
    return frame.f_code.co_name == "claim"


def streams_in(fits):
    """Whether a thread is at a place now."""
    for frame in sys._current_frames().values():
        while frame is not None:
            if fits(frame):
                return True
            frame = frame.f_back
    return False


def test_publishing_anew_and_removing_while_queries_run(network, model):
    """Every answer is right, or an error; both have the same weights, so nobody can mix them up."""
    network.publish("moving", model.program, model.weights)
    ended, right, failed = threading.Event(), [], []

    def keep_asking(client):
        while not ended.is_set():
            try:
                ask(network, model, "moving", client=client)
                right.append(client)
            except TacitaError as error:
                failed.append(error)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking, name) for name in ("hospital", "clinic") * 2]
        try:
            for _ in range(2):
                seen = len(right)
                network.wait_until(lambda seen=seen: len(right) > seen, "answers")
                network.publish("moving", model.program, model.weights)
            owner = network.principals["acme"]
            network.at_all(lambda party, _: party.remove(owner, "moving"))
            gone = len(failed)
            network.wait_until(lambda: len(failed) > gone + 4, "refusals")
        finally:
            ended.set()
        for each in asking:
            each.result(AT_ONCE)
    assert isinstance(failed[-1], (UnknownModel, PeerFailed))
    assert not any(isinstance(error, Refused) for error in failed)
    # Nothing of it is left: neither those who prepare, nor what was prepared and its streams.
    served = len(network.parties["alice"]._around.models.all())
    network.wait_until(lambda: running("tacita preparing") == STOCK.prepared * served, "the ends")
    network.wait_until(lambda: running("tacita stream") <= STOCK.prepared * served + 2, "the ends")


def running(name):
    return sum(each.name == name for each in threading.enumerate())


@pytest.mark.parametrize("models", [1, 2])
def test_sixteen_clients_at_once(network, model, other, models):
    def several(number):
        chosen, name = ((model, "small"), (other, "other"))[number % models]
        for _ in range(2):
            ask(network, chosen, name, client=("hospital", "clinic")[number % 2])

    with ThreadPoolExecutor(16) as pool:
        for each in [pool.submit(several, number) for number in range(16)]:
            each.result(60)


def test_a_query_that_only_one_party_gets_ends_at_its_limit(tmp_path, model):
    limits = Limits(round=2, query=3, publish=20, deal=20, stock=20, connect=5, handshake=5)
    daemons = Daemons(tmp_path, stock=StockSettings(low=1, high=3, prepared=1), limits=limits)
    daemons.start()
    try:
        daemons.publish("small", model.program, model.weights)
        only_bob = Asking(daemons, model).at("bob")
        asking = Asking(daemons, model)
        with pytest.raises(PeerFailed, match=r"did not come within 1\.5 s"):
            asking.at("alice").result(AT_ONCE)
        # Bob has not forgotten that it is too late.
        began = time.monotonic()
        with pytest.raises(PeerFailed, match=r"did not come within 1\.5 s"):
            asking.at("bob").result(AT_ONCE)
        assert time.monotonic() - began < limits.query
        with pytest.raises(PeerError, match="was it sent to all of them"):
            only_bob.result(AT_ONCE)
        # A leader that is gone is noticed before the query's limit.
        daemons.stop_party("alice")
        with pytest.raises(PeerError):
            Asking(daemons, model).at("bob").result(AT_ONCE)
    finally:
        daemons.stop()
