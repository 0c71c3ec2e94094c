"""The kernels of staircases: the same as their twins, and the same as what they replace."""

import numpy as np
import pytest

from tacita.ring import kernels, twins

U64 = np.uint64
CHUNKS = [(1,), (3,), (4, 3, 2), (5, 5, 4), (1,) * 9, (6, 1), (1,) * 63]


def entries(chunks):
    return sum(1 << bits for bits in chunks)


def same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_lookups_equal_their_twin(path, words, width, chunks):
    for blocks, count in ((0, 3), (1, 1), (3, 5)):
        planes = words(blocks, sum(chunks) + 1, width)
        hot, numbers = words(blocks, entries(chunks), width), words(count)
        same(
            kernels.lookup_many(planes, hot, chunks, numbers, path=path),
            twins.lookup_many(planes, hot, chunks, numbers),
        )


@pytest.mark.parametrize("bits", [7, 8])
def test_lookups_in_the_largest_tables(path, words, bits):
    # Their twin takes too long; what is replaced is compared with it elsewhere.
    planes, hot, numbers = words(2, bits + 1, 8), words(2, 1 << bits, 8), words(2)
    nodes, _ = kernels.lookup_many(planes, hot, (bits,), numbers, path=path)
    for t, number in enumerate(numbers):
        low = np.ascontiguousarray(twins.add_public(planes, int(number))[:, :bits])
        same([nodes[:, t, None]], [kernels.lookup(low, hot, (bits,), order=True, path=path)])


@pytest.mark.parametrize(
    "numbers",
    [
        [0],
        [1 << i for i in range(11)],
        [(1 << 10) - (1 << i) for i in range(11)],
        [(1 << 11) - 1] * 64,
        list(range(64)),
    ],
    ids=["zero", "powers", "negative-powers", "the-same", "the-most"],
)
def test_lookups_that_share_places_equal_their_twin(path, words, numbers):
    planes, hot = words(1, 11, 4), words(1, entries((4, 3, 3)), 4)
    added = np.array(numbers, U64)
    same(
        kernels.lookup_many(planes, hot, (4, 3, 3), added, path=path),
        twins.lookup_many(planes, hot, (4, 3, 3), added),
    )


def test_lookups_of_sums_are_those_of_the_numbers_that_they_are(path, words, size, width):
    chunks, x, numbers = (5, 4, 6), words(size), words(5)
    hot = words(-(-size // (64 * width)), entries(chunks), width)
    planes = kernels.to_planes(x, 0, 16, width, path=path)
    nodes, tops = kernels.lookup_many(planes, hot, chunks, numbers, path=path)
    for t, number in enumerate(numbers):
        summed = kernels.to_planes(x + number, 0, 16, width, path=path)
        low = np.ascontiguousarray(summed[:, :15])
        expected = kernels.lookup(low, hot, chunks, order=True, path=path)
        each = expected.shape[1]
        # Bits past the last element mean nothing: x's planes are 0 there, those of the sum are not.
        for plane in range(each):
            ours = np.ascontiguousarray(nodes[:, t * each + plane, None])
            theirs = np.ascontiguousarray(expected[:, plane, None])
            same([kernels.unpack_bits(ours, size)], [kernels.unpack_bits(theirs, size)])
        top = np.ascontiguousarray(tops[:, t, None])
        same([kernels.unpack_bits(top, size)], [(x + number) >> U64(15) & U64(1)])


@pytest.mark.parametrize("count", [1, 3, 12])
def test_corrections_of_bits_equal_their_twin(path, words, size, width, count):
    planes = words(-(-size // (64 * width)), count, width)
    into = words(count, size)
    expected = into.copy()
    twins.bits_correction(planes, expected)
    kernels.bits_correction(planes, into, path=path)
    np.testing.assert_array_equal(into, expected)


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (2, 12), (3, 2), (4, 64), (7, 2), (9, 1)])
def test_shares_of_steps_equal_their_twin(path, words, size, width, rows, count):
    flipped = words(-(-size // (64 * width)), count, width)
    dealt, base, steps = words(count, size), words(rows), words(rows, count)
    for first in (False, True):
        np.testing.assert_array_equal(
            kernels.stairs_share(flipped, dealt, base, steps, first, path=path),
            twins.stairs_share(flipped, dealt, base, steps, first),
        )


def z(*shape):
    return np.zeros(shape, U64)


REFUSED = {
    "numbers: are more than 64": lambda: kernels.lookup_many(z(1, 3, 1), z(1, 4, 1), [2], z(65)),
    "numbers: expected a one": lambda: kernels.lookup_many(z(1, 3, 1), z(1, 4, 1), [2], z(5, 1)),
    "chunks: have more than 63": lambda: kernels.lookup_many(
        z(1, 65, 1), z(1, 8 * 256, 1), [8] * 8, z(1)
    ),
    "chunks: must not be empty": lambda: kernels.lookup_many(z(1, 1, 1), z(1, 2, 1), [], z(1)),
    "index_planes: expected shape [any, 3, any]": lambda: kernels.lookup_many(
        z(1, 2, 1), z(1, 4, 1), [2], z(1)
    ),
    "hot: expected shape [1, 4, 1]": lambda: kernels.lookup_many(z(1, 3, 1), z(1, 5, 1), [2], z(1)),
    "hot: expected bit planes": lambda: kernels.lookup_many(z(1, 3, 1), z(4), [2], z(1)),
    "s_planes: expected shape [1, 2, 1]": lambda: kernels.bits_correction(z(2, 2, 1), z(2, 64)),
    "dealt: expected a two": lambda: kernels.stairs_share(z(1, 1, 1), z(3), z(1), z(1, 1), True),
    "dealt: has more than 64": lambda: kernels.stairs_share(
        z(1, 65, 1), z(65, 3), z(1), z(1, 65), True
    ),
    "base: expected a one": lambda: kernels.stairs_share(
        z(1, 1, 1), z(1, 3), z(1, 1), z(1, 1), True
    ),
    "steps: expected shape [1, 2]": lambda: kernels.stairs_share(
        z(1, 2, 1), z(2, 3), z(1), z(1, 3), True
    ),
    "flipped_planes: expected shape [1, 2, 1]": lambda: kernels.stairs_share(
        z(2, 2, 1), z(2, 3), z(1), z(1, 2), True
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused(message):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        REFUSED[message]()
    assert str(refusal.value).startswith(message)
