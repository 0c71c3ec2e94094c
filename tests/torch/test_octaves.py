"""Octaves: V = m·base^e exactly, for every V of small ranges and at both ends of large ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.errors import BoundExceeded, PrecisionError
from tacita.protocols import Staircase
from tacita.ring.fixed_point import Precision
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.plain import PlainRun
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.octaves import Column, normalised, octaves

LIMIT = 10.0  # seconds; a role that waits longer has lost its peer
SCALE = 1 << 16


@pytest.fixture(scope="module")
def parties():
    session = EmbeddedSession(("alice", "bob"), "dealer", limit=LIMIT)
    yield session
    session.close()


@pytest.fixture(params=["plain", "two"])
def builder(request, parties):
    return PlainRun() if request.param == "plain" else parties


def entered(builder, values, bound):
    values = np.asarray(values, np.int64).view(np.uint64)
    return builder.input(values, values.shape, SCALE, bound)


def split(builder, values, bound, least=1, base=4, **options):
    """(m, e) of each value, m as a ring integer at its scale, and that scale."""
    low = Lowering(builder, Precision(2, 16))
    v = entered(builder, values, bound)
    m, (e,) = normalised(low, v, least, base, [Column(lambda e: e, 1)], **options)
    return builder.reveal(m).view(np.int64), builder.reveal(e).view(np.int64), m.wire.scale


def around_powers(base, lowest, most):
    """Every power of the base in range, and its neighbours; the ends of the range."""
    powers = [base**e for e in range(64) if base**e <= most]
    near = {p + d for p in powers for d in (-1, 0, 1)} | {lowest, most}
    return np.array(sorted(v for v in near if lowest <= v <= most))


@pytest.mark.parametrize("base", [2, 4, 8, 16])
@pytest.mark.parametrize("least", [1, 2, 5, 64])
def test_every_value_of_a_small_range(builder, base, least):
    values = np.arange(least, 1000)
    m, e, scale = split(builder, values, 999, least, base)
    assert np.all((base**e <= values) & (values < base ** (e + 1)))
    assert np.array_equal(m * base**e, values * scale)
    assert np.all((m >= scale) & (m < base * scale))


@pytest.mark.parametrize("base", [2, 4, 16])
@pytest.mark.parametrize("bound", [(1 << 33) - 1, (1 << 60) - 1, None])
def test_the_ends_of_every_octave_of_a_large_range(builder, base, bound):
    values = around_powers(base, 1, (1 << 60) - 1 if bound is None else bound)
    m, e, scale = split(builder, values, bound, 1, base)
    exact = [int(v).bit_length() - 1 for v in values]
    assert np.array_equal(e, np.array(exact) // (base.bit_length() - 1))
    for value, mantissa, exponent in zip(values, m, e, strict=True):
        assert int(mantissa) * base ** int(exponent) == int(value) * scale


@settings(max_examples=25)
@given(
    bits=st.integers(2, 59),
    base=st.sampled_from([2, 4, 8, 16]),
    part=st.integers(0, 58),
    seed=st.integers(0, 1000),
)
def test_any_range(parties, bits, base, part, seed):
    bound, least = (1 << bits) - 1, 1 << min(part, bits - 1)
    values = np.random.default_rng(seed).integers(least, bound, 40, endpoint=True)
    values[:2] = least, bound
    m, e, scale = split(parties, values, bound, least, base)
    assert np.all((m >= scale) & (m // base < scale))
    for value, mantissa, exponent in zip(values, m, e, strict=True):
        assert int(mantissa) * base ** int(exponent) == int(value) * scale


def test_with_a_margin_only_values_just_below_an_octave_are_counted_to_it(builder):
    margin, least, bound = 3, 1 << 8, (1 << 20) - 1
    values = np.concatenate([np.arange(least, 5000), around_powers(4, least, bound)])
    m, e, scale = split(builder, values, bound, least, 4, margin=margin)
    assert np.array_equal(m * 4**e, values * scale)
    assert np.all((m >= scale - (scale >> margin)) & (m < 4 * scale))


def test_a_margin_leaves_bits_out_of_the_comparison():
    class Kept(PlainRun):
        def emit(self, instruction):
            if isinstance(instruction, Staircase):
                self.drops.append(instruction.width.drop)
            super().emit(instruction)

    builder = Kept()
    builder.drops = []
    for margin in (None, 4, 30):
        split(builder, [1 << 12], (1 << 20) - 1, 1 << 8, 4, margin=margin)
    # The least threshold is 4^5.
    assert builder.drops == [0, 6, 0]


def test_functions_of_the_octave_come_at_their_scales(builder):
    values, low = np.array([1, 3, 4, 70, 255]), Lowering(builder, Precision(2, 16))
    v = entered(builder, values, 255)
    columns = [Column(lambda e: 2 ** (20 - e), 1 << 20), Column(lambda e: 3 - e, 7)]
    _, (power, other) = normalised(low, v, 1, 4, columns)
    assert (power.wire.scale, other.wire.scale) == (1 << 20, 7)
    e = np.array([0, 0, 1, 3, 3])
    assert np.array_equal(builder.reveal(power), 2 ** (20 - e))
    assert np.array_equal(builder.reveal(other).view(np.int64), 3 - e)


def test_shapes_are_kept(builder):
    values = np.arange(1, 25).reshape(2, 3, 4)
    m, e, scale = split(builder, values, 63)
    assert m.shape == e.shape == (2, 3, 4)
    assert np.array_equal(m * 4**e, values * scale)


def test_zero_stays_zero(builder):
    m, _, _ = split(builder, [0, 1], 255)
    assert m[0] == 0


def test_what_is_guarded_against_has_a_result_of_its_own(builder):
    low = Lowering(builder, Precision(2, 16))
    v = entered(builder, [-255, -1, 0, 4, 5, 255], 255)
    m, (e,) = normalised(low, v, 5, 4, [Column(lambda e: e, 1, below=-7)], guarded=True)
    one = m.wire.scale
    assert np.array_equal(builder.reveal(e).view(np.int64), [-7, -7, -7, -7, 1, 3])
    found = builder.reveal(m).view(np.int64)
    assert np.array_equal(found[:4], [one] * 4)
    assert np.array_equal(found[4:] * [4, 64], np.array([5, 255]) * one)


# ---- what is refused ---------------------------------------------------------------------------


def test_another_base_is_refused():
    with pytest.raises(ValueError, match="base: octaves are counted in powers of"):
        split(PlainRun(), [1], 9, base=10)


def test_a_bound_beyond_the_widest_counts_as_that():
    """Arithmetic finds such bounds, of running means for instance; values stay below 2^WIDEST."""
    wide = octaves(entered(PlainRun(), [1], 1 << 60), 1, 4)
    assert wide == octaves(entered(PlainRun(), [1], (1 << 60) - 1), 1, 4)


def test_factors_that_leave_no_room_are_refused():
    low = Lowering(PlainRun(), Precision(2, 16))
    v = entered(low.builder, [1], 9)
    with pytest.raises(PrecisionError, match="log: a factor of 63 bits"):
        normalised(low, v, columns=[Column(lambda _: -(1 << 62), 1)], what="log")


def test_checked_mode_finds_a_value_above_the_bound():
    run = PlainRun(checked=True)
    low = Lowering(run, Precision(2, 16))
    m, _ = normalised(low, entered(run, [5, 5000], 255), what="root")
    with pytest.raises(BoundExceeded, match="root"):
        run.reveal(m)


@given(st.integers(1, 1 << 60), st.integers(1, (1 << 60) - 1), st.sampled_from([2, 4, 8, 16]))
def test_octaves_reach_from_the_least_value_to_the_bound(least, bound, base):
    found = octaves(entered(PlainRun(), [1], bound), least, base)
    assert base**found.lowest <= least
    assert base ** (found.top + 1) > bound
    assert found.top > found.lowest
    assert list(found.thresholds) == sorted(found.thresholds)
