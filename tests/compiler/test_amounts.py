"""Numbers for people: the unit is chosen by what is shown, after rounding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacita.compiler.amounts import amount, seconds


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (0.0, ""), (0.9e-6, ""), (1.5e-6, "1.5 µs"), (999.4e-6, "999 µs"), (999.6e-6, "1 ms"),
        (0.9994, "999 ms"), (0.9996, "1 s"), (59.94, "59.9 s"), (1234.0, "1,234 s"),
    ],
)  # fmt: skip
def test_times(time, shown):
    assert seconds(time) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, ""), (7, "7 B"), (999, "999 B"), (1000, "1 kB"), (999_499, "999 kB"),
        (999_500, "1 MB"), (4e9, "4 GB"), (2e12, "2 TB"), (1e16, "10,000 TB"),
    ],
)  # fmt: skip
def test_bytes(count, shown):
    assert amount(count, "B") == shown


def test_counts_have_no_unit():
    assert amount(12) == "12"
    assert amount(397_000) == "397 k"


@given(st.floats(1e-6, 1e9))
def test_no_number_is_a_power(value):
    assert "e" not in seconds(value)
    assert "e" not in amount(value * 1e6)
