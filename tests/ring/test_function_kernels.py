"""Waves and exponentials: every path against the twins, to the bit, and what they stand for."""

import numpy as np
import pytest

from tacita.ring import angles, exponents, kernels, twins

U64 = np.uint64
TURNS = [1, 3 << 40, 0x123456789ABCDEF1, 2**63, 2**64 - 1]
MOST = kernels.MOST_WAVE
# scale, segment_bits, index_bits, a, b, low
RANGES = [
    (1 << 16, 20, 1, 16, 40, -(12 << 16)),
    (1 << 16, 19, 2, 3, 30, -(1 << 40)),
    (1 << 16, 10, 3, 0, 60, 0),
    (1 << 16, 15, 5, 20, 30, -(1 << 62)),
    (1000, 1, 1, 5, 0, -7),
    (1 << 40, 44, 1, 20, 12, -(20 << 40)),
    ((1 << 62) - 1, 60, 2, 61, 60, 1 << 61),
]


def waves(words, count):
    """Pairs of every size up to the largest, and the ends of what is allowed."""
    table = words(count, 2).view(np.int64) >> np.arange(33, 33 + 2 * count).reshape(count, 2) % 64
    pairs = [(int(c), int(s)) for c, s in np.clip(table, -MOST, MOST)]
    return ((MOST, -MOST), *pairs, (-MOST, MOST), (0, 0))[:count]


@pytest.mark.parametrize(("turn", "count"), [*zip(TURNS, (1, 2, 3, 2, 7), strict=True)])
def test_waves(path, words, size, turn, count):
    r, into = words(size), words(2 * count, size)
    expected = into.copy()
    twins.wave_correction(r, turn, expected)
    kernels.wave_correction(r, turn, into, path=path)
    np.testing.assert_array_equal(into, expected)
    pairs = waves(words, count)
    np.testing.assert_array_equal(
        kernels.wave_share(r, into, turn, pairs, path=path),
        twins.wave_share(r, into, turn, pairs),
    )


def test_most_waves_that_there_are(path, words):
    r, into = words(9), words(64, 9)
    expected = into.copy()
    twins.wave_correction(r, 1 << 50, expected)
    kernels.wave_correction(r, 1 << 50, into, path=path)
    np.testing.assert_array_equal(into, expected)
    pairs = waves(words, 32)
    np.testing.assert_array_equal(
        kernels.wave_share(r, into, 1 << 50, pairs, path=path),
        twins.wave_share(r, into, 1 << 50, pairs),
    )


def test_no_waves(path, words):
    assert not kernels.wave_share(words(5), words(0, 5), 1, (), path=path).any()


def test_angles_where_quarters_meet(path, words):
    """All that decides about signs and exchanges: the top bits, and those below cut ones."""
    eighths = np.arange(8, dtype=U64) << U64(61)
    angle = np.concatenate([eighths + U64(d % 2**64) for d in (0, 1, -1, 1 << 30, -1 << 30)])
    dealt, pairs = words(6, angle.size), waves(words, 3)
    np.testing.assert_array_equal(
        kernels.wave_share(angle, dealt, 1, pairs, path=path),
        twins.wave_share(angle, dealt, 1, pairs),
    )


def test_waves_are_sums_of_products(words):
    """The twin against the same in Python's integers, which do not wrap around."""
    opened, dealt, pairs, turn = words(33), words(4, 33), waves(words, 2), TURNS[2]
    got = twins.wave_share(opened, dealt, turn, pairs)
    points = [(c, s) for _, (c, s) in twins._rotations(opened * U64(turn), 2)]
    for i in range(33):
        total = 0
        for j, (c, s) in enumerate(pairs):
            cosine, sine = int(points[j][0][i]), int(points[j][1][i])
            alpha = (c * cosine + s * sine + (1 << 29)) >> 30
            beta = (c * sine - s * cosine + (1 << 29)) >> 30
            assert max(abs(alpha), abs(beta)) < 1 << 31
            total += alpha * int(dealt[2 * j][i]) + beta * int(dealt[2 * j + 1][i])
        assert total % 2**64 == int(got[i])


@pytest.mark.parametrize("parameters", RANGES)
def test_exponentials(path, words, size, parameters):
    scale, segment_bits, index_bits, a, b, low = parameters
    r, opened, into = words(size), words(size), words(1 << index_bits, size)
    expected = into.copy()
    twins.exponential_correction(r, scale, segment_bits, b, expected)
    kernels.exponential_correction(r, scale, segment_bits, b, into, path=path)
    np.testing.assert_array_equal(into, expected)
    np.testing.assert_array_equal(
        kernels.exponential_share(opened, into, low, scale, segment_bits, a, path=path),
        twins.exponential_share(opened, into, low, scale, segment_bits, a),
    )


def test_exponentials_at_the_ends_of_segments(path):
    scale, segment_bits, a, b, low = 1 << 16, 18, 16, 30, -(5 << 16)
    ends = np.arange(9, dtype=np.int64) << segment_bits
    x = np.concatenate([ends + d for d in (0, 1, -1)])
    for r in (x.view(U64), (x + low).view(U64)):
        into = np.zeros((4, r.size), U64)
        expected = into.copy()
        twins.exponential_correction(r, scale, segment_bits, b, expected)
        kernels.exponential_correction(r, scale, segment_bits, b, into, path=path)
        np.testing.assert_array_equal(into, expected)
        # Just one of the words is dealt, that of r's segment.
        index = (r >> U64(segment_bits)) & U64(3)
        np.testing.assert_array_equal(into != 0, index == np.arange(4, dtype=U64)[:, None])
        np.testing.assert_array_equal(
            kernels.exponential_share(r, into, low, scale, segment_bits, a, path=path),
            twins.exponential_share(r, into, low, scale, segment_bits, a),
        )


def test_what_is_public_of_an_exponential():
    """A_j for j = 0 against e^x, with the error that is derived: half a unit and that of powers."""
    scale, low, a = 1 << 16, -(20 << 16), 20
    x = np.arange(low, 11 << 16, 97, dtype=np.int64)
    dealt = np.stack([np.ones(x.size, U64), np.zeros(x.size, U64)])
    got = kernels.exponential_share(x.view(U64), dealt, low, scale, 20, a).astype(np.float64)
    want = np.exp(x / scale) * 2.0**a
    relative = (exponents.POWER_ERROR + exponents.FACTOR_ERROR) * 2.0**-30
    assert np.all(np.abs(got - want) <= 0.5 + relative * want * (1 + 2.0**-20))


def test_what_is_dealt_for_an_exponential():
    scale, b = 1 << 16, 40
    r = np.arange(0, 1 << 20, 31, dtype=U64)
    into = np.zeros((2, r.size), U64)
    kernels.exponential_correction(r, scale, 20, b, into)
    want = np.exp(-r.astype(np.float64) / scale) * 2.0**b
    relative = exponents.POWER_ERROR * 2.0**-30
    got = into[0].astype(np.float64)
    assert np.all(np.abs(got - want) <= 0.5 + relative * want * (1 + 2.0**-20))


def test_what_is_dealt_for_waves():
    r = np.random.default_rng(24).integers(0, 2**64, 1 << 14, dtype=U64)
    into = np.zeros((6, r.size), U64)
    kernels.wave_correction(r, 3, into)
    for j in range(3):
        turn = (r * U64(3 * (j + 1))).astype(np.float64) * 2.0**-64
        point = np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)]) * 2.0**24
        off = into[2 * j : 2 * j + 2].view(np.int64) - point
        allowed = angles.error_after(j + 1) * 2.0**-6 + angles.ROTATION_ERROR + 2.0**-20
        assert np.hypot(*off).max() <= allowed
