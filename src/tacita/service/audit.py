"""The audit log: who did what, when, and what came of it; never a value.

Here is who writes it; its lines, and how they hang together, are those of `audit_chain.py`. A
reveal is on the disk before its shares leave: no record, no reveal. One process writes a log. The
file is never renamed or cut by Tacita; move it away while the daemon is down.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from tacita.errors import AuditFailed, ConfigError, UsageError
from tacita.network.identity import Principal
from tacita.runtime.stock_folder import sync
from tacita.service.audit_chain import LONGEST_LINE, digest_of, end_of, line_of

PRIVATE = 0o600
EVENT = re.compile(r"[a-z][a-z0-9_-]{0,63}")

OPENED, CLOSED, REPAIRED, REVEAL = "opened", "closed", "repaired", "reveal"
# All that a party's daemon writes; what none of these is, no log of ours has.
EVENTS = (
    OPENED, CLOSED, REPAIRED, "publish", "remove", "session", REVEAL, "refuse", "withdraw",
    "save", "load", "unsave",
)  # fmt: skip


class AuditLog:
    """The log of one party, open for writing. Safe for threads; close it, or use `with`."""

    def __init__(
        self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Opens the log at `path` or begins one, readable by its owner alone.

        The end is checked, and the chain goes on from there; a last line that a crash has cut is
        taken off, and a record says so. Raises ConfigError where the file cannot be opened or
        another process has it, DataError where its end is no log's, AuditFailed as `record`.
        """
        self.path = path
        self._clock = clock
        self._write_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._why_broken: str | None = None
        self._file = _open_alone(path)
        try:
            self._size = os.fstat(self._file).st_size
            self._number, self._last, cut = end_of(self._file, self._size, path)
            self._synced = self._number
            if cut:
                self._take_off(cut)
                self.record(REPAIRED, outcome=f"a last line of {len(cut)} bytes was cut")
            self.record(OPENED, durable=True)
        except BaseException:
            os.close(self._file)
            self._file = -1
            raise

    @property
    def last(self) -> str:
        """SHA-256 of the last line, in hex: keep it elsewhere, to know the log's end by."""
        return self._last

    @property
    def records(self) -> int:
        return self._number

    def record(
        self,
        event: str,
        principal: Principal | None = None,
        *,
        model: str | None = None,
        program: str | None = None,
        query: str | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        sizes: Mapping[str, int] | None = None,
        outcome: str | None = None,
        durable: bool = False,
    ) -> str:
        """Adds a record; its digest.

        event: a word. program, query: in hex. shapes: of named tensors. sizes: named counts, such
        as bytes. outcome: a short sentence, without values. durable: returns once the record is on
        the disk, which a "reveal" always does; threads share the wait. Raises AuditFailed where it
        cannot be written, and UsageError for what is no record.
        """
        if not EVENT.fullmatch(event):
            raise UsageError(f"an event is one word of a-z, 0-9, _ and -, not {event!r}")
        fields: dict[str, Any] = {
            "event": event,
            "principal": None if principal is None else str(principal),
            "fingerprint": None if principal is None else principal.fingerprint,
            "model": model,
            "program": program,
            "query": query,
            "shapes": None
            if shapes is None
            else {k: [int(n) for n in v] for k, v in shapes.items()},
            "sizes": None if sizes is None else {k: int(n) for k, n in sizes.items()},
            "outcome": outcome,
        }
        with self._write_lock:
            number, digest = self._append(fields)
        if durable or event == REVEAL:
            self._sync(number)
        return digest

    def close(self) -> None:
        """Records the end; once. Closes the file in any case."""
        with self._write_lock:
            if self._file < 0:
                return
            broken = self._why_broken is not None
        try:
            if not broken:
                self.record(CLOSED, durable=True)
        finally:
            with self._write_lock, self._sync_lock:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, fields: dict[str, Any]) -> tuple[int, str]:
        if self._file < 0:
            raise AuditFailed(f"the audit log {self.path} is closed")
        if self._why_broken is not None:
            raise AuditFailed(self._why_broken)
        given = {key: value for key, value in fields.items() if value is not None}
        now = self._clock().astimezone(UTC).isoformat(timespec="milliseconds")
        number = self._number + 1
        line = line_of({"number": number, "time": now, **given, "previous": self._last})
        if len(line) > LONGEST_LINE:
            raise UsageError(f"a record has at most {LONGEST_LINE} bytes, and this has {len(line)}")
        try:
            if os.fstat(self._file).st_nlink == 0:
                self._break("it was deleted while open")
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(None, "only a part could be written; the disk may be full")
        except OSError as error:
            self._undo()
            raise AuditFailed(
                f"the audit log {self.path} cannot be written ({error.strerror}); nothing is "
                "revealed without a record: make room, or correct who may write it"
            ) from None
        self._size += len(line)
        self._number, self._last = number, digest_of(line)
        return number, self._last

    def _undo(self) -> None:
        """Takes off what a failed write may have left, so that the next begins a line."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError as error:
            self._why_broken = (
                f"the audit log {self.path} has a cut line that cannot be taken off "
                f"({error.strerror}); start the daemon anew"
            )

    def _take_off(self, cut: bytes) -> None:
        try:
            os.ftruncate(self._file, self._size - len(cut))
        except OSError as error:
            raise ConfigError(
                f"the audit log {self.path} has a cut last line that cannot be taken off: "
                f"{error.strerror}"
            ) from None
        self._size -= len(cut)

    def _sync(self, number: int) -> None:
        with self._sync_lock:
            if self._file < 0:
                raise AuditFailed(f"the audit log {self.path} is closed")
            if self._synced >= number:
                return
            if self._why_broken is not None:
                raise AuditFailed(self._why_broken)
            # Whoever wrote before this line is on the disk with it.
            upto = self._number
            try:
                os.fsync(self._file)
            except OSError as error:
                # After a failed fsync nobody knows what is on the disk, and a second one may lie.
                self._break(f"it cannot be brought to the disk ({error.strerror})")
            self._synced = upto

    def _break(self, why: str) -> None:
        self._why_broken = (
            f"the audit log {self.path} is out of use: {why}; nothing is revealed without a "
            "record: correct that, and start the daemon anew"
        )
        raise AuditFailed(self._why_broken)


def _open_alone(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not path.exists()
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
    except OSError as error:
        raise ConfigError(
            f"the audit log {path} cannot be opened for writing: {error.strerror}"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if fresh:
            sync(path.parent)
    except OSError as error:
        os.close(file)
        if isinstance(error, BlockingIOError):
            raise ConfigError(
                f"another process writes the audit log {path}; one daemon has one data folder"
            ) from None
        raise ConfigError(f"the audit log {path} cannot be locked: {error.strerror}") from None
    return file
