"""The ledger in SQLite: what every ledger does, and what can befall a file."""

import os
import sqlite3
import stat

import pytest
from ledger_cases import *  # noqa: F403
from ledger_racers import MODEL, PROGRAM, filled, fresh
from sqlalchemy import event

from tacita.errors import MaterialError, MaterialMismatch
from tacita.service import ledger_database
from tacita.service.ledger import Ledger, sqlite_url


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "ledger.sqlite"


@pytest.fixture
def url(path):
    return sqlite_url(path)


def pragma(ledger, name):
    with ledger._database.reading() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_it_syncs_every_commit(url):
    ledger = Ledger(url, party="alice")
    assert pragma(ledger, "journal_mode") == "wal"
    assert pragma(ledger, "synchronous") == 2
    assert pragma(ledger, "busy_timeout") == 1000 * ledger_database.WAIT
    ledger.close()


def test_what_is_synced(url, monkeypatch):
    """Each transaction states its own level, whatever the one before had on that connection."""
    ledger, seen = Ledger(url, party="alice"), []

    def note(connection, _cursor, statement, *_):
        words = statement.split()
        if words[0] in ("INSERT", "UPDATE"):
            level = connection.connection.driver_connection.execute("PRAGMA synchronous")
            seen.append((words[0], level.fetchone()[0]))

    event.listen(ledger._database._engine, "before_cursor_execute", note)
    normal, full = 1, 2
    for _ in range(2):
        spent, given_up = fresh(), fresh()
        for batch in (spent, given_up):
            ledger.enter(batch, MODEL, PROGRAM)
            ledger.ready(batch)
        ledger.spend(spent, "owner:mia", model=MODEL, program=PROGRAM)
        ledger.void(given_up)
    one = [("INSERT", normal), ("UPDATE", normal)]
    assert seen == 2 * (2 * one + [("UPDATE", full), ("UPDATE", full)])
    ledger.close()


def test_a_machine_that_fails_forgets_the_last_of_what_was_not_synced(path, url, tmp_path):
    """The log is cut where it was not on the disk yet: what was not spent is dealt to nobody."""
    ledger = Ledger(url, party="alice")
    log = path.with_name(f"{path.name}-wal")
    spent, batch = fresh(), fresh()
    ledger.enter(spent, MODEL, PROGRAM)
    ledger.ready(spent)
    ledger.spend(spent, "owner:mia")
    sizes = {None: log.stat().st_size}
    ledger.enter(batch, MODEL, PROGRAM)
    sizes["dealing"] = log.stat().st_size
    ledger.ready(batch)
    sizes["ready"] = log.stat().st_size
    for number, (state, size) in enumerate(sizes.items()):
        copy = tmp_path / f"{number}.sqlite"
        copy.write_bytes(path.read_bytes())
        copy.with_name(f"{copy.name}-wal").write_bytes(log.read_bytes()[: size + number])
        again = Ledger(sqlite_url(copy), party="alice")
        assert again.states([spent, batch]) == {spent: "spent"} | ({batch: state} if state else {})
        again.close()
    ledger.close()


def test_its_files_are_for_their_owner_alone(path, url):
    umask = os.umask(0)
    try:
        ledger, _ = filled(url, 1)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
        ledger.close()
    finally:
        os.umask(umask)


def full(ledger):
    """No page more than there are: what SQLite says then is what it says of a full disk."""
    with ledger._database._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    return f"PRAGMA max_page_count = {pages}"


def set_for_all(ledger, statement):
    """On the one connection that is there, and so on each that is used."""
    with ledger._database._engine.connect() as connection:
        connection.exec_driver_sql(statement)


def test_a_full_disk(path, url):
    ledger, batches = filled(url, 2)
    set_for_all(ledger, full(ledger))
    entered = []
    with pytest.raises(MaterialError, match="full; make room on its disk") as caught:  # noqa: PT012
        while True:
            entered.append(fresh())
            ledger.enter(entered[-1], MODEL, PROGRAM)
    assert str(path) in str(caught.value)
    assert ledger.states([entered[-1]]) == {}
    set_for_all(ledger, "PRAGMA max_page_count = 1000000")
    ledger.enter(entered[-1], MODEL, PROGRAM)
    ledger.spend(batches[0], "owner:mia")
    ledger.close()


def test_a_ledger_that_may_only_be_read(path, url):
    ledger, (batch,) = filled(url, 1)
    set_for_all(ledger, "PRAGMA query_only = ON")
    with pytest.raises(MaterialError, match=r"readonly.*let the party's user write") as caught:
        ledger.spend(batch, "owner:mia")
    assert str(path) in str(caught.value)
    assert "owner:mia" not in str(caught.value)
    assert ledger.waiting(MODEL) == [batch]
    set_for_all(ledger, "PRAGMA query_only = OFF")
    ledger.spend(batch, "owner:mia")
    ledger.close()


def test_somebody_holds_it_too_long(path, url):
    ledger, (batch,) = filled(url, 1)
    set_for_all(ledger, "PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(MaterialError, match="another process has held it"):
        ledger.spend(batch, "owner:mia")
    assert ledger.waiting(MODEL) == [batch]
    other.execute("ROLLBACK")
    other.close()
    ledger.spend(batch, "owner:mia")
    ledger.close()


def test_a_file_that_is_no_ledger(path, url):
    path.parent.mkdir()
    path.write_bytes(b"no ledger " * 1000)
    with pytest.raises(MaterialError, match="not a database; it is no ledger") as caught:
        Ledger(url, party="alice")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"no ledger " * 1000


def test_a_damaged_file(path, url):
    filled(url, 200)[0].close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(MaterialError, match="damaged: begin with an empty data folder"):
        Ledger(url, party="alice")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MaterialError, match="File exists; let the party's user write"):
        Ledger(sqlite_url(tmp_path / "file" / "ledger.sqlite"), party="alice")


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("sqlite://", "outlive its process"),
        ("sqlite:///:memory:", "outlive its process"),
        ("mysql://alice:sesame@host/ledger", "no ledger is kept in such a database"),
        ("sqlite+aiosqlite:///x", "no ledger is kept in such a database"),
        ("alice:sesame@host", "cannot be read"),
        ("", "cannot be read"),
        ("postgresql://alice:sesame@host:port/ledger", "cannot be read"),
    ],
)
def test_urls_of_no_ledger(url, what):
    with pytest.raises(MaterialError, match=what) as caught:
        Ledger(url, party="alice")
    assert "sesame" not in str(caught.value)


def test_a_server_that_is_not_there(tmp_path):
    for url in (
        f"postgresql://alice:sesame@/ledger?host={tmp_path}",
        f"postgresql:///ledger?host={tmp_path}&user=alice&password=sesame",
    ):
        with pytest.raises(MaterialError, match="see that the server runs") as caught:
            Ledger(url, party="alice")
        assert str(tmp_path) in str(caught.value).replace("%2F", "/")
        assert "sesame" not in str(caught.value)


def test_nothing_is_spent_where_an_error_ends_the_transaction(url, monkeypatch):
    """An error between the UPDATE and its commit undoes it."""
    ledger, (batch,) = filled(url, 1)
    move = Ledger._move

    def fail_after(self, *arguments, **more):
        assert move(self, *arguments, **more)
        raise MaterialMismatch("after the update")

    monkeypatch.setattr(Ledger, "_move", fail_after)
    with pytest.raises(MaterialMismatch, match="after the update"):
        ledger.spend(batch, "owner:mia")
    monkeypatch.undo()
    assert ledger.waiting(MODEL) == [batch]
    ledger.close()
