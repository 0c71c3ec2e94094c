"""Wires that a check has refused: they say so when revealed; nothing else is the worse for it."""

import time

import numpy as np
import pytest
from flows import add, check, compare, enter, multiply, output, read, truncate, works

from tacita.errors import BoundExceeded
from tacita.program.builder import Handle
from tacita.protocols import Concatenate, Extremum, Reshape, Sum
from tacita.protocols.extremum import tournament
from tacita.runtime import transport
from tacita.runtime.plain import PlainRun

PARTIES = pytest.mark.parametrize("parties", [2, 3])


@PARTIES
def test_a_refused_wire_says_what_was_checked(open_session, parties):
    session = open_session(parties)
    x = enter(session, [3, 1 << 50, -2])
    out = check(session, x, 100, "the third layer")
    with pytest.raises(BoundExceeded, match=r"the third layer: .*shape \(3,\).*bound of 100") as e:
        session.reveal(out)
    assert str(1 << 50) not in str(e.value)
    assert session.usable


@PARTIES
def test_what_was_checked_remains_as_it_was(open_session, parties):
    session = open_session(parties)
    x = enter(session, [3, 1 << 50])
    check(session, x, 100)
    assert read(session, x) == [3, 1 << 50]
    assert read(session, multiply(session, x, x)) == [9, 0]  # 2^100 mod 2^64


@PARTIES
def test_the_session_stays_usable(open_session, parties):
    session = open_session(parties)
    for _ in range(3):
        with pytest.raises(BoundExceeded):
            session.reveal(check(session, enter(session, [1, 7]), 6))
        assert works(session)


def chain(builder, refused, other):
    """Something of every kind made of a refused wire, and of what was made of it."""
    summed = add(builder, refused, other)
    product = multiply(builder, summed, other)
    view = output(builder, (1, 2), base=product)
    builder.emit(Reshape(view.wire.id, product.wire.id, (1, 2)))
    builder.mask([view], "test")
    total = output(builder, (2,))
    builder.emit(Sum(total.wire.id, view.wire.id, (0,), (2,)))
    joined = output(builder, (2, 2))
    builder.emit(Concatenate(joined.wire.id, (view.wire.id, view.wire.id), 0))
    builder.mask([joined], "test")
    best, where = output(builder, (2,)), output(builder, (2,))
    levels = tournament(2, 2, 64)
    builder.emit(Extremum(best.wire.id, where.wire.id, joined.wire.id, (2, 2), levels))
    again = check(builder, total, 5, "a second check")
    return [
        summed, product, view, total, joined, best, where, again,
        truncate(builder, product), compare(builder, total), multiply(builder, again, total),
    ]  # fmt: skip


@PARTIES
def test_everything_that_is_made_of_it_is_refused(open_session, parties):
    session = open_session(parties)
    refused = check(session, enter(session, [1, 7]), 6, "the first check")
    made = chain(session, refused, enter(session, [2, 3]))
    for handle in made:
        with pytest.raises(BoundExceeded, match="the first check"):
            session.reveal(handle)
    assert works(session)


def test_in_the_clear_it_is_the_same():
    run = PlainRun()
    array = np.array([1, 7], np.uint64)
    refused = check(run, run.input(array, (2,), 1, None), 6, "the first check")
    for handle in chain(run, refused, run.input(array, (2,), 1, None)):
        with pytest.raises(BoundExceeded, match="the first check"):
            run.reveal(handle)


@PARTIES
def test_wires_that_are_masked_beside_it_are_masked(open_session, parties):
    session = open_session(parties)
    refused = check(session, enter(session, [1, 7]), 6)
    gone = add(session, refused, refused)
    left, right = enter(session, [2, 3]), enter(session, [4, -5])
    session.mask([left, gone, right], "test")
    assert read(session, multiply(session, left, right)) == [8, -15]
    assert read(session, compare(session, right)) == [1, 0]
    with pytest.raises(BoundExceeded):
        session.reveal(gone)


@PARTIES
def test_material_of_passed_over_orders_is_not_used_for_later_ones(open_session, parties):
    session = open_session(parties)
    x = enter(session, [2, 3])
    gone = check(session, enter(session, [1, 7]), 6)
    for _ in range(5):
        gone = multiply(session, gone, x)
        assert read(session, multiply(session, x, x)) == [4, 9]
        assert read(session, compare(session, add(session, x, x, (1, -1)))) == [1, 1]


@PARTIES
def test_all_parties_refuse_alike(open_session, parties):
    session = open_session(parties)
    gone = multiply(session, check(session, enter(session, [1, 7]), 6), enter(session, [1, 1]))
    session.settle()
    refused = [party._store.failed for party in session.parties]
    assert gone.wire.id in refused[0]
    assert all(each == refused[0] for each in refused)


def test_a_refused_wire_is_forgotten_like_any_other(open_session):
    session = open_session()
    gone = check(session, enter(session, [1, 7]), 6)
    made = multiply(session, gone, gone)
    with pytest.raises(BoundExceeded):
        session.reveal(made)
    number = made.wire.id
    del gone, made
    session.settle()
    for party in session.parties:
        assert not party._store.failed
        assert number not in party._store.wires


def test_a_dealer_does_not_wait_for_passed_over_material_to_be_taken(open_session, monkeypatch):
    monkeypatch.setattr(transport, "MOST_WAITING_BYTES", 256)
    session = open_session(limit=0.2)
    gone = check(session, enter(session, [1] * 9 + [7]), 6)
    other = enter(session, [1] * 10)
    for _ in range(9):
        gone = multiply(session, gone, other)
    with pytest.raises(BoundExceeded):
        session.reveal(gone)
    time.sleep(0.4)
    assert works(session)


def test_a_bound_that_holds_costs_nothing_but_the_check(open_session):
    session = open_session()
    x = enter(session, [1, -7])
    out = check(session, x, 7)
    assert isinstance(out, Handle)
    assert out.masked
    assert read(session, multiply(session, out, out)) == [1, 49]
