from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacita.errors import EncodingError
from tacita.ring.fixed_point import Precision, decode, encode, signed
from tacita.torch.encoding import array_of, fixed_point_of, integers_of

PRECISIONS = st.one_of(
    st.builds(Precision, st.just(10), st.integers(0, 8)),
    st.builds(Precision, st.just(2), st.integers(0, 28)),
    st.builds(Precision, st.integers(3, 9), st.integers(0, 8)),
)


def test_known_answers():
    values = np.array([0.123, -0.123, 0.0, 1.0, -1.0, 0.125, 0.135, -2.99998, 1e6])
    assert signed(encode(values, Precision(10, 2))).tolist() == [
        12, -12, 0, 100, -100, 12, 14, -300, 100_000_000,
    ]  # fmt: skip
    assert signed(encode(values[:5], Precision(2, 4))).tolist() == [2, -2, 0, 16, -16]


def test_ties_go_to_the_even_neighbour():
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5])
    assert signed(encode(values, Precision(2, 0))).tolist() == [0, 2, 2, 0, -2]


def test_decoding_negative_numbers_is_exact():
    stored = np.array([-299998, -300000, -1, -(2**52), 299998], np.int64).view(np.uint64)
    assert decode(stored, 100_000).tolist() == [-2.99998, -3.0, -1e-5, -(2**52) / 1e5, 2.99998]


@given(PRECISIONS, st.lists(st.floats(-(2.0**30), 2.0**30), max_size=20))
def test_round_trip_is_within_half_a_unit(precision, values):
    array = np.array(values, np.float64)
    back = decode(encode(array, precision, vanishing=True), precision.scale)
    # The product with the scale and the quotient each round to a float64 once more.
    slack = 0.5 / precision.scale + np.abs(array) * 2.0**-51
    assert (np.abs(back - array) <= slack).all()


@given(PRECISIONS, st.lists(st.integers(-(2**32), 2**32), max_size=20))
def test_integers_are_stored_exactly(precision, values):
    array = np.array(values, np.int64)
    assert signed(encode(array, precision)).tolist() == [v * precision.scale for v in values]


@given(PRECISIONS, st.floats(0, 1e6))
def test_encoding_is_odd(precision, value):
    plus = signed(encode(np.array([value]), precision, vanishing=True))
    minus = signed(encode(np.array([-value]), precision, vanishing=True))
    assert (plus == -minus).all()


@pytest.mark.parametrize(
    ("base", "digits"), [(1, 3), (0, 3), (-2, 3), (10, -1), (10, 9), (2, 29), (10, 10**9), (2.0, 3)]
)
def test_impossible_precisions(base, digits):
    with pytest.raises(EncodingError):
        Precision(base, digits)


def test_what_is_not_finite_is_counted_and_not_shown():
    values = np.array([[1.0, 2.0], [np.nan, np.inf]])
    with pytest.raises(EncodingError, match=r"2 of 4 values are not finite.*\(1, 0\)") as error:
        encode(values, Precision())
    assert "nan" not in str(error.value).lower().replace("no nan", "")
    with pytest.raises(EncodingError, match=r"\(\)"):
        encode(np.array(-np.inf), Precision())


@pytest.mark.parametrize("value", [2.0**61 / 1000, -(2.0**61) / 1000, 1e300, -1e19])
def test_too_large(value):
    with pytest.raises(EncodingError, match=r"1 of 2 values are too large.*\(1,\)") as error:
        encode(np.array([1.0, value]), Precision())
    assert "e+" not in str(error.value)
    with pytest.raises(EncodingError, match="too large"):
        encode(np.array([1, 2**60]), Precision())
    with pytest.raises(EncodingError, match="too large"):
        encode(np.array([1, 2**64 - 1], np.uint64), Precision())


def test_the_largest_that_fits():
    value = np.float64(2.0**61 - 2**9)
    assert signed(encode(np.array([value, -value]), Precision(2, 0))).tolist() == [value, -value]


def test_values_that_all_vanish():
    with pytest.raises(EncodingError, match="rounds to zero"):
        encode(np.array([1e-4, -2e-4, 0.0]), Precision())
    assert not encode(np.array([1e-4]), Precision(), vanishing=True).any()
    assert not encode(np.zeros(3), Precision()).any()
    assert signed(encode(np.array([1e-4, 1.0]), Precision())).tolist() == [0, 1000]
    assert encode(np.zeros((0, 3)), Precision()).shape == (0, 3)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
     torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool],
)  # fmt: skip
def test_dtypes_with_a_meaning(dtype):
    tensor = torch.tensor([0, 1, 1]).to(dtype)
    assert signed(fixed_point_of(tensor, Precision())).tolist() == [0, 1000, 1000]


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: torch.zeros(2, dtype=torch.complex64), "imaginary"),
        (lambda: torch.zeros(2, device="meta"), "meta"),
        (lambda: torch.zeros(2, 2).to_sparse(), "to_dense"),
        (lambda: torch.zeros(2, 2).to_sparse_csr(), "to_dense"),
        (lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8), "dequantize"),
        (lambda: torch.zeros(2, dtype=torch.float8_e4m3fn), "float32"),
    ],
)
def test_tensors_without_a_ring_form(make, advice):
    with pytest.raises(EncodingError, match=advice):
        array_of(make())


def test_all_integers_have_a_ring_form():
    edges = torch.tensor([2**63 - 1, -(2**63), -1, 0])
    assert signed(integers_of(edges)).tolist() == edges.tolist()
    largest = torch.tensor([2**63 - 1], dtype=torch.uint64)
    assert integers_of(largest).tolist() == [2**63 - 1]
    with pytest.raises(EncodingError, match="2\\^63"):
        integers_of(torch.tensor([2**63], dtype=torch.uint64))
    assert integers_of(torch.tensor([True, False])).tolist() == [1, 0]
    with pytest.raises(EncodingError, match="fix_precision"):
        integers_of(torch.zeros(2))


def test_strided_and_negated_views():
    tensor = torch.arange(6.0).view(2, 3).t()[::2]
    assert decode(fixed_point_of(tensor, Precision()), 1000).tolist() == tensor.tolist()
    conjugate = torch.tensor([1 + 2j]).conj().imag
    assert decode(fixed_point_of(conjugate, Precision()), 1000).tolist() == [-2.0]
