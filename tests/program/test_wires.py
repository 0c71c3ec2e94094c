"""Wires and costs: what is public of a value, and what an instruction may cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacita.program.cost import Cost
from tacita.program.wire import RING_BITS, TRUNCATION_BITS, Wire, limited, width_of


@given(st.integers(0, 1 << 61), st.integers(2, 64))
def test_the_width_holds_the_bound_and_is_the_least_that_does(bound, widest):
    bits = width_of(bound, widest)
    if bits < widest:
        assert bound < 1 << (bits - 1)
    if bits > 2:
        assert bound >= 1 << (bits - 2) or bits == widest
    assert 2 <= bits <= widest


@pytest.mark.parametrize(
    ("bound", "bits"),
    [(None, 64), (0, 2), (1, 2), (2, 3), (3, 3), (4, 4), ((1 << 32) - 1, 33), (1 << 70, 64)],
)
def test_widths(bound, bits):
    assert width_of(bound, 64) == bits


def test_without_a_bound_comparison_takes_the_ring_and_truncation_what_it_can():
    wire = Wire(0, (2, 3))
    assert wire.comparison_bits() == RING_BITS == 64
    assert wire.truncation_bits() == TRUNCATION_BITS == 62


def test_a_bound_narrows_both():
    wire = Wire(0, (2, 3), bound=1000)
    assert wire.comparison_bits() == wire.truncation_bits() == 11


@pytest.mark.parametrize(("shape", "size"), [((), 1), ((0, 3), 0), ((2, 3), 6)])
def test_sizes(shape, size):
    assert Wire(0, shape).size == size


@pytest.mark.parametrize(
    ("bound", "kept"),
    [(None, None), (0, 0), ((1 << 61) - 1, (1 << 61) - 1), (1 << 61, None), (1 << 80, None)],
)
def test_bounds_that_nothing_can_use_are_dropped(bound, kept):
    assert limited(bound) == kept


costs = st.builds(Cost, *[st.integers(0, 100)] * 3)


@given(costs, costs)
def test_costs_add_one_after_the_other(a, b):
    total = a + b
    assert total == Cost(
        a.rounds + b.rounds, a.opened_bytes + b.opened_bytes, a.dealt_bytes + b.dealt_bytes
    )


@given(costs, costs)
def test_side_by_side_only_the_rounds_are_shared(a, b):
    total = a.beside(b)
    assert total.rounds == max(a.rounds, b.rounds)
    assert (total.opened_bytes, total.dealt_bytes) == (
        a.opened_bytes + b.opened_bytes,
        a.dealt_bytes + b.dealt_bytes,
    )


@pytest.mark.parametrize(("parties", "sent"), [(2, 10), (3, 20), (5, 40)])
def test_every_other_party_is_sent_the_opening(parties, sent):
    assert Cost(1, 10, 7).online_bytes(parties) == sent
