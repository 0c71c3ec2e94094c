"""The ledger's database: transactions that are on the disk when they end, and errors of the tree.

SQLite: write-ahead log, synced at each commit that is not excepted; whoever will write says so at
its beginning (BEGIN IMMEDIATE), since a transaction that turns to writing halfway fails where
another one wrote first.
PostgreSQL: each row that is written is locked, and commits wait for the disk whatever the server's
default is. Sources: the documentation of `PRAGMA synchronous` and of `synchronous_commit`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from tacita.errors import MaterialError

WAIT = 30  # seconds for a lock, a statement or a free connection
CONNECT_WAIT = 10  # seconds for a server to answer
THREADS = 16  # connections that are kept for this process's threads; more of them wait
ONE_AT_A_TIME = 0x7461636974610001  # an advisory lock: replicas do not make the tables at once

# What to do about an error, by how its SQLite name or SQLSTATE begins.
REMEDIES = {
    "SQLITE_FULL": "make room on its disk",
    "SQLITE_READONLY": "let the party's user write the file and its folder",
    "SQLITE_CANTOPEN": "let the party's user write the file and its folder",
    "SQLITE_PERM": "let the party's user write the file and its folder",
    "SQLITE_AUTH": "let the party's user write the file and its folder",
    "SQLITE_BUSY": f"another process has held it for {WAIT} s; see which, and end it",
    "SQLITE_IOERR": "see whether its disk is full or failing",
    "SQLITE_CORRUPT": "it is damaged: begin with an empty data folder, stock files included",
    "SQLITE_NOTADB": "it is no ledger, or damaged: name another file",
    "25006": "the server, or this user, may only read; name the primary server",
    "28": "see that user, password and the server's pg_hba.conf agree",
    "42501": "grant the user the right to create and write tables",
    "53": "make room on the server's disk, or let it have more connections",
    "55P03": f"another transaction has held the row for {WAIT} s; see which, and end it",
    "57": "the server is stopping, or did not answer in time; see its log",
    "58": "see the server's log and its disk",
    "3D": "create the database first",
}
UNREACHABLE = "see that the server runs and can be reached"


class RowExists(Exception):
    """A row of this key is there already."""


def sqlite_url(path: Path) -> str:
    """The URL of a ledger in this file."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


class Database:
    """Connections to SQLite or PostgreSQL, for many threads. A fork of the process cannot use it.

    Raises MaterialError, here and from transactions, naming the database without its password.
    """

    def __init__(self, url: str) -> None:
        self._url = parsed(url)
        self.name = named(self._url)
        self._process = os.getpid()
        self._sqlite = self._url.get_backend_name() == "sqlite"
        # Threads of this process take turns in order; SQLite alone would have them poll for it.
        self._turn: AbstractContextManager[Any] = (
            threading.Lock() if self._sqlite else nullcontext()
        )
        try:
            if self._sqlite:
                self.name = self._url.database or ""
                make_file(Path(self.name))
            self._engine = sqlite_engine(self._url) if self._sqlite else server_engine(self._url)
            with self.reading():
                pass
        except (SQLAlchemyError, sqlite3.Error, ImportError, OSError) as error:
            raise self._explained(error) from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view, at least of each statement."""
        with self._explaining(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, *, synced: bool = True) -> Iterator[Connection]:
        """A transaction that may write; it is on the disk when the block is left without an error.

        synced: False where it may be forgotten if the machine, not the process, fails; never one
        without all later ones, and never one before a transaction that was synced. SQLite then
        writes it and waits for no disk; PostgreSQL syncs nonetheless.
        Raises RowExists for a second row of one key. An error undoes all of it.
        """
        with self._explaining(), self._turn, self._engine.connect() as connection:
            connection.execution_options(tacita_writes="FULL" if synced else "NORMAL")
            with connection.begin():
                yield connection

    def check_durable(self, connection: Connection) -> None:
        """Raises MaterialError for a server that may lose what it committed.

        On PostgreSQL it also has everybody else who calls this wait for the transaction's end.
        """
        if self._sqlite:
            return
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
        if connection.execute(text("SHOW fsync")).scalar_one() == "off":
            raise MaterialError(
                f"{self.name} runs with fsync off, so that a crash could bring spent batches back; "
                "turn it on"
            )

    def close(self) -> None:
        """Closes all connections that nobody uses. More calls do nothing."""
        if os.getpid() == self._process:
            self._engine.dispose()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        if os.getpid() != self._process:
            raise MaterialError(f"{self.name}: this process was forked; open the ledger in it anew")
        try:
            yield
        except IntegrityError:
            raise RowExists from None
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> MaterialError:
        """An error of the database, in the tree, without the statement and its values."""
        if isinstance(error, (ImportError, NoSuchModuleError)):
            return MaterialError(
                f"{self.name}: its driver is missing; pip install 'tacita[postgresql]'"
            )
        if isinstance(error, OSError):
            return MaterialError(f"{self.name}: {error.strerror}; {REMEDIES['SQLITE_CANTOPEN']}")
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
        remedy = next((REMEDIES[each] for each in REMEDIES if code.startswith(each)), UNREACHABLE)
        said = str(cause).strip().partition("\n")[0] or type(cause).__name__
        return MaterialError(f"{self.name}: {said}; {remedy}")


def parsed(url: str) -> URL:
    """Raises MaterialError for what is no URL of a SQLite file or a PostgreSQL database."""
    wanted = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):  # whose text may have the password in it
        raise MaterialError(f"the ledger's URL cannot be read; {wanted}") from None
    name = named(found)
    if found.drivername == "postgresql":
        found = found.set(drivername="postgresql+psycopg")
    if found.drivername == "sqlite" and found.database in (None, "", ":memory:"):
        raise MaterialError(f"{name}: a ledger has to outlive its process; {wanted}")
    if found.drivername not in ("sqlite", "postgresql+psycopg"):
        raise MaterialError(f"{name}: no ledger is kept in such a database; {wanted}")
    return found


def named(url: URL) -> str:
    """A URL for people to read: without its password, which may stand among the options too."""
    shown = {name: value for name, value in url.query.items() if name in ("host", "port")}
    return url.set(query=shown).render_as_string(hide_password=True)


def make_file(path: Path) -> None:
    """An empty file for this user alone, where there is none."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return  # and is not opened: closing it would drop the locks that this process has on it


def sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": WAIT, "isolation_level": None},  # `begin` says what begins
        hide_parameters=True,
        pool_size=THREADS,
        max_overflow=0,
        pool_timeout=WAIT,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        use_write_ahead_log(connection)
        for pragma in ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # By the driver, whose errors `_explaining` knows too: SQLAlchemy adds more than they cost.
        database: Any = connection.connection.driver_connection
        level = connection.get_execution_options().get("tacita_writes")
        if level is not None:
            # A connection keeps its level, so each transaction that writes states its own.
            database.execute(f"PRAGMA synchronous = {level}")
        database.execute("BEGIN" if level is None else "BEGIN IMMEDIATE")

    return engine


def use_write_ahead_log(connection: Any) -> None:
    """SQLite does not itself wait where several processes turn a new file's log on at once."""
    until = time.monotonic() + WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except connection.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > until:
                raise
            time.sleep(0.01)


def server_engine(url: URL) -> Engine:
    limits: dict[str, Any] = {
        "connect_timeout": CONNECT_WAIT,
        "tcp_user_timeout": WAIT * 1000,  # a server that is gone without a word
        "application_name": "tacita",
    }
    engine = create_engine(
        url,
        connect_args={name: value for name, value in limits.items() if name not in url.query},
        hide_parameters=True,
        pool_size=THREADS,
        max_overflow=0,
        pool_timeout=WAIT,
        pool_pre_ping=True,  # so that the first batch after the server's restart is not refused
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.autocommit = True
        # A statement that waits for a lock is to fail as one that does.
        for name, limit in (("lock_timeout", WAIT), ("statement_timeout", 2 * WAIT)):
            connection.execute(f"SET {name} = '{limit}s'")
        (commits,) = connection.execute("SHOW synchronous_commit").fetchone()
        if commits == "off":
            connection.execute("SET synchronous_commit = on")
        connection.autocommit = False

    return engine
