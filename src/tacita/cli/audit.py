"""`tacita audit`: what a party's audit log says, and whether it is as it was written."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tacita.cli.complaint import OURS, complaining
from tacita.cli.terminal import printable
from tacita.errors import DataError, UsageError
from tacita.service.audit import EVENTS
from tacita.service.audit_chain import DIGEST, Record, lacks, records_in
from tacita.service.policy import check_pattern

AGE = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SHORT = 16  # digits of a program's digest
NOBODY = "-"


def audit(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The log: audit.jsonl of a party's data folder.")
    ],
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Show records from then on: 2026-01-31, 2026-01-31T12:00 (UTC if nothing else "
            "is said), or an age such as 90m, 24h, 7d.",
        ),
    ] = None,
    principal: Annotated[
        list[str] | None,
        typer.Option(
            "--principal",
            metavar="ROLE:NAME",
            help="Show records of this one, or role:* for all of a role. Repeatable.",
        ),
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            metavar="EVENT",
            help=f"Show these events, of {', '.join(EVENTS)}. Repeatable.",
        ),
    ] = None,
    contains: Annotated[
        str | None,
        typer.Option(
            "--contains",
            metavar="DIGEST",
            help="Fail as well if no record has this digest, noted down earlier: the chain alone "
            "cannot show that the end was cut off.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print records as they are, one JSON object a line.")
    ] = False,
) -> None:
    """Verify the audit log FILE, and show its records.

    Every line holds the digest of the one before. All lines are checked, whatever is shown; the
    daemon may run meanwhile. The first line that is not as it was written is named, and the exit
    code is 1 then. What was verified, and the last digest to note down, comes last, with --json on
    stderr.
    """
    with complaining():
        earliest = None if since is None else moment(since, datetime.now(UTC))
        patterns = [check_pattern(each) for each in principal or ()]
        if unknown := [each for each in event or () if each not in EVENTS]:
            raise UsageError(
                f"--event {printable(unknown[0])}: no record can be of that; "
                f"the events are {', '.join(EVENTS)}"
            )
        if contains is not None and not DIGEST.fullmatch(contains):
            raise UsageError("--contains takes a SHA-256 digest: 64 digits of 0-9 and a-f")
    count = shown = 0
    last, found = "none: the log is empty", contains is None
    try:
        for record in records_in(file):
            count, last = record.number, record.digest
            found = found or last == contains
            if fits(record, earliest, patterns, event or ()):
                shown += 1
                typer.echo(record.line if as_json else as_text(record))
        if not found:
            assert contains is not None
            raise lacks(file, contains)
    except DataError as error:
        typer.echo(f"tacita: {printable(str(error))}", err=True)
        raise typer.Exit(OURS) from None
    typer.echo(f"{count} records verified, {shown} shown. Digest of the last: {last}", err=as_json)


def moment(text: str, now: datetime) -> datetime:
    """The time that --since means. Raises UsageError."""
    try:
        if (age := AGE.fullmatch(text)) is not None:
            return now - timedelta(**{UNITS[age[2]]: int(age[1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--since {text!r} is neither a date such as 2026-01-31 nor an age such as 24h"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def fits(
    record: Record, earliest: datetime | None, patterns: list[str], events: list[str] | tuple[()]
) -> bool:
    """Whether a record is one of those that are asked for; an empty list asks for all."""
    if earliest is not None and record.time < earliest:
        return False
    if events and record.event not in events:
        return False
    who = record.principal or ""
    return not patterns or who in patterns or f"{who.partition(':')[0]}:*" in patterns


def as_text(record: Record) -> str:
    """One line: number, time, event, who, and what else it has."""
    rest = {name: value for name, value in record.fields.items() if name != "principal"}
    rest.pop("fingerprint", None)  # of a certificate; --json has it
    if isinstance(rest.get("program"), str):
        rest["program"] = rest["program"][:SHORT] + "…"
    parts = [
        str(record.number),
        record.time.strftime("%Y-%m-%d %H:%M:%S"),
        record.event,
        record.principal or NOBODY,
        *(f"{name}={_plain(value)}" for name, value in rest.items()),
    ]
    return "  ".join(map(printable, parts))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
