"""Training goes on after a daemon was killed in the middle of an epoch: real processes, SIGKILL."""

import pytest
import torch

import tacita as sy
from tacita.client.local_network import LocalNetwork
from tacita.client.remote_worker import RemoteWorker
from tacita.errors import PeerError, Refused

WAIT = 90.0  # seconds: the limit of every wait in these tests
HOOK = sy.TorchHook(torch)
BITS = {"base": 2, "precision_fractional": 16}
UNIT = 2.0**-16
RATE, MOMENTUM, EPOCHS = 0.25, 0.5, 3
X = torch.tensor([[0.5, -0.25], [1.0, 0.5], [-0.5, 0.75], [0.25, 1.0]])
Y = torch.tensor([[0.5], [-1.0], [0.25], [1.0]])
BATCHES = (slice(0, 2), slice(2, 4))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    limits = {"round": 15, "connect": 10}
    running = LocalNetwork(tmp_path_factory.mktemp("network"), limits=limits)
    running.start(WAIT)
    yield running
    running.stop()


def workers(network, name):
    config = network.client_config("client", name)
    return [RemoteWorker(HOOK, id=each, config=config) for each in ("alice", "bob", "dana")]


def shared(tensor, alice, bob, dana):
    return tensor.fix_precision(**BITS).share(alice, bob, crypto_provider=dana)


class Training:
    """A linear model on data that its trainer does not see; saved after every epoch."""

    def __init__(self, name, workers):
        self.name = name
        self.workers = workers
        self.model = torch.nn.Linear(2, 1, bias=False)
        self.optimizer = descent(self.model)
        self.epoch = 0

    def begin(self):
        with torch.no_grad():
            self.model.weight.zero_()
        alice, bob, dana = self.workers
        self.model.fix_precision(**BITS).share(alice, bob, crypto_provider=dana, requires_grad=True)
        self.optimizer = descent(self.model)  # of the parameters that it has since it was shared
        self.save()

    def save(self):
        state = {"model": self.model, "optimizer": self.optimizer, "epoch": self.epoch}
        sy.save_private(state, self.name, borrowers=["client:*"], audience=["client:*"])

    def load(self):
        """In a new session, once all parties are back."""
        alice, bob, dana = self.workers
        into = {"model": self.model, "optimizer": self.optimizer}
        options = {"crypto_provider": dana, "patience": WAIT}
        self.epoch = sy.load_private(self.name, alice, bob, into=into, **options)["epoch"]
        self.data = sy.load_private("data", alice, bob, **options)

    def train(self, disaster=lambda *_: None):
        """disaster: called before each step, with the epoch and the number of the batch."""
        while self.epoch < EPOCHS:
            for number, batch in enumerate(BATCHES):
                disaster(self.epoch, number)
                x, y = self.data["x"][batch], self.data["y"][batch]
                with torch.no_grad():
                    descend(self.model, self.optimizer, x, y)
            self.epoch += 1
            self.save()

    def weights(self):
        return self.model.weight.get().float_precision()


def descent(model):
    return torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, foreach=False)


def descend(model, optimizer, x, y):
    """One step against the gradient of half the squared error, summed over the batch."""
    model.weight.grad = (x @ model.weight.t() - y).t() @ x
    optimizer.step()


def in_the_clear():
    """The weights after all epochs, and how far truncations may bring private ones from them."""
    model = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = descent(model)
    error = moment = 0.0
    for batch in BATCHES * EPOCHS:
        x = X[batch]
        with torch.no_grad():
            descend(model, optimizer, x, Y[batch])
        # A product is truncated by a unit at the most; what follows multiplies the error before it.
        rows, columns = x.abs().sum(1).max().item(), x.abs().sum(0).max().item()
        moment = MOMENTUM * moment + UNIT + columns * (rows * error + UNIT) + UNIT
        error = error + RATE * moment + UNIT
    return model.weight.detach(), error


@pytest.fixture(scope="module")
def data(network):
    """A hospital leaves its data, for a lab to compute with and nobody else to see."""
    alice, bob, dana = workers(network, "hospital")
    tensors = {"x": shared(X, alice, bob, dana), "y": shared(Y, alice, bob, dana)}
    sy.save_private(tensors, "data", borrowers=["client:lab"])
    alice.clear_objects()


@pytest.mark.parametrize("victim", ["bob", "alice", "dana"])
def test_a_daemon_that_is_killed_costs_an_epoch_and_no_more(network, data, victim):
    lab = workers(network, "lab")
    training = Training(f"training-{victim}", lab)
    training.begin()
    training.load()

    def disaster(epoch, batch):
        if (epoch, batch) == (1, 1):
            network.kill(victim)

    with pytest.raises(PeerError) as caught:
        training.train(disaster)
    assert victim in str(caught.value), "the error names who is gone"
    assert training.epoch in (1, 2)  # steps are sent and not waited for; a save is
    network.restart(victim, WAIT)
    training.load()
    assert training.epoch == 1, "the epoch that was not finished is lost, the one before is not"
    epochs = []
    training.train(lambda epoch, _: epochs.append(epoch))
    assert sorted(set(epochs)) == [1, 2]
    with pytest.raises(Refused, match="client:hospital has not agreed that client:lab sees"):
        training.weights()
    lab[0].clear_objects()
    # The hospital, whose data it is, may see what came of it: as if nothing had happened.
    result = Training(training.name, workers(network, "hospital"))
    result.load()
    expected, error = in_the_clear()
    assert (result.weights() - expected).abs().max() <= error
    assert result.epoch == EPOCHS
    result.workers[0].clear_objects()


def test_another_process_of_the_user_s_goes_on_as_well(network, data):
    """All that it needs to know is the name: weights, momentum, rates are with the parties."""
    first = Training("handed-over", workers(network, "lab"))
    first.begin()
    first.load()

    class Stopped(Exception):
        pass

    def stop(epoch, batch):
        if (epoch, batch) == (2, 1):
            raise Stopped

    with pytest.raises(Stopped):
        first.train(stop)
    first.workers[0].clear_objects()
    second = Training("handed-over", workers(network, "lab"))
    second.load()
    assert second.epoch == 2
    second.train()
    second.workers[0].clear_objects()
    result = Training("handed-over", workers(network, "hospital"))
    result.load()
    expected, error = in_the_clear()
    assert (result.weights() - expected).abs().max() <= error
    result.workers[0].clear_objects()
