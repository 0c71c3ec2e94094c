"""Ring products against their twin, for every layout that numpy views bring."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacita.ring import kernels, twins

U64 = np.uint64


def check(path, out, a, b, negate=False):
    expected = out.copy()
    twins.matmul_add(expected, a, b, negate=negate)
    kernels.matmul_add(out, a, b, negate=negate, path=path)
    np.testing.assert_array_equal(out, expected)


def test_known_answer(path):
    """[[2^63, 3], [-1, 5]] @ [[2, 7], [2^62, -1]] by hand: 2^64 and 2^68 are gone."""
    a = np.array([[2**63, 3], [2**64 - 1, 5]], U64)
    b = np.array([[2, 7], [2**62, 2**64 - 1]], U64)
    out = np.array([[1, 0], [0, 10]], U64)
    kernels.matmul_add(out, a, b, path=path)
    # 3·2^62 + 1; 7·2^63 − 3 = 2^63 − 3; −2 + 5·2^62 = 2^62 − 2; −7 − 5 + 10 = −2
    assert out.tolist() == [[3 * 2**62 + 1, 2**63 - 3], [2**62 - 2, 2**64 - 2]]


def test_an_answer_without_the_cross_terms_would_be_noticed(path):
    """The expected failure: dropping the upper halves changes the result."""
    a, b = np.full((4, 9), 2**32 + 1, U64), np.full((9, 4), 2**32 + 3, U64)
    out = np.zeros((4, 4), U64)
    kernels.matmul_add(out, a, b, path=path)
    assert (out == 9 * 4 * 2**32 + 9 * 3).all()
    low = U64(0xFFFFFFFF)
    assert not np.array_equal(out, (a & low) @ (b & low))


LAYOUTS = {
    "rows": lambda x: np.ascontiguousarray(x),
    "columns": lambda x: np.ascontiguousarray(x.T).T,
    "sliced rows": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "padded rows": lambda x: np.concatenate([x, x], axis=1)[:, : x.shape[1]],
    "padded columns": lambda x: np.concatenate([x, x], axis=0).T.copy().T[: x.shape[0]],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
}
SHAPES = [
    (m, n, k) for m in (1, 2, 3, 4, 5, 9) for n in (1, 2, 7, 8, 9, 17) for k in (1, 3, 8, 21)
] + [(1, 300, 33), (3, 257, 40), (70, 2, 30), (5, 1, 40), (17, 33, 64), (65, 12, 10)]


@pytest.mark.parametrize("a_layout", LAYOUTS)
@pytest.mark.parametrize("b_layout", LAYOUTS)
def test_layouts(path, words, a_layout, b_layout):
    for m, n, k in SHAPES:
        a, b = LAYOUTS[a_layout](words(m, k)), LAYOUTS[b_layout](words(k, n))
        check(path, words(m, n), a, b)


@pytest.mark.parametrize(
    "shape", [(66, 515, 3), (2, 3, 1100), (1, 5, 2050), (7, 30, 257), (130, 9, 515), (6, 600, 20)]
)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("negate", [False, True])
def test_block_edges(path, words, shape, transposed, negate):
    m, n, k = shape
    b = words(n, k).T if transposed else words(k, n)
    check(path, words(m, n), words(m, k), b, negate)
    check(path, words(m, n), words(k, m).T, b, negate)


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_empty(path, words, shape):
    m, n, k = shape
    check(path, words(m, n), words(m, k), words(k, n))


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_batches(path, words, rows):
    m, n, k = rows, 5, 7
    check(path, words(3, m, n), words(3, m, k), words(3, k, n))
    check(path, words(2, 3, m, n), words(2, 3, m, k), words(k, n))
    check(path, words(2, 3, m, n), words(m, k), words(2, 3, k, n))
    check(path, words(2, 3, m, n), words(2, 1, m, k), words(3, k, n))
    check(path, words(2, 3, m, n), words(3, 2, m, k).transpose(1, 0, 2, 3), words(1, 1, k, n))
    check(path, words(3, m, n), np.broadcast_to(words(m, k), (3, m, k)), words(3, n, k).mT)
    check(path, words(3, m, n), words(m, 3, k).transpose(1, 0, 2), words(k, n))
    check(path, words(3, m, n), words(3, m, k), np.broadcast_to(words(k, n), (3, k, n)))
    check(path, words(0, m, n), words(0, m, k), words(k, n))


def test_broadcast_strides_inside_a_matrix(path, words):
    check(path, words(6, 9), np.broadcast_to(words(6, 1), (6, 11)), words(11, 9))
    check(path, words(6, 9), words(6, 11), np.broadcast_to(words(1, 9), (11, 9)))


@given(m=st.integers(0, 20), n=st.integers(0, 40), k=st.integers(0, 20), seed=st.integers(0, 99))
def test_linear_in_both_operands(m, n, k, seed):
    """(a + a')·b − a·b − a'·b = 0 in the ring, on every path."""
    r = np.random.default_rng(seed)
    draw = lambda *s: r.integers(0, 2**64, size=s, dtype=U64)  # noqa: E731
    a, c, b = draw(m, k), draw(m, k), draw(k, n)
    for path in kernels.paths():
        out = np.zeros((m, n), U64)
        kernels.matmul_add(out, a + c, b, path=path)
        kernels.matmul_add(out, a, b, negate=True, path=path)
        kernels.matmul_add(out, c, b, negate=True, path=path)
        assert not out.any()


@pytest.mark.parametrize("negate", [False, True])
def test_product_add(path, words, size, negate):
    a, b, out = words(size), words(size), words(size)
    expected = out.copy()
    twins.product_add(expected, a, b, negate=negate)
    kernels.product_add(out, a, b, negate=negate, path=path)
    np.testing.assert_array_equal(out, expected)


def test_product_add_in_place(path, words):
    out = words(3, 50)
    expected = out + out * out
    kernels.product_add(out, out, out, path=path)
    np.testing.assert_array_equal(out, expected)
