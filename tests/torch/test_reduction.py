from __future__ import annotations

import pytest
import torch
from agreement import close, stored

from tacita.errors import PrecisionError, ShapeError

CALLS = [
    lambda x: x.sum(), lambda x: x.sum(0), lambda x: x.sum(-1, keepdim=True),
    lambda x: x.sum((0, 2)), lambda x: x.mean(), lambda x: x.mean(1), lambda x: x.mean((1, 2)),
    lambda x: x.mean(0, keepdim=True), lambda x: x.cumsum(0), lambda x: x.cumsum(-1),
    lambda x: x.flatten().cumsum(0), lambda x: x.sum(0).mean(), lambda x: (x * x).mean(),
    lambda x: torch.sum(x, dim=1), lambda x: torch.mean(x, dim=(0,)),
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 1), (5, 7, 1)])
def test_like_torch(group, call, shape):
    a = torch.randn(shape)
    close(call(group.share(a)), call(stored(a)))


def test_no_dimensions_and_no_elements(group):
    close(group.share(torch.tensor(2.5)).sum(), torch.tensor(2.5))
    close(group.share(torch.tensor(2.5)).mean(), torch.tensor(2.5))
    close(group.share(torch.zeros(0)).sum(), torch.tensor(0.0))
    close(group.share(torch.zeros(0, 3)).sum(0), torch.zeros(3))
    close(group.share(torch.zeros(0, 3)).cumsum(0), torch.zeros(0, 3))
    with pytest.raises(ShapeError, match="no elements"):
        group.share(torch.zeros(0)).mean()


def test_integers(group):
    a = torch.tensor([[1, 2], [3, 2**50]])
    assert torch.equal(group.share(a).sum(0).get(), a.sum(0))
    assert torch.equal(group.share(a).cumsum(1).get(), a.cumsum(1))
    with pytest.raises(PrecisionError, match="fix_precision"):
        group.share(a).mean()


def test_bad_dimensions(group):
    x = group.share(torch.ones(2, 3))
    for call in (lambda: x.sum(2), lambda: x.sum((0, 0)), lambda: x.mean(-3)):
        with pytest.raises((ShapeError, IndexError, RuntimeError)):
            call()
