"""`tacita audit`: what it shows, and that it finds the first record that was changed."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tacita import service
from tacita.cli.audit import moment
from tacita.errors import UsageError
from tacita.network.identity import Principal
from tacita.service.audit import EVENTS, AuditLog
from tacita.service.audit_chain import verify

CAROL, DAVE = Principal("client", "carol", "ab" * 32), Principal("client", "dave", "cd" * 32)
ACME = Principal("owner", "acme", "ef" * 32)
START = datetime(2026, 1, 31, 11, 0, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    """One record an hour: opened, publish, reveal, refuse, reveal, closed."""
    path = tmp_path / "audit.jsonl"
    times = iter(START + timedelta(hours=number) for number in range(6))
    with AuditLog(path, clock=lambda: next(times)) as written:
        written.record("publish", ACME, model="scans", program="12" * 32)
        written.record(
            "reveal",
            CAROL,
            model="scans",
            program="12" * 32,
            query="34" * 16,
            shapes={"y": (4, 10)},
        )
        written.record("refuse", DAVE, outcome="a colour: \x1b[31m")
        written.record("reveal", DAVE, shapes={"result": ()})
    return path


def numbers(result):
    assert result.exit_code == 0, result.output
    return [int(line.split()[0]) for line in result.stdout.splitlines()[:-1]]


def test_all_records_and_the_last_digest(run, log):
    result = run("audit", str(log))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "1  2026-01-31 11:00:00  opened  -",
        f"2  2026-01-31 12:00:00  publish  owner:acme  model=scans  program={'12' * 8}…",
        f"3  2026-01-31 13:00:00  reveal  client:carol  model=scans  program={'12' * 8}…  "
        f'query={"34" * 16}  shapes={{"y":[4,10]}}',
    ]
    assert lines[-1] == (f"6 records verified, 6 shown. Digest of the last: {verify(log).last}")


def test_an_event_that_there_is_not(run, log):
    result = run("audit", str(log), "--event", "nonsense")
    assert result.exit_code != 0
    assert "--event nonsense" in result.stderr
    for event in ("reveal", "publish", "unsave"):
        assert event in result.stderr
    assert result.stdout == ""


def test_every_event_that_is_written_is_known():
    """Otherwise records could not be asked for."""
    written = set()
    for path in Path(service.__file__).parent.rglob("*.py"):
        written |= set(re.findall(r"record\(\s*\"([a-z]+)\"", path.read_text()))
    assert {"publish", "session", "unsave", "refuse"} <= written <= set(EVENTS)


def test_nothing_that_a_terminal_obeys_is_printed(run, log):
    assert "\x1b" not in run("audit", str(log)).stdout
    assert r"a colour: \x1b[31m" in run("audit", str(log)).stdout
    assert "\x1b" not in run("audit", "--json", str(log)).stdout


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("--since", "2026-01-31T13:30"), [4, 5, 6]),
        (("--since", "2026-01-31T15:30+02:00"), [4, 5, 6]),
        (("--since", "2026-01-31"), [1, 2, 3, 4, 5, 6]),
        (("--since", "2026-02-01"), []),
        (("--principal", "client:dave"), [4, 5]),
        (("--principal", "client:*"), [3, 4, 5]),
        (("--principal", "owner:acme", "--principal", "client:carol"), [2, 3]),
        (("--principal", "dealer:*"), []),
        (("--event", "reveal"), [3, 5]),
        (("--event", "refuse", "--event", "closed"), [4, 6]),
        (("--event", "reveal", "--principal", "client:dave"), [5]),
    ],
)
def test_filters(run, log, options, shown):
    result = run("audit", str(log), *options)
    assert numbers(result) == shown
    assert f"6 records verified, {len(shown)} shown" in result.stdout, "all are verified"


def test_json_is_the_lines_themselves(run, log):
    result = run("audit", str(log), "--json", "--event", "reveal")
    lines = log.read_text().splitlines()
    assert result.stdout.splitlines() == [lines[2], lines[4]]
    assert json.loads(lines[2])["fingerprint"] == CAROL.fingerprint
    assert "6 records verified, 2 shown" in result.stderr


def test_the_first_broken_record_is_named(run, log):
    lines = log.read_bytes().splitlines(keepends=True)
    del lines[2]
    log.write_bytes(b"".join(lines))
    result = run("audit", str(log), "--event", "opened")
    assert result.exit_code == 1
    assert f"line 3 of {log} is not as it was written: it is record 4, where 3 was due" in (
        result.stderr
    )
    assert len(result.stdout.splitlines()) == 1, "what is good before it is shown"
    assert "verified" not in result.output


def test_an_altered_record_is_found_whatever_is_shown(run, log):
    log.write_bytes(log.read_bytes().replace(b"client:carol", b"client:caron"))
    result = run("audit", str(log), "--since", "2026-02-01")
    assert result.exit_code == 1
    assert f"line 4 of {log}" in result.stderr
    assert "one of the two was changed" in result.stderr


def test_an_end_that_was_cut_off_is_found_by_a_digest(run, log):
    last = verify(log).last
    assert run("audit", str(log), "--contains", last).exit_code == 0
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert run("audit", str(log)).exit_code == 0, "the chain alone does not show it"
    result = run("audit", str(log), "--contains", last)
    assert result.exit_code == 1
    assert last in result.stderr
    assert "verified" not in result.stdout


def test_a_log_that_is_written_meanwhile(run, tmp_path):
    with AuditLog(tmp_path / "log") as written:
        written.record("reveal", CAROL)
        assert numbers(run("audit", str(tmp_path / "log"))) == [1, 2]


def test_no_log(run, tmp_path):
    result = run("audit", str(tmp_path / "nothing"))
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
    (tmp_path / "empty").touch()
    assert "0 records verified" in run("audit", str(tmp_path / "empty")).stdout


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--since", "yesterday"), "neither a date"),
        (("--principal", "carol"), "role:name"),
        (("--contains", "1234"), "64 digits"),
    ],
)
def test_options_that_cannot_be_meant(run, log, options, why):
    result = run("audit", str(log), *options)
    assert result.exit_code == 2
    assert why in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("age", "delta"),
    [
        ("30s", timedelta(seconds=30)),
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_ages(age, delta):
    assert moment(age, START) == START - delta


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1y", "1.5h", "1234567s", "999999w"])
def test_what_is_no_age(text):
    with pytest.raises(UsageError, match="age such as"):
        moment(text, START)
