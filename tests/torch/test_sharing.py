from __future__ import annotations

import weakref

import pytest
import torch
from agreement import close, stored

import tacita
from tacita.errors import BoundExceeded, EncodingError, HoldersError, UsageError
from tacita.ring.fixed_point import Precision


def test_defaults(pair):
    a = torch.tensor([0.123, -0.1239, 5.0])
    x = a.fix_precision().share(*pair.holders, crypto_provider=pair.dealer)
    assert x.precision == Precision(10, 3)
    close(x, torch.tensor([0.123, -0.124, 5.0]).double())
    y = a.fix_prec(precision_fractional=2).share(*pair.holders)
    assert y.precision == Precision(10, 2)
    close(y, torch.tensor([0.12, -0.12, 5.0]).double())
    z = a.fix_precision(base=2, precision_fractional=12).share(*pair.holders)
    assert z.precision == Precision(2, 12)
    close(z, stored(a, Precision(2, 12)))
    w = a.fix_precision(Precision(2, 8)).share(*pair.holders)
    assert w.precision == Precision(2, 8)


def test_workers_in_a_list(pair):
    x = torch.tensor([1]).share(pair.holders, crypto_provider=pair.dealer)
    assert x.holders == ("alice", "bob")


def test_round_trips(pair):
    a = torch.tensor([1.5, -2.25])
    x = a.fix_precision().share(*pair.holders)
    back = x.get().float_precision()
    assert type(back) is torch.Tensor
    assert back.dtype is torch.float32
    assert torch.equal(back, a)
    assert torch.equal(x.get().float_prec(), a)
    assert torch.equal(torch.tensor([1, -2]).share(*pair.holders).get(), torch.tensor([1, -2]))
    assert torch.equal(torch.tensor([True]).share(*pair.holders).get(), torch.tensor([1]))


def test_in_place_forms(pair):
    x = torch.tensor([1.5, -2.25])
    same = x
    assert x.fix_precision_() is x
    assert isinstance(same, tacita.FixedPrecisionTensor)
    assert x.share_(*pair.holders, crypto_provider=pair.dealer) is x
    assert isinstance(same, tacita.PrivateTensor)
    close(x * x, torch.tensor([2.25, 5.0625]).double())
    assert x.get_() is x
    assert isinstance(x, tacita.FixedPrecisionTensor)
    assert x.float_precision_() is x
    assert type(same) is torch.Tensor
    assert same.tolist() == [1.5, -2.25]
    n = torch.tensor([3])
    n.share_(*pair.holders)
    n.get_()
    assert n.tolist() == [3]


def test_in_place_forms_of_what_something_holds(pair):
    x = torch.ones(2)
    held = weakref.ref(x)
    with pytest.raises(UsageError, match="without the underscore"):
        x.fix_prec_()
    assert type(held()) is torch.Tensor
    z = torch.ones(2).fix_precision()
    view = z[0]
    with pytest.raises(UsageError, match="views"):
        z.share_(*pair.holders)
    assert view.item() == 1.0


def test_encrypt_and_decrypt(pair):
    a = torch.tensor([1.5, -2.25])
    x = a.encrypt(workers=pair.holders, crypto_provider=pair.dealer)
    assert torch.equal(x.decrypt(), a)
    y = a.encrypt(
        protocol="tables", workers=pair.holders, crypto_provider=pair.dealer,
        precision_fractional=12, base=2, requires_grad=True,
    )  # fmt: skip
    assert y.precision == Precision(2, 12)
    assert y.requires_grad
    close(y.detach() * 2, a * 2, 0, Precision(2, 12))
    b = a.clone()
    b.encrypt(workers=pair.holders, inplace=True)
    assert isinstance(b, tacita.PrivateTensor)
    with pytest.raises(HoldersError, match="workers="):
        a.encrypt()


def test_floats_are_encoded_first(pair):
    with pytest.raises(EncodingError, match="fix_precision"):
        torch.ones(2).share(*pair.holders)


def test_holders(workers):
    alice, bob, dan = workers["alice"], workers["bob"], workers["dan"]
    one = torch.tensor([1])
    for holders, dealer in [
        ((), None), ((alice,), None), ((alice, alice), None), ((alice, bob), alice),
        ((alice, "bob"), None), ((alice, bob, alice), dan),
    ]:  # fmt: skip
        with pytest.raises(HoldersError):
            one.share(*holders, crypto_provider=dealer)
        with pytest.raises(HoldersError):
            one.fix_precision().share(*holders, crypto_provider=dealer)


def test_unknown_choices(pair):
    one = torch.tensor([1])
    with pytest.raises(UsageError, match="tables"):
        one.share(*pair.holders, protocol="mpc")
    with pytest.raises(UsageError, match="tables"):
        one.fix_precision().share(*pair.holders, protocol="gmw")
    with pytest.raises(UsageError, match="'long'"):
        one.share(*pair.holders, dtype="float")
    with pytest.raises(UsageError, match="'long'"):
        one.fix_precision(dtype="float")


def test_dtypes_of_shares(pair):
    n = torch.tensor([2**31 - 1, -(2**31)])
    short = n.share(*pair.holders, dtype="int")
    assert short._handle.wire.bound == 2**31
    assert n.share(*pair.holders, dtype="long")._handle.wire.bound is None
    assert torch.equal(short.get(), n)
    with pytest.raises(BoundExceeded):
        torch.tensor([2**31 + 1]).share(*pair.holders, dtype="int")
    with pytest.raises(BoundExceeded):
        torch.tensor([2.0**31]).fix_precision(dtype="int")
    fixed = torch.tensor([2.0**20]).fix_precision(dtype="int").share(*pair.holders)
    assert fixed._handle.wire.bound == 2**31


def test_bounds_are_verified_and_passed_on(pair):
    a = torch.tensor([1.0, -3.0])
    assert a.fix_precision().share(*pair.holders, bound=3)._handle.wire.bound == 3000
    assert a.fix_precision().bounded(3.5).share(*pair.holders)._handle.wire.bound == 3500
    with pytest.raises(BoundExceeded, match=r"\(1,\)") as error:
        a.fix_precision().share(*pair.holders, bound=2.5)
    assert "3.0" not in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_what_has_no_ring_form_never_leaves(pair, value):
    with pytest.raises(EncodingError):
        torch.tensor([1.0, value]).fix_precision()
    with pytest.raises(EncodingError):
        torch.tensor([1.0, value]).encrypt(workers=pair.holders)


def test_shapes(group):
    for shape in [(), (0,), (1,), (3, 0, 2), (2, 3, 4, 5)]:
        a = torch.randn(shape)
        close(group.share(a), stored(a))
    a = torch.randn(4, 5).t()[1::2]
    close(group.share(a), stored(a))
