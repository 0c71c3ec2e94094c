"""A role that dies or stalls: the user is told within the limit, and a new session works."""

import threading
import time

import numpy as np
import pytest
from flows import add, compare, enter, multiply, read, wait_until, within, works

from tacita.errors import PeerError, PeerFailed, PeerTimeout, SessionClosed, TacitaError
from tacita.protocols import Combine, MaskWires, NonNegative, Product
from tacita.runtime.dealer import Dealer
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.worker import VirtualWorker, session_for

SECRET = 7_305_190_826_441
ROLES = ["alice", "bob", "carol", "dealer"]


class InjuryError(RuntimeError):
    """An error of no role's own."""


def injure(session, monkeypatch, role, kind, error):
    """Has a role raise when it comes to an instruction of a kind."""

    def before(carry_out):
        def carry_out_or_fail(order, arrays):
            if any(isinstance(each, kind) for each in order.instructions):
                raise error
            carry_out(order, arrays)

        return carry_out_or_fail

    if role == session.dealer:
        whole = Dealer.carry_out
        monkeypatch.setattr(
            Dealer,
            "carry_out",
            lambda self, order, arrays: before(lambda *a: whole(self, *a))(order, arrays),
        )
    else:
        party = session.parties[session.holders.index(role)]
        party.carry_out = before(party.carry_out)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", [MaskWires, Product, NonNegative], ids=lambda kind: kind.__name__)
def test_the_user_is_told_who_died(open_session, monkeypatch, role, kind):
    session = open_session(3, limit=10.0)
    injure(session, monkeypatch, role, kind, InjuryError(f"of {SECRET}"))
    x = enter(session, [SECRET, -SECRET])
    out = compare(session, multiply(session, x, x))
    with within(5), pytest.raises(PeerFailed, match=f"{role} stopped: InjuryError in ") as caught:
        session.reveal(out)
    assert str(SECRET) not in str(caught.value)
    assert not session.usable


@pytest.mark.parametrize("role", ["alice", "dealer"])
def test_what_follows_a_death_is_refused(open_session, monkeypatch, role):
    session = open_session()
    injure(session, monkeypatch, role, Product, InjuryError())
    x = enter(session, [1])
    out = multiply(session, x, x)
    with pytest.raises(PeerError):
        session.reveal(out)
    for use in (
        lambda: enter(session, [1]),
        lambda: session.reveal(x),
        lambda: session.mask([out], "test"),
        lambda: add(session, x, x),
        session.settle,
    ):
        with pytest.raises(SessionClosed, match="alice, bob") as caught:
            use()
        assert role in str(caught.value)


def test_what_a_role_itself_says_is_told(open_session, monkeypatch):
    session = open_session()
    injure(session, monkeypatch, "bob", Combine, TacitaError("something of bob's"))
    x = enter(session, [1])
    with pytest.raises(PeerFailed, match="bob stopped: TacitaError: something of bob's"):
        session.reveal(add(session, x, x))


def test_all_roles_end_after_a_death(open_session, monkeypatch):
    session = open_session(3, limit=10.0)
    injure(session, monkeypatch, "bob", Product, InjuryError())
    x = enter(session, [1])
    with pytest.raises(PeerFailed):
        session.reveal(multiply(session, x, x))
    with within(5):
        session.close()
    assert not any(thread.is_alive() for thread in session._threads)


def test_a_new_session_of_the_same_workers_works(monkeypatch):
    alice, bob, dealer = (VirtualWorker(id=name) for name in ("alice", "bob", "dealer"))
    first = session_for([alice, bob], dealer)
    with monkeypatch.context() as injuring:
        injure(first, injuring, "dealer", Product, InjuryError())
        with pytest.raises(PeerFailed):
            works(first)
    second = session_for([alice, bob], dealer)
    assert second is not first
    assert works(second)
    assert session_for([alice, bob], dealer) is second
    second.close()


def test_a_wire_that_nobody_holds_is_named_and_not_shown(open_session):
    session = open_session()
    x = enter(session, [SECRET])
    session.emit(Combine(session.new_id(), ((x.wire.id, 1), (999, 1)), (1,)))
    with pytest.raises(PeerFailed, match=r"(alice|bob) holds no wire 999") as caught:
        session.settle()
    assert str(SECRET) not in str(caught.value)


def test_a_wire_that_is_not_masked_is_an_error(open_session):
    session = open_session()
    x = enter(session, [SECRET])
    session.emit(Product(session.new_id(), x.wire.id, x.wire.id, False, (1,)))
    with pytest.raises(PeerFailed, match=f"wire {x.wire.id} has not been masked"):
        session.settle()


# ---- waiting -----------------------------------------------------------------------------------


@pytest.fixture
def stall():
    """Has a party wait at an instruction of a kind until the test is over."""
    over = threading.Event()

    def start(session, role, kind):
        party = session.parties[session.holders.index(role)]
        carry_out = party.carry_out

        def wait(order, arrays):
            if any(isinstance(each, kind) for each in order.instructions):
                over.wait()
            carry_out(order, arrays)

        party.carry_out = wait

    yield start
    over.set()


@pytest.mark.parametrize("role", ["alice", "bob"])
def test_a_party_that_stalls_is_a_timeout(open_session, stall, role):
    session = open_session(limit=0.2)
    stall(session, role, Combine)
    x = enter(session, [1])
    out = add(session, x, x)
    with within(3), pytest.raises(PeerTimeout, match=rf"{role} sent .* nothing for 0\.2 s"):
        session.reveal(out)
    assert not session.usable


@pytest.mark.parametrize("role", ["alice", "bob", "carol"])
def test_a_party_that_stalls_in_a_round_is_an_error(open_session, stall, role):
    session = open_session(3, limit=0.2)
    stall(session, role, MaskWires)
    x = enter(session, [1])
    # Whether the user's side or the waiting party gives up first is a matter of microseconds.
    with within(3), pytest.raises(PeerError, match=r"nothing for 0\.2 s"):
        session.reveal(multiply(session, x, x))


def test_a_dealer_that_stalls_is_an_error(open_session, monkeypatch):
    session = open_session(limit=0.2)
    over = threading.Event()
    monkeypatch.setattr(Dealer, "carry_out", lambda *_: over.wait())
    x = enter(session, [1])
    with within(3), pytest.raises(PeerError, match=r"nothing for 0\.2 s"):
        session.reveal(multiply(session, x, x))
    over.set()


def test_a_slow_party_that_goes_on_is_waited_for(open_session):
    session = open_session(limit=0.3)
    party = session.parties[1]
    carry_out = party.carry_out

    def slow(order, arrays):
        time.sleep(0.05)
        carry_out(order, arrays)

    party.carry_out = slow
    x = total = enter(session, [1])
    for _ in range(9):
        total = add(session, total, x)
        session.flush()
    start = time.monotonic()
    assert read(session, total) == [10]
    assert time.monotonic() - start > session._limit


def test_a_session_without_work_does_not_time_out(open_session):
    session = open_session(limit=0.1)
    x = enter(session, [1, 2])
    product = multiply(session, x, x)
    session.settle()
    time.sleep(0.3)
    assert read(session, product) == [1, 4]


def test_dying_while_nobody_asks_ends_the_other_roles_at_the_end(monkeypatch):
    session = EmbeddedSession(["alice", "bob"], "dealer", limit=0.2)
    injure(session, monkeypatch, "alice", MaskWires, InjuryError())
    x = enter(session, np.arange(3))
    session.mask([x], "test")
    threads = session._threads
    del session, x
    assert wait_until(lambda: not any(thread.is_alive() for thread in threads))
