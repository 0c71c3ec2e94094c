from __future__ import annotations

import copy
import pickle

import pytest
import torch
from agreement import close, stored
from torch import nn
from torch.nn import functional as F

import tacita
from tacita.errors import (
    BoundExceeded,
    EncodingError,
    HoldersError,
    PrecisionError,
    PrivateValueError,
    UsageError,
)
from tacita.ring.fixed_point import Precision
from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor


def test_repr_shows_what_is_public(pair):
    x = pair.share(torch.tensor([[1234.5, -98765.25]]))
    assert repr(x) == (
        "PrivateTensor(shape=(1, 2), holders=[alice, bob], crypto_provider=dan, "
        "fixed precision (base 10, 3 digits))"
    )
    assert str(x) == f"{x}" == repr(x)
    n = pair.share(torch.tensor([1234]))
    assert "integers" in repr(n)
    assert "1234" not in repr(n) + repr(x)
    assert "PrivateTensor" in repr(nn.Parameter(x))


def test_no_share_in_its_attributes(pair):
    x = pair.share(torch.tensor([1.0]))
    assert not [v for v in vars(x).values() if hasattr(v, "dtype")]
    with pytest.raises(RuntimeError):
        x.untyped_storage().tolist()


def test_kinds(pair):
    x, n = pair.share(torch.ones(2)), pair.share(torch.tensor([1, 2]))
    assert (x.dtype, n.dtype) == (torch.float32, torch.int64)
    assert (x.precision, n.precision) == (Precision(10, 3), None)
    assert x.holders == ("alice", "bob")
    assert x.crypto_provider == "dan"
    assert isinstance(x.get(), FixedPrecisionTensor)
    assert type(n.get()) is torch.Tensor
    assert (x > 0).get().float_precision().long().sum().item() == 2


def test_copies(group):
    x = group.share(torch.tensor([1.0, 2.0]))
    parameter = nn.Parameter(x, requires_grad=True)
    for other in (x.copy(), x.clone(), copy.copy(x), copy.deepcopy(x), x.refresh()):
        assert type(other) is type(x)
        other += 1
        close(other, torch.tensor([2.0, 3.0]))
        close(x, torch.tensor([1.0, 2.0]))
    twin = copy.deepcopy(parameter)
    assert isinstance(twin, nn.Parameter)
    assert twin.requires_grad
    close(twin, torch.tensor([1.0, 2.0]))
    both = copy.deepcopy([x, x])
    assert both[0] is both[1]


def test_pickling_is_refused(pair, tmp_path):
    x = pair.share(torch.ones(2))
    with pytest.raises(UsageError, match="pickled"):
        pickle.dumps(x)
    with pytest.raises(UsageError, match="pickled"):
        torch.save({"x": x}, tmp_path / "x.pt")


def test_two_groups_do_not_mix(workers):
    alice, bob, carol, dan = (workers[n] for n in ("alice", "bob", "carol", "dan"))
    one = torch.ones(2).fix_precision()
    x = one.share(alice, bob, crypto_provider=dan)
    for other, named in [
        (one.share(alice, carol, crypto_provider=dan), "carol"),
        (one.share(bob, alice, crypto_provider=dan), r"\[bob, alice\]"),
        (one.share(alice, bob, carol, crypto_provider=dan), "carol"),
        (one.share(alice, bob, crypto_provider=carol), "crypto_provider=carol"),
        (one.share(alice, bob), "crypto_provider=None"),
        (one.share(alice, bob, crypto_provider=dan, checked=True), "checked"),
        (one.share(alice, bob, crypto_provider=dan, protocol="fss"), "'fss'"),
        (one.share(alice, bob, crypto_provider=dan, protocol="snn"), "'snn'"),
        (one.share(alice, bob, crypto_provider=dan, protocol="tables"), "'tables'"),
    ]:
        for operation in (lambda: x + other, lambda: torch.stack([x, other]),  # noqa: B023
                          lambda: x @ other, lambda: other > x, lambda: x.copy_(other)):  # noqa: B023  # fmt: skip
            with pytest.raises(HoldersError, match=named):
                operation()
    close(x + x, torch.full((2,), 2.0))


def test_two_precisions_do_not_mix(group):
    x = group.share(torch.ones(2))
    y = group.share(torch.ones(2), Precision(2, 12))
    for operation in (lambda: x + y, lambda: x @ y, lambda: torch.stack([x, y]), lambda: x > y):
        with pytest.raises(PrecisionError, match=r"base 10.*base 2|base 2.*base 10"):
            operation()
    close(x + x, torch.full((2,), 2.0))


def test_what_is_fixed_and_not_shared_does_not_mix(pair):
    x, fixed = pair.share(torch.ones(2)), torch.ones(2).fix_precision()
    for operation in (lambda: x + fixed, lambda: fixed * x):
        with pytest.raises(HoldersError, match="not shared"):
            operation()


def test_fixed_precision_is_a_preview_of_the_private_result(group):
    a, w, b = torch.randn(4, 6), torch.randn(3, 6), torch.randn(3)
    fa, fw, fb = (t.fix_precision() for t in (a, w, b))
    preview = F.relu(F.linear(fa, fw, fb)) @ torch.ones(3, 1)
    assert isinstance(preview, FixedPrecisionTensor)
    private = F.relu(F.linear(group.share(a), group.share(w), group.share(b))) @ torch.ones(3, 1)
    # Three summands, each truncated once, on either side.
    close(private, preview.float_precision(), 3)


def test_fixed_precision_shows_its_values():
    x = torch.tensor([1.2341, -2.0]).fix_precision()
    assert "1.234" in repr(x)
    assert "base 10, 3 digits" in repr(x)
    assert x.tolist() == pytest.approx([1.234, -2.0])
    assert x[0].item() == pytest.approx(1.234)
    assert bool(x[1] < 0)
    assert x.numpy().tolist() == pytest.approx([1.234, -2.0])
    assert f"{x[1]:.1f}" == "-2.0"
    y = torch.tensor([1.0, 1.0]).fix_precision()
    assert (x + y).tolist() == pytest.approx([2.234, -1.0])
    assert torch.equal(y, y.copy())
    with pytest.raises(HoldersError, match="here already"):
        x.get()
    with pytest.raises(PrecisionError):
        x.fix_precision(base=2, precision_fractional=4)
    assert x.fix_precision() is x


def test_after_get(pair):
    x = pair.share(torch.tensor([1.5]))
    y = (x * x).get()
    close(y.share(*pair.holders, crypto_provider=pair.dealer), torch.tensor([2.25]))
    assert (y + y).float_precision().item() == 4.5
    assert x.get().float_precision().long().item() == 1


def test_what_has_been_done_already(pair):
    x = pair.share(torch.ones(2))
    with pytest.raises(HoldersError, match=r"already.*\[alice, bob\]"):
        x.share(*pair.holders)
    with pytest.raises(PrivateValueError, match=r"get\(\)"):
        x.float_precision()
    assert x.fix_precision() is x
    with pytest.raises(UsageError):
        x.fix_precision(precision_fractional=4)
    with pytest.raises(HoldersError):
        x.send(pair.holders[0])


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan")])
def test_impossible_bounds(group, limit):
    with pytest.raises(EncodingError):
        group.share(torch.ones(2)).bounded(limit)


def test_bounds_in_the_clear_are_verified():
    x = torch.tensor([1.0, -3.0]).fix_precision()
    with pytest.raises(BoundExceeded, match=r"1 of 2 values.*\(1,\)"):
        x.bounded(2)
    assert x.bounded(3)._handle.wire.bound == 3000


def test_autograd_above(group):
    a, w = torch.randn(2, 3), torch.randn(4, 3)
    x, weight = group.share(a), nn.Parameter(group.share(w))
    assert weight.requires_grad
    out = F.relu(F.linear(x, weight))
    assert out.requires_grad
    close(out.detach(), F.relu(stored(a) @ stored(w).t()), 1)
    with torch.no_grad():
        assert not F.linear(x, weight).requires_grad


def test_a_tensor_that_wants_gradients(pair):
    x = (
        torch.ones(2)
        .fix_precision()
        .share(*pair.holders, crypto_provider=pair.dealer, requires_grad=True)
    )
    assert x.requires_grad
    assert isinstance(x, tacita.PrivateTensor)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "exp", "rsqrt", "log", "softmax"])
def test_what_functions_compute_beyond_the_precision_is_never_revealed(pair, name):
    """Their last digits depend on masks: a reveal has those of the precision and no others."""
    x = torch.tensor([0.3, 1.7, 2.9])
    for bits in ({"base": 2, "precision_fractional": 16}, {"base": 10, "precision_fractional": 3}):
        private = x.fix_precision(**bits).share(*pair.holders, crypto_provider=pair.dealer)
        out = private.softmax(0) if name == "softmax" else getattr(private, name)()
        revealed = out.get()
        assert revealed._handle.wire.scale == private.precision.scale
