"""Powers by integers: the constants, and that errors stay below those that are derived."""

from decimal import ROUND_FLOOR, Context, Decimal, Inexact, Rounded, localcontext

import numpy as np
import pytest

from tacita.ring import exponents, twins

U64 = np.uint64


def test_series_are_known():
    # √2·(ln 2/2)^k/k!·2^bits, rounded to the nearest.
    assert exponents.series().tolist() == [
        1518500250,
        1052544167,
        729568022,
        674264023,
        934728413,
        1036646983,
        958065244,
        758948826,
        526063239,
    ]


# 1/ln 2 to 50 digits, from tables.
LOG2_E = 144269504088896340735992468100189213742664595415299


def test_rates_are_known():
    for scale, bits in [(1 << 16, 20), (1000, 10), (3, 5), ((1 << 62) - 1, 62)]:
        exact = LOG2_E * 2 ** (bits + 58)
        assert abs(exponents.rate(scale, bits) * scale * 10**50 - exact) <= scale * 10**50 // 2 + 2
    assert exponents.rate(1 << 16, 20) == 6653256548922161246


def test_factors_are_known():
    # e^(-12) = 1.54…·2^-18 and so on: mantissas in [1, 2) at 31 bits, and the shifts beside them.
    mantissas, shifts = exponents.factors(-12 << 16, 1 << 16, 20, 1, 16)
    with localcontext() as context:
        context.prec = 60
        for j in range(2):
            for w in range(2):
                value = Decimal(2) ** 16 * (Decimal(-12) + 16 * (2 * w - j)).exp()
                scale = Decimal(2) ** (int(shifts[j, w]) - exponents.PRODUCT_BITS)
                mantissa = value * scale * 2**exponents.FACTOR_BITS
                assert abs(mantissa - int(mantissas[j, w])) <= Decimal("0.5")


def constants():
    """As they are when nobody has asked for them before."""
    for each in (exponents.series, exponents.rate, exponents.factors):
        each.cache_clear()
    rates = [exponents.rate(scale, 20) for scale in range(1 << 15, (1 << 15) + 20)]
    factors = exponents.factors(-12 << 16, 1 << 16, 18, 3, 16)
    return exponents.series().tolist(), rates, [each.tolist() for each in factors]


def test_constants_have_nothing_of_the_callers_arithmetic():
    usual = constants()
    odd = Context(prec=3, rounding=ROUND_FLOOR, Emin=-1, Emax=1, clamp=1, traps=[Inexact, Rounded])
    try:
        with localcontext(odd):
            found = constants()
    finally:
        constants()
    assert found == usual


def test_a_power_of_two():
    generator = np.random.default_rng(58)
    grid = np.arange(1 << 18, dtype=U64) << U64(40)
    exponent = np.concatenate([grid, generator.integers(0, 2**58, 1 << 18, dtype=U64)])
    exponent = np.concatenate([exponent, np.array([0, 1, 2**58 - 1, 2**57, 2**57 - 1], U64)])
    got = twins._power(exponent).astype(np.float64)
    # float64 has 2^58ths only to 2^-53, which a power of two below 2 turns into less than 2^-52.
    want = np.exp2(exponent.astype(np.float64) * 2.0**-58)
    error = np.abs(got * 2.0**-exponents.MANTISSA_BITS / want - 1) * 2.0**30
    assert error.max() <= exponents.POWER_ERROR + 2.0**-20
    assert got.min() >= 1 << 30
    assert got.max() <= 1 << 31


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("scale", lambda: exponents.rate(0, 20)),
        ("scale", lambda: exponents.rate(1 << 62, 20)),
        ("scale", lambda: exponents.rate(1, 40)),
        ("segment_bits", lambda: exponents.rate(1 << 16, 0)),
        ("segment_bits", lambda: exponents.rate(1 << 60, 1 << 62)),
        ("index_bits", lambda: exponents.factors(0, 1 << 16, 10, 1 << 62, 16)),
        ("index_bits", lambda: exponents.factors(0, 1 << 16, 10, 0, 16)),
        ("low", lambda: exponents.factors(1 << 63, 1 << 16, 10, 1, 16)),
        ("a", lambda: exponents.factors(0, 1 << 16, 10, 1, 1 << 62)),
        ("scale", lambda: exponents.factors(0, 1, 10, 1, 16)),
    ],
)
def test_arguments_without_powers(name, call):
    with pytest.raises(ValueError, match=f"^{name}: "):
        call()
