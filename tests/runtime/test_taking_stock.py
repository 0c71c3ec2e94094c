"""A batch is taken once: whoever asks, whatever crashes, whatever is put back."""

import errno
import os
import subprocess
import sys
from copy import copy
from pathlib import Path

import msgspec
import pytest
from stock_files import (
    FIRST,
    LABEL,
    SECRET,
    SMALL,
    STREAM_KEY,
    assert_same,
    names,
    path,
    read,
    write,
)

from tacita.errors import MaskReused, MaterialError, MaterialMismatch
from tacita.runtime import sealing, stock, stock_folder
from tacita.runtime.stock import KEY, StockWriter, discard, open_spent, take, waiting


def assert_taken(folder):
    with pytest.raises(MaskReused, match="was taken already"):
        take(folder, LABEL, SECRET)
    assert waiting(folder, LABEL.program, LABEL.model) == []


def test_a_batch_is_taken_once(tmp_path):
    write(tmp_path)
    with take(tmp_path, LABEL, SECRET) as batch:
        assert names(tmp_path) == [path(tmp_path, stage).name for stage in ("spent", "taken")]
        assert_taken(tmp_path)
        for number in SMALL:
            batch.corrections(number)
        batch.finish()
        assert names(tmp_path) == [path(tmp_path, "spent").name]
    assert path(tmp_path, "spent").stat().st_size == 0
    assert_taken(tmp_path)


def test_an_error_in_its_use_spends_a_batch(tmp_path):
    write(tmp_path)
    with pytest.raises(RuntimeError), take(tmp_path, LABEL, SECRET):
        raise RuntimeError
    assert names(tmp_path) == [path(tmp_path, "spent").name]
    assert_taken(tmp_path)


def test_a_file_put_back(tmp_path):
    file = write(tmp_path)
    data = file.read_bytes()
    batch = take(tmp_path, LABEL, SECRET)
    file.write_bytes(data)
    assert_taken(tmp_path)
    batch.close()
    assert_taken(tmp_path)
    assert discard(tmp_path) == [LABEL.batch]
    assert names(tmp_path) == [path(tmp_path, "spent").name]


@pytest.mark.parametrize("marked", [True, False])
def test_what_a_crash_leaves_is_never_used(tmp_path, marked):
    write(tmp_path).rename(path(tmp_path, "taken"))
    if marked:
        path(tmp_path, "spent").touch()
    assert_taken(tmp_path)
    assert discard(tmp_path) == [LABEL.batch]
    assert names(tmp_path) == [path(tmp_path, "spent").name]
    assert_taken(tmp_path)
    assert discard(tmp_path) == []


def test_a_file_put_beside_one_that_a_crash_left(tmp_path):
    file = write(tmp_path)
    path(tmp_path, "taken").write_bytes(file.read_bytes())
    assert_taken(tmp_path)
    assert discard(tmp_path) == [LABEL.batch]
    assert names(tmp_path) == [path(tmp_path, "spent").name]


def test_a_crash_between_the_marker_and_the_rename(tmp_path):
    write(tmp_path)
    path(tmp_path, "spent").touch()
    assert_taken(tmp_path)
    assert discard(tmp_path) == [LABEL.batch]
    assert_taken(tmp_path)


@pytest.mark.parametrize("stage", ["spent", "taken"])
def test_somebody_takes_it_while_it_is_looked_at(tmp_path, monkeypatch, stage):
    write(tmp_path)
    look = stock._open

    def look_while_another_takes(*arguments):
        found = look(*arguments)
        path(tmp_path, "spent").touch()
        if stage == "taken":
            path(tmp_path, "stock").rename(path(tmp_path, "taken"))
        return found

    monkeypatch.setattr(stock, "_open", look_while_another_takes)
    assert_taken(tmp_path)
    left = "stock" if stage == "spent" else "taken"
    assert path(tmp_path, left).exists()


def test_nothing_is_opened_before_the_batch_is_marked_on_the_disk(tmp_path, monkeypatch):
    write(tmp_path)
    happened = []
    opened, synced = sealing.Seal.open, stock_folder.Slot.sync

    def note_open(self, clear, payload):
        happened.append(("open", clear.kind))
        return opened(self, clear, payload)

    def note_sync(self):
        happened.append(("sync", sorted(Path(name).suffix for name in names(tmp_path))))
        synced(self)

    monkeypatch.setattr(sealing.Seal, "open", note_open)
    monkeypatch.setattr(stock_folder.Slot, "sync", note_sync)
    with take(tmp_path, LABEL, SECRET):
        pass
    end = ("open", sealing.END)
    assert happened == [end, ("sync", [".spent", ".taken"]), end, ("open", KEY)]


def test_a_batch_that_is_not_there(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MaterialMismatch, match=r"there is no .*have the batch dealt"):
            take(folder, LABEL, SECRET)
        assert waiting(folder, LABEL.program, LABEL.model) == []
        assert discard(folder) == []
    assert names(tmp_path) == []


# Forks from a process without threads, which the tests' own is not.
RACE = """
import os, sys
from pathlib import Path
from tacita.errors import MaskReused
from tacita.runtime.stock import Label, StockWriter, take

folder, secret = Path(sys.argv[1]), bytes(32)
for batch in range(25):
    label = Label(bytes(32), bytes(16), bytes([batch]) * 16, 0, 2)
    StockWriter(folder, label, secret, bytes(16)).close()
    gate, opener = os.pipe()
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            os.close(opener)
            os.read(gate, 1)
            try:
                take(folder, label, secret).key()
                os._exit(10)
            except MaskReused:
                os._exit(11)
            finally:
                os._exit(12)
        children.append(child)
    os.close(opener)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(gate)
    assert sorted(ends) == [10, 11, 11, 11], ends
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from tacita.errors import MaskReused
from tacita.runtime.stock import Label, StockWriter, take

folder, secret = Path(sys.argv[1]), bytes(32)
label = Label(b"p" * 32, b"m" * 16, b"b" * 16, 1, 2)
writer = StockWriter(folder, label, secret, bytes(16))
if not os.fork():
    try:
        writer.add(0, {})
    except MaskReused:
        os._exit(10)
    os._exit(12)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 10
writer.close()
batch = take(folder, label, secret)
if not os.fork():
    for use in (batch.key, lambda: batch.corrections(0), batch.finish):
        try:
            use()
            os._exit(12)
        except MaskReused:
            pass
    os._exit(10)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 10
os.kill(os.getpid(), signal.SIGKILL)
"""


def run(source, folder):
    command = [sys.executable, "-c", source, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def test_of_processes_that_race_for_a_batch_one_gets_it(tmp_path):
    done = run(RACE, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_process_that_is_forked_or_killed(tmp_path):
    done = run(KILLED, tmp_path)
    assert done.returncode == -9, done.stderr
    assert names(tmp_path) == [path(tmp_path, stage).name for stage in ("spent", "taken")]
    assert_taken(tmp_path)


# ---- a batch that a ledger has as spent --------------------------------------------------------


def test_a_spent_batch_leaves_nothing_in_the_folder(tmp_path, monkeypatch):
    write(tmp_path)
    ended = []
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("the ledger has it on its disk"))
    with open_spent(tmp_path, LABEL, SECRET, lambda: ended.append(1)) as batch:
        assert names(tmp_path) == []
        assert batch.key() == STREAM_KEY
        assert_same({number: batch.corrections(number) for number in SMALL}, SMALL)
        assert ended == []
        batch.finish()
    batch.close()
    assert (ended, names(tmp_path)) == ([1], [])
    with pytest.raises(MaskReused, match="is finished"):
        batch.key()
    with pytest.raises(MaterialMismatch, match="there is no"):
        open_spent(tmp_path, LABEL, SECRET)


def test_a_spent_batch_loses_its_name_before_its_key_is_read(tmp_path, monkeypatch):
    write(tmp_path)
    happened = []
    opened = sealing.Seal.open

    def note_open(self, clear, payload):
        happened.append((clear.kind, len(names(tmp_path))))
        return opened(self, clear, payload)

    monkeypatch.setattr(sealing.Seal, "open", note_open)
    open_spent(tmp_path, LABEL, SECRET).close()
    assert happened == [(sealing.END, 1), (KEY, 0)]


@pytest.mark.parametrize("stage", ["spent", "taken"])
def test_a_ledger_does_not_overrule_the_markers_of_a_folder(tmp_path, stage):
    write(tmp_path)
    path(tmp_path, stage).touch()
    with pytest.raises(MaskReused, match="was taken already"):
        open_spent(tmp_path, LABEL, SECRET)


def test_a_spent_batch_that_does_not_fit_stays(tmp_path):
    file = write(tmp_path)
    with pytest.raises(MaterialMismatch, match="does not open"):
        open_spent(tmp_path, LABEL, b"another secret!!")
    with pytest.raises(MaterialMismatch, match="for another model"):
        open_spent(tmp_path, msgspec.structs.replace(LABEL, model=b"n" * 16), SECRET)
    assert file.exists()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(MaterialMismatch, match="cut"):
        open_spent(tmp_path, LABEL, SECRET)


def test_a_disk_that_keeps_the_name_of_a_spent_batch(tmp_path, monkeypatch):
    write(tmp_path)

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(MaterialError, match="read-only"):
        open_spent(tmp_path, LABEL, SECRET)


KILLED_WITH_A_SPENT_ONE = """
import os, signal, sys
from pathlib import Path
from tacita.runtime.stock import Label, StockWriter, open_spent

folder, secret = Path(sys.argv[1]), bytes(32)
label = Label(b"p" * 32, b"m" * 16, b"b" * 16, 1, 2)
StockWriter(folder, label, secret, bytes(16)).close()
open_spent(folder, label, secret).key()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_no_spent_batch(tmp_path):
    done = run(KILLED_WITH_A_SPENT_ONE, tmp_path)
    assert done.returncode == -9, done.stderr
    assert names(tmp_path) == []


# ---- a batch that was taken --------------------------------------------------------------------


@pytest.fixture
def batch(tmp_path):
    write(tmp_path)
    with take(tmp_path, LABEL, SECRET) as taken:
        yield taken


def test_the_key_is_handed_out_once(batch):
    assert batch.key() == STREAM_KEY
    with pytest.raises(MaskReused, match="was handed out before"):
        batch.key()


def test_a_batch_knows_its_label_and_cannot_be_copied(batch):
    assert batch.label == LABEL
    assert repr(batch) == f"TakenBatch({LABEL.batch.hex()}.1.taken, hidden)"
    with pytest.raises(MaskReused, match="cannot be copied"):
        copy(batch)


def test_corrections_out_of_turn(batch):
    with pytest.raises(MaterialMismatch, match="instruction 3 where instruction 5 was asked for"):
        batch.corrections(5)
    batch.corrections(3)
    with pytest.raises(MaterialMismatch, match="instruction 5 where instruction 3 was asked for"):
        batch.corrections(3)
    batch.corrections(5)
    with pytest.raises(MaterialMismatch, match="the end where instruction 6 was asked for"):
        batch.corrections(6)
    batch.finish()


@pytest.mark.parametrize("numbers", [[], [3]])
def test_corrections_left(batch, numbers):
    for number in numbers:
        batch.corrections(number)
    with pytest.raises(MaterialMismatch, match="was never asked for"):
        batch.finish()


def test_nothing_comes_from_a_finished_batch(batch):
    batch.close()
    batch.close()
    for use in (batch.key, lambda: batch.corrections(3), batch.finish):
        with pytest.raises(MaskReused, match="is finished"):
            use()


def test_a_key_not_asked_for_is_gone_with_its_file(tmp_path):
    write(tmp_path, {}, FIRST)
    batch = take(tmp_path, FIRST, SECRET)
    batch.finish()
    with pytest.raises(MaskReused):
        batch.key()


# ---- what can be taken -------------------------------------------------------------------------


def test_what_is_waiting(tmp_path):
    ids = [bytes([number]) * 16 for number in (9, 4, 7)]
    for batch in ids:
        write(tmp_path, label=msgspec.structs.replace(LABEL, batch=batch))
        write(tmp_path, {}, msgspec.structs.replace(FIRST, batch=batch))
    write(tmp_path, label=msgspec.structs.replace(LABEL, model=b"n" * 16))
    unfinished = StockWriter(
        tmp_path, msgspec.structs.replace(LABEL, batch=b"u" * 16), SECRET, STREAM_KEY
    )
    path(tmp_path, "stock", msgspec.structs.replace(LABEL, batch=b"x" * 16)).write_bytes(b"no")
    (tmp_path / "other.stock").write_bytes(b"no")
    assert waiting(tmp_path, LABEL.program, LABEL.model) == sorted(ids)
    assert waiting(tmp_path, LABEL.program, b"n" * 16) == [LABEL.batch]
    assert waiting(tmp_path, b"q" * 32, LABEL.model) == []
    take(tmp_path, msgspec.structs.replace(LABEL, batch=ids[0]), SECRET).close()
    assert waiting(tmp_path, LABEL.program, LABEL.model) == sorted(ids)
    assert waiting(tmp_path, LABEL.program, LABEL.model, party=1) == sorted(ids[1:])
    assert waiting(tmp_path, LABEL.program, LABEL.model, party=0) == sorted(ids)
    unfinished.abandon()


def test_discarding_leaves_what_can_be_taken(tmp_path):
    write(tmp_path)
    assert discard(tmp_path) == []
    assert_same(read(tmp_path)[1], SMALL)


def test_discarding_does_not_disturb_a_batch_in_use(batch, tmp_path):
    assert discard(tmp_path) == [LABEL.batch]
    assert_same({number: batch.corrections(number) for number in SMALL}, SMALL)
    batch.finish()
    assert_taken(tmp_path)
