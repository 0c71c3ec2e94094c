"""One message of a run that is not as it should be: an error, and no result."""

import numpy as np
import pytest
import torch
from meddling import openings, tamper
from networks import mlp

from tacita.compiler import archive
from tacita.errors import PeerError, PeerFailed
from tacita.runtime.orders import (
    Dealt,
    Deploy,
    Run,
    Turn,
    decode_dealt,
    decode_deploy,
    decode_run,
    decode_turn,
    encode,
)
from tacita.runtime.serving import USER
from tacita.runtime.transport import Message
from tacita.torch.whole.model import SharedModel, export

X = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
EXTRA = np.zeros(2, np.uint64)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return export(mlp(3, 4, 2), X, samples=X)


@pytest.fixture(scope="module")
def another():
    torch.manual_seed(0)
    return export(mlp(3, 4, 2), X, samples=X / 100)


# ---- programs ------------------------------------------------------------------------------------


def deploys(header, **changes):
    order = decode_deploy(header)
    fields = {name: getattr(order, name) for name in order.__struct_fields__}
    return [Message("deploy", encode(Deploy(**fields | changes)))]


@pytest.mark.parametrize("what", ["program", "model", "number"])
@pytest.mark.parametrize(("parties", "role"), [(2, "bob"), (3, "carol"), (2, "dealer")])
def test_roles_with_different_programs_open_nothing(
    open_session, model, another, parties, role, what
):
    session = open_session(parties)
    opened = openings(session)
    given = {"program": archive.encode(another.program), "model": bytes(16), "number": 99}[what]
    tamper(session, USER, role, "deploy", lambda m: deploys(m.header, **{what: given}))
    shared = SharedModel(model, session)
    with pytest.raises(PeerFailed, match="has another program under number"):
        shared(X).get()
    # The weights, once, under their masks.
    assert len(opened) == parties * (parties - 1)


@pytest.mark.parametrize("data", [b"", b"\xc1", bytes(100)], ids=["none", "garbage", "zeros"])
def test_a_program_that_does_not_decode_is_refused(open_session, model, data):
    session = open_session()
    opened = openings(session)
    tamper(session, USER, "bob", "deploy", lambda m: deploys(m.header, program=data))
    shared = SharedModel(model, session)
    with pytest.raises(PeerFailed, match="bob stopped: ProgramError"):
        shared(X).get()
    assert len(opened) == 2


# ---- orders to run -------------------------------------------------------------------------------


def runs(header, **changes):
    order = decode_run(header)
    fields = {name: getattr(order, name) for name in order.__struct_fields__}
    return [Message("run", encode(Run(**fields | changes)))]


@pytest.mark.parametrize("ahead", [False, True], ids=["live", "stock"])
@pytest.mark.parametrize(
    "change",
    [
        lambda order: {"number": order.number + 100},
        lambda order: {"deployment": order.deployment + 1},
        lambda order: {"batch": b"" if order.batch else bytes(16)},
        lambda _: {"inputs": ()},
        lambda _: {"inputs": (1 << 40,)},
        lambda _: {"outputs": ()},
    ],
    ids=["number", "deployment", "batch", "no inputs", "unknown input", "no outputs"],
)
def test_a_party_that_is_told_to_run_something_else(deploy, model, change, ahead):
    shared = deploy(model, limit=2.0)
    if ahead:
        shared.deal(1)
    tamper(
        shared.session,
        USER,
        "alice",
        "run",
        lambda m: runs(m.header, **change(decode_run(m.header))),
    )
    with pytest.raises(PeerError):
        shared(X).get()
    assert not shared.session.usable


def test_a_dealer_that_is_told_to_run_something_else(deploy, model):
    shared = deploy(model)
    change = {"number": 1000}
    tamper(shared.session, USER, "dealer", "run", lambda m: runs(m.header, **change))
    with pytest.raises(PeerFailed, match=r"bob stopped: MaterialMismatch: .* out of turn"):
        shared(X).get()


def test_an_order_to_run_that_comes_twice_draws_nothing_twice(deploy, model):
    shared = deploy(model)
    tamper(shared.session, USER, "alice", "run", lambda m: [m, m])
    shared(X)
    with pytest.raises(PeerFailed, match="alice stopped: MaskReused"):
        shared.session.settle()


# ---- openings ------------------------------------------------------------------------------------


def turned(message, **changes):
    header = decode_turn(message.header)
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    return [Message("open", encode(Turn(**fields | changes)), message.arrays)]


OPENINGS = {
    "of another shape": lambda m: [Message("open", m.header, (m.arrays[0][:-1], *m.arrays[1:]))],
    "of more dimensions": lambda m: [Message("open", m.header, (m.arrays[0][None],))],
    "none": lambda m: [Message("open", m.header, ())],
    "one too many": lambda m: [Message("open", m.header, (*m.arrays, EXTRA))],
    "of another run": lambda m: turned(m, number=0),
    "of another round": lambda m: turned(m, round=1),
    "of another batch": lambda m: turned(m, batch=bytes(16)),
    "without a header": lambda m: [Message("open", b"", m.arrays)],
    "twice": lambda m: [m, m],
}


@pytest.mark.parametrize("ahead", [False, True], ids=["live", "stock"])
@pytest.mark.parametrize("change", OPENINGS.values(), ids=OPENINGS)
def test_a_changed_opening_is_refused(deploy, model, change, ahead):
    shared = deploy(model, 3)
    if ahead:
        shared.deal(1)
    shared.session.settle()
    tamper(shared.session, "alice", "carol", "open", change)
    with pytest.raises(PeerFailed, match=r"carol stopped: |alice opened"):
        shared(X).get()
    assert not shared.session.usable


@pytest.mark.parametrize("ahead", [False, True], ids=["live", "stock"])
def test_a_lost_opening_ends_the_session(deploy, model, ahead):
    shared = deploy(model, limit=0.5)
    if ahead:
        shared.deal(1)
    shared.session.settle()
    tamper(shared.session, "alice", "bob", "open", lambda _: [])
    with pytest.raises(PeerError):
        shared(X).get()


# ---- material ------------------------------------------------------------------------------------


def dealt(message, by=0, counts=None, arrays=None):
    header = decode_dealt(message.header)
    counts = header.counts if counts is None else counts
    arrays = message.arrays if arrays is None else arrays
    return [Message("material", encode(Dealt(header.number + by, counts)), arrays)]


MATERIAL = {
    "none": lambda m: dealt(m, counts={}, arrays=()),
    "an array too few": lambda m: dealt(m, arrays=m.arrays[:-1]),
    "an array too many": lambda m: dealt(m, counts={0: 2}, arrays=(*m.arrays, EXTRA)),
    "too short": lambda m: dealt(m, arrays=(m.arrays[0].reshape(-1)[:-1], *m.arrays[1:])),
    "of the instruction before": lambda m: dealt(m, by=-1),
    "of a later instruction": lambda m: dealt(m, by=1),
    "twice": lambda m: [m, m],
    "without a header": lambda m: [Message("material", b"", m.arrays)],
}


@pytest.mark.parametrize("change", MATERIAL.values(), ids=MATERIAL)
def test_changed_material_is_refused(deploy, model, change):
    shared = deploy(model)
    tamper(shared.session, "dealer", "bob", "material", change)
    with pytest.raises(PeerFailed, match=r"bob stopped: (MaterialMismatch|DecodeError)"):
        shared(X).get()
    assert not shared.session.usable


def test_lost_material_is_noticed(deploy, model):
    shared = deploy(model)
    tamper(shared.session, "dealer", "bob", "material", lambda _: [])
    with pytest.raises(PeerFailed, match=r"MaterialMismatch: .* out of turn"):
        shared(X).get()
