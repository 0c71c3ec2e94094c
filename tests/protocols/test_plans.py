"""How comparisons are cut into chunks, tournaments into levels, and rounds merged."""

from itertools import combinations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacita.program.readings import Opening
from tacita.protocols import bracket, check, extremum, sign, tables
from tacita.protocols.relu import relu_width
from tacita.protocols.side_by_side import side_by_side
from tacita.protocols.truncate import lift_of
from tacita.ring.planes import Layout


@given(st.integers(1, 64), st.integers(0, 100_000), st.booleans())
def test_a_plan_covers_its_bits_and_ends_in_one_node(bits, n, order):
    for plan in (tables.plan(bits, n, order=order), tables.one_level(bits), tables.two_level(bits)):
        assert plan.bits == bits
        nodes = len(plan.chunks)
        for fan in plan.levels:
            assert sum(fan) == nodes
            nodes = len(fan)
        assert nodes == 1
        assert all(1 <= chunk <= tables.WIDEST_CHUNK for chunk in plan.chunks)
        assert all(1 <= each <= tables.WIDEST_FAN for fan in plan.levels for each in fan)


@given(st.integers(1, 64), st.booleans())
def test_few_elements_take_the_fewest_rounds_and_many_the_fewest_bytes(bits, order):
    layout = Layout(1)
    few, many = tables.plan(bits, 1, order=order), tables.plan(bits, 1 << 20, order=order)
    assert few.cost(layout, order).rounds <= many.cost(layout, order).rounds
    assert many.cost(layout, order).dealt_bytes <= few.cost(layout, order).dealt_bytes


@given(st.integers(1, 64), st.booleans())
def test_what_a_plan_keeps_for_itself_is_not_written(bits, order):
    plan, fresh = tables.two_level(bits), tables.two_level(bits)
    written = msgspec.msgpack.encode(fresh)
    assert plan.entries == sum(2**chunk for chunk in plan.chunks)
    assert plan == fresh
    assert hash(plan) == hash(fresh)
    assert msgspec.msgpack.encode(plan) == written
    for fan in plan.levels:
        entering, products = tables.level_planes(fan, order)
        alone = tables.Plan(chunks=(), levels=(fan,)).cost(Layout(1), order)
        assert Layout(1).bytes(entering) == alone.opened_bytes
        assert Layout(1).bytes(products) == alone.dealt_bytes


@pytest.mark.parametrize("size", range(2, 11))
def test_differences_are_those_of_all_pairs_in_their_order(size):
    rows = np.random.default_rng(size).integers(0, 1 << 64, (size, 3), np.uint64)
    expected = np.array([rows[i] - rows[j] for i, j in combinations(range(size), 2)])
    assert np.array_equal(bracket.differences(rows), expected.reshape(-1))


def test_more_bits_than_one_level_holds_are_refused():
    with pytest.raises(ValueError, match="at most 64 bits, not 65"):
        tables.one_level(65)


@given(st.integers(1, 1000), st.integers(1, 50))
def test_evenly_differs_by_at_most_one(total, parts):
    cut = tables.evenly(total, parts)
    assert (sum(cut), len(cut)) == (total, parts)
    assert max(cut) - min(cut) <= 1
    assert list(cut) == sorted(cut, reverse=True)


@given(st.integers(1, 500), st.integers(0, 5))
def test_a_tournament_ends_with_one(m, n):
    left = m
    for level in extremum.tournament(m, n, 64):
        assert sum(each.candidates for each in level) == left
        left = sum(each.count for each in level)
        for each in level:
            assert each.size <= extremum.WHOLE
            assert (each.width is None) == (each.size == 1)
    assert left == 1


def shape_of(levels):
    return [[(each.count, each.size) for each in level] for level in levels]


@pytest.mark.parametrize("n", [1, 32, 128])
def test_the_classes_of_a_small_batch_are_compared_all_with_all(n):
    assert shape_of(extremum.tournament(10, n, 64, value=False)) == [[(1, 10)]]
    assert shape_of(extremum.tournament(10, n, 33)) == [[(1, 10)]]


@pytest.mark.parametrize("m", range(2, 20))
def test_many_columns_take_the_fewest_comparisons(m):
    levels = extremum.tournament(m, 1_000_000, 64, index=False)
    pairs = sum(each.count * len(each.pairs) for level in levels for each in level)
    assert pairs == m - 1


@given(st.integers(2, 10), st.integers(1, 20_000), st.integers(2, 64), st.booleans(), st.booleans())
def test_a_tournament_is_no_dearer_than_one_level_or_pairs_alone(m, n, bits, value, index):
    def pairs_alone(m):
        while m > 1:
            groups = [(m // 2, 2), (1, m % 2)]
            level = tuple(extremum.bracket(c, of, n, bits) for c, of in groups if c and of)
            yield level
            m = sum(each.count for each in level)

    found = extremum.tournament(m, n, bits, value=value, index=index)
    others = (((extremum.bracket(1, m, n, bits),),), tuple(pairs_alone(m)))
    for other in others:
        ours, theirs = (
            extremum.total_cost(each, n, value=value, index=index) for each in (found, other)
        )
        assert extremum.price(ours) <= extremum.price(theirs)


@pytest.mark.parametrize(("m", "levels"), [(1, 0), (2, 1), (10, 1), (11, 2), (40, 2), (41, 3)])
def test_levels_of_a_tournament(m, levels):
    assert len(extremum.tournament(m, 5, 64)) == levels


def test_a_tournament_has_branches_enough_for_a_million_candidates():
    levels = extremum.tournament(1_000_000, 1, 64)
    # Each level takes two of the 255 branches that an instruction has.
    assert 2 * len(levels) <= 255
    assert all(len(level) <= 2 for level in levels)


@given(st.integers(0, 10_000))
def test_reductions_end_with_one_bit(n):
    left = n
    for fan, layout in check.reductions(n):
        assert fan <= tables.WIDEST_FAN
        assert layout.n * fan >= left
        left = layout.n
    assert left == min(n, 1)


@given(st.integers(0, (1 << 60) - 1), st.integers(0, 40))
def test_a_relu_compares_every_bit_that_truncation_leaves(bound, places):
    divisor = 1 << places
    width = relu_width(bound, 100, divisor)
    assert width.drop == places
    assert width.plan.bits >= 1
    # The range that relu.py demands: |x| + d <= 2^(k-1).
    assert bound + (divisor if divisor > 1 else 0) <= 1 << (width.bits - 1)


@given(st.integers(2, 62), st.integers(1, 1 << 40))
def test_a_lift_is_a_multiple_that_makes_the_least_value_positive(bits, divisor):
    lift = lift_of(bits, divisor)
    assert lift % divisor == 0
    assert (1 << (bits - 1)) <= lift < (1 << (bits - 1)) + divisor


def test_widths_leave_out_what_is_dropped():
    width = sign.width(33, 100, drop=12)
    assert (width.bits, width.drop, width.plan.bits) == (33, 12, 20)


# ---- side by side ------------------------------------------------------------------------------


def reading(name, *rounds):
    """Opens so many values in each round; returns what it was sent."""
    received = []
    for count in rounds:
        received.append((yield [Opening((name, i)) for i in range(count)]))
    return received


def drive(merged):
    """Answers every opening with itself; returns the rounds and the result."""
    rounds, answer = [], None
    while True:
        try:
            openings = next(merged) if answer is None else merged.send(answer)
        except StopIteration as end:
            return rounds, end.value
        answer = [opening.summand for opening in openings]
        rounds.append(answer)


def test_rounds_are_merged_and_answers_go_to_who_asked():
    rounds, results = drive(side_by_side(reading("a", 1, 2), reading("b", 2), reading("c")))
    assert rounds == [[("a", 0), ("b", 0), ("b", 1)], [("a", 0), ("a", 1)]]
    assert results == [[[("a", 0)], [("a", 0), ("a", 1)]], [[("b", 0), ("b", 1)]], []]


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=4))
def test_side_by_side_takes_as_many_rounds_as_the_longest(shapes):
    readings = [reading(i, *rounds) for i, rounds in enumerate(shapes)]
    rounds, results = drive(side_by_side(*readings))
    assert len(rounds) == max(map(len, shapes), default=0)
    for i, (result, shape) in enumerate(zip(results, shapes, strict=True)):
        assert result == [[(i, j) for j in range(count)] for count in shape]
