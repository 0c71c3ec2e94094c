"""Stock files that are not what was written, or not for this use: refused, whatever was done."""

import os
import struct
import tracemalloc

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from stock_files import (
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

from tacita.errors import MaterialMismatch
from tacita.runtime import sealing
from tacita.runtime.sealing import (
    CLEAR,
    LARGEST_PAYLOAD,
    VERSION,
    Clear,
    Header,
    Seal,
    SealedWriter,
)
from tacita.runtime.stock import ENTRY, KEY, WORDS, Entry, Label, take


def assert_refused(folder, match=None):
    """It is refused when it is taken or read, and at the latest by `finish`."""
    with pytest.raises(MaterialMismatch, match=match) as caught:
        read(folder)
    assert LABEL.batch.hex() in str(caught.value)
    assert not any(each in str(caught.value).encode() for each in (SECRET, STREAM_KEY))


@pytest.fixture
def altered(tmp_path):
    """altered(data): a folder with a stock file of these bytes."""
    count = iter(range(10**6))

    def put(data):
        folder = tmp_path / f"altered{next(count)}"
        folder.mkdir()
        path(folder, "stock").write_bytes(data)
        return folder

    return put


@pytest.fixture
def whole(tmp_path):
    return write(tmp_path / "whole").read_bytes()


def test_the_unaltered_bytes_are_taken(altered, whole):
    assert_same(read(altered(whole))[1], SMALL)


def test_a_file_cut_anywhere_is_refused_and_stays(altered, whole):
    for length in range(len(whole)):
        folder = altered(whole[:length])
        assert_refused(folder, "cut|altered")
        assert names(folder) == [path(folder, "stock").name]


def test_a_file_cut_while_it_is_read(tmp_path):
    large = {number: {0: [words(RECORD_WORDS)]} for number in range(3)}
    data = write(tmp_path / "measured", large).read_bytes()
    # Far enough from its beginning not to have been read ahead.
    for cut, (start, _) in enumerate(records(data)[4:]):
        folder = tmp_path / f"cut{cut}"
        write(folder, large)
        with take(folder, LABEL, SECRET) as batch:
            os.truncate(path(folder, "taken"), start)
            with pytest.raises(MaterialMismatch, match="cut"):
                read_on(batch, large)


def read_on(batch, numbers):
    for number in numbers:
        batch.corrections(number)
    batch.finish()


def test_a_flipped_bit_in_any_byte_is_refused(altered, whole):
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        assert_refused(altered(data))


def test_what_was_altered_is_not_handed_out(tmp_path):
    dealt = {0: {0: [words(8)]}, 1: {0: [words(2 * RECORD_WORDS)]}}
    file = write(tmp_path, dealt)
    data = bytearray(file.read_bytes())
    last = records(data)[-2]
    data[last[1] - 1] ^= 1
    file.write_bytes(data)
    with take(tmp_path, LABEL, SECRET) as batch:
        assert_same({0: batch.corrections(0)}, {0: dealt[0]})
        for _ in range(2):
            with pytest.raises(MaterialMismatch, match="altered"):
                batch.corrections(1)
        with pytest.raises(MaterialMismatch, match="altered"):
            batch.finish()


def test_records_that_changed_places(tmp_path, altered):
    same = {number: {0: [words(4, seed=number)]} for number in range(3)}
    file = write(tmp_path, same)
    data = file.read_bytes()
    found = records(data)
    parts = [data[start:end] for start, end in found]
    header = data[: found[0][0]]
    sequence = range(len(parts))
    for one in sequence:
        for other in sequence[one + 1 :]:
            order = list(sequence)
            order[one], order[other] = other, one
            assert_altered(altered, header, [parts[i] for i in order])
            order[one] = order[other]  # and one in place of another, twice
            assert_altered(altered, header, [parts[i] for i in order])
    for left_out in sequence:
        assert_altered(altered, header, parts[:left_out] + parts[left_out + 1 :])


def assert_altered(altered, header, parts):
    folder = altered(header + b"".join(parts))
    with pytest.raises(MaterialMismatch):
        read(folder, range(3))


def test_a_record_renumbered_to_its_place(tmp_path):
    file = write(tmp_path, {number: {0: [words(4, seed=number)]} for number in range(2)})
    data = bytearray(file.read_bytes())
    _, _, one, _, other, _ = records(data)
    head, tail = data[slice(*one)], data[slice(*other)]
    data[slice(*one)] = head[: CLEAR.size] + tail[CLEAR.size :]
    data[slice(*other)] = tail[: CLEAR.size] + head[CLEAR.size :]
    file.write_bytes(data)
    with pytest.raises(MaterialMismatch, match="seal of record 2 does not open"):
        read(tmp_path, range(2))


SEALED_BY = Header(b"s" * 32, b"label", b"raw")
CLEAR_PART = Clear(1, 0, 20, 5)
CHANGES = {
    "salt": (SEALED_BY._replace(salt=b"t" * 32), SECRET, CLEAR_PART),
    "label": (SEALED_BY._replace(label=b"lapel"), SECRET, CLEAR_PART),
    "header": (SEALED_BY._replace(raw=b"row"), SECRET, CLEAR_PART),
    "secret": (SEALED_BY, SECRET[::-1], CLEAR_PART),
    "kind": (SEALED_BY, SECRET, CLEAR_PART._replace(kind=2)),
    "final": (SEALED_BY, SECRET, CLEAR_PART._replace(final=1)),
    "length": (SEALED_BY, SECRET, CLEAR_PART._replace(length=21)),
    "counter": (SEALED_BY, SECRET, CLEAR_PART._replace(counter=6)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_seal_is_bound_to_all_that_surrounds_it(change):
    """One by one, since the file's other checks would notice most of them too."""
    closed = Seal(SEALED_BY, SECRET).close(CLEAR_PART, b"data")
    assert Seal(SEALED_BY, SECRET).open(CLEAR_PART, closed) == b"data"
    header, secret, clear = change
    with pytest.raises(InvalidTag):
        Seal(header, secret).open(clear, closed)


@pytest.mark.parametrize("extra", [b"\0", b"more", bytes(100)])
def test_a_file_that_was_added_to(altered, whole, extra):
    assert_refused(altered(whole + extra), "altered")
    last = whole[records(whole)[-1][0] :]
    assert_refused(altered(whole + last), "bytes and has")


def test_an_end_before_the_end(tmp_path):
    with path(tmp_path, "stock").open("wb") as file:
        writer = SealedWriter(file, msgspec.msgpack.encode(LABEL), SECRET)
        writer.write(KEY, STREAM_KEY)
        writer.end()
        writer.end()
    with (
        take(tmp_path, LABEL, SECRET) as batch,
        pytest.raises(MaterialMismatch, match="goes on after its end"),
    ):
        batch.finish()


def test_a_file_without_its_end(tmp_path):
    with path(tmp_path, "stock").open("wb") as file:
        writer = SealedWriter(file, msgspec.msgpack.encode(LABEL), SECRET)
        for _ in range(2):
            writer.write(KEY, STREAM_KEY)
    assert_refused(tmp_path, "cut")


OTHERS = {
    "program": {"program": b"q" * 32},
    "model": {"model": b"n" * 16},
    "batch": {"batch": b"c" * 16},
    "party": {"party": 2, "parties": 4},
    "number of parties": {"parties": 3},
}


@pytest.mark.parametrize("field", OTHERS)
def test_a_file_of_another_label(tmp_path, field):
    label = Label(b"p" * 32, b"m" * 16, b"b" * 16, 1, 4)
    other = msgspec.structs.replace(label, **OTHERS[field])
    write(tmp_path, {}, label).rename(path(tmp_path, "stock", other))
    with pytest.raises(MaterialMismatch, match=f"was dealt for another {field};"):
        take(tmp_path, other, SECRET)
    assert names(tmp_path) == [path(tmp_path, "stock", other).name]


def test_a_label_put_on_another_file(tmp_path):
    other = msgspec.structs.replace(LABEL, batch=b"c" * 16)
    data = write(tmp_path, label=other).read_bytes()
    path(tmp_path, "stock").write_bytes(data.replace(other.batch, LABEL.batch, 1))
    with pytest.raises(MaterialMismatch, match="does not open"):
        take(tmp_path, LABEL, SECRET)


def test_the_wrong_secret_does_not_cost_the_batch(tmp_path):
    write(tmp_path)
    with pytest.raises(MaterialMismatch, match="the secret is not the one"):
        take(tmp_path, LABEL, SECRET[::-1])
    assert_same(read(tmp_path)[1], SMALL)


@pytest.mark.parametrize("version", [0, VERSION + 1, 65535])
def test_another_version(altered, whole, version):
    data = bytearray(whole)
    struct.pack_into("<H", data, len(sealing.MAGIC), version)
    assert_refused(altered(data), f"format version {version}.*reads version {VERSION}")


def test_something_that_is_no_stock_file(altered):
    assert_refused(altered(b"PK\3\4" + bytes(500)), "is no stock file")


@pytest.mark.parametrize("length", [0, 15, LARGEST_PAYLOAD + 17, 2 * LARGEST_PAYLOAD, 2**32 - 1])
def test_an_absurd_length_is_not_allocated(tmp_path, length):
    file = write(tmp_path, {3: {0: [words(3 * RECORD_WORDS)]}})
    data = bytearray(file.read_bytes())  # long enough for all but the last length
    start, _ = records(data)[1]
    clear = CLEAR.unpack_from(data, start)
    CLEAR.pack_into(data, start, *clear[:2], length, clear[3])
    file.write_bytes(data)
    tracemalloc.start()
    try:
        assert_refused(tmp_path, "impossible length")
        assert tracemalloc.get_traced_memory()[1] < LARGEST_PAYLOAD
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [1025, 65535])
def test_an_absurd_label(altered, whole, length):
    data = bytearray(whole)
    struct.pack_into("<H", data, len(sealing.MAGIC) + 2, length)
    assert_refused(altered(data), "label longer than any")


def sealed(folder, *written):
    """A file whose seals are right and whose records may not be."""
    with path(folder, "stock").open("wb") as file:
        writer = SealedWriter(file, msgspec.msgpack.encode(LABEL), SECRET)
        for kind, payload in written:
            writer.write(kind, payload)
        writer.end()


def entry(number, sizes):
    return ENTRY, msgspec.msgpack.encode([number, sizes])


WELL_SEALED = {
    "no records": [],
    "no key": [(ENTRY, msgspec.msgpack.encode(Entry(3, {})))],
    "a short key": [(KEY, STREAM_KEY[1:])],
    "two keys": [(KEY, STREAM_KEY), (KEY, STREAM_KEY)],
    "words of nothing": [(KEY, STREAM_KEY), (WORDS, bytes(8))],
    "more than the file": [(KEY, STREAM_KEY), entry(3, {0: [1 << 61]})],
    "much more": [(KEY, STREAM_KEY), entry(3, {0: [(1 << 64) - 1] * 100})],
    "a negative size": [(KEY, STREAM_KEY), entry(3, {0: [1, -1]})],
    "a branch too many": [(KEY, STREAM_KEY), entry(3, {256: []})],
    "no msgpack": [(KEY, STREAM_KEY), (ENTRY, b"\xc1")],
    "words in pieces": [
        (KEY, STREAM_KEY),
        entry(3, {0: [2]}),
        *[(WORDS, bytes(8))] * 2,
        entry(5, {}),
    ],
    "too many words": [(KEY, STREAM_KEY), entry(3, {0: [2]}), (WORDS, bytes(24)), entry(5, {})],
    "no words": [(KEY, STREAM_KEY), entry(3, {0: [2]}), entry(5, {})],
}


@pytest.mark.parametrize("written", WELL_SEALED.values(), ids=WELL_SEALED)
def test_records_that_make_no_sense(tmp_path, written):
    sealed(tmp_path, *written)
    tracemalloc.start()
    try:
        assert_refused(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < LARGEST_PAYLOAD
    finally:
        tracemalloc.stop()
