"""What the benchmark of networks measures is what it says."""

import pytest
import torch
from torch import nn

import tacita
from bench import networks
from bench.one_network import Shared, multiply_adds
from bench.subjects import settle_statistics
from tacita import zoo


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(3, 6)


@pytest.fixture
def run(images):
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    with torch.no_grad():
        expected = module(images)
    return Shared(tacita.export(module, images, samples=images), images, expected)


def test_every_run_is_checked_against_the_plaintext(run):
    figure = run.ahead(2)
    run.live()
    assert run.compared == 3 * (1 + 2 + 1)  # images, of a warm-up, two runs and the live one
    # Two layers' sums of 6 and of 5 products, each rounded by 2^-17 in both factors of size below
    # 4, and each truncation by 2^-16: below 30·2^-16, taken fourfold.
    assert 0 < run.largest_difference < 2**-9
    assert figure["stock_bytes_on_disk"] > 0
    assert 0 < figure["online_share_of_whole"] < 1


def test_wrong_scores_are_noticed(run):
    run.check(-run.expected)
    assert run.largest_difference == float((2 * run.expected).abs().max())
    assert run.equal < run.compared


def test_traffic_is_what_was_declared_for_the_program(run, images):
    counted = run.traffic()
    assert counted["seed_bytes"] == 0
    assert counted["dealt_bytes"] > 0
    assert counted["rounds"] > 0
    assert counted["input_bytes_a_party"] >= 8 * images.numel()


def test_multiply_adds_are_those_that_the_zoo_states():
    module = zoo.network("resnet20").eval()
    assert multiply_adds(module, torch.zeros(2, 3, 32, 32)) == 2 * 40_551_040


def test_batch_norm_gets_the_statistics_that_it_meets():
    torch.manual_seed(1)
    module, images = zoo.network("resnet20"), torch.randn(16, 3, 32, 32)
    settle_statistics(module, images)
    with torch.no_grad():
        met = module.conv1(images)
    # Sums of 16,384 float32 values of either order: at worst 16,384·2^-24 of their mean size.
    off = (module.bn1.running_mean - met.mean((0, 2, 3))).abs()
    assert (off <= 16_384 * 2.0**-24 * met.abs().mean((0, 2, 3))).all()
    assert (module.bn1.running_mean != 0).all()


def options(*words):
    return networks.parsed(None).parse_args(words)


def test_configurations_are_the_products_of_networks_and_batches():
    asked = options("--networks", "lenet,resnet50", "--batches", "1,4", "--repeat", "2")
    made = networks.configurations(asked, networks.SUITE)
    assert [(each["network"], each["batch"]) for each in made] == [
        ("lenet", 1), ("lenet", 4), ("resnet50", 1), ("resnet50", 4),
    ]  # fmt: skip
    assert {each["repeat"] for each in made} == {2}
    assert made[0]["samples"] > made[2]["samples"]


def test_a_network_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match="vgg"):
        networks.configurations(options("--networks", "lenet,vgg"), networks.SUITE)


def test_a_figure_whose_bytes_differ_from_the_declared_ones_is_noted():
    figure = {
        "declared": {"rounds": 3, "dealt_bytes": 8},
        "measured": {"rounds": 3, "dealt_bytes": 9},
    }
    assert "dealt_bytes" in networks.disagreement(figure)
    assert networks.disagreement({"failed": "why"}) is None
