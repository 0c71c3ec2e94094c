"""Small networks for tests."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


class Function(nn.Module):
    """A module made of a function, with tensors or modules beside it.

    Tensors that are no parameters become buffers.
    """

    def __init__(self, forward, **parts):
        super().__init__()
        self._forward = forward
        for name, part in parts.items():
            if isinstance(part, nn.Parameter | nn.Module):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)
        self.eval()

    def forward(self, *inputs):
        return self._forward(self, *inputs)


def mlp(*widths, activation=nn.ReLU):
    """Linear layers with an activation between."""
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1]).eval()
