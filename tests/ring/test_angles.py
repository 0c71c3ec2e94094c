"""Cosine and sine by integers: the constants, and that errors stay below those that are derived."""

from decimal import ROUND_FLOOR, Context, Decimal, Inexact, Rounded, localcontext

import numpy as np
import pytest

from tacita.ring import angles, twins

U64 = np.uint64
UNIT = 1 << angles.UNIT_BITS
EIGHTHS = np.arange(8, dtype=U64) << U64(61)
# float64 holds an angle to 2^-53 of itself, and NumPy's cosine is off by less than 2^-51: of 2^30,
# less than this.
FLOAT = 2.0**-18


def sampled():
    """A grid over the turn, random angles, and what lies around each eighth of it."""
    generator = np.random.default_rng(30)
    near = np.concatenate(
        [EIGHTHS + U64(d % 2**64) for d in (0, 1, -1, 1 << 29, 1 << 30, -1 << 30)]
    )
    grid = np.arange(1 << 17, dtype=U64) << U64(47)
    return np.concatenate([near, grid, generator.integers(0, 2**64, 1 << 17, dtype=U64)])


def exact(angle):
    """Cosine and sine, in units of 2^-30."""
    turn = angle.astype(np.float64) * 2.0**-64
    return UNIT * np.cos(2 * np.pi * turn), UNIT * np.sin(2 * np.pi * turn)


def test_pi():
    assert angles.pi(50) == Decimal("3.1415926535897932384626433832795028841971693993751")
    assert angles.pi(5) == Decimal("3.1416")


def test_constants_have_nothing_of_the_callers_arithmetic():
    usual = angles.series().tolist()
    odd = Context(prec=3, rounding=ROUND_FLOOR, Emin=-1, Emax=1, clamp=1, traps=[Inexact, Rounded])
    angles.series.cache_clear()
    try:
        with localcontext(odd):
            found = angles.series().tolist()
    finally:
        angles.series.cache_clear()
    assert found == usual


def test_series_are_known():
    # (π/4)^k/k!·2^bits, as computed by hand with another library's π: rounded to the nearest.
    assert angles.series().view(np.int64).tolist() == [
        [1073741824, -1324675879, 1089502240, -358431870, 63171085, -6927485],
        [843314857, -346799334, 171138612, -40215962, 5512717, -494621],
    ]


def test_series_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        angles.series()[0, 0] = 1


def test_multiples_of_an_eighth():
    c, s = twins._circle(EIGHTHS)
    # √½·2^30 is 759250124.99; the error that is derived for one coordinate is below 2.23.
    diagonal = [1, 3, 5, 7]
    assert c[[0, 2, 4, 6]].tolist() == [UNIT, 0, -UNIT, 0]
    assert s[[0, 2, 4, 6]].tolist() == [0, UNIT, 0, -UNIT]
    for each in (c, s):
        assert np.all(np.abs(np.abs(each[diagonal]) - 759250124.99) < 2.23)


def test_a_point_on_the_circle():
    angle = sampled()
    c, s = twins._circle(angle)
    want_c, want_s = exact(angle)
    assert np.hypot(c - want_c, s - want_s).max() <= angles.UNIT_ERROR + FLOAT


@pytest.mark.parametrize("count", [1, 2, 7, 32])
def test_the_error_of_powers_grows_as_derived(count):
    angle = sampled()[: 1 << 15]
    for j, (_, (c, s)) in enumerate(twins._rotations(angle, count), start=1):
        want_c, want_s = exact(angle * U64(j))
        assert np.hypot(c - want_c, s - want_s).max() <= angles.error_after(j) + FLOAT


def test_powers_fit_in_32_bits():
    for _, (c, s) in twins._rotations(sampled()[: 1 << 12], 32):
        assert max(np.abs(c).max(), np.abs(s).max()) < 1 << 31
