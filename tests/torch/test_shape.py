from __future__ import annotations

import pytest
import torch
from agreement import PRECISION, close, stored
from torch.nn import functional as F

from tacita.errors import EncodingError, PrecisionError, ShapeError, UnsupportedOperation

CALLS = [
    lambda x: x.view(-1),
    lambda x: x.view(4, 6),
    lambda x: x.reshape(-1, 2),
    lambda x: x.flatten(1),
    lambda x: x.transpose(0, 2),
    lambda x: x.permute(2, 0, 1),
    lambda x: x.unsqueeze(1),
    lambda x: x.unsqueeze(-1).squeeze(),
    lambda x: x[0],
    lambda x: x[-1, :, 2],
    lambda x: x[:, 1:],
    lambda x: x[..., ::2],
    lambda x: x[None],
    lambda x: x[..., None, :],
    lambda x: x.select(2, -1),
    lambda x: x.narrow(1, 1, 2),
    lambda x: x.flip(0),
    lambda x: x.flip((0, 2)),
    lambda x: x.roll(1),
    lambda x: x.roll((1, -2), (0, 2)),
    lambda x: x.expand(5, 2, 3, 4),
    lambda x: x.repeat(2, 1, 3),
    lambda x: x.tile(2),
    lambda x: x[[1, 0, 1]],
    lambda x: x[torch.tensor([0, 1]), [2, 0]],
    lambda x: x[:, torch.tensor([True, False, True])],
    lambda x: x.index_select(2, torch.tensor([3, 0])),
    lambda x: x.diagonal(0, 1, 2),
    lambda x: x.gather(0, torch.zeros(1, 3, 4, dtype=torch.long)),
    lambda x: x.tril(),
    lambda x: x.triu(1),
    lambda x: F.pad(x, (1, 2)),
    lambda x: F.pad(x, (0, 1, 2, 0), value=0.5),
    lambda x: x.swapaxes(0, 1),
    lambda x: x.movedim(0, -1),
    lambda x: x.mT,
    lambda x: x.ravel(),
    lambda x: x.unfold(2, 2, 1),
    lambda x: x.rot90(1, (0, 1)),
    lambda x: torch.take(x, torch.tensor([0, 5])),
    lambda x: torch.stack([x, x + 1]),
    lambda x: torch.stack([x, x * x], dim=-1),
    lambda x: torch.cat([x, x[:1]]),
    lambda x: torch.cat([x, x * x, x / 3], dim=1),
    lambda x: torch.stack([x, torch.ones(2, 3, 4)]),
    lambda x: torch.cat([torch.zeros(1, 3, 4), x]),
    lambda x: torch.hstack([x, x]),
    lambda x: torch.vstack([x, x]),
    lambda x: x.clone(),
    lambda x: x.detach(),
    lambda x: x.contiguous(),
    lambda x: x.float(),
    lambda x: x.to("cpu"),
    lambda x: torch.zeros_like(x),
    lambda x: torch.ones_like(x),
    lambda x: torch.full_like(x, 0.25),
    lambda x: x.new_ones(2),
    lambda x: x.repeat_interleave(2, 0),
    lambda x: x.view_as(x.flatten()),
    lambda x: torch.broadcast_to(x, (2, 2, 3, 4)),
    lambda x: x[1:1],
    lambda x: x[:0].reshape(0, 12),
    lambda x: x.expand_as(x.new_zeros(2, 2, 3, 4)),
    lambda x: x[0].T,
    lambda x: x[0, 0, 0],
    lambda x: torch.cat([x.new_zeros(0), x.flatten()]),
    lambda x: x.data,
    lambda x: x.squeeze(0),
]


def rounding(moved, expected):
    """Units that the square of a tensor is off by, if it has to be truncated first."""
    if moved._handle.wire.scale <= PRECISION.scale or not expected.numel():
        return 0
    return 2 * float(expected.abs().max()) + 1 / PRECISION.scale


@pytest.mark.parametrize("index", range(len(CALLS)))
def test_like_torch(group, index):
    a = torch.randn(2, 3, 4)
    x, ra, call = group.share(a), stored(a), CALLS[index]
    close(call(x), call(ra))
    # A view serves products and comparisons as well as its source does.
    moved, expected = call(x), call(ra)
    close(moved * moved, expected * expected, rounding(moved, expected))
    close(moved > 0, (expected > 0).double())


@pytest.mark.parametrize("index", range(len(CALLS)))
def test_masks_carry_over(group, index):
    a = torch.randn(2, 3, 4)
    x, ra, call = group.share(a), stored(a), CALLS[index]
    close(x * x, ra * ra)
    moved, expected = call(x), call(ra)
    close(moved * moved, expected * expected, rounding(moved, expected))
    close((moved * 0.5).relu(), (expected * 0.5).relu(), 1)


@pytest.mark.parametrize(
    "parts",
    [
        lambda x: x.chunk(2),
        lambda x: x.chunk(3, dim=1),
        lambda x: x.split(2, dim=2),
        lambda x: x.split([1, 3], dim=2),
        lambda x: x.unbind(),
        lambda x: x.unbind(2),
        lambda x: torch.tensor_split(x, 2, dim=1),
        lambda x: x.chunk(7, dim=2),
        lambda x: list(x),
        lambda x: torch.broadcast_tensors(x, x[0]),
        lambda x: torch.meshgrid(x[0, 0], x[0, 1], indexing="ij"),
    ],
)
def test_parts(group, parts):
    a = torch.randn(2, 3, 4)
    got, expected = parts(group.share(a)), parts(stored(a))
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        close(one, other)


def test_0d(group):
    x = group.share(torch.tensor(2.5))
    close(x.view(1), torch.tensor([2.5]))
    close(x.unsqueeze(0), torch.tensor([2.5]))
    close(x.flatten(), torch.tensor([2.5]))
    close(x.expand(3), torch.full((3,), 2.5))
    close(torch.stack([x, x]), torch.full((2,), 2.5))
    assert len(group.share(torch.zeros(3))) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.view(5),
        lambda x: x.view(-1, 5),
        lambda x: x.expand(3, 4),
        lambda x: x[5],
        lambda x: x.permute(0, 0),
        lambda x: x.transpose(0, 2),
        lambda x: x.narrow(0, 1, 3),
        lambda x: torch.cat([x, x[:, :1]]),
        lambda x: torch.stack([x, x[0]]),
        lambda x: x[:, 9],
        lambda x: x.chunk(0),
        lambda x: x.unsqueeze(4),
    ],
)
def test_what_does_not_fit(group, call):
    x = group.share(torch.ones(2, 3))
    with pytest.raises((ShapeError, IndexError, RuntimeError)):
        call(x)
    close(x + 1, torch.full((2, 3), 2.0))


def test_private_indices_are_refused(group):
    x, i = group.share(torch.ones(3)), group.share(torch.tensor([0]))
    for call in (lambda: x[i], lambda: x.index_select(0, i), lambda: torch.ones(3)[i]):
        with pytest.raises(UnsupportedOperation, match="index"):
            call()


def test_conversions(group):
    x, n = group.share(torch.ones(2)), group.share(torch.tensor([1, 2]))
    assert x.double().dtype is torch.float32
    assert n.int().dtype is torch.int64
    for call in (lambda: x.long(), lambda: n.float(), lambda: x.to("meta")):
        with pytest.raises((UnsupportedOperation, NotImplementedError)):
            call()


def test_public_parts_have_to_be_encodable(group):
    x = group.share(torch.ones(2))
    with pytest.raises(EncodingError):
        torch.stack([x, torch.tensor([1.0, float("nan")])])
    with pytest.raises(PrecisionError):
        torch.stack([group.share(torch.tensor([1, 2])), torch.tensor([0.5, 1.0])])


def test_too_many_indices_are_refused_before_they_are_sent(group, monkeypatch):
    monkeypatch.setattr("tacita.torch.lowering.shape.LARGEST_GATHER", 5)
    x = group.share(torch.ones(6))
    with pytest.raises(ShapeError, match="cat"):
        x.flip(0)
    close(torch.cat([x[3:].flip(0), x[:3].flip(0)]), torch.ones(6))
