from __future__ import annotations

import pytest
import torch
from agreement import close, stored

from tacita.errors import ShapeError

SHAPES = [(1,), (2,), (3,), (10,), (11,), (17,), (64,), (3, 4), (5, 11), (2, 3, 4), (50, 10)]


def distinct(shape):
    """No ties, since torch leaves open which index it reports then."""
    n = torch.Size(shape).numel()
    return (torch.randperm(n) - n // 2).view(shape) / 8


@pytest.mark.parametrize("shape", SHAPES)
def test_over_everything(group, shape):
    a = distinct(shape)
    x, ra = group.share(a), stored(a)
    for name in ("max", "min", "argmax", "argmin", "amax", "amin"):
        close(getattr(x, name)(), getattr(ra, name)())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("keepdim", [False, True])
def test_along_a_dimension(group, shape, keepdim):
    a = distinct(shape)
    x, ra = group.share(a), stored(a)
    for dim in {0, -1, len(shape) // 2}:
        for name in ("max", "min"):
            values, indices = getattr(x, name)(dim, keepdim=keepdim)
            expected = getattr(ra, name)(dim, keepdim=keepdim)
            close(values, expected.values)
            close(indices, expected.indices)
        for name in ("argmax", "argmin"):
            close(getattr(x, name)(dim=dim, keepdim=keepdim),
                  getattr(ra, name)(dim=dim, keepdim=keepdim))  # fmt: skip
        close(x.amax(dim, keepdim), ra.amax(dim, keepdim))


def test_ties_go_to_the_first(group):
    a = torch.tensor([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0], [0.0, -1.0, 0.0, -1.0]])
    x = group.share(a)
    close(x.argmax(1), torch.tensor([1, 0, 0]))
    close(x.argmin(1), torch.tensor([0, 0, 1]))
    close(x.argmax(), torch.tensor(4))
    wide = torch.zeros(30)
    close(group.share(wide).argmax(), torch.tensor(0))


def test_several_dimensions(group):
    a = distinct((3, 4, 5))
    close(group.share(a).amax((0, 2)), stored(a).amax((0, 2)))
    close(group.share(a).amin((1, 2), keepdim=True), stored(a).amin((1, 2), keepdim=True))


def test_a_single_value(group):
    x = group.share(torch.tensor(-2.5))
    close(x.max(), torch.tensor(-2.5))
    close(x.argmax(), torch.tensor(0))
    close(x.max(0)[1], torch.tensor(0))


def test_after_a_product(group):
    a, b = torch.randn(6, 10), torch.randn(10, 10)
    product = group.share(a) @ group.share(b)
    expected = stored(a) @ stored(b)
    close(product.max(1)[0], expected.max(1)[0])
    close(product.argmax(1), expected.argmax(1))


def test_bounded(group):
    a = torch.rand(4, 12) * 2 - 1
    x = group.share(a, bound=1.0)
    close(x.max(1)[0], stored(a).max(1)[0])
    close(x.max(1)[1], stored(a).max(1)[1])
    assert x.argmax(1)._handle.wire.bound == 11
    edges = torch.tensor([-1.0, 1.0])
    close(group.share(edges, bound=1.0).max(), torch.tensor(1.0))
    close(group.share(edges, bound=1.0).argmin(), torch.tensor(0))


def test_integers(group):
    a = torch.tensor([[5, -7, 2**60], [1, 1, 0]])
    x = group.share(a)
    assert torch.equal(x.max(1)[0].get(), a.max(1)[0])
    assert torch.equal(x.argmin(1).get(), a.argmin(1))
    assert torch.equal(x.max().get(), a.max())


def test_the_classifier_of_a_batch(group):
    a, target = distinct((20, 10)), torch.randint(0, 10, (20,))
    prediction = group.share(a).argmax(dim=1)
    for shared in (group.share(target), group.fixed(target)):
        right = prediction.eq(shared.view_as(prediction)).sum()
        close(right, stored(a).argmax(1).eq(target).sum())


def test_of_nothing(group):
    x = group.share(torch.zeros(0, 3))
    for operation in (lambda: x.max(), lambda: x.argmax(0), lambda: x.min(0)):
        with pytest.raises((ShapeError, IndexError, RuntimeError)):
            operation()
    assert x.max(1)[0].shape == (0,)
    close(x.argmax(1), torch.zeros(0))
