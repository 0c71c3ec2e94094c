"""Random small networks: in float, in the clear, among two and three, live and out of a stock."""

import pytest
import torch
import torch.nn.functional as F
from error_bounds import agree_with_module, agree_with_preview
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tacita.runtime.embedded import EmbeddedSession
from tacita.torch.whole.model import SharedModel, export

EXAMPLES = 10


class Drawn(nn.Module):
    """Layers by name, each taking what the one before it made."""

    def __init__(self, steps, channels, size):
        super().__init__()
        self.steps = steps
        self.layers = nn.ModuleList()
        self.flat = False
        self.channels, self.size = channels, size
        for step in steps:
            self.layers.append(self._layer(step))

    def _layer(self, step):
        kind, width = step
        channels = self.channels
        if kind == "conv":
            self.channels = width
            return nn.Conv2d(channels, width, 3, padding=1, bias=width % 2 == 0)
        if kind == "strided":
            self.channels, self.size = width, (self.size + 1) // 2
            return nn.Conv2d(channels, width, 3, stride=2, padding=1)
        if kind == "norm":
            return normal(nn.BatchNorm2d(channels))
        if kind in ("max", "average"):
            if self.size < 2:
                return nn.Identity()
            self.size //= 2
            return nn.MaxPool2d(2) if kind == "max" else nn.AvgPool2d(2)
        if kind == "double":
            self.channels = 2 * channels
        return nn.ReLU() if kind == "relu" else nn.Identity()

    def forward(self, x):
        for (kind, _), layer in zip(self.steps, self.layers, strict=True):
            if kind == "residual":
                x = x + torch.relu(x)
            elif kind == "double":
                x = torch.cat([x, -x], 1)
            else:
                x = layer(x)
        return x


def normal(norm):
    with torch.no_grad():
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 2.0)
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(-0.5, 0.5)
    return norm


IMAGES = ("conv", "strided", "norm", "relu", "max", "average", "residual", "double")


@st.composite
def image_networks(draw):
    """A module and its input: some layers over small images, flattened into scores."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    channels, size, batch = (
        draw(st.integers(1, 3)),
        draw(st.integers(2, 6)),
        draw(st.integers(1, 3)),
    )
    step = st.tuples(st.sampled_from(IMAGES), st.integers(1, 3))
    body = Drawn(draw(st.lists(step, min_size=1, max_size=5)), channels, size)
    head = nn.Linear(body.channels * body.size**2, draw(st.integers(1, 3)))
    module = nn.Sequential(body, nn.Flatten(), head).eval()
    return module, torch.randn(batch, channels, size, size)


class Rows(nn.Module):
    """Linear layers with what goes around them."""

    def __init__(self, steps, width):
        super().__init__()
        self.steps = steps
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in steps)
        self.norms = nn.ModuleList(normal(nn.BatchNorm1d(width)) for _ in steps)

    def forward(self, x):
        for kind, layer, norm in zip(self.steps, self.layers, self.norms, strict=True):
            x = {
                "linear": lambda x, layer=layer: layer(x),
                "normed": lambda x, layer=layer, norm=norm: norm(layer(x)),
                "norm": lambda x, norm=norm: norm(x),
                "relu": F.relu,
                "residual": lambda x, layer=layer: x + F.relu(layer(x)),
                "gated": lambda x, layer=layer: x * layer(x),
                "joined": lambda x, layer=layer: torch.cat([x[:, 1:], layer(x)[:, :1]], 1),
                "largest": lambda x: x - x.amax(1, keepdim=True),
                "mean": lambda x: x - x.mean(0, keepdim=True),
                "scaled": lambda x: x * 0.5 + x.flip(1),
            }[kind](x)
        return x


KINDS = (
    "linear", "normed", "norm", "relu", "residual", "gated", "joined", "largest", "mean", "scaled"
)  # fmt: skip


@st.composite
def row_networks(draw):
    torch.manual_seed(draw(st.integers(0, 2**31)))
    width, batch = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    steps = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    return Rows(steps, width).eval(), torch.randn(batch, width)


@pytest.fixture(scope="module")
def sessions():
    opened = [
        EmbeddedSession(names, "dealer", limit=20.0) for names in (["a", "b"], ["a", "b", "c"])
    ]
    yield opened
    for session in opened:
        session.close()


def check(sessions, module, x, options):
    model = export(module, x, **options)
    agree_with_module(model, model.preview(x), module, x)
    for session in sessions:
        shared = SharedModel(model, session)
        agree_with_preview(model, shared(x), x)
        shared.deal(1)
        agree_with_preview(model, shared(x), x)
        assert shared.stock == 0


def options(x):
    """How a network's owner may say how large values get."""
    return st.sampled_from([{}, {"samples": x}, {"largest": 8.0}, {"public_weights": True}])


@settings(max_examples=EXAMPLES, derandomize=True, database=None)
@given(data=st.data())
def test_networks_of_rows(sessions, data):
    module, x = data.draw(row_networks())
    check(sessions, module, x, data.draw(options(x)))


@settings(max_examples=EXAMPLES, derandomize=True, database=None)
@given(data=st.data())
def test_networks_of_images(sessions, data):
    module, x = data.draw(image_networks())
    check(sessions, module, x, data.draw(options(x)))
