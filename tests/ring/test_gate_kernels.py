"""Truncation, ReLU and gates: against twins, and against the arithmetic they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.ring import kernels, twins

U64 = np.uint64
DIVISORS = [1, 2, 3, 7, 9, 2**16, 641, 10**9 + 7, 2**32 - 1, 2**62, 2**63, 2**63 + 1, 2**64 - 1]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_divisors(path, words, divisor):
    """The quotient alone: exact at and around multiples of the divisor."""
    r = words(600)
    q = r // U64(divisor) * U64(divisor)
    opened = np.concatenate([r, q, q - U64(1), q + U64(divisor - 1)])
    dealt = np.zeros((2, opened.size), U64)
    got = kernels.truncate_share(opened, dealt, divisor, 0, True, path=path)
    np.testing.assert_array_equal(got, opened // U64(divisor))


@pytest.mark.parametrize("divisor", DIVISORS)
def test_truncation(path, words, divisor):
    for n in (0, 1, 5, 64, 129):
        r, into, opened, dealt = words(n), words(2, n), words(n), words(2, n)
        expected = into.copy()
        twins.truncation_correction(r, divisor, expected)
        kernels.truncation_correction(r, divisor, into, path=path)
        np.testing.assert_array_equal(into, expected)
        for first in (False, True):
            np.testing.assert_array_equal(
                kernels.truncate_share(opened, dealt, divisor, 12345, first, path=path),
                twins.truncate_share(opened, dealt, divisor, 12345, first),
            )


@pytest.mark.parametrize("divisor", [1, 9, 2**16])
def test_relu(path, words, size, width, divisor):
    s = kernels.pack_bits((words(size) & U64(1)).astype(np.uint8), width)
    r, into, opened, dealt = words(size), words(5, size), words(size), words(5, size)
    expected = into.copy()
    twins.relu_correction(r, s, divisor, expected)
    kernels.relu_correction(r, s, divisor, into, path=path)
    np.testing.assert_array_equal(into, expected)
    for first in (False, True):
        np.testing.assert_array_equal(
            kernels.relu_share(opened, s, dealt, divisor, 99, first, path=path),
            twins.relu_share(opened, s, dealt, divisor, 99, first),
        )


def test_gates_and_bits(path, words, size, width):
    s = kernels.pack_bits((words(size) & U64(1)).astype(np.uint8), width)
    r, opened, x, dealt = words(size), words(size), words(size), words(2, size)
    into, expected = words(2, size), None
    expected = into.copy()
    twins.gate_correction(r, s, expected)
    kernels.gate_correction(r, s, into, path=path)
    np.testing.assert_array_equal(into, expected)
    np.testing.assert_array_equal(
        kernels.gate_share(opened, x, s, dealt, path=path),
        twins.gate_share(opened, x, s, dealt),
    )
    row = into[0].copy()
    expected = row.copy()
    twins.bit_correction(s, expected)
    kernels.bit_correction(s, row, path=path)
    np.testing.assert_array_equal(row, expected)
    for first in (False, True):
        np.testing.assert_array_equal(
            kernels.bit_share(s, dealt[0], first, path=path),
            twins.bit_share(s, dealt[0], first),
        )


def deal(generator, correction, rows, n, parties, *arguments, path):
    """Every party's share of what a correction kernel deals: all but the last are random."""
    others = [generator.integers(0, 2**64, size=(rows, n), dtype=U64) for _ in range(parties - 1)]
    into = np.sum(others, axis=0, dtype=U64)
    correction(*arguments, into if rows > 1 else into[0], path=path)
    return [*others, into]


def signed(x):
    return x.astype(np.int64)


@st.composite
def values(draw):
    """(x signed, bound k, seed, parties, path)."""
    k = draw(st.integers(2, 62))
    n, seed = draw(st.integers(1, 150)), draw(st.integers(0, 2**32))
    generator = np.random.default_rng(seed)
    x = generator.integers(-(2 ** (k - 1)), 2 ** (k - 1), size=n, dtype=np.int64)
    x[generator.random(n) < 0.2] = draw(
        st.sampled_from([0, -1, 1, 2 ** (k - 1) - 1, -(2 ** (k - 1))])
    )
    return x, k, seed, draw(st.sampled_from([2, 3])), draw(st.sampled_from(kernels.paths()))


def masked(generator, x, offset):
    """r, with the values that decide about wrapping among them, and x̂ = x + offset + r."""
    r = generator.integers(0, 2**64, size=x.size, dtype=U64)
    edge = generator.random(x.size) < 0.3
    lifted = x.astype(U64) + U64(offset)
    r[edge] = generator.choice([U64(0), U64(2**63), U64(2**63 - 1)], size=edge.sum()) - lifted[edge]
    return r, lifted + r


@settings(max_examples=80, deadline=None)
@given(drawn=values(), shift=st.integers(0, 62), odd=st.sampled_from([0, 3, 9, 10007]))
def test_truncation_errs_by_0_or_1(drawn, shift, odd):
    x, k, seed, parties, path = drawn
    divisor = odd if odd and odd < 2 ** (k - 1) else 2 ** min(shift, k - 1)
    # A multiple of the divisor that lifts every x above zero, as the contract asks.
    offset = -(-(2 ** (k - 1)) // divisor) * divisor
    generator = np.random.default_rng(seed)
    r, opened = masked(generator, x, offset)
    dealt = deal(
        generator,
        kernels.truncation_correction,
        2,
        x.size,
        parties,
        r,
        divisor,
        path=path,
    )
    shares = [
        kernels.truncate_share(opened, d, divisor, offset // divisor, i == 0, path=path)
        for i, d in enumerate(dealt)
    ]
    error = signed(np.sum(shares, axis=0, dtype=U64)) - x // divisor
    assert set(error.tolist()) <= {0, 1}


@settings(max_examples=80, deadline=None)
@given(drawn=values(), shift=st.integers(0, 40), width=st.sampled_from(kernels.WIDTHS))
def test_relu_is_truncation_times_the_bit(drawn, shift, width):
    x, k, seed, parties, path = drawn
    divisor, offset = 2 ** min(shift, k - 1), 2 ** (k - 1)
    generator = np.random.default_rng(seed)
    r, opened = masked(generator, x, offset)
    b, s = (x >= 0).astype(np.uint8), generator.integers(0, 2, size=x.size, dtype=np.uint8)
    s_planes, flipped = kernels.pack_bits(s, width), kernels.pack_bits(b ^ s, width)
    dealt = deal(
        generator, kernels.relu_correction, 5, x.size, parties, r, s_planes, divisor, path=path
    )
    truncated = [
        kernels.truncate_share(opened, d[:2], divisor, offset // divisor, i == 0, path=path)
        for i, d in enumerate(dealt)
    ]
    shares = [
        kernels.relu_share(opened, flipped, d, divisor, offset // divisor, i == 0, path=path)
        for i, d in enumerate(dealt)
    ]
    expected = np.sum(truncated, axis=0, dtype=U64) * b.astype(U64)
    np.testing.assert_array_equal(np.sum(shares, axis=0, dtype=U64), expected)


@settings(max_examples=60, deadline=None)
@given(drawn=values(), width=st.sampled_from(kernels.WIDTHS))
def test_gate_and_bit_are_exact(drawn, width):
    x, _, seed, parties, path = drawn
    generator = np.random.default_rng(seed)
    r, opened = masked(generator, x, 0)
    b, s = generator.integers(0, 2, size=(2, x.size), dtype=np.uint8)
    s_planes, flipped = kernels.pack_bits(s, width), kernels.pack_bits(b ^ s, width)
    x_shares = [generator.integers(0, 2**64, size=x.size, dtype=U64) for _ in range(parties - 1)]
    x_shares.append(x.astype(U64) - np.sum(x_shares, axis=0, dtype=U64))
    dealt = deal(generator, kernels.gate_correction, 2, x.size, parties, r, s_planes, path=path)
    gated = [
        kernels.gate_share(opened, share, flipped, d, path=path)
        for share, d in zip(x_shares, dealt, strict=True)
    ]
    np.testing.assert_array_equal(np.sum(gated, axis=0, dtype=U64), x.astype(U64) * b)
    dealt = deal(generator, kernels.bit_correction, 1, x.size, parties, s_planes, path=path)
    bits = [
        kernels.bit_share(flipped, np.ascontiguousarray(d[0]), i == 0, path=path)
        for i, d in enumerate(dealt)
    ]
    np.testing.assert_array_equal(np.sum(bits, axis=0, dtype=U64), b)
