"""Small modules shared among a group, their exact reference, and how far apart the two may be."""

from __future__ import annotations

import copy

import torch
from agreement import PRECISION, stored
from torch import nn


def shared(group, module, precision=PRECISION):
    """A copy of the module in eval mode whose parameters and float buffers are private."""
    private = copy.deepcopy(module).eval()
    for owner in private.modules():
        for held in (owner._parameters, owner._buffers):
            for name, tensor in held.items():
                if tensor is not None and tensor.is_floating_point():
                    made = group.share(tensor.detach(), precision)
                    if isinstance(tensor, nn.Parameter):
                        made = nn.Parameter(made, requires_grad=False)
                    held[name] = made
    return private


def reference(module, precision=PRECISION):
    """A copy in eval mode on the encoded weights, in float64."""
    twin = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        for tensor in (*twin.parameters(), *twin.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(stored(tensor, precision))
    return twin


def gain(module):
    """How much an error of every input may grow: the largest sum of absolute weights."""
    weight = module.weight.detach().abs()
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return float(weight.sum(0).sum(tuple(range(1, weight.ndim - 1))).max())
    return float(weight.flatten(1).sum(1).max())


def drift(*modules, units=0.0):
    """Units that a chain of modules may be off by.

    Convolutions and linear layers are exact on an input that is truncated to the precision first,
    by one unit, unless a ReLU has done that; whatever else there is, ReLU and pooling, is off by no
    more than its input is, and by one unit where it truncates.
    """
    for module in modules:
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            units = units * gain(module)
        units += 1
    return units
