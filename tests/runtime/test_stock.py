"""Stock files: what is written is read, by their owner alone, whole or not at all."""

import errno
import os
import stat
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stock_files import (
    FIRST,
    LABEL,
    RECORD_WORDS,
    SECRET,
    SMALL,
    STREAM_KEY,
    assert_same,
    names,
    path,
    read,
    records,
    words,
    write,
)

from tacita.errors import MaskReused, MaterialError, UsageError
from tacita.runtime.sealing import CLEAR, LARGEST_PAYLOAD, SealedWriter
from tacita.runtime.stock import ENTRY, KEY, WORDS, StockWriter, take

# ---- what is written is read -------------------------------------------------------------------

SHAPES = st.one_of(
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.sampled_from([RECORD_WORDS - 1, RECORD_WORDS, RECORD_WORDS + 1]).map(lambda size: (size,)),
)
BRANCHES = st.dictionaries(st.integers(0, 255), st.lists(SHAPES, max_size=4), max_size=3)
NUMBERS = st.dictionaries(st.integers(0, (1 << 56) - 1), BRANCHES, max_size=4)


@given(NUMBERS, st.integers(2, 4))
def test_what_was_added_is_read(shapes, parties):
    dealt = {
        number: {
            branch: [words(*shape, seed=i) for i, shape in enumerate(each)]
            for branch, each in shapes[number].items()
        }
        for number in sorted(shapes)
    }
    label = msgspec.structs.replace(LABEL, party=parties - 1, parties=parties)
    with TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, dealt, label)
        key, found = read(folder, tuple(dealt), label)
    assert key == STREAM_KEY
    assert_same(found, dealt)


@pytest.mark.parametrize("size", [RECORD_WORDS * 2, RECORD_WORDS * 2 + 1])
def test_arrays_of_several_records(tmp_path, size):
    dealt = {0: {0: [words(3), words(size), words(0), words(5)], 1: [words(size, 1)]}}
    data = write(tmp_path, dealt).read_bytes()
    kinds = [CLEAR.unpack_from(data, at)[0] for at, _ in records(data)]
    full = -(-(2 * size + 8) // RECORD_WORDS)
    assert kinds == [KEY, ENTRY, *[WORDS] * full, 0]
    assert_same(read(tmp_path, [0])[1], dealt)


def test_arrays_that_are_no_contiguous_memory(tmp_path):
    square = words(6, 6)
    dealt = {0: {0: [square.T, square[::2, 1::3], np.uint64(5) * np.ones((), np.uint64)]}}
    write(tmp_path, dealt)
    assert_same(read(tmp_path, [0])[1], dealt)


def test_a_party_that_takes_no_corrections(tmp_path):
    write(tmp_path, {}, FIRST)
    assert read(tmp_path, (), FIRST) == (STREAM_KEY, {})


def test_files_of_several_parties_lie_side_by_side(tmp_path):
    write(tmp_path)
    write(tmp_path, {}, FIRST)
    read(tmp_path, (), FIRST)
    assert_same(read(tmp_path)[1], SMALL)


def test_nothing_of_a_batch_can_be_read_in_its_file(tmp_path):
    marked = np.frombuffer(b"a correction" * 2000, np.uint64)
    data = write(tmp_path, {0: {0: [marked]}}).read_bytes()
    assert b"correction" not in data
    assert STREAM_KEY not in data
    assert SECRET not in data


def test_two_files_of_the_same_contents_share_no_byte_but_the_clear_ones(tmp_path):
    one = write(tmp_path / "one").read_bytes()
    other = write(tmp_path / "other").read_bytes()
    assert len(one) == len(other)
    for start, end in records(one)[:-1]:
        sealed = slice(start + CLEAR.size, end)
        assert one[sealed] != other[sealed]


def test_files_are_for_their_owner_alone(tmp_path):
    umask = os.umask(0)
    try:
        folder = tmp_path / "stock"
        writer = StockWriter(folder, LABEL, SECRET, STREAM_KEY)
        assert stat.S_IMODE(path(folder, "part").stat().st_mode) == 0o600
        writer.close()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(path(folder, "stock").stat().st_mode) == 0o600
        with take(folder, LABEL, SECRET):
            for stage in ("taken", "spent"):
                assert stat.S_IMODE(path(folder, stage).stat().st_mode) == 0o600
    finally:
        os.umask(umask)


def test_memory_does_not_grow_with_the_batch(tmp_path):
    instructions, array = 16, words(4 * RECORD_WORDS)  # 64 MiB
    tracemalloc.start()
    try:
        with StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY) as writer:
            for number in range(instructions):
                writer.add(number, {0: [array]})
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        with take(tmp_path, LABEL, SECRET) as batch:
            for number in range(instructions):
                (found,) = batch.corrections(number)[0]
                assert found[-1] == array[-1]
                del found
            batch.finish()
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A record as it is gathered, twice that while its memory grows, and sealed.
    assert written < 4 * LARGEST_PAYLOAD
    # The instruction that is handed out; a record sealed, opened, and the one before it.
    assert taken < array.nbytes + 4 * LARGEST_PAYLOAD


# ---- writing -----------------------------------------------------------------------------------


def test_an_error_while_writing_leaves_nothing(tmp_path):
    for error in (RuntimeError, KeyboardInterrupt):
        writer = StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY)
        with pytest.raises(error):
            stop_halfway(writer, error)
        assert names(tmp_path) == []
    with pytest.raises(MaterialError, match="given up"):
        writer.close()


def stop_halfway(writer, error):
    with writer:
        writer.add(0, {0: [words(RECORD_WORDS + 5)]})
        assert writer._part.stat().st_size > LARGEST_PAYLOAD
        raise error


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, step):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY)
    monkeypatch.setattr(os, step, full)
    with pytest.raises(MaterialError, match=r"part: No space left on device; see that") as caught:
        writer.close()
    assert LABEL.batch.hex() in str(caught.value)
    assert names(tmp_path) == []


def test_a_full_disk_while_adding_gives_the_file_up(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY)
    monkeypatch.setattr(SealedWriter, "write", full)
    with pytest.raises(MaterialError, match="No space left"):
        writer.add(0, {})
    assert names(tmp_path) == []
    for more in (lambda: writer.add(1, {}), writer.close):
        with pytest.raises(MaterialError, match="given up"):
            more()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MaterialError, match="see that the folder"):
        StockWriter(tmp_path / "file", LABEL, SECRET, STREAM_KEY)


def test_a_batch_is_dealt_once(tmp_path):
    writer = StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY)
    with pytest.raises(MaskReused, match="being written"):
        StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY)
    writer.close()
    writer.close()
    for _ in ("written", "taken"):
        before = names(tmp_path)
        with pytest.raises(MaskReused, match="was dealt before"):
            StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY)
        assert names(tmp_path) == before
        if path(tmp_path, "stock").exists():
            take(tmp_path, LABEL, SECRET).close()


def test_nothing_is_added_to_a_published_file(tmp_path):
    with StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY) as writer:
        pass
    with pytest.raises(MaterialError, match="closed"):
        writer.add(0, {})
    writer.abandon()
    assert names(tmp_path) == [path(tmp_path, "stock").name]


UNFIT = {
    "the number before it": (4, {}),
    "a lower number": (3, {}),
    "a number without a stream": (1 << 56, {}),
    "signed words": (5, {0: [np.zeros(3, np.int64)]}),
    "a negative branch": (5, {-1: []}),
    "a branch too many": (5, {256: []}),
    "more arrays than a record can name": (5, {0: [np.zeros(0, np.uint64)] * (LARGEST_PAYLOAD)}),
}


@pytest.mark.parametrize("added", UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_not_written(tmp_path, added):
    with StockWriter(tmp_path, LABEL, SECRET, STREAM_KEY) as writer:
        writer.add(4, SMALL[3])
        with pytest.raises(UsageError):
            writer.add(*added)
    assert_same(read(tmp_path, [4])[1], {4: SMALL[3]})


def test_what_is_published_is_in_the_file_of_any_party(tmp_path):
    write(tmp_path, SMALL, FIRST)
    key, found = read(tmp_path, tuple(SMALL), FIRST)
    assert key == STREAM_KEY
    assert_same(found, SMALL)


@pytest.mark.parametrize("length", [0, 15])
def test_a_short_secret(tmp_path, length):
    with pytest.raises(UsageError, match="at least 16 random"):
        StockWriter(tmp_path, LABEL, bytes(length), STREAM_KEY)
    with pytest.raises(UsageError, match="at least 16 random"):
        take(tmp_path, LABEL, bytes(length))
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_key_of_another_length(tmp_path, length):
    with pytest.raises(UsageError, match="a stream key has 16 bytes"):
        StockWriter(tmp_path, LABEL, SECRET, bytes(length))
    assert names(tmp_path) == []


BAD_LABELS = {
    "program": {"program": b"p" * 31},
    "model": {"model": b""},
    "batch": {"batch": b"b" * 17},
    "negative": {"party": -1},
    "too high": {"party": 2},
    "alone": {"party": 0, "parties": 1},
}


@pytest.mark.parametrize("changed", BAD_LABELS.values(), ids=BAD_LABELS)
def test_a_label_that_is_none(changed):
    with pytest.raises(UsageError):
        msgspec.structs.replace(LABEL, **changed)
