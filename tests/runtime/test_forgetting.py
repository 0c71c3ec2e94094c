"""A wire is forgotten by all roles when nobody refers to it any more."""

import gc

from flows import add, compare, enter, multiply, output, read

from tacita.protocols import Reshape
from tacita.runtime.plain import PlainRun


def wires(session, dealers):
    session.settle()
    gc.collect()
    session.settle()
    return [set(role._store.wires) for role in (*session.parties, dealers[-1])]


def test_wires_go_from_parties_and_dealer(open_session, dealers):
    session = open_session(3)
    x, w = enter(session, [1, 2]), enter(session, [3, 4])
    product = multiply(session, x, w)
    compared = compare(session, product)
    *parties, dealer = wires(session, dealers)
    kept = {handle.wire.id for handle in (x, w, product, compared)}
    assert parties == [kept] * 3
    assert dealer == kept - {compared.wire.id}  # which has no mask
    del x, product
    kept = {w.wire.id, compared.wire.id}
    *parties, dealer = wires(session, dealers)
    assert parties == [kept] * 3
    assert dealer == {w.wire.id}
    del w, compared
    assert wires(session, dealers) == [set()] * 4


def test_intermediate_results_go_without_settling(open_session, dealers):
    session = open_session()
    x = total = enter(session, [1])
    for _ in range(200):
        total = add(session, total, x)
    assert read(session, total) == [201]
    for party in session.parties:
        # Forgetting rides on the next order, so the last one or two may still be there.
        assert len(party._store.wires) <= 4


def test_a_view_outlives_its_base(open_session, dealers):
    session = open_session()
    x = enter(session, [[1, 2], [3, 4]])
    session.mask([x], "test")
    view = output(session, (4,), base=x)
    session.emit(Reshape(view.wire.id, x.wire.id, (4,)))
    base = x.wire.id
    view.base = None
    view.mark_masked()
    del x
    assert all(base not in held for held in wires(session, dealers))
    # The mask of the base is still there for the view.
    assert read(session, multiply(session, view, view)) == [1, 4, 9, 16]


def test_a_base_is_kept_while_a_handle_on_its_view_may_ask_for_its_mask(open_session, dealers):
    session = open_session()
    x = enter(session, [[1, 2], [3, 4]])
    view = output(session, (4,), base=x)
    session.emit(Reshape(view.wire.id, x.wire.id, (4,)))
    base = x.wire.id
    del x
    assert all(base in held for held in wires(session, dealers)[:-1])
    assert read(session, multiply(session, view, view)) == [1, 4, 9, 16]


def test_a_session_without_a_dealer_forgets_too(open_session):
    session = open_session(dealer=None)
    x = enter(session, [1])
    total = add(session, x, x)
    assert read(session, total) == [2]
    del x, total
    gc.collect()
    session.settle()
    assert [party._store.wires for party in session.parties] == [{}, {}]


def test_in_the_clear_values_go_too():
    run = PlainRun()
    x = enter(run, [1])
    total = add(run, x, x)
    assert len(run._values) == 2
    del x
    gc.collect()
    assert set(run._values) == {total.wire.id}
