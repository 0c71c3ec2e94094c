"""Stock files for tests: a small one, one of a party without corrections, and what is in them."""

from collections import deque

import msgspec
import numpy as np

from tacita.runtime.sealing import CLEAR, LARGEST_PAYLOAD, PREAMBLE
from tacita.runtime.stock import Label, StockWriter, take

SECRET = bytes(range(100, 132))
STREAM_KEY = bytes(range(200, 216))
LABEL = Label(b"p" * 32, b"m" * 16, b"b" * 16, 1, 2)
FIRST = msgspec.structs.replace(LABEL, party=0)
RECORD_WORDS = LARGEST_PAYLOAD // 8


def words(*shape, seed=1):
    return np.random.default_rng(seed).integers(0, 1 << 64, shape, np.uint64)


SMALL = {3: {0: [words(2, 3), words(4)], 7: [words(1)]}, 5: {1: [words(7)]}}


def write(folder, dealt=SMALL, label=LABEL, secret=SECRET):
    with StockWriter(folder, label, secret, STREAM_KEY) as writer:
        for number, branches in dealt.items():
            writer.add(number, branches)
    return path(folder, "stock", label)


def path(folder, stage, label=LABEL):
    return folder / f"{label.batch.hex()}.{label.party}.{stage}"


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def read(folder, numbers=tuple(SMALL), label=LABEL, secret=SECRET):
    """All of a batch: its key, and the corrections by number."""
    with take(folder, label, secret) as batch:
        key = batch.key()
        dealt = {number: batch.corrections(number) for number in numbers}
        batch.finish()
    return key, dealt


def assert_same(found, added):
    assert list(found) == list(added)
    for number, branches in added.items():
        assert list(found[number]) == list(branches)
        for branch, arrays in branches.items():
            assert isinstance(found[number][branch], deque)
            assert len(found[number][branch]) == len(arrays)
            for mine, theirs in zip(found[number][branch], arrays, strict=True):
                assert mine.dtype == np.uint64
                assert mine.flags.writeable
                assert mine.shape == (theirs.size,)
                np.testing.assert_array_equal(mine, theirs.reshape(-1))


def records(data):
    """Where each record of a file begins and ends."""
    at = PREAMBLE.size + PREAMBLE.unpack_from(data)[2]
    found = []
    while at < len(data):
        end = at + CLEAR.size + CLEAR.unpack_from(data, at)[2]
        found.append((at, end))
        at = end
    return found
