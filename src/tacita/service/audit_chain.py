"""The lines of an audit log, and how they hang together: written by `audit.py`, checked here.

One JSON object a line, only ever added to. Each has the SHA-256 of the line before it, so a line
that is changed, taken out or put in breaks the chain. What the chain cannot show is a log whose end
was cut off, or that was written anew from some line on: keep the last digest elsewhere now and
then, and give it to `verify`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from tacita.errors import DataError

LONGEST_LINE = 1 << 16  # bytes, its line end included
NOTHING_BEFORE = "0" * 64
DIGEST = re.compile(r"[0-9a-f]{64}")
BEING_WRITTEN = 0.2  # seconds for a line that is being written to be whole
CHAIN = ("number", "time", "event", "previous")


@dataclass(frozen=True, slots=True)
class Record:
    """One line that is in its place.

    time: in UTC. fields: what it has besides number, time, event and previous; names, ids and
    shapes. digest: SHA-256 of the line, in hex, which the next one has to name.
    """

    number: int
    time: datetime
    event: str
    fields: Mapping[str, Any]
    digest: str
    line: str

    @property
    def principal(self) -> str | None:
        """As "client:carol", None for what nobody asked for."""
        found = self.fields.get("principal")
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` read: how many records, and the digest of the last one."""

    records: int
    last: str


def verify(path: Path, contains: str | None = None) -> Verified:
    """Reads a whole log and checks its chain; memory is that of one line.

    contains: the digest of a record that has to be in it, kept elsewhere from earlier. Raises
    DataError, which names the line, where the log was changed, cut or is none.
    """
    number, last, found = 0, NOTHING_BEFORE, contains is None
    for record in records_in(path):
        number, last = record.number, record.digest
        found = found or last == contains
    if not found:
        assert contains is not None
        raise lacks(path, contains)
    return Verified(number, last)


def records_in(path: Path) -> Iterator[Record]:
    """The records of a log, in order, each checked before it is handed out.

    The log may be written meanwhile. Raises DataError, at the first line that is not as it was
    written or does not follow the one before, and where the file cannot be read.
    """
    number, last = 0, NOTHING_BEFORE
    try:
        with path.open("rb") as file:
            while line := _line_from(file):
                number += 1
                where = f"line {number} of {path}"
                record = _parsed(line, where)
                if record["number"] != number:
                    raise _no_log(where, f"it is record {record['number']}, where {number} was due")
                if record["previous"] != last:
                    raise _no_log(
                        where, "it does not follow the one before: one of the two was changed"
                    )
                last = digest_of(line)
                yield _record(record, line, last, where)
    except OSError as error:
        raise DataError(f"the audit log {path} cannot be read: {error.strerror}") from None


def lacks(path: Path, digest: str) -> DataError:
    """The error for a log without a record that is known to have been in it."""
    return DataError(
        f"{path} has no record with the digest {digest}: its end was cut off, it was written "
        "anew, or it is another log"
    )


def end_of(file: int, size: int, path: Path) -> tuple[int, str, bytes]:
    """Number and digest of the last whole record, and what stands after it, of an open file.

    Raises DataError where its end is no log's.
    """
    start = max(0, size - 3 * LONGEST_LINE)  # a cut line, the last whole one, the one before
    data = os.pread(file, size - start, start)
    whole, end, cut = data.rpartition(b"\n")
    if len(cut) > LONGEST_LINE:
        raise _no_log(f"the end of {path}", "it has a line longer than any record")
    if not end:
        return 0, NOTHING_BEFORE, cut
    lines = [each + b"\n" for each in whole.split(b"\n")]
    record = _parsed(lines[-1], f"the last line of {path}")
    before = digest_of(lines[-2]) if len(lines) > 1 else NOTHING_BEFORE
    if record["previous"] != before:
        raise _no_log(f"the last line of {path}", "it does not follow the one before")
    return record["number"], digest_of(lines[-1]), cut


def line_of(record: dict[str, Any]) -> bytes:
    """As it is written: ASCII, so that every line end is the end of a record."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def digest_of(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _line_from(file: BinaryIO) -> bytes:
    line = file.readline(LONGEST_LINE + 1)
    if line and not line.endswith(b"\n") and len(line) <= LONGEST_LINE:
        time.sleep(BEING_WRITTEN)
        line += file.readline(LONGEST_LINE + 1 - len(line))
    return line


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise _no_log(where, "it is cut or too long")
    try:
        record = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        raise _no_log(where, "it is not JSON") from None
    number = record.get("number") if isinstance(record, dict) else None
    previous = record.get("previous") if isinstance(record, dict) else None
    if type(number) is not int or not isinstance(previous, str) or not DIGEST.fullmatch(previous):
        raise _no_log(where, "it is no record")
    return dict(record)


def _record(record: dict[str, Any], line: bytes, digest: str, where: str) -> Record:
    event = record.get("event")
    try:
        when = datetime.fromisoformat(record["time"])
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _no_log(where, "it has no time") from None
    if not isinstance(event, str):
        raise _no_log(where, "it has no event")
    fields = {name: value for name, value in record.items() if name not in CHAIN}
    return Record(record["number"], when, event, fields, digest, line.decode("ascii").rstrip("\n"))


def _no_log(where: str, why: str) -> DataError:
    return DataError(
        f"{where} is not as it was written: {why}. Keep the file for whoever investigates, and "
        "name another as the audit log"
    )
