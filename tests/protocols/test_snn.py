"""Digits of a private compare: what they are, and what the dealer sees of them modulo 67.

That is enumerated over words that are made here, for the readable twin; `test_snn_views` has what
the protocol itself draws and tells. Numbers of one or two bits have few enough digits for it. Each
party's digits are uniform by a summand of their own; the rest looks at the sums.
"""

from itertools import product

import numpy as np
import pytest
from cases import Case, play, spread

from tacita.protocols import NonNegative, Zero, sign, snn
from tacita.ring import digits_twin as twin
from tacita.ring.planes import Layout
from tacita.runtime.plain import PlainRun


def word(number, size):
    """The least word that `cut` takes for a number below `size`."""
    return -(-(number << 64) // size)


def words(numbers, size):
    return np.array([word(int(number), size) for number in np.ravel(numbers)], np.uint64).reshape(
        np.shape(numbers)
    )


@pytest.mark.parametrize("size", [2, 3, 64, 65, 66, 67])
def test_words_are_cut_into_equal_parts(size):
    least = [word(number, size) for number in range(size)]
    ends = [*(each - 1 for each in least[1:]), (1 << 64) - 1]
    found = twin.cut(np.array([least, ends], np.uint64), size)
    assert found.tolist() == [list(range(size))] * 2
    counts = [end - start + 1 for start, end in zip(least, ends, strict=True)]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("count", [1, 7, 8, 9, 64, 65])
def test_digits_are_packed_and_unpacked(count):
    numbers = np.random.default_rng(count).integers(67, size=(3, 5, count), dtype=np.uint8)
    packed = twin.packed(numbers)
    assert packed.shape == (3, 5, twin.words(count))
    assert np.array_equal(twin.unpacked(packed, count), numbers)


def test_what_is_no_digit_becomes_one():
    assert twin.unpacked(np.full((1, 2), (1 << 64) - 1, np.uint64), 9).max() < twin.PRIME


def shares_of(bits, seed):
    """Shares of bits as the dealer makes them, uniform and lacking."""
    own = np.random.default_rng(seed).integers(67, size=bits.shape, dtype=np.uint8)
    return own, ((bits.astype(np.int64) - own) % 67).astype(np.uint8)


def sums(bits, p, r, flip, order):
    """The digits c themselves, [n, bits + 1]."""
    p, r = (np.asarray(each, np.uint64).reshape(-1) for each in (p, r))
    own, other = shares_of(twin.bits_of(r, bits), 3)
    flip = np.broadcast_to(np.uint8(flip), p.shape)
    parts = [
        twin.compared(p, share, flip, bits, first, order)
        for share, first in ((own, True), (other, False))
    ]
    return (parts[0].astype(int) + parts[1]) % 67


@pytest.mark.parametrize("order", [True, False], ids=["order", "equality"])
@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_one_digit_is_zero_or_none_is(bits, order):
    p, r = (np.ravel(each) for each in np.meshgrid(*[np.arange(1 << bits)] * 2))
    holds = r > p if order else r == p
    for flip in (0, 1):
        zeros = (sums(bits, p, r, flip, order) == 0).sum(axis=1)
        assert np.array_equal(zeros, holds ^ flip)


@pytest.mark.parametrize("order", [True, False], ids=["order", "equality"])
def test_64_bits_do_not_wrap_around(order):
    bits = 64 if not order else 63
    ends = [0, 1, (1 << bits) - 1, (1 << bits) - 2, 0x5555_5555_5555_5555 & ((1 << bits) - 1)]
    p, r = (np.array(each, np.uint64) for each in zip(*product(ends, ends), strict=True))
    holds = r > p if order else r == p
    for flip in (0, 1):
        assert np.array_equal((sums(bits, p, r, flip, order) == 0).sum(axis=1), holds ^ flip)


def test_each_party_says_something_uniform():
    # Whatever c, factor and rotation are, the summand z takes every digit through all of Z_67.
    c = np.array([[5, 0]], np.uint8).repeat(67, axis=0)
    z = words(np.arange(67)[:, None].repeat(2, axis=1), 67)
    factors, turns = words(np.full((67, 2), 7), 66), words(np.full(67, 1), 2)
    for first in (True, False):
        said = twin.blinded(c, factors, z, turns, first=first)
        assert np.array_equal(np.sort(said, axis=0)[:, 0], np.arange(67))
        assert np.array_equal(np.sort(said, axis=0)[:, 1], np.arange(67))


def test_summands_cancel():
    rng = np.random.default_rng(1)
    c = rng.integers(67, size=(2, 500, 9), dtype=np.uint8)
    drawn = [rng.integers(1 << 64, size=size, dtype=np.uint64) for size in [(500, 9)] * 2]
    turns = rng.integers(1 << 64, size=500, dtype=np.uint64)
    first = twin.blinded(c[0], *drawn, turns, first=True)
    other = twin.blinded(c[1], *drawn, turns, first=False)
    nothing = np.zeros_like(drawn[1])
    together = ((c[0].astype(int) + c[1]) % 67).astype(np.uint8)
    expected = twin.blinded(together, drawn[0], nothing, turns, first=True)
    assert np.array_equal((first.astype(int) + other) % 67, expected)


def seen(bits, p, r, order):
    """How often the dealer sees each vector of sums, over all factors, rotations and flips."""
    count = bits + 1
    grid = [np.arange(66)] * count + [np.arange(count)]
    drawn = np.stack([np.ravel(each) for each in np.meshgrid(*grid, indexing="ij")], axis=1)
    factors, turns = (drawn[:, :count] + 1).astype(int), drawn[:, count]
    vectors = []
    for flip in (0, 1):
        (c,) = sums(bits, p, r, flip, order)
        hidden = c * factors % 67
        places = (np.arange(count) + turns[:, None]) % count
        vectors.append(np.take_along_axis(hidden, places, axis=1))
    numbers = np.concatenate(vectors) @ (67 ** np.arange(count))
    return np.bincount(numbers, minlength=67**count)


@pytest.mark.parametrize("order", [True, False], ids=["order", "equality"])
@pytest.mark.parametrize("bits", [1, 2])
def test_the_dealer_sees_the_same_for_all_numbers(bits, order):
    numbers = range(1 << bits)
    first, *others = [seen(bits, p, r, order) for p in numbers for r in numbers]
    for other in others:
        assert np.array_equal(other, first)


def test_the_enumeration_finds_a_digit_without_a_factor():
    # A vector that was not multiplied shows how far the zero is from the others.
    plain = {tuple(sums(2, p, r, 0, True)[0]) for p in range(4) for r in range(4) if r > p}
    assert len(plain) > 3


def test_enumerated_factors_and_rotations_are_those_that_are_used():
    c = np.array([[3, 0, 66]], np.uint8)
    for factor, turn in product((0, 1, 65), range(3)):
        hidden = twin.blinded(
            c,
            words(np.full((1, 3), factor), 66),
            np.zeros((1, 3), np.uint64),
            words([turn], 3),
            first=True,
        )
        places = (np.arange(3) + turn) % 3
        assert np.array_equal(hidden[0], (c[0].astype(int) * (factor + 1) % 67)[places])


def test_costs_of_nothing_are_rounds_alone():
    plan = snn.Plan(31)
    assert plan.cost(Layout(0), True).consulted_bytes == 0
    assert plan.cost(Layout(0), True).rounds == 1


@pytest.mark.parametrize("kind", [NonNegative, Zero])
@pytest.mark.parametrize("words", [1, 100, 1000])
def test_pieces_fit_together(sessions, monkeypatch, kind, words):
    # One element at a time, some, and all but a few: the roles cut alike.
    monkeypatch.setattr(snn, "AT_ONCE", words)
    x = spread((67,), -(1 << 19), 1 << 19)
    x[::5] = 0
    how = (
        sign.width(21, x.size, way="snn")
        if kind is NonNegative
        else sign.plan("snn", 21, x.size, order=False)
    )
    case = Case(
        kind,
        "in pieces",
        lambda reads, writes: kind(*writes, *reads, x.shape, how),
        (x.shape,),
        (x,),
        masked=True,
    )
    plain, session = PlainRun(), sessions.of(2, "snn")
    (expected,), (found,) = play(plain, case).outputs, play(session, case).outputs
    assert np.array_equal(session.reveal(found), plain.reveal(expected))


def test_pieces_are_all_elements_once():
    for n, words in ((0, 5), (1, 5), (12, 1), (snn.AT_ONCE + 1, 2), (3, 2 * snn.AT_ONCE)):
        parts = list(snn.pieces(n, words))
        assert np.array_equal(
            np.concatenate([np.arange(n)[part] for part, _ in parts] or [[]]), np.arange(n)
        )
        assert [len(np.arange(n)[part]) for part, _ in parts] == [size for _, size in parts]
        assert all(size == 1 or size * words <= snn.AT_ONCE for _, size in parts)
