"""Workers, the sessions they share, and who may hold shares with whom."""

import gc
import weakref

import numpy as np
import pytest
from flows import enter, multiply, works

from tacita.errors import HoldersError, UsageError
from tacita.runtime.worker import VirtualWorker, measure, session_for


@pytest.fixture
def workers():
    made = [VirtualWorker(id=name) for name in ("alice", "bob", "carol", "dealer")]
    yield made
    for worker in made:
        worker.clear_objects()


def test_one_holder_is_too_few(workers):
    alice, *_, dealer = workers
    with pytest.raises(HoldersError, match=r"two holders or more, not \['alice'\]"):
        session_for([alice], dealer)


def test_no_holder_is_too_few(workers):
    with pytest.raises(HoldersError, match="two holders"):
        session_for([], workers[-1])


def test_the_same_holder_twice_is_refused(workers):
    alice, bob, _, dealer = workers
    with pytest.raises(HoldersError, match="a worker twice"):
        session_for([alice, bob, alice], dealer)


def test_two_holders_of_one_name_are_refused(workers):
    alice, *_, dealer = workers
    with pytest.raises(HoldersError, match="a worker twice"):
        session_for([alice, VirtualWorker(id="alice")], dealer)


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_dealer_that_holds_shares_is_refused(workers, name):
    alice, bob, *_ = workers
    dealer = {"alice": alice, "bob": VirtualWorker(id="bob")}[name]
    with pytest.raises(HoldersError, match=f"{name} cannot be crypto provider and holder"):
        session_for([alice, bob], dealer)


@pytest.mark.parametrize("protocol", ["gmw", "", "TABLES"])
def test_a_protocol_that_does_not_exist_is_refused(workers, protocol):
    alice, bob, _, dealer = workers
    with pytest.raises(UsageError, match=f"no protocol '{protocol}'; there is tables, fss, snn"):
        session_for([alice, bob], dealer, protocol=protocol)


@pytest.mark.parametrize("protocol", ["fss", "snn"])
def test_a_protocol_for_two_holders_is_refused_to_three(workers, protocol):
    *holders, dealer = workers
    with pytest.raises(HoldersError, match=f"'{protocol}' is for two holders, not 3: .*'tables'"):
        session_for(holders, dealer, protocol=protocol)
    session = session_for(holders[:2], dealer, protocol=protocol)
    assert session.protocol == protocol
    assert session is not session_for(holders[:2], dealer)


@pytest.mark.parametrize("other", ["bob", None, 3, object()])
def test_only_workers_hold_shares(workers, other):
    with pytest.raises(HoldersError, match=f"not by {type(other).__name__}"):
        session_for([workers[0], other], workers[-1])


def test_a_holder_that_is_called_as_the_dealers_end_is_refused(workers):
    alice, *_, dealer = workers
    with pytest.raises(HoldersError, match="'dealer, consulted' is how dealer is called"):
        session_for([alice, VirtualWorker(id="dealer, consulted")], dealer)


def test_only_a_worker_deals(workers):
    alice, bob, *_ = workers
    with pytest.raises(HoldersError, match="not by str"):
        session_for([alice, bob], "dealer")


@pytest.mark.parametrize("name", ["", None, 3, b"alice"])
def test_a_worker_has_a_name(name):
    with pytest.raises(UsageError, match="non-empty string"):
        VirtualWorker(id=name)


def test_a_worker_takes_a_hook_as_pysyft_passes_it():
    hook = object()
    assert VirtualWorker(hook, id="alice").hook is hook


def test_its_repr_is_its_name():
    assert repr(VirtualWorker(id="alice")) == "VirtualWorker(id='alice')"


def test_the_same_roles_share_a_session(workers):
    alice, bob, carol, dealer = workers
    session = session_for([alice, bob], dealer)
    assert session_for((alice, bob), dealer) is session
    others = [
        session_for([bob, alice], dealer),
        session_for([alice, bob, carol], dealer),
        session_for([alice, bob], carol),
        session_for([alice, bob], None),
        session_for([alice, bob], dealer, checked=True),
    ]
    assert len({id(each) for each in (session, *others)}) == 6
    assert others[-1].checked
    assert others[0].holders == ("bob", "alice")
    assert others[2].dealer == "carol"


def test_a_closed_session_is_replaced(workers):
    alice, bob, _, dealer = workers
    session = session_for([alice, bob], dealer)
    session.close()
    again = session_for([alice, bob], dealer)
    assert again is not session
    assert works(again)


def test_workers_live_as_long_as_the_session_that_is_found_by_them(workers):
    # Else another worker could come to lie where one of them lay, and be taken for it.
    alice, *_ = workers
    bob, dealer = VirtualWorker(id="bob"), VirtualWorker(id="dealer")
    session_for([alice, bob], dealer)
    left = [weakref.ref(bob), weakref.ref(dealer)]
    del bob, dealer
    gc.collect()
    assert [worker().id for worker in left] == ["bob", "dealer"]
    alice.clear_objects()
    gc.collect()
    assert [worker() for worker in left] == [None, None]


def test_clearing_ends_the_sessions(workers):
    alice, bob, _, dealer = workers
    session = session_for([alice, bob], dealer)
    alice.clear_objects()
    assert not session.usable
    assert works(session_for([alice, bob], dealer))


def test_plain_arrays_are_stored_and_taken_once(workers):
    alice = workers[0]
    array = np.arange(3.0)
    number = alice.put(array)
    array[:] = 0
    assert alice.put(array) != number
    assert alice.take(number).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(UsageError, match=f"alice has no object {number}"):
        alice.take(number)


def test_clearing_forgets_plain_arrays(workers):
    alice = workers[0]
    number = alice.put(np.arange(3))
    alice.clear_objects()
    with pytest.raises(UsageError, match="no object"):
        alice.take(number)


def test_measuring_counts_the_session_of_the_workers(workers):
    alice, bob, _, dealer = workers
    with measure(alice, bob, crypto_provider=dealer) as traffic:
        session = session_for([alice, bob], dealer)
        x = enter(session, [1, 2, 3])
        multiply(session, x, x)
    assert (traffic.rounds, traffic.online_bytes) == (1, 24)
    assert (traffic.dealt_bytes, traffic.seed_bytes, traffic.input_bytes) == (24, 0, 24)


def test_measuring_nothing_counts_nothing(workers):
    alice, bob, _, dealer = workers
    works(session_for([alice, bob], dealer))
    with measure(alice, bob, crypto_provider=dealer) as traffic:
        pass
    assert set(vars(traffic).values()) == {0}


def test_measuring_keeps_checked_sessions_apart(workers):
    alice, bob, _, dealer = workers
    with measure(alice, bob, crypto_provider=dealer, checked=True) as traffic:
        works(session_for([alice, bob], dealer))
    assert traffic.rounds == 0


def test_measuring_refuses_what_sharing_refuses(workers):
    with pytest.raises(HoldersError), measure(workers[0]):
        pass
