"""The largest pair by pair: exact, or within a unit of the precision where a truncation is owed."""

import numpy as np
import pytest
import torch
from agreement import PRECISION, close, stored

from tacita.ring.fixed_point import Precision
from tacita.runtime.plain import PlainRun
from tacita.torch.lowering import Lowering, pairs
from tacita.torch.private_tensor import PrivateTensor

BINARY = Precision(2, 12)


def largest(tensors):
    low = tensors[0]._lowering
    handle = pairs.largest_of(low, [each._handle for each in tensors], "test")
    low.builder.flush()
    return PrivateTensor(handle, low)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 65)])
def test_the_largest(group, count, shape):
    values = [torch.randn(shape) * 5 for _ in range(count)]
    shared = [group.share(each, bound=64.0) for each in values]
    expected = torch.stack([stored(each) for each in values]).amax(0)
    close(largest(shared), expected)


def test_without_a_bound(group):
    a, b = torch.randn(5) * 100, torch.randn(5) * 100
    shared = [group.share(a), group.share(b)]
    close(largest(shared), torch.maximum(stored(a), stored(b)))


@pytest.mark.parametrize("precision", [BINARY, PRECISION], ids=["base 2", "base 10"])
def test_products_are_compared_to_one_unit(group, precision):
    a, b, c = (torch.randn(200) for _ in range(3))
    close_pair = a + torch.randint(-2, 3, (200,)) / precision.scale
    shared = [group.share(each, precision, bound=8.0) for each in (a, b, c, close_pair)]
    products = [each * each for each in shared]
    assert products[0]._handle.wire.scale == precision.scale**2
    expected = torch.stack([stored(each, precision) ** 2 for each in (a, b, c, close_pair)]).amax(0)
    # Each of the two levels may take a candidate for another that is less than a unit larger;
    # base 10 leaves out no bits, and is exact.
    close(largest(products), expected, 2 if precision is BINARY else 0, precision)


def test_a_truncation_owed_makes_comparisons_narrower(group):
    x = group.share(torch.randn(4), BINARY, bound=8.0)
    squared = x * x
    narrow = pairs.width_of_difference(squared._lowering, squared._handle, 4)
    assert narrow.drop == BINARY.digits
    assert pairs.width_of_difference(x._lowering, x._handle, 4).drop == 0


def test_many_windows_are_pooled_pair_by_pair(group):
    x = torch.randn(2, 8, 40, 40)
    pooled = torch.nn.functional.max_pool2d(group.share(x, BINARY, bound=8.0), 3, 2, 1)
    expected = torch.nn.functional.max_pool2d(stored(x, BINARY), 3, 2, 1)
    close(pooled, expected, 0, BINARY)


@pytest.mark.parametrize("bits", [58, 59, 60])
def test_bits_are_left_out_only_where_there_is_room_for_their_carry(bits):
    run = PlainRun()
    low = Lowering(run, BINARY)
    x = run.input(np.zeros(4, np.uint64), (4,), BINARY.scale**2, (1 << bits) - 1)
    width = pairs.width_of_difference(low, x, 4)
    reach = 2 * ((1 << bits) - 1)
    assert width.drop == (BINARY.digits if reach + BINARY.scale < 1 << 61 else 0)
    assert reach + (1 << width.drop) - 1 < 1 << (width.bits - 1)
