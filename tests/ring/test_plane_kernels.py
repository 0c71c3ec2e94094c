"""Bit planes, one-hot tables and lookups against twins and against hand-worked answers."""

import numpy as np
import pytest

from tacita.ring import kernels, twins

U64 = np.uint64
CHUNKS = [(1,), (4,), (8,), (4, 4), (3, 5, 1), (4,) * 8, (7, 2, 6), (1, 1, 1, 1)]


@pytest.mark.parametrize("bits", [(0, 64), (0, 32), (3, 32), (31, 33), (63, 1), (17, 8), (5, 13)])
def test_to_planes(path, words, size, width, bits):
    values = words(size)
    np.testing.assert_array_equal(
        kernels.to_planes(values, *bits, width, path=path), twins.to_planes(values, *bits, width)
    )


def test_to_planes_by_hand(path):
    """Elements 1, 2 and 3 of two bits: plane 0 holds 1, 0, 1 and plane 1 holds 0, 1, 1."""
    planes = kernels.to_planes(np.array([1, 2, 3], U64), 0, 2, 1, path=path)
    assert planes.tolist() == [[[0b101], [0b110]]]


def test_bits(path, size, width):
    bits = np.random.default_rng(size).integers(0, 2, size=size, dtype=np.uint8)
    planes = kernels.pack_bits(bits, width, path=path)
    np.testing.assert_array_equal(planes, twins.pack_bits(bits, width))
    np.testing.assert_array_equal(kernels.unpack_bits(planes, size, path=path), bits)


def test_pack_takes_the_lowest_bit_alone(path):
    assert kernels.pack_bits(np.array([2, 3, 255], np.uint8), 1, path=path).tolist() == [[[0b110]]]


def test_unpack_leaves_the_padding_alone(path, width):
    ones = np.full((1, 1, width), 2**64 - 1, U64)
    assert kernels.unpack_bits(ones, 64 * width - 1, path=path).tolist() == [1] * (64 * width - 1)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_one_hot(path, words, width, chunks):
    for blocks in (0, 1, 3):
        planes = words(blocks, sum(chunks), width)
        into = words(blocks, sum(1 << c for c in chunks), width)
        expected = into.copy()
        twins.xor_one_hot(planes, chunks, expected)
        kernels.xor_one_hot(planes, chunks, into, path=path)
        np.testing.assert_array_equal(into, expected)


def test_one_hot_by_hand(path):
    """Value 0b101 in chunks of 1 (most significant) and 2 bits: hot at 1 and, after 2, at 1."""
    planes = kernels.to_planes(np.array([0b101], U64), 0, 3, 1, path=path)
    into = np.zeros((1, 2 + 4, 1), U64)
    kernels.xor_one_hot(planes, [1, 2], into, path=path)
    # Bits past the only element are zeros, that is value 0: entries 0 are hot there.
    assert (into[0, :, 0] & U64(1)).tolist() == [0, 1, 0, 1, 0, 0]
    assert (into[0, :, 0] >> U64(1)).tolist() == [2**63 - 1, 0, 2**63 - 1, 0, 0, 0]


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("order", [False, True])
def test_lookup(path, words, width, chunks, order):
    for blocks in (0, 1, 3):
        index = words(blocks, sum(chunks), width)
        hot = words(blocks, sum(1 << c for c in chunks), width)
        np.testing.assert_array_equal(
            kernels.lookup(index, hot, chunks, order=order, path=path),
            twins.lookup(index, hot, chunks, order=order),
        )


def test_lookup_by_hand(path):
    """r = 0b1_10 against x = 0b1_01, 0b0_11, 0b1_10 in chunks of 1 and 2 bits."""
    x, r = np.array([0b101, 0b011, 0b110], U64), np.full(3, 0b110, U64)
    hot = np.zeros((1, 6, 1), U64)
    kernels.xor_one_hot(kernels.to_planes(r, 0, 3, 1), [1, 2], hot, path=path)
    index = kernels.to_planes(x, 0, 3, 1)
    e0, e1 = kernels.lookup(index, hot, [1, 2], order=False, path=path)[0, :, 0] & U64(7)
    assert (e0, e1) == (0b101, 0b100)
    e0, l0, l1 = kernels.lookup(index, hot, [1, 2], order=True, path=path)[0, :, 0] & U64(7)
    assert (e0, l0, l1) == (0b101, 0b010, 0b001)
