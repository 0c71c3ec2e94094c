"""The pool that a role's arrays take their memory from."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tacita.ring import kernels


@pytest.fixture
def in_pool():
    """Runs work in a thread whose arrays come from the pool; NumPy keeps the choice by thread."""

    def run(work):
        result = []

        def body():
            kernels.pool_arrays()
            result.append(work())

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(30)
        return result[0]

    return run


SIZES = [0, 1, 8191, 8192, 8193, 10239, 10240, 10241, 1 << 17, (1 << 17) + 1, 3_000_000]


def test_arrays_do_not_overlap(in_pool):
    def work():
        held = [np.full(n, i, np.uint64) for _ in range(3) for i, n in enumerate(SIZES)]
        return all((array == i % len(SIZES)).all() for i, array in enumerate(held))

    assert in_pool(work)


def test_a_large_block_is_used_again_and_aligned(in_pool):
    def work():
        first = np.empty(1 << 18, np.uint64)
        address = first.ctypes.data
        del first
        again = np.empty(1 << 18, np.uint64)
        return address == again.ctypes.data and address % 64 == 0

    assert in_pool(work)


def test_zeros_are_zero_in_a_block_that_was_used(in_pool):
    def work():
        np.full(1 << 18, 7, np.uint64)
        return not np.zeros(1 << 18, np.uint64).any()

    assert in_pool(work)


def test_growing_keeps_what_was_there(in_pool):
    def work():
        array = np.arange(20_000, dtype=np.uint64)
        array.resize(200_000, refcheck=False)
        return (array[:20_000] == np.arange(20_000)).all() and not array[20_000:].any()

    assert in_pool(work)


def test_blocks_may_be_freed_by_another_thread(in_pool):
    made = in_pool(lambda: [np.full(100_000, i, np.uint64) for i in range(20)])
    assert all((array == i).all() for i, array in enumerate(made))
    made.clear()
    assert in_pool(lambda: (np.full(100_000, 3, np.uint64) == 3).all())


def test_other_threads_keep_their_allocator(in_pool):
    from numpy._core.multiarray import get_handler_name

    assert in_pool(lambda: get_handler_name(np.empty(1))) == "tacita_pool"
    assert get_handler_name(np.empty(1)) != "tacita_pool"
