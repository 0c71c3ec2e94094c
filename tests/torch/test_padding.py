from __future__ import annotations

import pytest
import torch
from agreement import PRECISION, close, stored
from torch import nn
from torch.nn import functional as F

import tacita
from tacita.errors import ShapeError

CALLS = [
    lambda x: F.pad(x, (1, 2)),
    lambda x: F.pad(x, (1, 0, 2, 3, 0, 1)),
    lambda x: F.pad(x, (-1, 2, 1, -2)),
    lambda x: F.pad(x, (-2, -2)),
    lambda x: F.pad(x, (0, 0)),
    lambda x: F.pad(x, (1, 2), value=0.5),
    lambda x: F.pad(x, (1, -1, 0, 2), value=-3.0),
    lambda x: F.pad(x, (1, 2, 0, 3), mode="reflect"),
    lambda x: (
        F.pad(x, (2, 1), mode="reflect") if x.ndim == 3 else F.pad(x, (2, 1, 1, 1), "reflect")
    ),
    lambda x: F.pad(x, (1, 2, 0, 3), mode="replicate"),
    lambda x: F.pad(x[0], (1, 2), mode="replicate"),
    nn.ZeroPad2d(2),
    nn.ReflectionPad2d((1, 0, 2, 1)),
    nn.ReplicationPad2d(1),
    lambda x: F.interpolate(x, scale_factor=2),
    lambda x: F.interpolate(x, size=(3, 9)),
    lambda x: F.interpolate(x, scale_factor=(1.5, 0.7)),
    lambda x: F.interpolate(x, size=(7, 3), mode="nearest-exact"),
    lambda x: F.interpolate(x[0], scale_factor=2),
    lambda x: F.interpolate(x[0], size=7, mode="nearest-exact"),
    lambda x: F.channel_shuffle(x, 2),
    lambda x: F.channel_shuffle(x[..., 0], 4),
    lambda x: F.pixel_shuffle(x, 2),
    lambda x: F.pixel_shuffle(x[0], 2),
    lambda x: F.pixel_unshuffle(x[:, :, :, :4], 2),
    lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
]


@pytest.mark.parametrize("index", range(len(CALLS)))
def test_like_torch(group, index):
    a, call = torch.randn(2, 4, 4, 5), CALLS[index]
    x, ra = group.share(a), stored(a)
    close(call(x), call(ra))
    with torch.inference_mode():
        close(call(group.share(a)), call(ra))
    # What is moved serves products and comparisons, with the mask of its source or its own.
    moved, expected = call(x), call(ra)
    close(moved * moved, expected * expected)
    close(moved > 0, (expected > 0).double())
    close((moved * moved).relu(), expected * expected, 1)
    close(call(x * x), call(ra * ra), 1 / PRECISION.scale)
    # A mask that is there already.
    close(call(x) * 2 * x.sum(), expected * 2 * ra.sum(), 1e-6)


def test_circular_padding_where_torch_leaves_it_whole(group):
    # As exported programs have it; elsewhere torch writes it into slices of an empty tensor.
    a = torch.randn(2, 3, 4, 5)
    with torch.inference_mode():
        got = F.pad(group.share(a), (1, 2, 3, 0), mode="circular")
    close(got, F.pad(stored(a), (1, 2, 3, 0), mode="circular"))


def test_padding_opens_nothing_more(pair):
    x = pair.share(torch.randn(1, 2, 4, 4))
    with tacita.measure(*pair.holders, crypto_provider=pair.dealer) as traffic:
        wide = F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2)
        wide * wide
    assert (traffic.rounds, traffic.online_bytes) == (1, 8 * 2 * 4 * 4)


def test_of_nothing(group):
    x = group.share(torch.zeros(0, 2, 3))
    close(F.pad(x, (1, 1)), torch.zeros(0, 2, 5))
    close(F.pad(x, (0, 0, 0, 0, 1, 0)), torch.zeros(1, 2, 3))
    close(F.pad(x, (0, 0, 0, 0, 1, 0), value=2.0) * 2, torch.full((1, 2, 3), 4.0))


def test_integers(group):
    a = torch.randint(-9, 9, (2, 3))
    assert torch.equal(F.pad(group.share(a), (1, 1), value=5).get(), F.pad(a, (1, 1), value=5))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.pad(x, (-3, -3)),
        lambda x: F.pad(x, (9, 9, 9, 9), mode="reflect"),
        lambda x: F.channel_shuffle(x, 3),
        lambda x: F.pixel_shuffle(x, 3),
        lambda x: F.pixel_unshuffle(x, 3),
    ],
)
def test_sizes_that_do_not_fit(group, call):
    with pytest.raises((ShapeError, RuntimeError)):
        call(group.share(torch.ones(1, 4, 4, 5)))
