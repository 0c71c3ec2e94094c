from __future__ import annotations

import pytest
import torch
from agreement import PRECISION, close, stored

from tacita.errors import (
    EncodingError,
    MissingDealerError,
    PrecisionError,
    ShapeError,
    UnsupportedOperation,
)
from tacita.ring.fixed_point import Precision

SHAPES = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((3, 1), (1, 5)),
    ((), (2, 3)),
    ((), ()),
    ((0, 3), (3,)),
    ((2, 0), (2, 0)),
    ((65,), (65,)),
    ((1,), (1,)),
]

TWO = [
    (lambda a, b: a + b, 0),
    (lambda a, b: a - b, 0),
    (lambda a, b: a * b, 0),
    (lambda a, b: torch.add(a, b, alpha=3), 0),
    (lambda a, b: torch.sub(a, b, alpha=2), 0),
]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(("operation", "units"), TWO)
def test_two_private(group, shapes, operation, units):
    a, b = (torch.randn(shape) * 10 for shape in shapes)
    private = operation(group.share(a), group.share(b))
    close(private, operation(stored(a), stored(b)), units)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(("operation", "units"), TWO)
def test_private_and_public(group, shapes, operation, units):
    a, b = (torch.randn(shape) * 10 for shape in shapes)
    if min(len(shape) for shape in shapes) == 0:
        # A 0-d factor is a number and keeps more digits than a tensor: both are exact in whole.
        a, b = a.round(), b.round()
    expected = operation(stored(a), stored(b))
    close(operation(group.share(a), b), expected, units)
    close(operation(a, group.share(b)), expected, units)


NUMBERS = [0, 1, -1, 2, -3, 0.5, -0.25, 0.1, 1e-4, -2.5, 1 / 3, 12345.678, True]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers(group, number):
    a = torch.tensor([[1.5, -2.25, 0.0], [3.125, 100.0, -0.001]])
    x, ref = group.share(a), stored(a)
    rounded = round(number * 1000) / 1000
    for private, expected in [
        (x + number, ref + rounded),
        (number + x, ref + rounded),
        (x - number, ref - rounded),
        (number - x, rounded - ref),
        (x * number, ref * number),
        (number * x, ref * number),
    ]:
        close(private, expected)
    if number:
        close(x / number, ref / number)


def test_odd_numbers_keep_their_relative_accuracy(group):
    a = torch.tensor([1.0, -7.0, 1000.0])
    x = group.share(a)
    for number in (3.14159, 0.000271828, 17.77777, 1.23456e-7):
        got, expected = (x * number).decrypt().double(), a.double() * number
        assert ((got - expected).abs() <= expected.abs() / 1000).all()
        got, expected = (x / number).decrypt().double(), a.double() / number
        assert ((got - expected).abs() <= expected.abs() / 1000).all()


def test_multiplying_by_zero_and_empty(group):
    close(group.share(torch.ones(3)) * 0, torch.zeros(3))
    close(group.share(torch.ones(0)) * 2.5, torch.zeros(0))
    close(group.share(torch.ones(0, 3)) * group.share(torch.ones(3)), torch.zeros(0, 3))


def test_division_by_public_tensors(group):
    a = torch.tensor([1.0, -2.0, 3.0])
    close(group.share(a) / torch.tensor([2.0, 4.0, 0.5]), a.double() / torch.tensor([2.0, 4, 0.5]))
    close(group.share(a) / torch.tensor([2, 4, 8]), a.double() / torch.tensor([2, 4, 8]))
    got = (group.share(a) / torch.tensor([3.0, 700.0, 0.3])).decrypt().double()
    expected = a.double() / torch.tensor([3.0, 700.0, 0.3])
    assert ((got - expected).abs() <= 0.0006 * expected.abs()).all()
    with pytest.raises(EncodingError):
        group.share(a) / 0
    with pytest.raises(EncodingError):
        group.share(a) / torch.tensor([1.0, 0.0, 2.0])


def test_rounded_division_by_private_is_refused(group):
    x = group.share(torch.ones(2))
    for operation in (
        lambda: x // x,
        lambda: torch.div(x, x, rounding_mode="trunc"),
        lambda: torch.div(torch.ones(2), x, rounding_mode="floor"),
    ):
        with pytest.raises(UnsupportedOperation, match=r"rounding|//"):
            operation()


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 5, 2.0])
def test_powers(group, exponent):
    a = torch.tensor([[1.5, -2.25, 0.0], [0.125, 3.0, -0.5]])
    # Each product after the first truncates two operands of at most 3**4, once each.
    units = 0 if exponent <= 2 else 2 * 3.0**exponent
    close(group.share(a) ** exponent, stored(a) ** exponent, units)


@pytest.mark.parametrize("exponent", [-0.3, 0.7])
def test_other_powers_are_refused(group, exponent):
    with pytest.raises(UnsupportedOperation, match=r"multiples of 0\.5"):
        group.share(torch.ones(2)) ** exponent


def test_square_uses_one_mask(group):
    a = torch.randn(5)
    close(group.share(a).square(), stored(a) ** 2)


def test_chains_truncate_in_between(group):
    a = torch.full((4,), 1.5)
    x = y = group.share(a)
    for _ in range(6):
        y = y * x * 0.5
    expected = 1.5 * (1.5 * 0.5) ** 6
    # Every step truncates once or twice, and multiplies an earlier error by 0.75.
    close(y, torch.full((4,), expected, dtype=torch.double), 2 * 1.5 / (1 - 0.75))


def test_means_of_products_and_sums_of_all_scales(group):
    a = torch.randn(7, 7)
    x, ref = group.share(a), stored(a)
    close(x.mean() + x * x + (x > 0) + x / 3 + 1, ref.mean() + ref * ref + (ref > 0) + ref / 3 + 1)
    close((x.mean(0) * x).sum(), (ref.mean(0) * ref).sum(), 49 * 4)


def test_long_runs_of_divisions_and_halvings(group):
    x = group.share(torch.tensor([1000.0, -3.0]))
    y = x
    for _ in range(70):
        y = y / 2
    close(y, torch.tensor([1000.0, -3.0]).double() / 2.0**70)
    close(y + x, torch.tensor([1000.0, -3.0]), 1)
    close(y * x, torch.zeros(2), 1000 + 1)


def test_base_two(group):
    precision = Precision(2, 12)
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    x, y = group.share(a, precision), group.share(b, precision)
    ra, rb = stored(a, precision), stored(b, precision)
    close(x * y + x, ra * rb + ra, 0, precision)
    close(x / 3, ra / 3, 0, precision)
    close((x * 0.3) * y, ra * 0.3 * rb, 10, precision)


def test_negative_strides_and_views(group):
    a = torch.randn(4, 6)
    x, ref = group.share(a), stored(a)
    close(x.flip(1) * x, ref.flip(1) * ref)
    close(x.t().flip(0)[::2] * x.t()[::2], ref.t().flip(0)[::2] * ref.t()[::2])
    close(x[1:, ::3] + a[1:, ::3].flip(0), ref[1:, ::3] + ref[1:, ::3].flip(0))


def test_integers(group):
    a = torch.tensor([[1, -2, 3], [2**40, -(2**61), 0]])
    b = torch.tensor([[5, 7, -9], [3, 1, 4]])
    x, y = group.share(a), group.share(b)
    for private, expected in [
        (x + y, a + b), (x - y, a - b), (x * y, a * b), (x * 3, a * 3), (3 - x, 3 - a), (-x, -a),
        (x + b, a + b), (b * x, a * b), (x * b.float(), a * b), (x.sum(), a.sum()), (y**3, b**3),
        (x * 2.0, a * 2), (y == b, torch.ones(2, 3)), (x[0] @ y[1], a[0] @ b[1]),
    ]:  # fmt: skip
        got = private.get()
        assert got.dtype is torch.int64
        assert torch.equal(got, expected.long())


def test_extreme_integers(group):
    a = torch.tensor([2**63 - 1, -(2**63), 0, -1])
    assert torch.equal(group.share(a).get(), a)
    assert torch.equal((group.share(a) + 1).get(), a + 1)
    assert torch.equal((-group.share(a)).get(), -a)


def test_integers_take_no_fractions(group):
    x = group.share(torch.tensor([1, 2]))
    for operation in (lambda: x * 0.5, lambda: x + 0.5, lambda: x / 2, lambda: x.float(),
                      lambda: x * torch.tensor([0.5, 1]), lambda: x.double().mean()):  # fmt: skip
        with pytest.raises((PrecisionError, UnsupportedOperation), match="fix_precision"):
            operation()


def test_integers_meet_fixed_point(group):
    n, a = torch.tensor([1, -2]), torch.tensor([0.5, 0.25])
    close(group.share(n) * group.share(a), n * stored(a))
    close(group.share(a) + group.share(n), n + stored(a))


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 10])
def test_floor_division_and_remainder(group, divisor):
    n = torch.tensor([0, 1, -1, 2, 6, 7, -7, 13, -14, 1000, -1001, 2**50 + 1])
    assert torch.equal((group.share(n) // divisor).get(), n // divisor)
    assert torch.equal((group.share(n) % divisor).get(), n % divisor)
    a = torch.tensor([0.5, -0.5, 2.0, 6.999, -7.001, 0.0])
    close(group.share(a) // divisor, torch.floor(stored(a) / divisor))
    close(group.share(a) % divisor, torch.remainder(stored(a), divisor))


def test_addcmul_and_lerp(group):
    a, b, c = torch.randn(3), torch.randn(3), torch.randn(3)
    x, y, z = map(group.share, (a, b, c))
    ra, rb, rc = map(stored, (a, b, c))
    close(torch.addcmul(x, y, z, value=2), ra + 2 * rb * rc)
    close(
        torch.addcdiv(x, y, torch.tensor([1.0, 2, 4]), value=-1),
        ra - rb / torch.tensor([1.0, 2, 4]),
    )
    close(torch.lerp(x, y, 0.5), torch.lerp(ra, rb, 0.5))


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan"), 2**62, 1e30, 1j])
def test_numbers_without_a_ring_form(group, number):
    x = group.share(torch.ones(2))
    for operation in (lambda: x + number, lambda: x * number, lambda: x == number):
        with pytest.raises(EncodingError):
            operation()
    close(x + 1, torch.full((2,), 2.0))


def test_shapes_that_do_not_broadcast(group):
    x = group.share(torch.ones(2, 3))
    for operation in (lambda: x + group.share(torch.ones(4)), lambda: x * torch.ones(2)):
        with pytest.raises(ShapeError, match="broadcast"):
            operation()
    close(x + 1, torch.full((2, 3), 2.0))


def test_factors_that_vanish_are_refused(group):
    with pytest.raises(EncodingError, match="rounds to zero"):
        group.share(torch.ones(2)) * torch.full((2,), 1e-5)
    close(group.share(torch.ones(2)) + torch.full((2,), 1e-5), torch.ones(2))


def test_without_a_dealer_linear_work_is_done(bare):
    a = torch.randn(3, 3)
    x, ref = bare.share(a), stored(a)
    close((x + x - 1) * 2 + x.sum() / 4 + x @ torch.eye(3), (ref * 2 - 1) * 2 + ref.sum() / 4 + ref)
    close(x * 0.5 * a, ref * 0.5 * stored(a))
    for operation in (
        lambda: x * x,
        lambda: x > 0,
        lambda: x @ x,
        lambda: x.relu(),
        lambda: x.max(),
    ):
        with pytest.raises(MissingDealerError, match="crypto_provider"):
            operation()
    close(x, ref)


def test_precision_of_the_suite():
    assert Precision() == PRECISION
