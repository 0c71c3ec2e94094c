"""Handles: what is masked with what, and when a wire is forgotten."""

import gc

import numpy as np
import pytest

from tacita.program.builder import Handle
from tacita.program.instruction import Instruction
from tacita.program.readings import BitMask, Mask, Masked, Opening, reveal_bits, subtract_from
from tacita.program.wire import Wire


class Forgetful:
    """As much of a builder as a handle needs."""

    def __init__(self):
        self.forgotten = []

    def forget(self, wire):
        self.forgotten.append(wire)


@pytest.fixture
def builder():
    return Forgetful()


def test_a_wire_is_forgotten_with_its_last_reference(builder):
    handle = Handle(builder, Wire(7, (2,)))
    also = handle
    del handle
    gc.collect()
    assert builder.forgotten == []
    del also
    gc.collect()
    assert builder.forgotten == [7]


def test_a_view_keeps_its_base(builder):
    base = Handle(builder, Wire(1, (2, 3)))
    view = Handle(builder, Wire(2, (6,)), base=base)
    del base
    gc.collect()
    assert builder.forgotten == []
    del view
    gc.collect()
    assert sorted(builder.forgotten) == [1, 2]


def test_a_mask_on_the_base_serves_its_views(builder):
    base = Handle(builder, Wire(1, (2, 3)))
    view = Handle(builder, Wire(2, (6,)), base=base)
    further = Handle(builder, Wire(3, (3,)), base=view)
    assert not further.masked
    base.mark_masked()
    assert base.masked
    assert view.masked
    assert further.masked


def test_a_mask_on_a_view_does_not_serve_its_base(builder):
    base = Handle(builder, Wire(1, (6,)))
    view = Handle(builder, Wire(2, (3,)), base=base)
    view.mark_masked()
    assert not base.masked


def test_a_view_of_everything_is_masked_at_its_source(builder):
    base = Handle(builder, Wire(1, (2, 3)))
    view = Handle(builder, Wire(2, (6,)), base=base)
    again = Handle(builder, Wire(3, (3, 2)), base=view)
    assert again.mask_target is base
    assert base.mask_target is base


def test_a_view_of_less_is_masked_itself(builder):
    base = Handle(builder, Wire(1, (6,)))
    view = Handle(builder, Wire(2, (3,)), base=base)
    assert view.mask_target is view


def test_of_a_view_of_more_the_source_is_masked(builder):
    base = Handle(builder, Wire(1, (6,)))
    view = Handle(builder, Wire(2, (4, 6)), base=base)
    assert view.mask_target is base


def test_an_instruction_has_to_say_everything():
    bare = Instruction()
    for reading in (
        lambda: bare.reads,
        lambda: bare.writes,
        lambda: bare.plain(None),
        lambda: bare.deal(None),
        lambda: bare.evaluate(None),
        bare.cost,
    ):
        with pytest.raises(NotImplementedError):
            reading()


def test_a_view_of_a_masked_wire_shows_both_parts_alike():
    masked = Masked(np.arange(4, dtype=np.uint64), np.arange(10, 14, dtype=np.uint64))
    flipped = masked.map(lambda value: value[::-1])
    assert flipped.opened.tolist() == [3, 2, 1, 0]
    assert flipped.mask_share.tolist() == [13, 12, 11, 10]


def test_a_view_of_a_mask_is_made_once_and_only_when_asked_for():
    shares, made = np.arange(10, 14, dtype=np.uint64), []

    def flip(value):
        made.append(value is shares)
        return value[::-1]

    masked = Masked(np.arange(4, dtype=np.uint64), shares)
    further = masked.map(flip).map(lambda value: value[1:])
    assert further.opened.tolist() == [2, 1, 0]
    assert made == [False]
    for _ in range(2):
        assert further.mask_share.tolist() == [12, 11, 10]
    assert made == [False, True]


def test_openings_say_how_they_are_joined():
    value = np.arange(2, dtype=np.uint64)
    assert Mask(value).hide(value).boolean is False
    assert BitMask(value).hide(value).boolean is True
    assert reveal_bits(value).boolean is True
    assert Opening(value).boolean is False


def test_hiding_leaves_value_and_mask_alone():
    value, share = np.array([5], np.uint64), np.array([9], np.uint64)
    Mask(share).hide(value)
    BitMask(share).hide(value)
    assert (value.tolist(), share.tolist()) == ([5], [9])


def test_the_correction_of_a_value_is_what_its_shares_lack():
    value = np.array([1, 2, 2**64 - 1], np.uint64)
    others = np.array([3, 2**63, 5], np.uint64)
    into = others.copy()
    subtract_from(value)(into)
    assert np.array_equal(into + others, value)
