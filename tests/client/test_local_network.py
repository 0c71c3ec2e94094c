"""Daemons in processes of their own: publishing, querying, and what a crash leaves."""

import socket

import pytest
import torch
from torch import nn

import tacita
from tacita.client import Client
from tacita.client.local_network import LocalNetwork, free_ports
from tacita.errors import ConfigError, PeerError, PeerFailed, TacitaError, UnknownModel

WAIT = 90.0  # seconds: the limit of every wait in these tests
PARTIES = ("alice", "bob")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    stock = {"low": 2, "high": 4, "prepared": 1}
    network = LocalNetwork(tmp_path_factory.mktemp("network"), PARTIES, "dana", stock=stock)
    network.start(WAIT)
    yield network
    network.stop()


@pytest.fixture(scope="module")
def module():
    """Of small whole numbers: at 2^-16 every product and sum is exact."""
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape, generator=generator))
    return module


@pytest.fixture(scope="module")
def inputs():
    return torch.randint(-4, 5, (7, 4), generator=torch.Generator().manual_seed(4)).float()


@pytest.fixture(scope="module")
def published(network, module, inputs):
    model = tacita.export(module, inputs[:2], samples=inputs)
    with Client(network.client_config("owner", "olga")) as owner:
        owner.publish(model, "whole")
    return "whole"


@pytest.fixture
def client(network):
    with Client(network.client_config()) as client:
        yield client


def tolerance(module):
    """ReLU truncates to 2^-16 with an error of one unit, which the last layer's weights scale."""
    rows = module[2].weight.abs().sum(1).max().item()
    return rows * 2.0**-16


def test_a_prediction_is_that_of_the_module(client, published, module, inputs):
    found = client.predict(published, inputs)
    assert found.shape == (7, 3)
    assert (found - module(inputs)).abs().max() <= tolerance(module)


def test_all_see_each_other(network, client):
    for party in client.status():
        others = {*network.names} - {party.name}
        assert {name for name, up in party.details["links"].items() if up} == others


def test_the_program_comes_without_weights(client, published, module):
    program = client.program(published)
    assert [port.name for port in program.weights] == [
        f"{number}.{kind}" for number in (0, 2) for kind in ("weight", "bias")
    ]


def test_a_party_that_was_killed_is_named_and_comes_back(
    network, client, published, module, inputs
):
    network.kill("bob")
    assert not network.running("bob")
    with pytest.raises(PeerError, match="bob"):
        client.predict(published, inputs[:2])
    network.restart("bob", WAIT)
    assert network.running("bob")
    found = client.predict(published, inputs)
    assert (found - module(inputs)).abs().max() <= tolerance(module)


def test_a_daemon_that_is_told_to_end_ends_in_order(network, client, published, inputs):
    assert network.terminate("alice") == 0
    with pytest.raises(PeerFailed, match=r"alice at .* cannot be reached"):
        client.predict(published, inputs[:2])
    network.restart("alice", WAIT)
    assert client.predict(published, inputs[:2]).shape == (2, 3)


def test_a_daemon_that_ends_by_itself_is_named_with_its_log(network):
    network.process("dana").kill()
    network.process("dana").wait(WAIT)
    with pytest.raises(PeerFailed) as caught:
        network.require_alive()
    assert str(caught.value).startswith("dana has ended with exit code -9")
    assert "dealer dana is ready" in str(caught.value)
    network.restart("dana", WAIT)
    network.require_alive()


def test_a_removed_model_is_gone(network, client, module, inputs):
    with Client(network.client_config("owner", "olga")) as owner:
        owner.publish(tacita.export(module, inputs[:2]), "short-lived")
        owner.remove("short-lived")
    with pytest.raises(UnknownModel):
        client.predict("short-lived", inputs[:2])


def test_a_folder_of_other_names_is_not_used(network):
    with pytest.raises(ConfigError, match="is of alice, bob and the dealer dana"):
        LocalNetwork(network.folder, ("ann", "ben"))


def test_keys_are_closed_to_others(network):
    keys = sorted(network.folder.rglob("*.key"))
    assert len(keys) > 5
    assert {path.stat().st_mode & 0o077 for path in keys} == {0}


def test_a_port_that_is_taken_is_told_by_the_daemons_log(tmp_path):
    network = LocalNetwork(tmp_path / "net")
    address = network.network.dealer.address
    with socket.create_server((address.host, address.port)):
        network.launch("dana")
        assert network.process("dana").wait(WAIT) == 1
    log = network.log("dana").read_text()
    assert log.count("\n") == 1
    assert log.startswith("tacita: cannot listen at ")
    assert str(address) in log
    network.stop()


def test_free_ports_differ():
    ports = free_ports(20)
    assert len(set(ports)) == 20


def test_nobody_outlives_their_network(tmp_path):
    network = LocalNetwork(tmp_path / "net")
    for name in network.names:
        network.launch(name)
    processes = [network.process(name) for name in network.names]
    network.stop()
    assert all(process.poll() is not None for process in processes)
    assert not any(network.running(name) for name in network.names)
    with pytest.raises(ConfigError, match="was not started"):
        network.process("alice")


def test_it_is_a_tacita_error_whatever_is_wrong(tmp_path):
    network = LocalNetwork(tmp_path / "net")
    network.policy("bob").write_text("[publish]\nallow = 3\n")
    with pytest.raises(TacitaError, match="bob has ended with exit code 1"):
        network.start(WAIT)
    assert not any(network.running(name) for name in network.names)
