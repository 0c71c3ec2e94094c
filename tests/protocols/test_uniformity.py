"""The checks on what was drawn: uniform words pass, and those that fall short of it do not."""

import numpy as np
import pytest
from uniformity import (
    CERTAINTY,
    assert_bits,
    assert_distinct,
    assert_hits,
    assert_numbers,
    slack,
)


@pytest.fixture
def words():
    return np.random.default_rng(0).integers(1 << 64, size=10_000, dtype=np.uint64)


def test_uniform_words_pass(words):
    assert_bits(words, "words")
    assert_distinct(words, "words")
    assert_numbers(words % np.uint64(67), 67, "digits")


@pytest.mark.parametrize("bits", [0xFF, (1 << 63) - 1, ((1 << 64) - 1) ^ (1 << 20)])
def test_words_without_some_bits_fail(words, bits):
    with pytest.raises(AssertionError, match="off by"):
        assert_bits(words & np.uint64(bits), "words")


def test_a_word_that_comes_twice_fails(words):
    words[-1] = words[0]
    with pytest.raises(AssertionError, match="comes twice"):
        assert_distinct(words, "words")


def test_a_number_that_does_not_come_up_fails(words):
    with pytest.raises(AssertionError, match="off by"):
        assert_numbers(words % np.uint64(66), 67, "digits")
    with pytest.raises(AssertionError, match="above 65"):
        assert_numbers(words % np.uint64(67), 66, "digits")


def test_too_few_draws_are_refused():
    with pytest.raises(AssertionError, match="too few"):
        assert_hits(20, 40, 1 / 2, "few")


@pytest.mark.parametrize(("count", "probability"), [(100, 0.5), (3000, 1 / 67), (10**6, 0.5)])
def test_the_slack_is_bernsteins(count, probability):
    t, variance = slack(count, probability), count * probability * (1 - probability)
    assert t**2 / (2 * (variance + t / 3)) == pytest.approx(CERTAINTY)
