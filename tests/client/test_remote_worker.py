"""The notebook's way of writing, with workers that are daemons."""

import pytest
import torch

import tacita as sy
from tacita.client.remote_worker import RemoteWorker
from tacita.errors import HoldersError, PeerFailed, UsageError
from tacita.service.config import ClientConfig

from ..service.daemons import Daemons

HOOK = sy.TorchHook(torch)


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    running = Daemons(tmp_path_factory.mktemp("network")).start()
    yield running
    running.stop()


def workers_of(daemons, name="hospital"):
    config = ClientConfig(network=daemons.network, credentials=daemons.credentials[name])
    return [RemoteWorker(HOOK, id=each, config=config) for each in ("alice", "bob", "dana")]


def test_private_arithmetic_comparison_and_argmax(daemons):
    alice, bob, dana = workers_of(daemons)
    x = torch.tensor([[1.5, -2.0, 3.25], [0.0, 7.0, -1.0]])
    shared = x.fix_precision().share(alice, bob, crypto_provider=dana)
    assert torch.equal(torch.relu(shared).get().float_precision(), torch.relu(x))
    assert torch.equal(shared.argmax(dim=1).get(), x.argmax(dim=1))
    product = (shared @ shared.t()).get().float_precision()
    # Three products of numbers with three decimals, truncated once.
    assert (product - x @ x.t()).abs().max() <= 1e-3
    alice.clear_objects()


def test_a_whole_model_runs_on_daemons(daemons):
    alice, bob, dana = workers_of(daemons)
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    images = torch.rand(5, 4)
    model = sy.export(network.eval(), images, largest=1.0)
    shared = model.share(alice, bob, crypto_provider=dana)
    result = shared(images).get().float_precision()
    assert (result - network(images)).abs().max() < 1e-3
    alice.clear_objects()


def test_who_may_not_open_sessions_is_told_at_once(daemons):
    alice, bob, dana = workers_of(daemons, "acme")
    with pytest.raises(PeerFailed, match="owner:acme has no business here"):
        torch.ones(2).fix_precision().share(alice, bob, crypto_provider=dana)


def test_another_group_than_the_networks_is_refused(daemons):
    alice, bob, dana = workers_of(daemons)
    for holders, dealer in (([bob, alice], dana), ([alice, bob], None)):
        with pytest.raises(HoldersError, match="in this order"):
            torch.ones(2).fix_precision().share(*holders, crypto_provider=dealer)
    local = sy.VirtualWorker(HOOK, id="bob")
    with pytest.raises(HoldersError, match="in this process"):
        torch.ones(2).fix_precision().share(alice, local, crypto_provider=dana)


def test_plain_tensors_are_not_sent_and_files_are_not_named(daemons):
    alice, bob, dana = workers_of(daemons)
    with pytest.raises(UsageError, match="share"):
        torch.ones(2).send(alice)
    network = torch.nn.Linear(2, 2).eval()
    shared = sy.export(network, torch.rand(1, 2)).share(alice, bob, crypto_provider=dana)
    with pytest.raises(PeerFailed, match="ahead"):
        shared.deal(1)
    alice.clear_objects()


def test_an_unknown_name_is_refused(daemons):
    config = ClientConfig(network=daemons.network, credentials=daemons.credentials["hospital"])
    with pytest.raises(UsageError, match="carol"):
        RemoteWorker(HOOK, id="carol", config=config)
