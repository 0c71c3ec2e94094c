"""The audit log: its chain, its ends, and that nothing goes on without it."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tacita.errors import AuditFailed, ConfigError, DataError, UsageError
from tacita.network.identity import Principal
from tacita.service import audit
from tacita.service.audit import AuditLog
from tacita.service.audit_chain import NOTHING_BEFORE, digest_of, line_of, records_in, verify

FULL = Path("/dev/full")  # takes no byte
CAROL = Principal("client", "carol", "ab" * 32)
REVEAL = {
    "model": "mnist",
    "program": "cd" * 32,
    "query": "ef" * 16,
    "shapes": {"x": (1, 784)},
    "sizes": {"bytes": 6272},
    "outcome": "done",
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "audit.jsonl"


def records(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def events(path):
    return [each["event"] for each in records(path)]


def filled(path, count=3):
    with AuditLog(path) as log:
        for _ in range(count):
            log.record("reveal", CAROL, **REVEAL)
    return path.read_bytes()


def test_a_record_has_what_it_was_given(path):
    early = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone(timedelta(hours=2)))
    with AuditLog(path, clock=lambda: early) as log:
        digest = log.record("reveal", CAROL, **REVEAL)
    line = path.read_bytes().splitlines(keepends=True)[1]
    assert digest == hashlib.sha256(line).hexdigest()
    assert json.loads(line) == {
        "number": 2,
        "time": "2026-01-02T01:04:05.678+00:00",
        "event": "reveal",
        "principal": "client:carol",
        "fingerprint": CAROL.fingerprint,
        "model": "mnist",
        "program": "cd" * 32,
        "query": "ef" * 16,
        "shapes": {"x": [1, 784]},
        "sizes": {"bytes": 6272},
        "outcome": "done",
        "previous": hashlib.sha256(path.read_bytes().splitlines(keepends=True)[0]).hexdigest(),
    }
    assert events(path) == ["opened", "reveal", "closed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_chain_goes_on_when_opened_again(path):
    filled(path)
    filled(path)
    assert [each["number"] for each in records(path)] == list(range(1, 11))
    checked = verify(path)
    assert checked.records == 10
    with AuditLog(path) as log:
        assert records(path)[-1]["previous"] == checked.last
        assert log.records == 11
        last = log.last
    assert verify(path, contains=last).records == 12


def test_line_ends_in_values_make_no_lines(path):
    with AuditLog(path) as log:
        log.record("refused", CAROL, outcome='two\nlines "quoted" \u2028 ü \ud800')
    assert verify(path).records == 3
    assert records(path)[1]["outcome"] == 'two\nlines "quoted" \u2028 ü \ud800'


# ---- tampering -----------------------------------------------------------------------------------


def swap(lines):
    lines[1], lines[2] = lines[2], lines[1]


def alter(lines):
    lines[2] = lines[2].replace(b"carol", b"david")


TAMPERING = {
    "altered": (alter, "line 4"),
    "taken out": (lambda lines: lines.pop(2), "line 3"),
    "the first taken out": (lambda lines: lines.pop(0), "line 1"),
    "twice": (lambda lines: lines.insert(2, lines[2]), "line 4"),
    "exchanged": (swap, "line 2"),
    "an empty line": (lambda lines: lines.insert(2, b"\n"), "line 3"),
    "not JSON": (lambda lines: lines.insert(2, b"hello\n"), "line 3"),
    "no record": (lambda lines: lines.insert(2, b"[]\n"), "line 3"),
    "numbers as text": (lambda lines: lines.insert(2, b'{"number":"3"}\n'), "line 3"),
    "a long line": (lambda lines: lines.insert(2, b"x" * audit.LONGEST_LINE + b"\n"), "line 3"),
    "a cut end": (lambda lines: lines.append(lines.pop()[:-5]), "line 5"),
}


@pytest.mark.parametrize(("tamper", "where"), TAMPERING.values(), ids=TAMPERING)
def test_a_changed_log_is_noticed(path, tamper, where):
    lines = filled(path).splitlines(keepends=True)
    tamper(lines)
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=where) as caught:
        verify(path)
    assert str(path) in str(caught.value)


def test_a_log_that_lost_its_end_lacks_a_record_that_is_known(path):
    lines = filled(path).splitlines(keepends=True)
    last = verify(path).last
    path.write_bytes(b"".join(lines[:-1]))
    assert verify(path).records == len(lines) - 1
    with pytest.raises(DataError, match=last):
        verify(path, contains=last)


def chained(*given):
    """Lines that follow each other, with whatever they are given."""
    lines, last = [], NOTHING_BEFORE
    for number, fields in enumerate(given, 1):
        lines.append(line_of({"number": number, **fields, "previous": last}))
        last = digest_of(lines[-1])
    return b"".join(lines)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"event": "reveal"}, "it has no time"),
        ({"event": "reveal", "time": 5}, "it has no time"),
        ({"event": "reveal", "time": "noon"}, "it has no time"),
        ({"time": "2026-01-02T03:04:05+00:00"}, "it has no event"),
    ],
)
def test_what_hangs_together_and_is_no_record(tmp_path, fields, why):
    good = {"event": "opened", "time": "2026-01-02T03:04:05+00:00"}
    (tmp_path / "log").write_bytes(chained(good, fields, good))
    with pytest.raises(DataError, match=f"line 2 .*{why}"):
        verify(tmp_path / "log")


def test_records_are_read_as_they_were_written(path):
    filled(path, 1)
    opened, reveal, closed = records_in(path)
    assert (opened.event, reveal.event, closed.event) == ("opened", "reveal", "closed")
    assert (opened.principal, reveal.principal) == (None, "client:carol")
    assert reveal.fields == {
        "principal": "client:carol",
        "fingerprint": CAROL.fingerprint,
        **REVEAL,
        "shapes": {"x": [1, 784]},
    }
    assert reveal.time == datetime.fromisoformat(records(path)[1]["time"])
    assert [each.line for each in (opened, reveal, closed)] == path.read_text().splitlines()
    assert verify(path, contains=reveal.digest).last == closed.digest


def test_records_before_a_broken_one_are_handed_out(path):
    lines = filled(path).splitlines(keepends=True)
    alter(lines)
    path.write_bytes(b"".join(lines))
    found = []
    with pytest.raises(DataError, match="line 4"):
        found.extend(each.number for each in records_in(path))
    reading = records_in(path)
    assert [next(reading).number for _ in range(3)] == [1, 2, 3]
    reading.close()


def test_a_line_that_is_being_written_is_waited_for(path, monkeypatch):
    """A reader may see a part of the last line: it is whole a moment later."""
    whole = filled(path)
    path.write_bytes(whole[:-20])

    def written(_seconds):
        with path.open("ab") as file:
            file.write(whole[-20:])

    monkeypatch.setattr("tacita.service.audit_chain.time.sleep", written)
    assert verify(path).records == 5


def test_a_log_that_is_not_there_is_named(path):
    with pytest.raises(DataError, match="cannot be read"):
        verify(path)


ENDS = {
    "altered before the last": lambda lines: lines.__setitem__(
        -2, lines[-2].replace(b"mnist", b"cifar")
    ),
    "the one before taken out": lambda lines: lines.pop(-2),
    "only the last": lambda lines: lines.__delitem__(slice(0, -1)),
    "something else": lambda lines: lines.append(b"hello\n"),
    "an empty line": lambda lines: lines.append(b"\n"),
    "a long line": lambda lines: lines.append(b"x" * 5 * audit.LONGEST_LINE),
}


@pytest.mark.parametrize("tamper", ENDS.values(), ids=ENDS)
def test_a_log_whose_end_was_changed_is_not_continued(path, tamper):
    lines = filled(path).splitlines(keepends=True)
    tamper(lines)
    data = b"".join(lines)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"last line|end of"):
        AuditLog(path)
    assert path.read_bytes() == data
    with pytest.raises(DataError):  # its lock is free again
        AuditLog(path)


# ---- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", range(5))
def test_a_cut_last_line_is_taken_off_and_told(path, line):
    whole = filled(path).splitlines(keepends=True)
    kept = b"".join(whole[:line])
    for length in (1, len(whole[line]) // 2, len(whole[line]) - 1):
        path.write_bytes(kept + whole[line][:length])
        AuditLog(path).close()
        assert path.read_bytes().startswith(kept)
        assert verify(path).records == line + 3
        told = records(path)[line]
        assert told["event"] == "repaired"
        assert f"{length} bytes" in told["outcome"]


def test_nul_bytes_of_a_lost_write_are_a_cut_line(path):
    whole = filled(path)
    path.write_bytes(whole + b"\0" * 4096)
    AuditLog(path).close()
    assert path.read_bytes().startswith(whole)
    assert "repaired" in events(path)
    verify(path)


def test_a_log_of_many_long_lines_is_continued(path):
    with AuditLog(path) as log:
        for _ in range(5):
            log.record("refused", outcome="x" * (audit.LONGEST_LINE - 400))
    AuditLog(path).close()
    assert verify(path).records == 9


# ---- no record, no reveal ------------------------------------------------------------------------


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_refuses_until_there_is_room(path, monkeypatch):
    with AuditLog(path) as log:
        with monkeypatch.context() as patched:
            patched.setattr(audit.os, "write", full)
            with pytest.raises(AuditFailed, match="No space left"):
                log.record("reveal", CAROL, **REVEAL)
        log.record("reveal", CAROL, **REVEAL)
    assert events(path) == ["opened", "reveal", "closed"]
    verify(path)


def test_half_a_line_is_taken_off(path, monkeypatch):
    write = os.write
    with AuditLog(path) as log:
        with monkeypatch.context() as patched:
            patched.setattr(audit.os, "write", lambda file, data: write(file, data[:10]))
            with pytest.raises(AuditFailed, match="only a part"):
                log.record("reveal", CAROL, **REVEAL)
        log.record("reveal", CAROL, **REVEAL)
    assert verify(path).records == 3


def test_half_a_line_that_stays_puts_the_log_out_of_use(path, monkeypatch):
    write = os.write
    log = AuditLog(path)
    with monkeypatch.context() as patched:
        patched.setattr(audit.os, "write", lambda file, data: write(file, data[:10]))
        patched.setattr(audit.os, "ftruncate", full)
        with pytest.raises(AuditFailed, match="only a part"):
            log.record("reveal", CAROL, **REVEAL)
    with pytest.raises(AuditFailed, match="start the daemon anew"):
        log.record("reveal", CAROL, **REVEAL)
    log.close()
    AuditLog(path).close()
    assert events(path) == ["opened", "repaired", "opened", "closed"]
    verify(path)


def test_a_log_that_does_not_reach_the_disk_is_out_of_use(path, monkeypatch):
    log = AuditLog(path)
    with monkeypatch.context() as patched:
        patched.setattr(audit.os, "fsync", full)
        with pytest.raises(AuditFailed, match="cannot be brought to the disk"):
            log.record("reveal", CAROL, **REVEAL)
    for event in ("reveal", "refused"):
        with pytest.raises(AuditFailed, match="out of use"):
            log.record(event)
    log.close()


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_refuses_to_open():
    with pytest.raises(AuditFailed, match="No space left"):
        AuditLog(FULL)


def test_a_deleted_log_refuses(path):
    log = AuditLog(path)
    path.unlink()
    for _ in range(2):
        with pytest.raises(AuditFailed, match="deleted"):
            log.record("reveal", CAROL, **REVEAL)
    log.close()


def test_reveals_are_on_the_disk_before_they_are_told(path, monkeypatch):
    synced, fsync = [], os.fsync
    with AuditLog(path) as log:
        monkeypatch.setattr(
            audit.os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), fsync(file))
        )
        log.record("refused", CAROL)
        assert synced == []
        log.record("reveal", CAROL, **REVEAL)
        assert synced == [path.stat().st_size]
        log.record("published", CAROL, durable=True)
        assert synced[1:] == [path.stat().st_size]


def test_a_closed_log_refuses(path):
    log = AuditLog(path)
    log.close()
    log.close()
    with pytest.raises(AuditFailed, match="closed"):
        log.record("reveal", CAROL)
    assert events(path) == ["opened", "closed"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be opened"):
        AuditLog(tmp_path / "file" / "audit.jsonl")
    with pytest.raises(ConfigError, match="cannot be opened"):
        AuditLog(tmp_path)


@pytest.mark.parametrize("event", ["", "Reveal", "two words", "a" * 65, "1", "a\n"])
def test_an_event_is_a_word(path, event):
    with AuditLog(path) as log, pytest.raises(UsageError, match="one word"):
        log.record(event)
    assert verify(path).records == 2


def test_a_record_is_not_endless(path):
    with AuditLog(path) as log:
        with pytest.raises(UsageError, match="at most"):
            log.record("refused", outcome="x" * audit.LONGEST_LINE)
        log.record("refused")
    assert verify(path).records == 3


def test_values_have_no_place(path):
    with AuditLog(path) as log, pytest.raises((TypeError, ValueError)):
        log.record("reveal", CAROL, shapes={"x": ["secret"]})
    assert events(path) == ["opened", "closed"]


# ---- at once -------------------------------------------------------------------------------------


def test_threads_write_one_chain(path):
    start = threading.Barrier(8)
    with AuditLog(path) as log:

        def work(number):
            start.wait(30)
            for each in range(10):
                log.record("reveal" if each % 2 else "refused", CAROL, sizes={"n": number})

        threads = [threading.Thread(target=work, args=(each,)) for each in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
    assert verify(path).records == 82
    assert {each["sizes"]["n"] for each in records(path) if "sizes" in each} == set(range(8))


def test_another_in_this_process_is_refused(path):
    with AuditLog(path), pytest.raises(ConfigError, match="another process"):
        AuditLog(path)
    AuditLog(path).close()


OPENING = """
import sys
from pathlib import Path
from tacita.service.audit import AuditLog
AuditLog(Path(sys.argv[1])).close()
"""


def test_another_process_is_refused(path):
    def open_there():
        return subprocess.run(  # noqa: S603 - this interpreter, on our own source
            [sys.executable, "-c", OPENING, str(path)], capture_output=True, text=True, timeout=100
        )

    with AuditLog(path):
        done = open_there()
        assert done.returncode != 0
        assert "another process writes the audit log" in done.stderr
    assert open_there().returncode == 0
    assert verify(path).records == 4


def test_times_are_of_this_clock_by_default(path):
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    AuditLog(path).close()
    for each in records(path):
        assert before <= datetime.fromisoformat(each["time"]) <= datetime.now(UTC)
