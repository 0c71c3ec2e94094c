"""The interpreter runs on while a kernel works."""

import sys
import threading
import time

import numpy as np
import pytest

from tacita.ring import kernels, twins

U64 = np.uint64


def long_calls():
    """Calls of many milliseconds; everything but the kernel's own work is done beforehand."""
    out, a, b = np.zeros((500, 500), U64), np.ones((500, 800), U64), np.ones((800, 500), U64)
    stream = np.empty(1 << 23, U64)
    index, hot = np.zeros((1000, 32, 8), U64), np.zeros((1000, 128, 8), U64)
    return {
        "matmul_add": lambda: kernels.matmul_add(out, a, b),
        "aes_ctr": lambda: kernels.aes_ctr(bytes(16), 0, 0, stream),
        "lookup": lambda: kernels.lookup(index, hot, [4] * 8, order=True),
        "a loop that keeps the lock": lambda: sum(range(200_000)),
    }


@pytest.mark.parametrize("name", long_calls())
def test_another_thread_counts_during_a_call(name):
    """The interpreter never takes the lock away here: the other thread counts when it is given up.

    The switch interval is far beyond the length of the test. The last case is the control.
    """
    call = long_calls()[name]
    count, stop, started = 0, threading.Event(), threading.Event()

    def run():
        nonlocal count
        started.set()
        while not stop.is_set():
            count += 1
            time.sleep(0)  # gives the lock up, too

    counter = threading.Thread(target=run)
    interval = sys.getswitchinterval()
    # Before the thread starts: it takes over the interval that is set when it first runs.
    sys.setswitchinterval(1000)
    counter.start()
    started.wait()
    try:
        before = count
        for _ in range(200):  # one call may end before the other thread is scheduled at all
            call()
            if count > before:
                break
        counted = count > before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        counter.join()
    assert counted == (name != "a loop that keeps the lock")


def test_two_threads_get_their_own_results():
    """Kernels share no state: each of two threads, at work at once, gets what it would alone."""
    generator = np.random.default_rng(5)
    operands = [
        tuple(generator.integers(0, 2**64, size=(60, 60), dtype=U64) for _ in range(2))
        for _ in range(2)
    ]
    expected = []
    for a, b in operands:
        out = np.zeros((60, 60), U64)
        twins.matmul_add(out, a, b)
        expected.append(out)
    barrier, failures = threading.Barrier(2), []

    def work(i):
        barrier.wait()
        for _ in range(100):
            out = np.zeros((60, 60), U64)
            kernels.matmul_add(out, *operands[i])
            if not np.array_equal(out, expected[i]):
                failures.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
