"""Ring convolutions against their twin, in every form that the kernel has, and against PyTorch."""

import itertools
import sys
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacita.ring import kernels, twins

U64 = np.uint64
# Channels either side of every vector and panel, a block of 64, and the filters that few outputs
# take; images either side of a tile of 4×4 and of the few pixels that are not packed.
CHANNELS = [(1, 1), (1, 4), (2, 5), (3, 8), (5, 17), (9, 16), (17, 33), (65, 7), (66, 65)]
EXTENTS = [(1, 1), (1, 9), (3, 3), (4, 4), (5, 6), (8, 8), (9, 4), (13, 18)]


def shape_of_out(x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1), **_):
    places = [
        (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (w.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in (0, 1)
    ]
    return x.shape[0], w.shape[0], *places


def check(path, words, x, w, **how):
    out = words(*shape_of_out(x, w, **how))
    expected = out.copy()
    twins.convolve_add(expected, x, w, **how)
    kernels.convolve_add(out, x, w, **how, path=path)
    np.testing.assert_array_equal(out, expected)


def test_known_answer(path):
    """A 2×2 filter in two places, by hand: 2^64 and its multiples are gone."""
    x = np.array([2**63, 1, 2, 3, 5, 2**62], U64).reshape(1, 1, 2, 3)
    w = np.array([2, 2**63, 2**64 - 1, 4], U64).reshape(1, 1, 2, 2)
    out = np.array([1, 0], U64).reshape(1, 1, 1, 2)
    kernels.convolve_add(out, x, w, path=path)
    # 2^64 + 2^63 − 3 + 20 + 1; 2 + 2^64 − 5 + 2^64
    assert out.ravel().tolist() == [2**63 + 18, 2**64 - 3]


def test_known_answer_of_filtering(path):
    """All ones times all x: every inner output is 9·C·x, the corners 4·C·x, the edges 6·C·x."""
    value = 2**63 + 2**61 + 3
    x, w = np.full((1, 16, 12, 12), value, U64), np.ones((16, 16, 3, 3), U64)
    out = np.zeros((1, 16, 12, 12), U64)
    kernels.convolve_add(out, x, w, padding=(1, 1), path=path)
    seen = np.full(12, 3, object)
    seen[[0, -1]] = 2
    expected = [[int(a * b) * 16 * value % 2**64 for b in seen] for a in seen]
    assert all(plane.tolist() == expected for plane in out[0])


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("taps", [(1, 1), (3, 3), (2, 3), (5, 1)])
def test_shapes(path, words, channels, taps):
    """With padding so large that every extent fits; the rule takes each form in turn."""
    inputs, outputs = channels
    w = words(outputs, inputs, *taps)
    for extent, images, padding in itertools.product(EXTENTS, (0, 1, 3), ((0, 0), (1, 1), (2, 3))):
        if all(e + 2 * p >= t for e, p, t in zip(extent, padding, taps, strict=True)):
            check(path, words, words(images, inputs, *extent), w, padding=padding)


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 3), (5, 2)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (4, 3)])
@pytest.mark.parametrize("negate", [False, True])
def test_steps(path, words, stride, dilation, padding, negate):
    how = {"stride": stride, "padding": padding, "dilation": dilation, "negate": negate}
    for groups, inputs, outputs in ((1, 7, 10), (1, 3, 2), (3, 2, 5), (6, 1, 1), (4, 1, 2)):
        x = words(2, groups * inputs, 11, 14)
        for taps in ((3, 3), (1, 1), (2, 4)):
            check(path, words, x, words(groups * outputs, inputs, *taps), groups=groups, **how)


@pytest.mark.parametrize("negate", [False, True])
def test_block_edges(path, words, negate):
    """More tiles, channels, steps and pixels than one block of each form takes."""
    for shape, filters, how in (
        ((3, 65, 23, 21), (70, 65, 3, 3), {"padding": (1, 1)}),
        ((1, 130, 6, 8), (66, 130, 3, 3), {"padding": (1, 1)}),
        ((2, 30, 20, 30), (66, 30, 3, 3), {"stride": (2, 1)}),
        ((1, 130, 4, 5), (9, 130, 3, 3), {"padding": (1, 1), "stride": (1, 2)}),
        ((1, 300, 3, 7), (11, 300, 1, 1), {}),
        ((1, 4, 90, 300), (4, 1, 3, 3), {"groups": 4}),
        ((1, 1, 40, 40), (6, 1, 17, 17), {"padding": (8, 8), "stride": (3, 3)}),
        ((1, 1, 3, 40), (1, 1, 1, 1), {"stride": (1, 999)}),
        ((1, 2, 3, 5), (2, 2, 2, 2), {"padding": (3000, 0), "dilation": (2999, 1)}),
    ):
        check(path, words, words(*shape), words(*filters), negate=negate, **how)


LAYOUTS = {
    "as torch lays it": lambda a: np.ascontiguousarray(a),
    "channels last": lambda a: a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
    "rows and columns exchanged": lambda a: a.swapaxes(2, 3).copy().swapaxes(2, 3),
    "sliced": lambda a: np.repeat(np.repeat(a, 2, axis=1), 3, axis=3)[:, ::2, :, 1::3],
    "reversed": lambda a: a[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1],
    "one image for all": lambda a: np.broadcast_to(a[:1], a.shape),
    "one channel for all": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "one column for all": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "one word": lambda a: np.broadcast_to(a[:1, :1, :1, :1], a.shape),
}


@pytest.mark.parametrize("x_layout", LAYOUTS)
@pytest.mark.parametrize("w_layout", LAYOUTS)
def test_layouts(path, words, x_layout, w_layout):
    for (images, inputs, outputs, groups), extent, taps in (
        ((2, 12, 16, 1), (9, 10), (3, 3)),  # filtering
        ((1, 5, 9, 1), (4, 5), (2, 3)),  # few pixels
        ((3, 5, 6, 1), (8, 7), (2, 2)),  # panels
        ((2, 6, 6, 6), (8, 19), (3, 3)),  # few outputs
        ((1, 6, 9, 1), (6, 7), (1, 1)),  # a matrix product
    ):
        x = LAYOUTS[x_layout](words(images, inputs, *extent))
        w = LAYOUTS[w_layout](words(outputs, inputs // groups, *taps))
        check(path, words, x, w, groups=groups)


def test_paths_agree_where_their_rules_part(words):
    """Either side of the shapes for which 3×3 filters are transformed, which differ by path."""
    for images, inputs, outputs, extent in itertools.product(
        (1, 2, 4), (1, 3, 6, 12), (5, 8, 12, 24), (4, 5, 6, 7, 8)
    ):
        x, w = words(images, inputs, extent, extent), words(outputs, inputs, 3, 3)
        for path in kernels.paths():
            check(path, words, x, w, padding=(1, 1))


@pytest.mark.parametrize(
    ("shape", "filters", "how"),
    [
        ((2, 16, 15, 14), (24, 16, 3, 3), {"padding": (1, 1)}),
        ((2, 3, 21, 20), (8, 3, 7, 7), {"stride": (2, 2), "padding": (3, 3)}),
        ((1, 8, 9, 9), (8, 1, 3, 3), {"groups": 8, "padding": (2, 2), "dilation": (2, 2)}),
        ((2, 8, 9, 9), (12, 4, 1, 1), {"groups": 2, "stride": (2, 3)}),
        ((1, 6, 4, 4), (5, 6, 3, 3), {"padding": (1, 1)}),
    ],
)
def test_torch_agrees(path, shape, filters, how):
    """|x|, |w| ≤ 1000, at most 200 terms: sums stay below 2^28, which float64 has exactly."""
    r = np.random.default_rng(3)
    x, w = r.integers(-1000, 1001, shape), r.integers(-1000, 1001, filters)
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x).double(), torch.from_numpy(w).double(), **how
    )
    out = np.zeros(expected.shape, U64)
    kernels.convolve_add(out, x.view(U64), w.view(U64), **how, path=path)
    np.testing.assert_array_equal(out.view(np.int64), expected.long().numpy())


@given(
    inputs=st.integers(0, 9),
    outputs=st.integers(0, 18),
    height=st.integers(3, 14),
    width=st.integers(3, 14),
    seed=st.integers(0, 99),
)
def test_linear_in_both_operands(inputs, outputs, height, width, seed):
    """(x + x')·w − x·w − x'·w = 0 in the ring, on every path."""
    r = np.random.default_rng(seed)
    draw = lambda *s: r.integers(0, 2**64, size=s, dtype=U64)  # noqa: E731
    x, y = draw(2, inputs, height, width), draw(2, inputs, height, width)
    w = draw(outputs, inputs, 3, 3)
    for path in kernels.paths():
        out = np.zeros((2, outputs, height, width), U64)
        kernels.convolve_add(out, x + y, w, padding=(1, 1), path=path)
        kernels.convolve_add(out, x, w, padding=(1, 1), negate=True, path=path)
        kernels.convolve_add(out, y, w, padding=(1, 1), negate=True, path=path)
        assert not out.any()


# ---- arguments -----------------------------------------------------------------------------------

z = lambda *shape: np.zeros(shape, U64)  # noqa: E731
X, W, OUT = (1, 4, 5, 5), (6, 4, 3, 3), (1, 6, 3, 3)


def call(out=OUT, x=X, w=W, **how):
    arrays = [a if isinstance(a, np.ndarray) else z(*a) for a in (out, x, w)]
    kernels.convolve_add(*arrays, **how)


CASES = {
    "x: expected uint64": lambda: call(x=np.zeros(X)),
    "w: expected uint64": lambda: call(w=np.zeros(W, np.int64)),
    "out: must be C-contiguous": lambda: call(out=z(1, 6, 3, 6)[..., ::2]),
    "x: expected shape [any, any, any, any]": lambda: call(x=(4, 5, 5)),
    "w: expected shape [any, any, any, any]": lambda: call(w=(6, 4, 3)),
    "out: expected shape [any, any, any, any]": lambda: call(out=(6, 3, 3)),
    "out: expected shape [1, 6, 3, 3]": lambda: call(out=(1, 6, 3, 4)),
    "out: expected shape [1, 6, 2, 5]": lambda: call(stride=(2, 1), padding=(0, 1)),
    "w: shape [6, 3, 3, 3] does not fit": lambda: call(w=(6, 3, 3, 3)),
    "w: shape [6, 4, 0, 3] does not fit": lambda: call(w=(6, 4, 0, 3)),
    "w: the dilated filter": lambda: call(dilation=(1, 3)),
    "groups: 3 does not divide the 4 channels": lambda: call(groups=3),
    "groups: 4 does not divide the 6 filters": lambda: call(w=(6, 1, 3, 3), groups=4),
    "groups: must lie": lambda: call(groups=0),
    "groups: expected an integer": lambda: call(groups=1.0),
    "stride: must lie": lambda: call(stride=(1, 0)),
    "stride: expected two integers": lambda: call(stride=1),
    "padding: expected two integers": lambda: call(padding=(1, 1, 1)),
    "padding: must lie": lambda: call(padding=(-1, 0)),
    "dilation: must lie": lambda: call(dilation=(0, 1)),
    "dilation: expected an integer": lambda: call(dilation=(1, "2")),
    "out: shares memory with x": lambda: (lambda m: kernels.convolve_add(m, m, z(6, 6, 1, 1)))(
        z(1, 6, 3, 3)
    ),
    "out: shares memory with w": lambda: (
        lambda m: kernels.convolve_add(m, z(1, 1, 1, 2), m.reshape(2, 1, 1, 2)[..., :1])
    )(z(1, 2, 1, 2)),
    "path: 'sse9'": lambda: call(path="sse9"),
}


@pytest.mark.parametrize("message", CASES)
def test_bad_argument(message):
    with pytest.raises(ValueError, match="^" + message.replace("[", r"\[").replace("]", r"\]")):
        CASES[message]()


def test_nothing_is_written_when_an_argument_is_bad():
    out = z(*OUT)
    with pytest.raises(ValueError, match=r"^w:"):
        kernels.convolve_add(out, np.ones(X, U64), np.ones((6, 3, 3, 3), U64))
    assert not out.any()


# ---- threads -------------------------------------------------------------------------------------


def test_two_threads_get_their_own_results(words):
    """Calls share no scratch: each of two threads, at work at once, gets what it would alone."""
    operands = [(words(1, 16, 12, 12), words(16, 16, 3, 3)) for _ in range(2)]
    expected = [z(1, 16, 10, 10) for _ in operands]
    for out, (x, w) in zip(expected, operands, strict=True):
        twins.convolve_add(out, x, w)
    barrier, failures = threading.Barrier(2), []

    def work(i):
        barrier.wait()
        for _ in range(50):
            out = z(1, 16, 10, 10)
            kernels.convolve_add(out, *operands[i])
            if not np.array_equal(out, expected[i]):
                failures.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("releases", [True, False])
def test_another_thread_counts_during_a_call(releases):
    """The interpreter takes the lock away from nobody here: the other thread counts when the call
    gives it up. The second case, a loop that keeps the lock, is the control."""
    out, x, w = z(4, 64, 32, 32), np.ones((4, 64, 32, 32), U64), np.ones((64, 64, 3, 3), U64)
    count, stop, started = 0, threading.Event(), threading.Event()

    def run():
        nonlocal count
        started.set()
        while not stop.is_set():
            count += 1
            time.sleep(0)  # gives the lock up, too

    counter = threading.Thread(target=run)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # before the thread starts: a wait keeps the interval it began with
    try:
        counter.start()
        started.wait()
        before = count
        for _ in range(100):  # one call may end before the other thread is scheduled at all
            if releases:
                kernels.convolve_add(out, x, w, padding=(1, 1))
            else:
                sum(range(200_000))
            if count > before:
                break
        counted = count > before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        counter.join()
    assert counted == releases
