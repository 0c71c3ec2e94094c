"""The zoo's networks are those of the papers, by every number that the papers give."""

import pytest
import torch
from torch import nn

from tacita import zoo
from tacita.errors import UsageError
from tacita.zoo.resnet import Subsample

SIZES = {
    # name: parameters, multiply-adds of one image, scores
    "mlp": (784 * 500 + 500 + 500 * 10 + 10, 784 * 500 + 500 * 10, 10),
    "lenet": (431_080, 2_293_000, 10),
    "resnet20": (269_722, 40_551_040, 10),
    "resnet18_32": (11_173_962, 555_422_720, 10),
    "resnet18": (11_689_512, 1_814_073_344, 1000),
    "resnet50": (25_557_032, 4_089_184_256, 1000),
}
"""As their docstrings say; the roundings that the papers print are compared below."""


def parameters(network):
    return sum(each.numel() for each in network.parameters())


def multiply_adds(network, shape):
    """Counted in convolutions and linear layers while an input without values passes."""
    counts = []

    def count(layer, _, output):
        # Each output value is a sum over what one filter, or one row of the matrix, weighs.
        counts.append(output.numel() * layer.weight[0].numel())

    network = network.to("meta").eval()
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    network(torch.empty(1, *shape, device="meta"))
    return sum(counts)


def test_the_names_are_all_there_in_ascending_order_of_work():
    assert set(zoo.names()) == set(SIZES)
    assert sorted(SIZES, key=lambda name: SIZES[name][1]) == list(zoo.names())


@pytest.mark.parametrize("ask", [zoo.network, zoo.input_shape])
def test_an_unknown_name_is_answered_with_those_there_are(ask):
    with pytest.raises(UsageError, match=r"'vgg'; there are mlp, lenet, .*resnet50"):
        ask("vgg")


@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_multiply_adds(name):
    count, work, _ = SIZES[name]
    network = zoo.network(name)
    assert parameters(network) == count
    assert multiply_adds(network, zoo.input_shape(name)) == work


@pytest.mark.parametrize(
    ("name", "millions", "billions"),
    [
        ("resnet20", "0.27", "0.04"),  # He et al., table 6; 41 million by Idelbayev
        ("resnet18", "11.69", "1.81"),  # torchvision's table of models
        ("resnet50", "25.56", "4.09"),
    ],
)
def test_they_round_to_what_is_published(name, millions, billions):
    network = zoo.network(name)
    assert f"{parameters(network) / 1e6:.2f}" == millions
    assert f"{multiply_adds(network, zoo.input_shape(name)) / 1e9:.2f}" == billions


@pytest.mark.parametrize("name", SIZES)
def test_scores_have_a_row_for_each_image(name):
    network = zoo.network(name).to("meta").eval()
    images = torch.empty(3, *zoo.input_shape(name), device="meta")
    assert network(images).shape == (3, SIZES[name][2])


@pytest.mark.parametrize("name", SIZES)
def test_what_is_exported_computes_the_same(name):
    torch.manual_seed(1)
    network = zoo.network(name).eval()
    images = torch.rand(1, *zoo.input_shape(name))
    exported = torch.export.export(network, (images,))
    with torch.no_grad():
        # The same kernels in the same order: to the bit.
        assert torch.equal(exported.module()(images), network(images))


# The two large ones are made of the same parts as resnet18_32 and take some times as long.
@pytest.mark.parametrize("name", [name for name in SIZES if SIZES[name][1] < 1e9])
def test_an_image_s_scores_do_not_depend_on_its_neighbours(name):
    """In double precision, where the order of sums, which may depend on the batch, hardly shows."""
    torch.manual_seed(2)
    network = zoo.network(name).double().eval()
    images = torch.rand(3, *zoo.input_shape(name), dtype=torch.float64)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def names_in_torchvision(block_names, depths, expansion):
    """The names that a checkpoint of torchvision has, written down after its documentation."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", "fc.weight", "fc.bias"} | {f"bn1.{each}" for each in norm}
    for stage, depth in enumerate(depths, start=1):
        for place in range(depth):
            block = f"layer{stage}.{place}"
            for number in range(1, block_names + 1):
                names.add(f"{block}.conv{number}.weight")
                names |= {f"{block}.bn{number}.{each}" for each in norm}
            if place == 0 and (stage > 1 or expansion > 1):
                names.add(f"{block}.downsample.0.weight")
                names |= {f"{block}.downsample.1.{each}" for each in norm}
    return names


class TestNamesOfCheckpoints:
    def test_resnet18_has_those_of_torchvision(self):
        state = zoo.network("resnet18").state_dict()
        assert set(state) == names_in_torchvision(2, (2, 2, 2, 2), expansion=1)
        assert state["conv1.weight"].shape == (64, 3, 7, 7)
        assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
        assert state["fc.weight"].shape == (1000, 512)

    def test_resnet50_has_those_of_torchvision(self):
        state = zoo.network("resnet50").state_dict()
        assert set(state) == names_in_torchvision(3, (3, 4, 6, 3), expansion=4)
        assert state["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
        assert state["layer4.0.conv2.weight"].shape == (512, 512, 3, 3)
        assert state["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
        assert state["fc.weight"].shape == (1000, 2048)

    def test_resnet20_s_shortcuts_have_no_parameters(self):
        state = zoo.network("resnet20").state_dict()
        assert not [name for name in state if "downsample" in name]
        assert state["layer3.2.conv2.weight"].shape == (64, 64, 3, 3)
        assert state["linear.weight"].shape == (10, 64)


def test_a_bottleneck_s_stride_is_that_of_its_3x3_convolution():
    block = zoo.network("resnet50").layer3[0]
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


@pytest.mark.parametrize("side", [4, 5])
def test_a_subsampling_shortcut_takes_every_other_pixel_and_pads_the_channels(side):
    x = torch.arange(2.0 * 4 * side * side).view(2, 4, side, side) + 1
    result = Subsample(4, 8)(x)
    assert result.shape == (2, 8, -(-side // 2), -(-side // 2))
    for row in range(result.shape[2]):
        for column in range(result.shape[3]):
            assert torch.equal(result[:, 2:6, row, column], x[:, :, 2 * row, 2 * column])
    assert result[:, :2].count_nonzero() == result[:, 6:].count_nonzero() == 0


def test_lenet_may_pool_before_its_relu():
    """As papers count its ReLUs; the same function, because both only select or zero."""
    torch.manual_seed(3)
    network = zoo.LeNet().eval()
    images = torch.rand(4, 1, 28, 28)
    with torch.no_grad():
        x = network.conv1(images)
        x = nn.functional.max_pool2d(x, 2).relu()
        x = nn.functional.max_pool2d(network.conv2(x), 2).relu()
        x = network.fc2(network.fc1(x.flatten(1)).relu())
        assert torch.equal(x, network(images))


def test_the_perceptron_takes_flat_images_as_well():
    network = zoo.MLP().eval()
    images = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(network(images), network(images.view(2, 784)))


def test_two_networks_of_one_name_share_nothing():
    first, second = (dict(zoo.network("resnet20").named_parameters()) for _ in range(2))
    assert all(first[name].data_ptr() != second[name].data_ptr() for name in first)
    assert not torch.equal(first["conv1.weight"], second["conv1.weight"])
