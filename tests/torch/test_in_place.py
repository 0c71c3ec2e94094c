from __future__ import annotations

import pytest
import torch
from agreement import close, stored
from torch.nn import functional as F

from tacita.errors import EncodingError, PrecisionError, ShapeError, UsageError

WRITES = [
    lambda x, y: x.add_(y),
    lambda x, y: x.sub_(y),
    lambda x, y: x.mul_(y),
    lambda x, _: x.add_(1.5),
    lambda x, _: x.mul_(-2),
    lambda x, _: x.div_(4),
    lambda x, _: x.relu_(),
    lambda x, _: x.neg_(),
    lambda x, y: x.copy_(y),
    lambda x, _: x.fill_(2.5),
    lambda x, _: x.zero_(),
    lambda x, _: x.abs_(),
    lambda x, _: x.clamp_(-1, 1),
    lambda x, y: x.add_(y, alpha=2),
    lambda x, _: F.relu_(x),
    lambda x, _: F.relu(x, inplace=True),
    lambda x, _: x.square_(),
    lambda x, _: x.sign_(),
    lambda x, _: x.copy_(torch.ones(3)),
    lambda x, _: x.masked_fill_(torch.eye(2, 3) > 0, 1.0),
    lambda x, y: x.addcmul_(x, y),
    lambda x, y: x.lerp_(y, 0.5),
    lambda x, _: x.fill_(torch.tensor(3)),
]


@pytest.mark.parametrize("index", range(len(WRITES)))
def test_like_torch(group, index):
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    x, y, ra, rb = group.share(a), group.share(b), stored(a), stored(b)
    kept = x.clone()
    result = WRITES[index](x, y)
    expected = WRITES[index](ra, rb)
    assert result is x
    close(x, expected)
    close(kept, stored(a))
    close(y, rb)


def test_augmented_assignment(group):
    x = y = group.share(torch.tensor([1.0, -2.0]))
    x += 1
    x -= y * 0
    x *= 3
    x /= 2
    assert x is y
    close(y, torch.tensor([3.0, -1.5]))
    total = 0
    total += group.share(torch.tensor(2.0))
    total += group.share(torch.tensor(3.0))
    close(total, torch.tensor(5.0))


ITEMS = [
    (0, 5.0),
    ((slice(None), 1), torch.tensor([1.0, 2.0])),
    ((0, 2), -1),
    (slice(0, 1), torch.ones(3)),
    (torch.tensor([True, False]), 2),
    ((..., slice(None, None, 2)), torch.zeros(2, 2)),
    (torch.eye(2, 3) > 0, 9.0),
    ([1, 0], torch.arange(6.0).view(2, 3)),
    (slice(0, 0), 1.0),
]


@pytest.mark.parametrize(("index", "value"), ITEMS)
def test_assignment_to_an_index(group, index, value):
    a = torch.randn(2, 3)
    x, ra = group.share(a), stored(a)
    x[index] = value
    ra[index] = value if not isinstance(value, torch.Tensor) else value.double()
    close(x, ra)
    # The same from a private value, of another scale.
    private = group.share(torch.as_tensor(value, dtype=torch.float32))
    x[index] = private * 2
    ra[index] = torch.as_tensor(value).double() * 2
    close(x, ra)
    x *= x
    close(x, ra * ra, 2 * float(ra.abs().max()) + 1)


def test_augmented_assignment_to_an_index(group):
    a = torch.randn(2, 3)
    x, ra = group.share(a), stored(a)
    with pytest.raises(UsageError, match="views"):
        x[0] += 1  # torch takes a view, adds to it, and then assigns: the view would diverge
    close(x, ra)
    x[0] = x[0] + 1
    ra[0] += 1
    close(x, ra)


def test_views_never_diverge(group):
    x = group.share(torch.ones(2, 3))
    makes = [
        lambda: x[0],
        lambda: x.t(),
        lambda: x.view(-1),
        lambda: x.detach(),
        lambda: x.unbind()[0],
        lambda: x.chunk(2)[1],
        lambda: x.expand(2, 2, 3),
    ]
    writes = [
        lambda t: t.add_(1),
        lambda t: t.__setitem__(0, 1.0),
        lambda t: t.zero_(),
        lambda t: t.mul_(2),
    ]
    for make in makes:
        view = make()
        for write in writes:
            with pytest.raises(UsageError, match="clone"):
                write(x)
            with pytest.raises(UsageError, match="clone"):
                write(view)
        del view
    x.add_(1)
    close(x, torch.full((2, 3), 2.0))
    other = x.t().clone()
    other.add_(1)
    close(x, torch.full((2, 3), 2.0))
    close(other, torch.full((3, 2), 3.0))


def test_a_view_is_a_view_though_its_source_has_no_name(group):
    view = group.share(torch.ones(2, 3)).t()
    with pytest.raises(UsageError, match="clone"):
        view.add_(1)
    view = view.clone()
    view.add_(1)
    close(view, torch.full((3, 2), 2.0))


def test_shapes_in_place(group):
    a = torch.randn(1, 2, 3)
    x, ra = group.share(a), stored(a)
    for write in (lambda t: t.squeeze_(0), lambda t: t.t_(), lambda t: t.unsqueeze_(1),
                  lambda t: t.transpose_(0, 2)):  # fmt: skip
        assert write(x) is x
        write(ra)
        close(x, ra)
        close(x * 2, ra * 2)


def test_what_does_not_fit(group):
    x, n = group.share(torch.ones(2)), group.share(torch.tensor([1, 2]))
    with pytest.raises(ShapeError):
        x.add_(group.share(torch.ones(3, 2)))
    with pytest.raises(PrecisionError):
        n.add_(x)
    with pytest.raises(PrecisionError):
        n.add_(0.5)
    with pytest.raises(EncodingError):
        x.fill_(float("nan"))
    with pytest.raises(ShapeError, match="out of bounds"):
        x[5] = 1
    with pytest.raises(ShapeError):
        x[0] = torch.ones(3)
    for write in (lambda t: t.add_(x), lambda t: t.copy_(x), lambda t: t.mul_(x)):
        plain = torch.ones(2)
        with pytest.raises(UsageError, match="plain tensor"):
            write(plain)
        assert torch.equal(plain, torch.ones(2))
    close(x, torch.ones(2))
    assert torch.equal(n.get(), torch.tensor([1, 2]))


def test_data_takes_a_tensor_of_its_kind_only(group):
    x, y = group.share(torch.tensor([1.0, 2.0])), group.share(torch.tensor([3.0, 4.0]))
    z = x + 0
    z.data = y
    close(z, torch.tensor([3.0, 4.0]))
    with pytest.raises(UsageError, match="share the new values first"):
        z.data = torch.zeros(2)
