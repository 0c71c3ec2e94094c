"""Sessions: their beginning and end, several threads on one, and what they refuse."""

import gc
import threading
import weakref
from contextlib import suppress

import numpy as np
import pytest
from flows import add, compare, enter, multiply, output, read, ring, wait_until, within, works

from tacita.errors import MissingDealerError, SessionClosed, UsageError
from tacita.program.builder import Handle
from tacita.program.wire import Wire
from tacita.protocols import Gather, Reshape
from tacita.runtime import session as session_module
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.traffic import Traffic, measured


def role_threads():
    return [each for each in threading.enumerate() if each.name.startswith("tacita ")]


@pytest.mark.parametrize("parties", [2, 3, 4])
def test_it_works_for_some_parties(open_session, parties):
    assert works(open_session(parties))


@pytest.mark.parametrize("values", [[], [[1, 2], [3, 4]], 7, [-(1 << 63), (1 << 63) - 1]])
def test_what_goes_in_comes_out(open_session, values):
    session = open_session(3)
    handle = enter(session, values)
    assert session.reveal(handle).shape == np.shape(values)
    assert read(session, handle) == values


def test_a_constant_is_revealed_as_it_is(open_session):
    session = open_session(3)
    handle = session.constant(ring([1, -2, 3]), 1, None)
    assert read(session, handle) == [1, -2, 3]
    view = output(session, (3, 1), base=handle)
    session.emit(Reshape(view.wire.id, handle.wire.id, (3, 1)))
    assert read(session, view) == [[1], [-2], [3]]
    assert read(session, add(session, handle, handle)) == [2, -4, 6]
    assert read(session, multiply(session, handle, handle)) == [1, 4, 9]


def test_a_constant_is_the_sessions_own(open_session):
    session = open_session()
    values = ring([1, 2])
    handle = session.constant(values, 1, None)
    values[:] = 9
    assert read(session, handle) == [1, 2]


def test_an_input_may_be_changed_afterwards(open_session):
    session = open_session()
    values = ring([1, 2])
    handle = session.input(values, (2,), 1, None)
    values[:] = 9
    assert read(session, handle) == [1, 2]


def test_what_is_revealed_is_the_users_own(open_session):
    session = open_session()
    handle = enter(session, [1, 2])
    session.reveal(handle)[:] = 9
    assert read(session, handle) == [1, 2]


@pytest.mark.parametrize("parties", [2, 3])
def test_no_party_is_sent_the_input_itself(open_session, parties):
    session = open_session(parties)
    values = np.arange(1000, dtype=np.uint64)
    handle = session.input(values, (1000,), 1, None)
    session.settle()
    for party in session.parties:
        share = party._store.wires[handle.wire.id].share
        # A thousand uniform words: one that agrees has a probability of 2^-54.
        assert not np.any(share == values)
        assert np.unique(share >> np.uint64(56)).size > 200


# ---- without a dealer --------------------------------------------------------------------------


def test_sums_and_reveals_need_no_dealer(open_session):
    session = open_session(3, dealer=None)
    x, w = enter(session, [1, 2]), enter(session, [10, 20])
    assert read(session, add(session, x, w, (3, -1))) == [-7, -14]


def test_masking_without_a_dealer_says_what_is_missing(open_session):
    session = open_session(dealer=None)
    x = enter(session, [1, 2])
    with pytest.raises(MissingDealerError, match=r"the product .*alice, bob .*crypto_provider="):
        session.mask([x], "the product")
    assert read(session, x) == [1, 2]


# ---- several threads ---------------------------------------------------------------------------


def together(*works_to_do):
    """Runs functions at the same time; raises what they raise."""
    errors = []

    def run(work):
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works_to_do]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_two_threads_use_one_session(open_session):
    session = open_session(limit=20.0)

    def use(start):
        for value in range(start, start + 60):
            x = enter(session, [value, -value])
            assert read(session, multiply(session, x, x)) == [value**2, value**2]
            assert read(session, compare(session, x)) == [1, int(value == 0)]
            session.settle()

    together(lambda: use(0), lambda: use(1000))


def test_each_thread_is_answered_what_it_asked(open_session, monkeypatch):
    """One thread asks between the answers to another."""
    session = open_session()
    x, w = enter(session, [1]), enter(session, [1000])
    await_answer = session._await
    both = threading.Barrier(2)

    def interrupted(name, number):
        with suppress(threading.BrokenBarrierError):
            both.wait(0.1)
        return await_answer(name, number)

    monkeypatch.setattr(session, "_await", interrupted)
    answers = {}

    def ask(handle, value):
        answers[value] = read(session, handle)

    together(lambda: ask(x, 1), lambda: ask(w, 1000))
    assert answers == {1: [1], 1000: [1000]}


def test_an_answer_that_nobody_waited_for_is_not_given_to_the_next(open_session, monkeypatch):
    session = open_session()
    x, w = enter(session, [1]), enter(session, [1000])
    receive = session._endpoint.receive

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(session._endpoint, "receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        session.reveal(x)
    monkeypatch.setattr(session._endpoint, "receive", receive)
    assert read(session, w) == [1000]
    assert read(session, x) == [1]


def test_an_order_that_not_every_role_got_ends_the_session(open_session, monkeypatch):
    session = open_session()
    x = enter(session, [1])
    send = session._endpoint.send

    def fails(to, message):
        if to == "bob" and message.kind == "instruct":
            raise KeyboardInterrupt
        send(to, message)

    monkeypatch.setattr(session._endpoint, "send", fails)
    with pytest.raises(KeyboardInterrupt):
        session.reveal(x)
    monkeypatch.setattr(session._endpoint, "send", send)
    with pytest.raises(SessionClosed, match="did not reach every role"):
        session.reveal(x)


def test_ids_are_never_repeated(open_session):
    session = open_session()
    found = []

    def take():
        found.extend(session.new_id() for _ in range(2000))

    together(take, take)
    assert len(set(found)) == 4000


# ---- the end -----------------------------------------------------------------------------------


def test_closing_twice_is_closing_once(open_session):
    session = open_session()
    session.close()
    session.close()
    assert not session.usable


def test_a_closed_session_refuses_everything_and_says_so(open_session):
    session = open_session()
    x = enter(session, [1])
    session.close()
    for use in (
        lambda: enter(session, [1]),
        lambda: session.constant(ring([1]), 1, None),
        lambda: session.reveal(x),
        lambda: session.mask([x], "test"),
        lambda: add(session, x, x),
        session.settle,
    ):
        with pytest.raises(SessionClosed, match=r"alice, bob has ended .*share the data again"):
            use()


def test_closing_ends_the_threads():
    before = len(role_threads())
    for _ in range(20):
        session = EmbeddedSession(["alice", "bob", "carol"], "dealer")
        assert works(session)
        session.close()
    assert len(role_threads()) == before


def test_a_session_that_nobody_holds_ends():
    threads = []
    for _ in range(20):
        session = EmbeddedSession(["alice", "bob"], "dealer")
        threads += session._threads
        handle = enter(session, [1])
    assert handle.builder is session
    gone = weakref.ref(session)
    del session, handle
    gc.collect()
    assert gone() is None
    with within(10):
        assert wait_until(lambda: not any(thread.is_alive() for thread in threads))


def test_a_handle_keeps_its_session():
    session = EmbeddedSession(["alice", "bob"], None)
    handle = enter(session, [5])
    del session
    gc.collect()
    assert read(handle.builder, handle) == [5]
    handle.builder.close()


def test_closing_while_the_roles_have_work(open_session):
    session = open_session(3)
    x = enter(session, np.arange(5000))
    for _ in range(20):
        x = multiply(session, x, x)
    with within(10):
        session.close()
    assert not any(thread.is_alive() for thread in session._threads)


# ---- what is said of it ------------------------------------------------------------------------


def test_its_repr_names_the_roles(open_session):
    session = open_session(3)
    assert repr(session) == ("Session(holders=['alice', 'bob', 'carol'], dealer='dealer', open)")
    session.close()
    assert "closed" in repr(session)


def test_its_threads_bear_the_roles_names(open_session):
    session = open_session()
    assert [thread.name for thread in session._threads] == [
        "tacita alice",
        "tacita bob",
        "tacita dealer",
    ]
    assert all(thread.daemon for thread in session._threads)


def test_an_order_too_large_is_refused_before_it_is_sent(open_session, monkeypatch):
    monkeypatch.setattr(session_module, "LARGEST_ORDER", 1000)
    session = open_session()
    x = enter(session, [1, 2])
    indices = np.zeros(1000, "<i8").tobytes()
    session.emit(Gather(session.new_id(), x.wire.id, (1000,), indices))
    with pytest.raises(UsageError, match="too large to send"):
        session.flush()
    assert works(session)


def test_instructions_that_are_too_large_together_are_sent_apart(open_session, monkeypatch):
    monkeypatch.setattr(session_module, "LARGEST_ORDER", 600)
    session = open_session()
    x = enter(session, [5, 6])
    turned = session.new_id()
    indices = np.array([1, 0] * 30, "<i8").tobytes()
    session.emit(Gather(turned, x.wire.id, (60,), indices))
    session.emit(Gather(session.new_id(), x.wire.id, (60,), indices))
    # The source dies before the order is sent, and is used by both of its pieces.
    del x
    session.flush()
    assert read(session, Handle(session, Wire(turned, (60,)))) == [6, 5] * 30


def test_a_measurement_counts_what_happens_within(open_session):
    session = open_session(3)
    x = enter(session, [1, 2])
    with measured(session) as traffic:
        session.mask([x], "test")
    assert traffic == Traffic(1, 32, 0, 0, 0)
    with measured(session) as traffic:
        w = enter(session, [1, 2, 3])
    assert traffic == Traffic(0, 0, 0, 0, 24)
    session.mask([w], "test")
    with measured(session) as traffic:
        multiply(session, x, x)
    assert traffic == Traffic(0, 0, 16, 0, 0)


def test_a_handle_is_of_its_builder(open_session):
    session = open_session()
    handle = enter(session, [1])
    assert isinstance(handle, Handle)
    assert handle.builder is session
    assert (handle.public, handle.masked) == (False, False)
