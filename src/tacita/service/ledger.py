"""The ledger: what became of every batch that a party was ever dealt, and that none is used twice.

    dealing   the party's file is being written, or other parties do not have theirs yet
    ready     every party has its file; may be spent
    spent     a query has it. For ever
    void      will not be used: its dealing failed, or another party lost it. For ever

An id is entered once. Rows are never deleted: a batch that is put back, by a restored disk or a
dealer that repeats itself, is known by its row. `spend` is one conditional UPDATE, committed and
on the disk before it returns; of all threads, processes and replicas that ask, one gets the batch.

What comes before spending need not be on the disk at once: `enter` and `ready` are committed, which
a killed process does not undo, and with SQLite they are synced with the next transaction that is.
A machine that fails may so forget the last of them, in order, since a log is cut at its end and a
synced commit has all before it synced too. A spent batch is therefore never forgotten; what is
forgotten was not spent, so no byte of it was used. Its row is then missing, and its file unknown
and swept, or dealing, and given up as any interrupted dealing is.

SQLite needs no server and serves one party on one machine: write-ahead log, synced at each commit.
PostgreSQL serves processes of one party on several hosts, with one ledger and files of their own:
no batch is used twice, whoever runs; but only one of them can serve at a time (docs/deploy.md).
A restored backup of a ledger knows less than the disk: delete the stock files along with it.
A PostgreSQL server that fails over must not lose commits by it (synchronous replication).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    func,
    insert,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection
from sqlalchemy.sql.dml import Update

from tacita.errors import MaskReused, MaterialError, MaterialMismatch, UsageError
from tacita.service.ledger_database import Database, RowExists, sqlite_url

__all__ = ["STATES", "Ledger", "Recovered", "State", "sqlite_url"]

State = Literal["dealing", "ready", "spent", "void"]
STATES: tuple[State, ...] = get_args(State)

VERSION = 1  # of the tables
AT_ONCE = 500  # ids in one question: SQLite's older releases allow 999 parameters

_TABLES = MetaData()
_ABOUT = Table(
    "ledger",
    _TABLES,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("party", Text, nullable=False),
)
_BATCHES = Table(
    "batches",
    _TABLES,
    Column("id", LargeBinary(16), primary_key=True),
    Column("model", LargeBinary(16), nullable=False),
    Column("program", LargeBinary(32), nullable=False),
    Column("state", String(8), nullable=False),
    Column("made", BigInteger, nullable=False),  # nanoseconds since 1970, as is spent_at
    Column("spent_at", BigInteger),
    Column("taker", Text),
    Column("query", Text),
    Index("batches_of_model", "model", "state", "made"),
)


# Made once: making a statement costs several times what running it does.
_ENTER = insert(_BATCHES)
_ROW = select(_BATCHES.c.model, _BATCHES.c.program, _BATCHES.c.state).where(
    _BATCHES.c.id == bindparam("batch")
)
_LEVEL = select(func.count()).where(
    _BATCHES.c.model == bindparam("of_model"), _BATCHES.c.state == "ready"
)
_IDS = (
    select(_BATCHES.c.id)
    .where(_BATCHES.c.model == bindparam("of_model"), _BATCHES.c.state == bindparam("in_state"))
    .order_by(_BATCHES.c.made, _BATCHES.c.id)
)


def _move_from(*before: State, where: tuple[ColumnElement[bool], ...] = ()) -> Update:
    """Changes one batch's state, if it is in one of these; its new values are parameters."""
    return update(_BATCHES).where(
        _BATCHES.c.id == bindparam("batch"),
        or_(*(_BATCHES.c.state == each for each in before)),
        *where,
    )


_READY = _move_from("dealing")
_VOID = _move_from("dealing", "ready", "void")
_GIVE_UP = _move_from("dealing", "ready")
_FIT = {
    "model": _BATCHES.c.model == bindparam("of_model"),
    "program": _BATCHES.c.program == bindparam("of_program"),
}
_SPEND: dict[tuple[str, ...], Update] = {
    wanted: _move_from("ready", where=tuple(_FIT[each] for each in wanted))
    for wanted in ((), ("model",), ("program",), ("model", "program"))
}


@dataclass(frozen=True)
class Recovered:
    """What a party finds in its ledger when it starts.

    interrupted: batches whose dealing was cut short, now void. ready, spent, void: how many there
    are. Which files have to go is for `Storehouse.sweep` to see, since rows outlive files.
    """

    interrupted: list[bytes]
    ready: int
    spent: int
    void: int


class Ledger:
    """One party's batches. Safe for many threads and, each with its own `Ledger`, many processes.

    url: `sqlite:///file`, made if it is not there, or `postgresql://user:password@host/database`.
    party: its name; a ledger belongs to one party.

    Raises MaterialError, which names the database without its password: for a URL that is neither,
    a database that cannot be reached, read or written, a ledger of another party or version, and
    a server that may forget what it committed. Every method raises MaterialError where the database
    refuses, and then nothing has changed: no batch is spent. Ids are 16 bytes, program digests 32;
    others are UsageErrors. A method costs one transaction; what changes something costs one sync,
    but for `enter` and `ready` with SQLite.
    """

    def __init__(self, url: str, *, party: str) -> None:
        self._database = Database(url)
        self.name = self._database.name
        self.party = party
        try:
            with self._database.writing() as connection:
                self._database.check_durable(connection)
                self._check_tables(connection)
        except BaseException:
            self.close()
            raise

    # ---- one batch's life ----------------------------------------------------------------------

    def enter(self, batch: bytes, model: bytes, program: bytes) -> None:
        """A batch that is being dealt. Raises MaskReused for an id that was ever here."""
        check_ids(batch=batch, model=model)
        if len(program) != 32:
            raise UsageError(f"a program's digest has 32 bytes, not {len(program)}")
        row = {"id": batch, "model": model, "program": program}
        try:
            with self._database.writing(synced=False) as connection:
                connection.execute(_ENTER, row | {"state": "dealing", "made": _now()})
        except RowExists:
            raise MaskReused(
                f"{self.name} knows batch {batch.hex()} already; deal under a fresh id"
            ) from None

    def ready(self, batch: bytes) -> None:
        """Every party has its part. Raises MaskReused or MaterialMismatch if it was not dealing."""
        check_ids(batch=batch)
        with self._database.writing(synced=False) as connection:
            if not self._move(connection, _READY, batch, "ready"):
                raise self._refusal(connection, batch, "becomes ready")

    def void(self, batch: bytes) -> None:
        """It will never be used; one that is void stays so.

        Raises MaskReused for one that was spent, MaterialMismatch for one that was never entered.
        """
        check_ids(batch=batch)
        with self._database.writing() as connection:
            if not self._move(connection, _VOID, batch, "void"):
                raise self._refusal(connection, batch, "is given up")

    def spend(
        self,
        batch: bytes,
        taker: str,
        *,
        model: bytes | None = None,
        program: bytes | None = None,
        query: str = "",
    ) -> None:
        """Gives a ready batch to `taker`, durably, before it returns; nobody else gets it.

        taker, query: who has it, for audits. model, program: what it has to have been dealt for.
        Raises MaskReused for a batch that was spent, MaterialMismatch for one that is not ready,
        void, unknown, or of another model or program; it is not spent then.
        """
        check_ids(batch=batch)
        wanted = {"model": model, "program": program}
        fit = {name: value for name, value in wanted.items() if value is not None}
        spent: dict[str, Any] = {f"of_{name}": value for name, value in fit.items()}
        spent |= {"spent_at": _now(), "taker": taker, "query": query}
        with self._database.writing() as connection:
            if not self._move(connection, _SPEND[tuple(fit)], batch, "spent", **spent):
                raise self._refusal(connection, batch, "is spent", fit)

    # ---- all of a model's ----------------------------------------------------------------------

    def level(self, model: bytes) -> int:
        """How many batches are ready."""
        check_ids(model=model)
        with self._database.reading() as connection:
            return connection.execute(_LEVEL, {"of_model": model}).scalar_one()

    def waiting(self, model: bytes) -> list[bytes]:
        """The ids of those that are ready, oldest first."""
        return self._ids(model, "ready")

    def dealing(self, model: bytes) -> list[bytes]:
        """The ids of those that are being dealt, oldest first."""
        return self._ids(model, "dealing")

    def void_all_but(self, model: bytes, keep: set[bytes]) -> list[bytes]:
        """Gives up the ready ones that other parties do not have; returns their ids."""
        check_ids(model=model)
        return self._void_where(
            _BATCHES.c.model == model, _BATCHES.c.state == "ready", but=frozenset(keep)
        )

    def forget_model(self, model: bytes) -> list[bytes]:
        """Gives up all that is ready or being dealt, of a model that is gone; returns their ids."""
        check_ids(model=model)
        return self._void_where(
            _BATCHES.c.model == model, _BATCHES.c.state.in_(("dealing", "ready"))
        )

    # ---- the whole ledger ----------------------------------------------------------------------

    def recover(self) -> Recovered:
        """Gives up all that is being dealt: for the start of a party that has no other replica."""
        interrupted = self._void_where(_BATCHES.c.state == "dealing")
        totals = dict.fromkeys(STATES, 0)
        for states in self.counts().values():
            for state, count in states.items():
                totals[state] += count
        return Recovered(interrupted, totals["ready"], totals["spent"], totals["void"])

    def states(self, batches: Iterable[bytes]) -> dict[bytes, State]:
        """What became of each of these; an id that was never entered is left out."""
        wanted = list(batches)
        found: dict[bytes, State] = {}
        with self._database.reading() as connection:
            for start in range(0, len(wanted), AT_ONCE):
                some = wanted[start : start + AT_ONCE]
                rows = connection.execute(
                    select(_BATCHES.c.id, _BATCHES.c.state).where(_BATCHES.c.id.in_(some))
                )
                found |= {bytes(row.id): row.state for row in rows}
        return found

    def counts(self) -> dict[bytes, dict[State, int]]:
        """By model and state, how many batches there are; reads the whole index."""
        found: dict[bytes, dict[State, int]] = {}
        by = (_BATCHES.c.model, _BATCHES.c.state)
        with self._database.reading() as connection:
            for model, state, count in connection.execute(select(*by, func.count()).group_by(*by)):
                found.setdefault(bytes(model), dict.fromkeys(STATES, 0))[state] = count
        return found

    def close(self) -> None:
        """Closes all connections. More calls do nothing."""
        self._database.close()

    # ---- rows --------------------------------------------------------------------------

    def _ids(self, model: bytes, state: State) -> list[bytes]:
        check_ids(model=model)
        which = {"of_model": model, "in_state": state}
        with self._database.reading() as connection:
            return [bytes(found) for found in connection.execute(_IDS, which).scalars()]

    def _void_where(self, *where: Any, but: frozenset[bytes] = frozenset()) -> list[bytes]:
        # The rows are locked as they are read, so that nobody spends one in between.
        asked = select(_BATCHES.c.id).where(*where).order_by(_BATCHES.c.id).with_for_update()
        with self._database.writing() as connection:
            found = [bytes(each) for each in connection.execute(asked).scalars()]
            gone = [each for each in found if each not in but]
            for batch in gone:
                self._move(connection, _GIVE_UP, batch, "void")
        return gone

    def _move(
        self, connection: Connection, move: Update, batch: bytes, to: State, **more: Any
    ) -> bool:
        """Whether the batch was as `move` wants it, and now is in another state."""
        return connection.execute(move, {"batch": batch, "state": to, **more}).rowcount == 1

    def _refusal(
        self, connection: Connection, batch: bytes, what: str, fit: dict[str, bytes] | None = None
    ) -> MaterialError:
        """Why a batch cannot be moved. fit: what it had to have been dealt for."""
        row = connection.execute(_ROW, {"batch": batch}).first()
        name = f"batch {batch.hex()}"
        for other, value in (fit or {}).items():
            if row is not None and bytes(getattr(row, other)) != value:
                return MaterialMismatch(f"{self.name} has {name} for another {other}; take another")
        match row.state if row is not None else None:
            case "spent":
                return MaskReused(
                    f"{self.name}: {name} was spent already and is for one use; take another"
                )
            case "void":
                return MaterialMismatch(f"{self.name}: {name} was given up; take another")
            case "dealing":
                return MaterialMismatch(
                    f"{self.name}: {name} is being dealt still; wait until all parties have it"
                )
            case "ready":
                return MaterialMismatch(
                    f"{self.name}: {name} is ready, and {what} only if it is not"
                )
            case _:
                return MaterialMismatch(
                    f"{self.name} has no {name}; have the batch dealt, or take another"
                )

    def _check_tables(self, connection: Connection) -> None:
        """Makes them in an empty database; refuses those of another version or party."""
        if inspect(connection).has_table(_ABOUT.name):
            version = connection.execute(select(_ABOUT.c.version)).scalar()
            if version not in (None, VERSION):
                raise MaterialError(
                    f"{self.name} is a ledger of version {version}, and this Tacita uses version "
                    f"{VERSION}; run the release that made it, or begin with an empty data folder"
                )
        _TABLES.create_all(connection)
        party = connection.execute(select(_ABOUT.c.party)).scalar()
        if party is None:
            connection.execute(insert(_ABOUT).values(only=1, version=VERSION, party=self.party))
        elif party != self.party:
            raise MaterialError(
                f"{self.name} is the ledger of party {party}, not of {self.party}; "
                "give each party its own"
            )


def _now() -> int:
    return time.time_ns()


def check_ids(**ids: bytes) -> None:
    """Raises UsageError for an id that has not 16 bytes."""
    for name, value in ids.items():
        if len(value) != 16:
            raise UsageError(f"the id of a {name} has 16 bytes, not {len(value)}")
