"""Networks as other systems get them compute what the modules do."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.peers import portable
from bench.peers.folding import portable as folded
from bench.subjects import settle_statistics
from tacita import zoo

SIDES = {"mlp": 28, "lenet": 28, "resnet20": 32, "resnet18_32": 32, "resnet18": 64, "resnet50": 64}


def evaluated(network):
    """The steps, in torch."""
    weights = {name: torch.from_numpy(array) for name, array in network.weights.items()}
    values = {"x": torch.from_numpy(network.images)}
    for step in network.steps:
        held = [weights.get(step.get(name)) for name in ("weight", "bias")]
        values[step["out"]] = computed(step, values, *held)
    return values[network.output]


def computed(step, values, weight, bias):
    x = values[step["x"]]
    match step["kind"]:
        case "convolution":
            return F.conv2d(x, weight, bias, step["stride"], step["padding"])
        case "linear":
            return F.linear(x, weight, bias)
        case "relu":
            return F.relu(x)
        case "max_pool":
            return F.max_pool2d(x, step["kernel"], step["stride"], step["padding"])
        case "mean":
            return x.mean((2, 3), keepdim=True)
        case "add":
            return x + values[step["y"]]
        case "flatten":
            return x.flatten(1)
        case "subsample":
            return x[:, :, ::2, ::2]
        case "channels":
            return F.pad(x, (0, 0, 0, 0, step["before"], step["after"]))
    raise NotImplementedError(step["kind"])


@pytest.mark.parametrize("name", zoo.names())
def test_steps_compute_what_the_module_computes(name, tmp_path):
    torch.manual_seed(1)
    module = zoo.network(name).double()  # where the rounding of sums is far below the bound
    images = torch.randn(4, zoo.input_shape(name)[0], SIDES[name], SIDES[name]).double()
    settle_statistics(module, images.repeat(3, 1, 1, 1))
    with torch.no_grad():
        expected = module.eval()(images)
    path = tmp_path / "network.npz"
    portable.write(path, folded(module, images))
    read = portable.read(path)
    assert np.array_equal(read.expected, expected.numpy())
    # Folding rounds in another order. A layer's sum of at most 4,608 products is off by at most
    # 4,608·2^-53 of their sizes, which is 2^-40; 2^-30 lets the layers amplify that a thousandfold,
    # and a single rounding to float32 would exceed it.
    assert float((evaluated(read) - expected).abs().max()) < 2.0**-30 * float(expected.abs().max())


def test_what_has_no_step_is_refused():
    module = nn.Sequential(nn.Linear(4, 4), nn.GELU())
    with pytest.raises(NotImplementedError, match="has no step"):
        folded(module, torch.zeros(1, 4))


def test_agreement_counts_rows_and_takes_the_largest_difference():
    expected = np.array([[1.0, 2.0], [3.0, 0.0]])
    scores = np.array([[1.5, 2.0], [1.0, 1.25]])
    assert portable.agreement(scores, expected) == {
        "largest_difference": 2.0,
        "equal_argmax": 0.5,
    }
