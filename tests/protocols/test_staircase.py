"""Staircases: exhaustively over small widths, at any thresholds, and with bits left out."""

import numpy as np
import pytest
from cases import Case, play, ring
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.protocols import Staircase, sign, tables
from tacita.protocols.staircase import staircase_width
from tacita.ring.planes import Layout
from tacita.runtime.plain import PlainRun


def case(x, thresholds, base, steps, width):
    x = ring(x)
    return Case(
        Staircase,
        "any",
        lambda reads, writes: Staircase(*writes, *reads, thresholds, base, steps, x.shape, width),
        ((len(base), *x.shape),),
        (x,),
        masked=True,
    )


def climbed(builder, *fields):
    (out,) = play(builder, case(*fields)).outputs
    return builder.reveal(out).view(np.int64)


def expected(x, thresholds, base, steps):
    passed = np.asarray(x) >= np.asarray(thresholds)[:, None]
    return np.asarray(base)[:, None] + np.asarray(steps) @ passed.astype(np.int64)


@pytest.mark.parametrize("bits", range(2, 8))
def test_every_value_and_threshold_of_a_small_width(session, bits):
    half = 1 << (bits - 1)
    thresholds = tuple(range(-(half // 2), (half + 1) // 2))
    x = np.arange(thresholds[-1] - half, thresholds[0] + half)
    base, steps = (100, -3), (tuple(range(1, len(thresholds) + 1)), (-7,) * len(thresholds))
    for plan in (
        tables.one_level(bits - 1),
        tables.Plan((1,) * (bits - 1), ((bits - 1,),) if bits > 2 else ()),
        tables.shared_plan(bits - 1, x.size, len(thresholds)),
    ):
        width = sign.Width(bits, 0, plan)
        found = climbed(session, x, thresholds, base, steps, width)
        assert np.array_equal(found, expected(x, thresholds, base, steps))


@st.composite
def staircases(draw):
    reach = 1 << draw(st.integers(0, 61))
    thresholds = sorted(draw(st.sets(st.integers(-reach, reach), min_size=1, max_size=9)))
    near = st.sampled_from(thresholds).flatmap(lambda t: st.integers(t - 2, t + 2))
    x = draw(st.lists(st.integers(-reach, reach) | near, min_size=1, max_size=70))
    count = draw(st.integers(1, 3))
    number = st.integers(-(1 << 40), 1 << 40)
    row = st.lists(number, min_size=len(thresholds), max_size=len(thresholds))
    steps = tuple(tuple(draw(row)) for _ in range(count))
    base = tuple(draw(number) for _ in range(count))
    least, most = min(*x, -reach), max(*x, reach)
    return x, tuple(thresholds), base, steps, staircase_width(least, most, thresholds, len(x))


@settings(max_examples=40)
@given(parties=st.sampled_from([2, 3]), fields=staircases())
def test_any_staircase(sessions, parties, fields):
    wanted = expected(*fields[:4])
    assert np.array_equal(climbed(PlainRun(), *fields), wanted)
    assert np.array_equal(climbed(sessions.of(parties), *fields), wanted)


# ---- what leaving bits out means ---------------------------------------------------------------


def test_with_bits_left_out_only_values_just_below_a_threshold_may_pass_it(session):
    drop, thresholds = 4, (-64, 16, 32, 256)
    x = np.tile(np.arange(-130, 300), 20)
    width = staircase_width(-130, 300, thresholds, x.size, drop=drop)
    assert width.drop == drop
    base, steps = (0, 0), ((1, 1, 1, 1), (1, 10, 100, 1000))
    count, digits = climbed(session, x, thresholds, base, steps, width)
    unit = 1 << drop
    sure = expected(x, thresholds, (0,), ((1,) * 4,))[0]
    at_most = expected(x + unit - 1, thresholds, (0,), ((1,) * 4,))[0]
    assert np.all((count >= sure) & (count <= at_most))
    # The functions of one value agree on which thresholds it has passed, without gaps.
    assert np.array_equal(digits, np.array([0, 1, 11, 111, 1111])[count])


def test_values_pass_a_threshold_too_early_as_often_as_derived(session):
    # 12 of 16 units on the way from t - 16 to t: a probability of 3/4, over n draws.
    n, t = 40_000, 64
    x = np.full(n, t - 4)
    width = staircase_width(0, 100, (t,), n, drop=4)
    (passed,) = climbed(session, x, (t,), (0,), ((1,),), width)
    # Six standard errors: one false alarm in 10^9 runs.
    assert abs(passed.mean() - 0.75) < 6 * np.sqrt(3 / 16 / n)


def test_multiples_of_what_is_left_out_are_compared_exactly(session):
    thresholds = (-32, 16, 48)
    x = np.arange(-160, 161, 16)
    width = staircase_width(-160, 160, thresholds, x.size, drop=4)
    found = climbed(session, x, thresholds, (5,), ((1, 2, 4),), width)
    assert np.array_equal(found, expected(x, thresholds, (5,), ((1, 2, 4),)))


# ---- widths and plans --------------------------------------------------------------------------


@given(
    ends=st.tuples(*[st.integers(-(1 << 61), 1 << 61)] * 2),
    thresholds=st.sets(st.integers(-(1 << 50), 1 << 50), min_size=1, max_size=5),
    drop=st.integers(0, 8),
)
def test_a_width_is_the_least_that_has_room(ends, thresholds, drop):
    least, most = sorted(ends)
    ascending = sorted(t << drop for t in thresholds)
    width = staircase_width(least, most, ascending, 10, drop=drop)

    def fits(bits):
        half = 1 << (bits - 1)
        return all(-half <= x - t <= half - (1 << drop) for x in ends for t in ascending)

    assert width.drop == drop
    assert fits(width.bits)
    assert width.bits == drop + 2 or not fits(width.bits - 1)


def test_differences_that_no_width_holds_are_refused():
    with pytest.raises(ValueError, match="take 65 bits, not 64"):
        staircase_width(-(1 << 62), (1 << 63) - 1, (-(1 << 62), 0), 1)


@given(st.integers(1, 63), st.integers(0, 1_000_000), st.integers(1, 64))
def test_a_plan_for_several_covers_its_bits_and_ends_in_one_node(bits, n, trees):
    plan = tables.shared_plan(bits, n, trees)
    assert plan.bits == bits
    nodes = len(plan.chunks)
    for fan in plan.levels:
        assert sum(fan) == nodes
        nodes = len(fan)
    assert nodes == 1
    assert all(1 <= chunk <= tables.WIDEST_CHUNK for chunk in plan.chunks)
    assert all(1 <= each <= tables.WIDEST_FAN for fan in plan.levels for each in fan)


@given(st.integers(9, 63), st.integers(2, 64))
def test_many_thresholds_cost_less_than_comparisons_of_their_own(bits, trees):
    n = 100_000
    layout = Layout(n)
    shared = tables.shared_plan(bits, n, trees).cost(layout, True, trees)
    alone = tables.plan(bits, n, order=True).cost(layout, True)
    assert shared.dealt_bytes + shared.opened_bytes < trees * (
        alone.dealt_bytes + alone.opened_bytes
    )
    assert shared.rounds <= 2


@given(st.integers(9, 63), st.integers(1, 64))
def test_few_values_take_no_more_rounds_than_many(bits, trees):
    few, many = (
        tables.shared_plan(bits, n, trees).cost(Layout(n), True, trees).rounds for n in (1, 1 << 20)
    )
    assert few <= many
