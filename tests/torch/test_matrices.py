from __future__ import annotations

import pytest
import torch
from agreement import close, stored
from torch.nn import functional as F

from tacita.errors import ShapeError

SHAPES = [
    ((3, 4), (4, 5)), ((1, 784), (784, 3)), ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 2)),
    ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 3)),
    ((2, 3, 4), (4,)), ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((1, 1), (1, 1)), ((17, 9), (9, 33)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES)
def test_matmul(group, shapes):
    a, b = (torch.randn(shape) for shape in shapes)
    expected = stored(a) @ stored(b)
    close(group.share(a) @ group.share(b), expected)
    close(a @ group.share(b), expected)
    close(group.share(a) @ b, expected)
    close(torch.matmul(group.share(a), group.share(b)), expected)


def test_what_torch_calls_by_name(group):
    a, b, c = torch.randn(3, 4), torch.randn(4, 5), torch.randn(3, 5)
    u, v = torch.randn(4), torch.randn(3)
    ba, bb, bc = torch.randn(2, 3, 4), torch.randn(2, 4, 5), torch.randn(2, 3, 5)
    p = {id(t): group.share(t) for t in (a, b, c, u, v, ba, bb, bc)}
    for operation, tensors in [
        (torch.mm, (a, b)), (torch.bmm, (ba, bb)), (torch.mv, (a, u)), (torch.dot, (u, u)),
        (torch.addmm, (c, a, b)), (torch.baddbmm, (bc, ba, bb)), (torch.addmv, (v, a, u)),
        (F.linear, (a, b.t(), c[0])), (F.linear, (ba, b.t())), (torch.outer, (u, v)),
        (lambda x, y: torch.einsum("ij,jk->ik", x, y), (a, b)),
        (lambda x, y: torch.einsum("bij,bjk->bik", x, y), (ba, bb)),
        (lambda x, y, z: torch.addmm(x, y, z, beta=0.5, alpha=2), (c, a, b)),
        (lambda x, y, z: torch.addmm(x, y, z, beta=0), (c, a, b)),
        (lambda x, y: torch.tensordot(x, y, dims=([1], [0])), (a, b)),
        (lambda x, y: x.matmul(y), (a, b)), (lambda x, y: x.mm(y), (a, b)),
    ]:  # fmt: skip
        private = [p[id(t)] if id(t) in p else group.share(t) for t in tensors]
        close(operation(*private), operation(*map(stored, tensors)))
        # With the weight in the clear, and with the data in the clear.
        close(operation(private[0], *tensors[1:]), operation(*map(stored, tensors)))
        # A public summand that is scaled by 0.5 is rounded after that, not before.
        close(operation(tensors[0], *private[1:]), operation(*map(stored, tensors)), 1)


def test_views_of_weights(group):
    a, b = torch.randn(6, 4), torch.randn(6, 5)
    x, y, ra, rb = group.share(a), group.share(b), stored(a), stored(b)
    close(x.t() @ y, ra.t() @ rb)
    close(x.flip(0).t() @ y, ra.flip(0).t() @ rb)
    close(x[::2].t() @ y[1::2], ra[::2].t() @ rb[1::2])
    close(x.t().reshape(6, 4).t() @ y, ra.t().reshape(6, 4).t() @ rb)
    close(y.t() @ x.expand(3, 6, 4), rb.t() @ ra.expand(3, 6, 4))


def test_three_layers(group):
    a, weights = torch.randn(2, 5), [torch.randn(5, 5) for _ in range(3)]
    x, expected = group.share(a), stored(a)
    for weight in weights:
        x = x @ group.share(weight)
        expected = expected @ stored(weight)
    # The second and the third product truncate what they are given.
    size = max(float(stored(weight).abs().sum(0).max()) for weight in weights)
    close(x, expected, size + size**2)


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x @ x,
        lambda x: torch.mm(x, x),
        lambda x: torch.bmm(x, x),
        lambda x: torch.dot(x, x),
        lambda x: torch.mv(x, torch.ones(5)),
        lambda x: x @ torch.ones(4, 2),
    ],
)
def test_shapes_that_do_not_fit(group, operation):
    x = group.share(torch.ones(2, 3))
    with pytest.raises((ShapeError, RuntimeError)):
        operation(x)
    close(x @ torch.ones(3, 1), torch.full((2, 1), 3.0))
