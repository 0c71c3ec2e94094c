"""Values of two owners in one computation, and who of them sees what."""

import numpy as np
import pytest
import torch

import tacita as sy
from tacita.client.deposits import borrow, deposit, withdraw
from tacita.client.remote_worker import RemoteWorker
from tacita.errors import PeerError, PeerFailed, Refused, UsageError
from tacita.protocols import Input, MaskWires, Reveal, WithinBound, sign
from tacita.runtime.orders import Lend, Order, encode
from tacita.runtime.transport import Message
from tacita.service.config import ClientConfig

from ..service.daemons import Daemons

HOOK = sy.TorchHook(torch)
SCANS = torch.tensor([[1.0, -2.0], [0.5, 4.0]])


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    running = Daemons(tmp_path_factory.mktemp("network")).start()
    yield running
    running.stop()


@pytest.fixture
def workers(daemons):
    made = []

    def of(name):
        config = ClientConfig(network=daemons.network, credentials=daemons.credentials[name])
        alice, bob, dana = (
            RemoteWorker(HOOK, id=each, config=config) for each in ("alice", "bob", "dana")
        )
        made.append(alice)
        return alice, bob, dana

    yield of
    for each in made:
        each.clear_objects()


def shared(tensor, workers):
    alice, bob, dana = workers
    return tensor.fix_precision().share(alice, bob, crypto_provider=dana)


def borrowed(name, workers):
    alice, bob, dana = workers
    return borrow(name, alice, bob, crypto_provider=dana)


def test_results_go_to_whom_the_owners_named(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "scans", borrowers=["client:clinic"])
    scans = borrowed("scans", clinic)
    scores = torch.relu(scans @ shared(torch.eye(2) * 2, clinic))
    for hidden in (scans, scores, scores.sum(), scans.t()[0], scores > scans, -scans + scans):
        with pytest.raises(Refused, match="client:hospital has not agreed"):
            hidden.get()
    # What is the clinic's own is shown to it all the same.
    assert torch.equal(shared(SCANS, clinic).get().float_precision(), SCANS)
    deposit(scores, "scores", borrowers=["client:hospital"], audience=["client:hospital"])
    result = borrowed("scores", hospital).get().float_precision()
    assert (result - torch.relu(2 * SCANS)).abs().max() <= 2e-3


def test_passing_a_value_on_does_not_free_it(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "rows", borrowers=["client:clinic"])
    deposit(borrowed("rows", clinic), "mine", borrowers=["client:*"], audience=["client:*"])
    with pytest.raises(Refused, match="client:hospital has not agreed"):
        borrowed("mine", clinic).get()
    assert torch.equal(borrowed("mine", hospital).get().float_precision(), SCANS)


def test_an_audience_may_see(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(
        shared(SCANS, hospital), "open", borrowers=["client:clinic"], audience=["client:clinic"]
    )
    total = borrowed("open", clinic).sum().get().float_precision()
    assert total == SCANS.sum()


def test_whole_models_carry_the_terms_of_inputs_and_weights(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "inputs", borrowers=["client:clinic"])
    alice, bob, dana = clinic
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()).eval()
    model = sy.export(network, SCANS, precision=sy.Precision(base=10, digits=3), largest=4.0)
    private = model.share(alice, bob, crypto_provider=dana)
    with pytest.raises(Refused, match="client:hospital has not agreed"):
        private(borrowed("inputs", clinic)).get()


def test_who_may_not_compute_with_it_does_not_learn_that_it_is_there(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "secret")
    with pytest.raises(PeerFailed, match="nothing lies here under 'secret'") as refused:
        borrowed("secret", clinic)
    with pytest.raises(PeerFailed, match="absent") as absent:
        borrowed("absent", clinic)
    assert str(refused.value).replace("secret", "absent") == str(absent.value)


def test_names_belong_to_their_owners_and_can_be_given_up(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "taken", borrowers=["client:clinic"])
    with pytest.raises(UsageError, match="another owner"):
        deposit(shared(SCANS, clinic), "taken")
    with pytest.raises(PeerFailed, match="no deposit"):
        withdraw("taken", *clinic[:2])
    deposit(shared(SCANS * 2, hospital), "taken")  # its owner may put another in its place
    assert torch.equal(borrowed("taken", hospital).get().float_precision(), SCANS * 2)
    withdraw("taken", *hospital[:2])
    with pytest.raises(PeerFailed, match="nothing lies here"):
        borrowed("taken", hospital)


def test_only_daemons_keep_deposits():
    alice, bob, dana = (sy.VirtualWorker(HOOK, id=name) for name in ("alice", "bob", "dana"))
    with pytest.raises(UsageError, match="nothing is kept here"):
        deposit(shared(SCANS, (alice, bob, dana)), "scans")


def told_apart(session, number, to_alice, to_bob):
    """Gives each party an order of its own, as a client that is not ours might."""
    for name, (kind, order, arrays) in (("alice", to_alice), ("bob", to_bob)):
        session._endpoint.send(name, Message(kind, encode(order), arrays))
    return number + 1


def either_answers(session, number):
    for holder in ("alice", "bob"):
        session._await(holder, number)


def test_parties_that_were_told_different_things_reveal_nothing(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "target", borrowers=["client:clinic"])
    honest = borrowed("target", clinic)
    session = honest._handle.builder
    session.settle()
    zeros = (np.zeros((2, 2), np.uint64),)
    # Bob's share of wire 900 is one of the deposit; alice takes it for the clinic's own input.
    number = session._next_number(8)
    input_ = ("instruct", Order(number, (Input(900, (2, 2)),)), zeros)
    told_apart(session, number, input_, ("lend", Lend(number, 900, "target"), ()))
    for instruction in (MaskWires((900,), ((2, 2),)), Reveal(900)):
        number += 1
        order = ("instruct", Order(number, (instruction,)), ())
        told_apart(session, number, order, order)
    with pytest.raises(PeerFailed, match=r"instead of|was given other orders"):
        either_answers(session, number)
    with pytest.raises(PeerError):  # and the session is over
        honest.sum().get()


def test_a_last_order_that_differs_is_noticed_too(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "target", borrowers=["client:clinic"])
    session = borrowed("target", clinic)._handle.builder
    session.settle()
    number = session._next_number(4)
    zeros = (np.zeros((2, 2), np.uint64),)
    input_ = ("instruct", Order(number, (Input(900, (2, 2)),)), zeros)
    told_apart(session, number, input_, ("lend", Lend(number, 900, "target"), ()))
    reveal = ("instruct", Order(number + 1, (Reveal(900),)), ())
    told_apart(session, number, reveal, reveal)
    with pytest.raises(PeerFailed, match="was given other orders"):
        either_answers(session, number + 1)


@pytest.mark.parametrize("checked", [False, True])
def test_bounds_of_what_is_lent_are_not_checked(workers, checked):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "bounded", borrowers=["client:clinic"])
    alice, bob, dana = clinic
    own = SCANS.fix_precision().share(alice, bob, crypto_provider=dana, checked=checked)
    session = own._handle.builder
    wire = session.new_wire((2, 2), 1000)
    if checked:
        session.borrow("bounded", wire)
        with pytest.raises(PeerFailed, match=r"without checked=True|session has ended"):
            session.settle()
    else:
        number = session._next_number(2)
        width = sign.width(64, 4)
        check = WithinBound(wire.id + 1, wire.id, 5, "x", (2, 2), width)
        order = ("instruct", Order(number, (check,)), ())
        told_apart(session, number, order, order)
        with pytest.raises(PeerFailed, match="not opened for it"):
            session.settle()


def test_what_is_lent_does_not_come_where_the_dealer_takes_part(workers):
    hospital, clinic = workers("hospital"), workers("clinic")
    deposit(shared(SCANS, hospital), "asked", borrowers=["client:clinic"])
    alice, bob, dana = clinic
    own = SCANS.fix_precision().share(alice, bob, crypto_provider=dana, protocol="snn")
    session = own._handle.builder
    session.borrow("asked", session.new_wire((2, 2), 1000))
    with pytest.raises(PeerFailed, match=r"protocol='tables' or 'fss'|session has ended"):
        session.settle()
