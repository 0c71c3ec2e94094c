"""A run's randomness: what opens a stream, and what becomes of a batch that a party has taken."""

import os

import msgspec
import numpy as np
import pytest
from stock_files import FIRST, LABEL, SECRET, SMALL, STREAM_KEY, assert_same, names, path, write

from tacita.errors import MaskReused, MaterialMismatch
from tacita.program.readings import Mask
from tacita.ring.randomness import StreamKey
from tacita.runtime.material import BatchMaterial, Corrections
from tacita.runtime.reading import Draws, Prepared
from tacita.runtime.stock import take

COUNT = 8


class Streams:
    """Material of one key, which notes the streams that were opened."""

    def __init__(self, refusing=False):
        self.corrected = False
        self.opened = []
        self._refusing = refusing
        self._streams = StreamKey(STREAM_KEY).reserve(0, COUNT)

    def stream(self, number, branch):
        self.opened.append((number, branch))
        if self._refusing:
            raise MaskReused("refused")
        return self._streams.open(number, branch)

    def corrections(self, number):
        raise AssertionError(number)


def test_an_instruction_that_draws_nothing_opens_no_stream():
    material = Streams()
    draws = Draws(material, 3, Corrections(material, 3))
    assert material.opened == []
    draws.own((2,))
    draws.own((2,))
    assert material.opened == [(3, 0)]


def test_the_stream_of_an_instruction_opens_before_those_of_its_branches():
    # A stream key opens in ascending order only, and the instruction may draw after its branches.
    material = Streams()
    draws = Draws(material, 3, Corrections(material, 3))
    branches = [draws.branch(1), draws.branch(2)]
    late = [each.own((4,)) for each in (*branches, draws)]
    assert material.opened == [(3, 0), (3, 1), (3, 2)]
    eager = StreamKey(STREAM_KEY)
    for branch, drawn in ((0, late[2]), (1, late[0]), (2, late[1])):
        assert np.array_equal(eager.open(3, branch).draw((4,)), drawn)


def test_a_second_reading_of_an_instruction_draws_nothing():
    material = Streams()
    Draws(material, 3, Corrections(material, 3)).own((2,))
    again = Draws(material, 3, Corrections(material, 3))
    with pytest.raises(MaskReused, match=r"stream 3\.0 was opened before"):
        again.own((2,))


def test_a_stream_that_was_refused_is_not_asked_for_again():
    material = Streams(refusing=True)
    draws = Draws(material, 3, Corrections(material, 3))
    with pytest.raises(MaskReused):
        draws.own((2,))
    with pytest.raises(MaterialMismatch):
        draws.own((2,))
    assert material.opened == [(3, 0)]


@pytest.mark.parametrize(("label", "dealt"), [(LABEL, SMALL), (FIRST, {})], ids=["last", "first"])
def test_a_batch_is_read_and_its_file_deleted_before_the_run(tmp_path, label, dealt):
    write(tmp_path, dealt, label)
    # The first party is told of the same instructions, and has no corrections for them.
    material = BatchMaterial(take(tmp_path, label, SECRET), COUNT, list(SMALL))
    assert names(tmp_path) == [path(tmp_path, "spent", label).name]
    for number in reversed(dealt):  # in whatever order the data flow has
        assert_same({number: material.corrections(number)}, {number: dealt[number]})
    material.finish()
    material.close()


def test_the_first_party_has_what_is_published(tmp_path):
    write(tmp_path, {5: SMALL[5]}, FIRST)
    material = BatchMaterial(take(tmp_path, FIRST, SECRET), COUNT, list(SMALL), [5])
    assert_same({5: material.corrections(5)}, {5: SMALL[5]})
    material.finish()
    write(tmp_path, {5: SMALL[5]}, other := msgspec.structs.replace(FIRST, batch=b"c" * 16))
    for published in ([], [3, 5]):
        with take(tmp_path, other, SECRET) as batch, pytest.raises(MaterialMismatch):
            BatchMaterial(batch, COUNT, list(SMALL), published)
        other = msgspec.structs.replace(other, batch=bytes([other.batch[0] + 1]) * 16)
        write(tmp_path, {5: SMALL[5]}, other)


def test_corrections_are_handed_out_once(tmp_path):
    write(tmp_path)
    material = BatchMaterial(take(tmp_path, LABEL, SECRET), COUNT, list(SMALL))
    material.corrections(3)
    for number in (3, 4):
        with pytest.raises(MaterialMismatch, match=f"no material for instruction {number}"):
            material.corrections(number)
    with pytest.raises(MaterialMismatch, match="left the material of instruction 5 unused"):
        material.finish()


def test_what_is_given_up_is_not_handed_out(tmp_path):
    write(tmp_path)
    material = BatchMaterial(take(tmp_path, LABEL, SECRET), COUNT, list(SMALL))
    material.close()
    with pytest.raises(MaterialMismatch, match="no material for instruction 3"):
        material.corrections(3)


@pytest.mark.parametrize("promised", [[3], [3, 4, 5], [5, 3], [3, 5, 6]])
def test_a_batch_of_other_instructions_is_refused_before_the_run(tmp_path, promised):
    write(tmp_path)
    with take(tmp_path, LABEL, SECRET) as batch, pytest.raises(MaterialMismatch):
        BatchMaterial(batch, COUNT, promised)
    assert names(tmp_path) == [path(tmp_path, "spent").name]


def test_a_fork_uses_nothing_that_was_prepared_or_dealt(tmp_path, monkeypatch):
    # A mask that parent and child both have would hide two values.
    write(tmp_path)
    material = BatchMaterial(take(tmp_path, LABEL, SECRET), COUNT, list(SMALL))
    prepared = Prepared()
    prepared.keep(1, np.zeros(2, np.uint64))
    prepared.keep_masks(2, [Mask(np.zeros(2, np.uint64))])
    monkeypatch.setattr(os, "getpid", lambda: -1)
    for use in (
        lambda: prepared.take(1),
        lambda: prepared.take_masks(2),
        lambda: material.corrections(3),
        lambda: material.stream(0, 0),
    ):
        with pytest.raises(MaskReused, match="this process was forked"):
            use()
