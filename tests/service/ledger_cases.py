"""What a ledger does, whatever database it is in: tests that take the fixture `url`."""

import os
import threading

import pytest
from ledger_racers import MODEL, PROGRAM, check, filled, fresh, race_and_kill, used
from sqlalchemy import create_engine, text

from tacita.errors import MaskReused, MaterialError, MaterialMismatch, UsageError
from tacita.service.ledger import VERSION, Ledger
from tacita.service.ledger_database import parsed


@pytest.fixture
def ledger(url):
    opened = Ledger(url, party="alice")
    yield opened
    opened.close()


def state(ledger, batch):
    return ledger.states([batch]).get(batch)


def test_a_batchs_life(ledger):
    batch = fresh()
    assert state(ledger, batch) is None
    ledger.enter(batch, MODEL, PROGRAM)
    assert (ledger.level(MODEL), ledger.waiting(MODEL), ledger.dealing(MODEL)) == (0, [], [batch])
    ledger.ready(batch)
    assert (ledger.level(MODEL), ledger.waiting(MODEL), ledger.dealing(MODEL)) == (1, [batch], [])
    ledger.spend(batch, "owner:mia", model=MODEL, program=PROGRAM, query="ab" * 16)
    assert (ledger.level(MODEL), ledger.waiting(MODEL), state(ledger, batch)) == (0, [], "spent")


# What each step makes of a batch in each state: the state after it, or an error and what it says.
STEPS = {
    "enter": {
        None: "dealing",
        "dealing": (MaskReused, "knows batch"),
        "ready": (MaskReused, "knows batch"),
        "spent": (MaskReused, "knows batch"),
        "void": (MaskReused, "knows batch"),
    },
    "ready": {
        None: (MaterialMismatch, "has no batch"),
        "dealing": "ready",
        "ready": (MaterialMismatch, "is ready"),
        "spent": (MaskReused, "was spent already"),
        "void": (MaterialMismatch, "was given up"),
    },
    "void": {
        None: (MaterialMismatch, "has no batch"),
        "dealing": "void",
        "ready": "void",
        "spent": (MaskReused, "was spent already"),
        "void": "void",
    },
    "spend": {
        None: (MaterialMismatch, "has no batch"),
        "dealing": (MaterialMismatch, "being dealt still"),
        "ready": "spent",
        "spent": (MaskReused, "was spent already"),
        "void": (MaterialMismatch, "was given up"),
    },
}
WAY = {
    None: [],
    "dealing": ["enter"],
    "ready": ["enter", "ready"],
    "spent": ["enter", "ready", "spend"],
    "void": ["enter", "void"],
}


def do(ledger, step, batch):
    arguments = {"enter": (MODEL, PROGRAM), "spend": ("owner:mia",)}.get(step, ())
    getattr(ledger, step)(batch, *arguments)


@pytest.mark.parametrize("before", WAY)
@pytest.mark.parametrize("step", STEPS)
def test_every_step_from_every_state(ledger, step, before):
    batch = fresh()
    for each in WAY[before]:
        do(ledger, each, batch)
    match STEPS[step][before]:
        case str(after):
            do(ledger, step, batch)
            assert state(ledger, batch) == after
        case error, what:
            with pytest.raises(error, match=what) as caught:
                do(ledger, step, batch)
            assert type(caught.value) is error
            assert batch.hex() in str(caught.value)
            assert state(ledger, batch) == before


@pytest.mark.parametrize("other", ["model", "program"])
def test_a_batch_of_something_else_is_not_spent(url, other):
    ledger, (batch,) = filled(url, 1)
    wanted = {"model": MODEL, "program": PROGRAM} | {other: b"x" * (16 if other == "model" else 32)}
    with pytest.raises(MaterialMismatch, match=f"for another {other}"):
        ledger.spend(batch, "owner:mia", **wanted)
    assert ledger.waiting(MODEL) == [batch]
    ledger.close()


def test_what_it_knows_outlives_it(url):
    ledger, batches = filled(url, 3)
    ledger.spend(batches[0], "owner:mia")
    ledger.void(batches[1])
    ledger.close()
    again = Ledger(url, party="alice")
    assert [state(again, batch) for batch in batches] == ["spent", "void", "ready"]
    again.close()


def test_the_oldest_come_first(url):
    ledger, batches = filled(url, 20)
    assert ledger.waiting(MODEL) == batches
    ledger.close()


def test_batches_that_others_lost(url):
    ledger, batches = filled(url, 6)
    ledger.spend(batches[0], "owner:mia")
    being_dealt, elsewhere = fresh(), fresh()
    ledger.enter(being_dealt, MODEL, PROGRAM)
    ledger.enter(elsewhere, b"n" * 16, PROGRAM)
    ledger.ready(elsewhere)
    keep = {batches[0], batches[2], batches[5], fresh()}
    gone = [batches[number] for number in (1, 3, 4)]
    assert ledger.void_all_but(MODEL, keep) == sorted(gone)
    assert ledger.waiting(MODEL) == [batches[2], batches[5]]
    assert [state(ledger, each) for each in (batches[0], being_dealt, elsewhere)] == [
        "spent",
        "dealing",
        "ready",
    ]
    assert ledger.void_all_but(MODEL, keep) == []
    ledger.close()


def test_recovering_and_forgetting(url):
    ledger, batches = filled(url, 3)
    ledger.spend(batches[0], "owner:mia")
    interrupted = fresh()
    ledger.enter(interrupted, MODEL, PROGRAM)
    found = ledger.recover()
    assert (found.interrupted, found.ready, found.spent, found.void) == ([interrupted], 2, 1, 1)
    assert ledger.counts() == {MODEL: {"dealing": 0, "ready": 2, "spent": 1, "void": 1}}
    assert ledger.forget_model(MODEL) == sorted(batches[1:])
    assert ledger.recover().interrupted == []
    assert ledger.counts() == {MODEL: {"dealing": 0, "ready": 0, "spent": 1, "void": 3}}
    with pytest.raises(MaskReused, match="knows batch"):
        ledger.enter(batches[1], MODEL, PROGRAM)
    ledger.close()


def test_states_of_more_than_one_question(url):
    ledger, batches = filled(url, 3)
    asked = [*batches[:2], *(fresh() for _ in range(1100)), batches[2]]
    assert ledger.states(asked) == dict.fromkeys(batches, "ready")
    ledger.close()


def test_ids_of_other_lengths(ledger):
    with pytest.raises(UsageError, match="batch has 16 bytes, not 15"):
        ledger.enter(b"b" * 15, MODEL, PROGRAM)
    with pytest.raises(UsageError, match="model has 16 bytes, not 17"):
        ledger.level(b"m" * 17)
    with pytest.raises(UsageError, match="digest has 32 bytes, not 0"):
        ledger.enter(fresh(), MODEL, b"")


def test_the_ledger_of_another_party_or_version(url):
    Ledger(url, party="alice").close()
    with pytest.raises(MaterialError, match="ledger of party alice, not of bob"):
        Ledger(url, party="bob")
    engine = create_engine(parsed(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger SET version = version + 1"))
    engine.dispose()
    with pytest.raises(MaterialError, match=rf"version {VERSION + 1}, and .* version {VERSION};"):
        Ledger(url, party="alice")


def test_threads_that_want_the_same_batch(url):
    ledger, batches = filled(url, 10)
    won, begin = [], threading.Barrier(8)

    def take():
        begin.wait(60)
        for batch in batches:
            try:
                ledger.spend(batch, "thread")
            except MaskReused:
                continue
            won.append(batch.hex())

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    check(ledger, batches, won, lost=0)


def test_many_open_a_new_ledger_at_once(url):
    opened, failed, begin = [], [], threading.Barrier(6)

    def open_it():
        begin.wait(60)
        try:
            opened.append(Ledger(url, party="alice"))
        except MaterialError as error:
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert len(opened) == 6
    for each in opened:
        each.close()


def test_processes_that_are_killed_while_they_spend(url, tmp_path):
    won = tmp_path / "won"
    race_and_kill(url, won, kills=12, seed=7)
    assert len(used(won)) > 12


def test_a_fork_needs_its_own(ledger):
    ledger._database._process = os.getpid() + 1
    with pytest.raises(MaterialError, match="forked"):
        ledger.level(MODEL)
    ledger._database._process = os.getpid()
