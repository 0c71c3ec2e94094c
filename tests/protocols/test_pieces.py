"""Pieces cover all elements once, and are as large and as few as they are said to be."""

from hypothesis import given
from hypothesis import strategies as st

from tacita.protocols.pieces import MOST, WORDS, pieces


@given(elements=st.integers(0, 1 << 22), words=st.integers(1, 64))
def test_pieces(elements, words):
    cut = list(pieces(elements, words))
    assert len(cut) <= MOST
    assert [each.start for each in cut] == [0, *[each.stop for each in cut]][: len(cut)]
    assert (cut[-1].stop if cut else 0) == elements
    for each in cut:
        assert 0 < each.stop - each.start <= max(WORDS // words, -(-elements // MOST))


def test_no_elements_have_no_pieces():
    assert list(pieces(0, 14)) == []


def test_nothing_dealt_is_one_piece_or_few():
    assert list(pieces(7, 0)) == [slice(0, 7)]
