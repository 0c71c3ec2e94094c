"""Trigonometric polynomials: the error is what is derived, for every mask or a dense sample."""

import numpy as np
import pytest
from cases import LEAST, MOST, ring, spread
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.program.builder import Handle
from tacita.protocols import Waves, waves
from tacita.ring import kernels
from tacita.runtime.plain import PlainRun

UNIT = 1 << waves.WAVE_BITS
# What float64 loses of the exact sum: eight roundings of each term, and angles to 2^-51.
FLOAT = 2.0**-44

FLAT = ((1 << 20, 0),)
SEVEN = tuple(((-1) ** j * (1 << (20 - j)), 77_777 * j) for j in range(7))
LARGE = ((waves.LARGEST_WAVE, -waves.LARGEST_WAVE), (-waves.LARGEST_WAVE, 12345))


def exact(x, turn, pairs):
    """The sum for ring elements x, in the unit of the coefficients."""
    total = np.zeros(x.shape)
    for j, (c, s) in enumerate(pairs, start=1):
        angle = (x * np.uint64(j * turn % 2**64)).astype(np.float64) * (2 * np.pi * 2.0**-64)
        total += c * np.cos(angle) + s * np.sin(angle)
    return total


def allowed(pairs):
    return waves.error(pairs) + FLOAT * sum(abs(c) + abs(s) for c, s in pairs)


def wave(builder, x, turn, pairs):
    handle = builder.input(x, x.shape, 1, None)
    builder.mask([handle], "test")
    out = Handle(builder, builder.new_wire(x.shape, 1, None))
    builder.emit(Waves(out.wire.id, handle.wire.id, turn, tuple(pairs), x.shape))
    return builder.reveal(out).view(np.int64) / UNIT


def check(got, x, turn, pairs):
    assert np.abs(got - exact(x, turn, pairs)).max() <= allowed(pairs)


@pytest.mark.parametrize("pairs", [FLAT, SEVEN, LARGE], ids=["flat", "seven", "large"])
@pytest.mark.parametrize("turn", [1 << 56, 77 << 56], ids=["once", "77-times"])
def test_every_value_under_every_mask(turn, pairs):
    """All 2^8 angles that there are, of the value and of its mask."""
    x, r = (each.reshape(-1) for each in np.meshgrid(*[np.arange(256, dtype=np.uint64)] * 2))
    dealt = np.zeros((2 * len(pairs), x.size), np.uint64)
    kernels.wave_correction(r, turn, dealt)
    got = kernels.wave_share(x + r, dealt, turn, pairs).view(np.int64) / UNIT
    check(got, x, turn, pairs)


@pytest.mark.parametrize("pairs", [FLAT, SEVEN, LARGE], ids=["flat", "seven", "large"])
@pytest.mark.parametrize("turn", [1, 3 << 40, 0x123456789ABCDEF1, (1 << 64) - 1])
def test_any_value_is_met(session, turn, pairs):
    x = spread((5_000,), LEAST, MOST)
    check(wave(session, x, turn, pairs), x, turn, pairs)
    check(wave(PlainRun(), x, turn, pairs), x, turn, pairs)


def test_an_interval_is_met_densely(session):
    # Sixteen bits of fraction, a period of 20, and all that there is between -10 and 10.
    x = ring(np.arange(-10 << 16, 10 << 16, 13))
    turn = round(2**64 / (20 << 16))
    check(wave(session, x, turn, SEVEN), x, turn, SEVEN)


pairs_of = st.lists(
    st.tuples(*[st.integers(-waves.LARGEST_WAVE, waves.LARGEST_WAVE)] * 2),
    min_size=1,
    max_size=waves.MOST_WAVES,
)


@settings(max_examples=25)
@given(parties=st.sampled_from([2, 3]), turn=st.integers(1, (1 << 64) - 1), pairs=pairs_of)
def test_any_waves(sessions, parties, turn, pairs):
    x = spread((33,), LEAST, MOST, seed=turn % 1000)
    check(wave(sessions.of(parties), x, turn, pairs), x, turn, pairs)


def test_results_stay_below_what_truncation_takes():
    most = ((waves.LARGEST_WAVE, waves.LARGEST_WAVE),) * waves.MOST_WAVES
    largest = sum(np.hypot(*pair) for pair in most) + waves.error(most)
    assert largest * UNIT < 1 << 60


def test_the_error_in_numbers():
    # 0.7072 for rounding, and of 2^20: 2·2.53 of 2^-30 and 0.7072 of 2^-24.
    assert waves.error(FLAT) == pytest.approx(0.7072 + 5.06 / 2**10 + 0.7072 / 2**4, rel=1e-4)
