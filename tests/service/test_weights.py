"""Published models on a disk: what was saved is loaded, by its owner alone, whole or not at all."""

import os
import stat
import tracemalloc

import msgspec
import numpy as np
import pytest

from tacita.errors import MaskReused, MaterialError, MaterialMismatch, ShapeError, UsageError
from tacita.runtime.sealing import LARGEST_PAYLOAD, SealedWriter
from tacita.service import weights as weights_module
from tacita.service.weights import (
    DEALT,
    HELD,
    SHAPE,
    WORDS,
    Published,
    WeightParts,
    load,
    load_dealt,
    remove,
    save,
    save_dealt,
)

SECRET = bytes(range(32))
PUBLISHED = Published(
    name="resnet20",
    model=b"m" * 16,
    owner="owner:mia",
    fingerprint="ab" * 32,
    audience=("client:ward", "client:lab"),
    program=b"a program, encoded",
    parties=2,
    index=1,
    made=1.5,
)
KEYS = [b"0" * 16, b"1" * 16]


def words(shape, seed):
    return np.random.default_rng(seed).integers(0, 1 << 64, shape, np.uint64)


def parts(*shape, seed=0):
    return WeightParts(*(words(shape, seed + number) for number in range(3)))


WEIGHTS = [parts(3, 4), parts(), parts(0, 5), parts(200, 1000, seed=3), parts(7, seed=9)]


def assert_same(found, saved):
    assert len(found) == len(saved)
    for mine, theirs in zip(found, saved, strict=True):
        for one, other in zip(mine.arrays, theirs.arrays, strict=True):
            assert one.dtype == np.uint64
            assert one.shape == other.shape
            np.testing.assert_array_equal(one, other)


def test_what_was_saved_is_loaded(tmp_path):
    path = save(tmp_path / "models", PUBLISHED, iter(WEIGHTS), SECRET)
    assert path == tmp_path / "models" / PUBLISHED.model.hex()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    published, found = load(path, SECRET)
    assert published == PUBLISHED
    assert_same(found, WEIGHTS)


@pytest.mark.parametrize("more", range(-3, 4))
def test_programs_of_about_a_record(tmp_path, more):
    about = len(msgspec.msgpack.encode(msgspec.structs.replace(PUBLISHED, program=bytes(1 << 16))))
    size = 2 * LARGEST_PAYLOAD - about + (1 << 16) + more
    published = msgspec.structs.replace(PUBLISHED, program=os.urandom(size))
    assert len(msgspec.msgpack.encode(published)) == 2 * LARGEST_PAYLOAD + more
    path = save(tmp_path, published, WEIGHTS[:1], SECRET)
    assert load(path, SECRET)[0] == published


def test_arrays_that_are_no_contiguous_memory(tmp_path):
    square = [words((6, 6), seed) for seed in range(3)]
    weight = WeightParts(*(each.T[::2] for each in square))
    assert_same(load(save(tmp_path, PUBLISHED, [weight], SECRET), SECRET)[1], [weight])


def test_the_dealers_file(tmp_path):
    published = msgspec.structs.replace(PUBLISHED, index=-1)
    path = save_dealt(tmp_path, published, KEYS, SECRET)
    assert load_dealt(path, SECRET) == (published, KEYS)
    for key in KEYS:
        assert key not in path.read_bytes()
    for keys in ([], KEYS[:1], [*KEYS, KEYS[0]], [KEYS[0], b"short"]):
        with pytest.raises(UsageError, match="2 parties has as many keys of 16 bytes"):
            save_dealt(tmp_path / "other", published, keys, SECRET)


def test_each_role_reads_its_own_form_alone(tmp_path):
    mine = save(tmp_path / "party", PUBLISHED, WEIGHTS, SECRET)
    theirs = save_dealt(tmp_path / "dealer", PUBLISHED, KEYS, SECRET)
    with pytest.raises(MaterialMismatch, match="is no file of a model's keys"):
        load_dealt(mine, SECRET)
    with pytest.raises(MaterialMismatch, match="is no file of a published model"):
        load(theirs, SECRET)
    # Not by its magic alone: the key is another one too.
    mine.write_bytes(DEALT.magic + mine.read_bytes()[16:])
    with pytest.raises(MaterialMismatch, match="does not open"):
        load_dealt(mine, SECRET)


def test_nothing_but_the_model_id_can_be_read(tmp_path):
    marked = np.frombuffer(b"a weight" * 2000, np.uint64)
    data = save(tmp_path, PUBLISHED, [WeightParts(marked, marked, marked)], SECRET).read_bytes()
    for hidden in (b"weight", SECRET, b"resnet20", b"owner:mia", b"a program"):
        assert hidden not in data
    assert PUBLISHED.model in data


def test_files_are_for_their_owner_alone(tmp_path):
    umask = os.umask(0)
    try:
        path = save(tmp_path / "models", PUBLISHED, WEIGHTS, SECRET)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(umask)


def test_a_model_is_published_once(tmp_path):
    path = save(tmp_path, PUBLISHED, WEIGHTS[:1], SECRET)
    with pytest.raises(MaskReused, match="publish under a fresh model id"):
        save(tmp_path, PUBLISHED, WEIGHTS[1:], SECRET)
    assert_same(load(path, SECRET)[1], WEIGHTS[:1])
    assert remove(tmp_path, PUBLISHED.model)
    assert not remove(tmp_path, PUBLISHED.model)
    assert list(tmp_path.iterdir()) == []
    assert not remove(tmp_path / "nowhere", PUBLISHED.model)


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    def weights():
        yield WEIGHTS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        save(tmp_path, PUBLISHED, weights(), SECRET)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_disk_that_refuses_leaves_nothing(tmp_path, monkeypatch, step):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights_module.os, step, full)
    with pytest.raises(MaterialError, match="No space left on device") as caught:
        save(tmp_path, PUBLISHED, WEIGHTS, SECRET)
    monkeypatch.undo()
    assert PUBLISHED.model.hex() in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    save(tmp_path, PUBLISHED, WEIGHTS, SECRET)


def test_what_a_crash_left_of_one_is_written_over(tmp_path):
    (tmp_path / f"{PUBLISHED.model.hex()}.part").write_bytes(b"half")
    path = save(tmp_path, PUBLISHED, WEIGHTS[:1], SECRET)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


SMALL = [parts(2, 3), parts(4, seed=5)]


def test_a_file_cut_or_flipped_anywhere_is_refused(tmp_path):
    path = save(tmp_path, PUBLISHED, SMALL, SECRET)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at])
        with pytest.raises(MaterialMismatch, match=r"cut off|altered") as caught:
            load(path, SECRET)
        assert "published again" in str(caught.value)
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(MaterialMismatch, match=path.name):
            load(path, SECRET)


def test_files_of_another_name_secret_or_place(tmp_path):
    path = save(tmp_path, PUBLISHED, SMALL, SECRET)
    with pytest.raises(MaterialMismatch, match="the secret is not the one"):
        load(path, SECRET[::-1])
    with pytest.raises(MaterialError, match="No such file"):
        load(tmp_path / "nothing", SECRET)
    other = path.rename(tmp_path / bytes(16).hex())
    with pytest.raises(MaterialMismatch, match="file of another model"):
        load(other, SECRET)


def sealed(folder, *written, published=PUBLISHED, label=PUBLISHED.model):
    """A file whose seals are right and whose records may not be."""
    path = folder / PUBLISHED.model.hex()
    with path.open("wb") as file:
        writer = SealedWriter(file, label, SECRET, HELD)
        if published is not None:
            writer.write(1, msgspec.msgpack.encode(published))
        for kind, payload in written:
            writer.write(kind, payload)
        writer.end()
    return path


def shape(*sizes):
    return SHAPE, msgspec.msgpack.encode(sizes)


NO_SENSE = {
    "words of nothing": [(WORDS, bytes(24))],
    "too few": [shape(1)],
    "too short": [shape(1), (WORDS, bytes(16))],
    "too long": [shape(1), (WORDS, bytes(32))],
    "in pieces": [shape(1), (WORDS, bytes(8)), (WORDS, bytes(16))],
    "more than the file": [shape(1 << 40)],
    "too large a size": [shape(1 << 60)],
    "below nothing": [(SHAPE, msgspec.msgpack.encode([-1]))],
    "too many dimensions": [shape(*[1] * 33), (WORDS, bytes(24))],
    "no shape": [(SHAPE, b"\xc1")],
    "about again": [(1, b"")],
}


@pytest.mark.parametrize("written", NO_SENSE.values(), ids=NO_SENSE)
def test_records_that_make_no_sense(tmp_path, written):
    path = sealed(tmp_path, *written)
    tracemalloc.start()
    try:
        with pytest.raises(MaterialMismatch, match="altered"):
            load(path, SECRET)
        assert tracemalloc.get_traced_memory()[1] < LARGEST_PAYLOAD
    finally:
        tracemalloc.stop()


def test_files_about_nothing_or_something_else(tmp_path):
    with pytest.raises(MaterialMismatch, match="does not begin with what was published"):
        load(sealed(tmp_path, published=None), SECRET)
    other = msgspec.structs.replace(PUBLISHED, model=b"n" * 16)
    with pytest.raises(MaterialMismatch, match="speaks of another model"):
        load(sealed(tmp_path, published=other), SECRET)
    for about in ({"name": "x"}, msgspec.structs.replace(PUBLISHED, parties=1)):
        with pytest.raises(MaterialMismatch, match="what was published cannot be read"):
            load(sealed(tmp_path, published=about), SECRET)


def test_parts_that_are_not_alike():
    with pytest.raises(ShapeError, match=r"\(2,\), \(3,\), \(2,\)"):
        WeightParts(words(2, 0), words(3, 0), words(2, 0))
    with pytest.raises(UsageError, match="uint64"):
        WeightParts(words(2, 0), words(2, 0), np.zeros(2, np.int64))
    assert "hidden" in repr(parts(2))


def test_memory_is_that_of_the_weights(tmp_path):
    weights = [parts(1 << 19, seed=seed) for seed in range(2)]  # 12 MiB each
    total = sum(array.nbytes for each in weights for array in each.arrays)
    tracemalloc.start()
    try:
        path = save(tmp_path, PUBLISHED, weights, SECRET)
        assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_PAYLOAD
        tracemalloc.reset_peak()
        found = load(path, SECRET)[1]
        assert tracemalloc.get_traced_memory()[1] < total + 4 * LARGEST_PAYLOAD
    finally:
        tracemalloc.stop()
    assert_same(found, weights)


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_model_id_of_another_length(tmp_path, length):
    published = msgspec.structs.replace(PUBLISHED, model=bytes(length))
    with pytest.raises(UsageError, match=f"16 bytes, not {length}"):
        save(tmp_path, published, [], SECRET)
    assert list(tmp_path.iterdir()) == []
