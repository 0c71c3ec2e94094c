from __future__ import annotations

import operator

import pytest
import torch
from agreement import close, stored

from tacita.errors import (
    BoundExceeded,
    EncodingError,
    PrivateValueError,
    UnsupportedOperation,
)
from tacita.ring.fixed_point import Precision

OPERATORS = [operator.gt, operator.ge, operator.lt, operator.le, operator.eq, operator.ne]
VALUES = torch.tensor([-1000.5, -2.0, -0.001, 0.0, 0.001, 1.0, 1.0, 1000.25])


@pytest.mark.parametrize("compare", OPERATORS)
def test_all_pairs(group, compare):
    a, b = VALUES[:, None], VALUES[None, :]
    expected = compare(stored(a), stored(b)).double()
    close(compare(group.share(a), group.share(b)), expected)
    close(compare(group.share(a), b), expected)
    close(compare(a, group.share(b)), expected)
    for number in (0, 1, -2.0, 0.001, 0.5):
        close(compare(group.share(VALUES), number), compare(stored(VALUES), number).double())
        close(compare(number, group.share(VALUES)), compare(number, stored(VALUES)).double())


@pytest.mark.parametrize("compare", OPERATORS)
@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 513])
def test_sizes(group, compare, n):
    a = torch.randint(-3, 4, (n,))
    got = compare(group.share(a), 0).get()
    assert torch.equal(got, compare(a, 0).long())


@pytest.mark.parametrize("compare", OPERATORS)
def test_integers_at_the_edges(group, compare):
    a = torch.tensor([2**61, -(2**61), 2**62 - 1, -(2**62), 0, 1, -1])
    expected = compare(a[:, None], a[None, :]).long()
    assert torch.equal(compare(group.share(a[:, None]), group.share(a[None, :])).get(), expected)
    extremes = torch.tensor([2**63 - 1, -(2**63), 0])
    assert torch.equal(compare(group.share(extremes), 0).get(), compare(extremes, 0).long()) or (
        # -x for x = -2**63 is x itself: the ring has no 2**63.
        compare in (operator.gt, operator.le)
    )


def test_different_scales(group):
    a, b = torch.randn(20), torch.randn(20)
    x, y, ra, rb = group.share(a), group.share(b), stored(a), stored(b)
    close(x * y > x / 3, (ra * rb > ra / 3).double())
    close(x * x == x**2, torch.ones(20))
    close((x > 0) == (a > 0), torch.ones(20))
    close(x.mean() < y, (ra.mean() < rb).double())


def test_results_are_bits_to_compute_with(group):
    a, b = torch.randn(30), torch.randn(30)
    x, y, ra, rb = group.share(a), group.share(b), stored(a), stored(b)
    p, q, rp, rq = x > 0, y > 0, ra > 0, rb > 0
    close(~p, (~rp).double())
    close(p & q, (rp & rq).double())
    close(p | q, (rp | rq).double())
    close(p ^ q, (rp ^ rq).double())
    close(p & (b > 0), (rp & (b > 0)).double())
    close(p.logical_not(), (~rp).double())
    close(p * x, ra.clamp(min=0))
    close(p.sum(), rp.sum())
    close((p * q).sum() / 30, (rp & rq).sum() / 30)
    close(p.any(), rp.any().double())
    close(p.all(), rp.all().double())
    close((p | ~p).all(), torch.ones(()))
    close((p & ~p).any(), torch.zeros(()))
    for operation in (lambda: ~x, lambda: x & p, lambda: torch.logical_or(p, y)):
        with pytest.raises(UnsupportedOperation, match="0 and 1"):
            operation()


def test_bounds_make_no_difference(group):
    a, b = torch.rand(50) * 16 - 8, torch.rand(50) * 16 - 8
    x, y = group.share(a, bound=8.0), group.share(b, bound=8.0)
    ra, rb = stored(a), stored(b)
    for compare in OPERATORS:
        close(compare(x, y), compare(ra, rb).double())
    close(x * y >= y * 0.5, (ra * rb >= rb * 0.5).double())
    close((x @ y) > 0, torch.tensor(float(ra @ rb > 0)))
    close(x.bounded(8) > 0, (ra > 0).double())
    assert x._handle.wire.bound == 8000
    assert (x > y)._handle.wire.bound == 1
    assert (x * y + x)._handle.wire.bound == 8000 * 8000 + 8000 * 1000


def test_checked_mode_finds_what_exceeds_a_bound(group):
    a = torch.tensor([1.0, -2.0, 5.0])
    x = group.share(a, checked=True)
    close(x.bounded(5) > 0, (a > 0).double())
    close(x.bounded(5).relu(), a.relu())
    for limit in (4.999, 1, 0.5):
        for operation in (lambda t: t > 0, lambda t: t == 0, lambda t: t.relu(), lambda t: t.max()):
            failed = operation(x.bounded(limit))
            with pytest.raises(BoundExceeded, match=r"shape \(3,\)"):
                failed.get()
            # What failed stays failed; the rest of the session goes on.
            with pytest.raises(BoundExceeded):
                (failed + 1).get()
            close(x + 1, a + 1)


def test_checked_mode_finds_what_truncation_cannot_take(group):
    huge = torch.tensor([2.0**50])
    x = group.share(huge, checked=True)
    with pytest.raises(BoundExceeded):
        ((x * 1.5) * x).get()
    y = group.share(torch.ones(1), checked=True)
    close((y * 1.5) * y, torch.full((1,), 1.5), 2)


def test_base_two(group):
    precision = Precision(2, 12)
    a = torch.randn(40)
    ra = stored(a, precision)
    for compare in OPERATORS:
        close(compare(group.share(a, precision), 0.5), compare(ra, 0.5).double(), 0, precision)


def test_no_branch_on_private_values(group):
    x = group.share(torch.tensor([1.0]))
    for use in (bool, int, float, complex, lambda t: 1.0 in t, lambda t: [0, 1][t],
                lambda t: t.item(), lambda t: t.tolist(), lambda t: t.numpy(),
                lambda t: torch.equal(t, t), lambda t: t.nonzero(), lambda t: t.is_nonzero(),
                lambda t: f"{t:.2f}", lambda t: torch.allclose(t, t)):  # fmt: skip
        with pytest.raises(PrivateValueError, match=r"get\(\)"):
            use(x)
    with pytest.raises(PrivateValueError):
        assert x > 0


def test_what_lies_between_minus_one_and_one_is_not_a_bit(group):
    signs = torch.sign(group.share(torch.tensor([-2.0, 0.0, 3.0])))
    with pytest.raises(UnsupportedOperation, match="0 and 1"):
        torch.logical_not(signs)
    with pytest.raises(UnsupportedOperation):
        torch.where(signs, 10.0, 1.0)
    close(torch.sign(group.share(torch.tensor([-2.0, 3.0]))).any(), torch.tensor(1.0))
    close(torch.sign(group.share(torch.tensor([-2.0, -3.0]))).all(), torch.tensor(1.0))
    declared = group.share(torch.tensor([0, 1])).bounded(1)
    with pytest.raises(UnsupportedOperation, match="0 and 1"):
        torch.logical_not(declared)


def test_what_is_made_of_bits_is_bits(group):
    positive = group.share(torch.tensor([-2.0, 0.0, 3.0])) > 0
    turned = torch.cat([positive[1:], ~positive.view(3, 1).view(3)[:1]])
    close(turned & positive.flip(0)[0], torch.tensor([0.0, 1.0, 1.0]))


def test_bool_asks_whether_a_value_is_zero(group):
    close(group.share(torch.tensor([1, -2, 0])).bool(), torch.tensor([1.0, 1.0, 0.0]))


def test_public_numbers_beyond_the_ring_are_refused(group):
    x = group.share(torch.tensor([1.0]))
    for operation in (lambda: x + 1e17, lambda: x - 1e16, lambda: 1e17 - x, lambda: x > 1e17):
        with pytest.raises(EncodingError, match="too large"):
            operation()
