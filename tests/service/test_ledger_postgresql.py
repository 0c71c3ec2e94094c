"""The ledger in PostgreSQL: what every ledger does, and what can befall a server."""

import itertools

import pytest
from ledger_cases import *  # noqa: F403
from ledger_racers import MODEL, PROGRAM, filled, fresh
from postgresql import Server, missing

from tacita.errors import MaterialError
from tacita.service import ledger_database
from tacita.service.ledger import Ledger

pytest.importorskip("psycopg", reason="the extra `postgresql` is not installed")
pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"a PostgreSQL server's programs are not in PATH: {missing()}"
)


@pytest.fixture(scope="module")
def server():
    with Server() as started:
        yield started


@pytest.fixture(scope="module")
def names():
    return (f"ledger{number}" for number in itertools.count())


@pytest.fixture
def database(server, names):
    name = next(names)
    server.say(f"CREATE DATABASE {name}")
    return name


@pytest.fixture
def url(server, database):
    return server.url(database)


def test_commits_wait_for_the_disk_whatever_the_default(server, database, url):
    server.say(f"ALTER DATABASE {database} SET synchronous_commit = off")
    ledger = Ledger(url, party="alice")
    with ledger._database.writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
        wait = f"{ledger_database.WAIT}s"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == wait
    ledger.close()


def test_a_server_that_may_forget(server, url):
    server.say("ALTER SYSTEM SET fsync = off")
    server.say("SELECT pg_reload_conf()")
    try:
        server.stop()
        server.start()
        with pytest.raises(MaterialError, match=r"runs with fsync off.*turn it on"):
            Ledger(url, party="alice")
    finally:
        server.say("ALTER SYSTEM RESET fsync")
        server.stop()
        server.start()
    Ledger(url, party="alice").close()


def test_a_server_that_may_only_be_read(server, database, url):
    ledger, (batch,) = filled(url, 1)
    ledger.close()
    server.say(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    ledger = Ledger(url, party="alice")
    with pytest.raises(MaterialError, match="may only read; name the primary") as caught:
        ledger.spend(batch, "owner:mia")
    assert database in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert ledger.waiting(MODEL) == [batch]
    ledger.close()
    server.say(f"ALTER DATABASE {database} SET default_transaction_read_only = off")
    again = Ledger(url, party="alice")
    again.spend(batch, "owner:mia")
    again.close()


def test_a_crash_of_the_server(server, url):
    ledger, batches = filled(url, 2)
    ledger.spend(batches[0], "owner:mia")
    server.stop()  # as a crash would: it recovers from its log
    with pytest.raises(MaterialError, match="see that the server runs"):
        ledger.spend(batches[1], "owner:mia")
    server.start()
    assert ledger.states(batches) == {batches[0]: "spent", batches[1]: "ready"}
    ledger.spend(batches[1], "owner:mia")
    ledger.close()


def test_a_row_that_is_held_too_long(server, url, monkeypatch):
    monkeypatch.setattr(ledger_database, "WAIT", 1)
    ledger, (batch,) = filled(url, 1)
    with ledger._database.writing() as connection:
        connection.exec_driver_sql("SELECT 1 FROM batches FOR UPDATE")
        with pytest.raises(MaterialError, match="another transaction has held"):
            ledger.spend(batch, "owner:mia")
    assert ledger.waiting(MODEL) == [batch]
    ledger.close()


def test_a_database_that_is_not_there(server):
    with pytest.raises(MaterialError, match='"nowhere" does not exist'):
        Ledger(server.url("nowhere"), party="alice")


def test_replicas_share_one(url):
    one, other = Ledger(url, party="alice"), Ledger(url, party="alice")
    batch = fresh()
    one.enter(batch, MODEL, PROGRAM)
    one.ready(batch)
    assert other.waiting(MODEL) == [batch]
    other.spend(batch, "owner:mia")
    assert one.waiting(MODEL) == []
    one.close()
    other.close()
