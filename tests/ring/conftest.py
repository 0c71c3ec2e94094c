"""What the kernel tests share: every dispatch path, edge sizes, seeded random words."""

import numpy as np
import pytest

from tacita.ring import kernels

# 0, 1, odd, and both sides of every word, vector and block edge.
SIZES = (0, 1, 2, 7, 8, 63, 64, 65, 127, 129, 255, 256, 257, 511, 512, 513, 1000, 1537)


@pytest.fixture(params=kernels.paths())
def path(request):
    return request.param


@pytest.fixture(params=SIZES)
def size(request):
    return request.param


@pytest.fixture(params=kernels.WIDTHS)
def width(request):
    return request.param


@pytest.fixture
def words():
    """words(*shape): random uint64, with the values at the ends of the range among them."""
    generator = np.random.default_rng(20240519)
    special = np.array([0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)

    def draw(*shape):
        array = generator.integers(0, 2**64, size=shape, dtype=np.uint64)
        flat = array.reshape(-1)
        if flat.size:
            at = generator.integers(0, flat.size, size=flat.size // 8)
            flat[at] = special[generator.integers(0, special.size, size=at.size)]
        return array

    return draw
