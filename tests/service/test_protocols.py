"""Ways to compare other than tables, over daemons: what is published to every party goes through
its stock, and a dealer is asked in eager sessions alone."""

import threading

import msgspec
import numpy as np
import pytest
import torch

import tacita as sy
from tacita.client.remote_worker import RemoteWorker
from tacita.compiler import archive
from tacita.errors import HoldersError, PeerError, ProgramError, UsageError
from tacita.runtime.at_rest import own_secret
from tacita.service.config import ClientConfig, Limits
from tacita.service.conversations import Session
from tacita.service.ledger import Ledger, sqlite_url
from tacita.service.models import deployed
from tacita.service.sessions import require_same
from tacita.service.storehouse import Storehouse

from .daemons import Daemons
from .small_model import Small, small

HOOK = sy.TorchHook(torch)
LIMITS = Limits(round=5, query=20, publish=20, deal=20, stock=10, connect=5, handshake=5)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    running = Daemons(tmp_path_factory.mktemp("network"), limits=LIMITS).start()
    yield running
    running.stop()


@pytest.fixture
def workers(network):
    config = ClientConfig(network=network.network, credentials=network.credentials["hospital"])
    made = [RemoteWorker(HOOK, id=name, config=config) for name in ("alice", "bob", "dana")]
    yield made
    made[0].clear_objects()


def published_bytes(model):
    return sum(each.cost().published_bytes for each in model.program.instructions)


def test_a_model_that_every_party_is_dealt_for(network):
    served = Small(small().model.compared_by("fss", ahead=True))
    size = published_bytes(served.model)
    assert size
    network.publish("points", served.program, served.weights)
    for party in network.parties.values():
        house = party._around.storehouse
        model = party._around.models.named("points").id
        network.wait_until(lambda house=house, model=model: house.level(model) > 1, "a stock")
        assert house.bytes_on_disk > size
    for _ in range(3):
        images = served.images()
        (result,) = network.infer("points", served.inputs(images))
        served.require_right(result, images)


def test_a_model_that_takes_the_dealer_online_is_not_published(network):
    asking = Small(small().model.compared_by("snn"))
    with pytest.raises(ProgramError, match=r"takes the dealer online .*use fss or tables"):
        network.publish("asking", asking.program, asking.weights)


@pytest.mark.parametrize("protocol", ["fss", "snn", "auto"])
def test_an_eager_session(workers, protocol):
    alice, bob, dana = workers
    values = torch.tensor([1.5, -2.0, 0.0, -0.25, 100.0])
    x = values.fix_precision().share(alice, bob, crypto_provider=dana, protocol=protocol)
    for _ in range(3):
        x = (x * 2).relu()
    assert torch.equal(x.get().float_precision(), 8 * values.relu())


@pytest.mark.parametrize(
    "told",
    [
        {"alice": {"checked": True}},
        {"bob": {"protocol": "fss"}},
        {"dana": {"checked": True}},
        {"dana": {"protocol": "fss"}},
    ],
    ids=str,
)
def test_roles_that_are_told_of_different_sessions_have_none(workers, monkeypatch, told):
    real = RemoteWorker._begin

    def begin(self, topic):
        return real(self, msgspec.structs.replace(topic, **told.get(self.id, {})))

    monkeypatch.setattr(RemoteWorker, "_begin", begin)
    alice, bob, dana = workers
    x = torch.ones(2).fix_precision()
    with pytest.raises(PeerError, match="told of another session"):
        x.share(alice, bob, crypto_provider=dana, protocol="tables").get()


def test_sessions_of_several_protocols_at_once(workers):
    alice, bob, dana = workers
    values, made = torch.randint(-50, 50, (40,)).float(), []
    for protocol in ("snn", "fss", "snn", "tables"):
        x = values.fix_precision().share(alice, bob, crypto_provider=dana, protocol=protocol)
        made.append((x > 0, x))
    for positive, x in made:
        assert torch.equal((positive * x).get().float_precision(), values.relu())


def test_a_dealer_that_is_gone_when_it_is_asked(tmp_path):
    before = set(threading.enumerate())  # another network's batches wait for queries
    daemons = Daemons(tmp_path, limits=LIMITS).start()
    try:
        config = ClientConfig(network=daemons.network, credentials=daemons.credentials["hospital"])
        alice, bob, dana = (
            RemoteWorker(HOOK, id=n, config=config) for n in ("alice", "bob", "dana")
        )
        x = torch.tensor([1.0, -2.0]).fix_precision()
        x = x.share(alice, bob, crypto_provider=dana, protocol="snn")
        assert torch.equal(x.relu().get().float_precision(), torch.tensor([1.0, 0.0]))
        daemons.stop_dealer()
        with pytest.raises(PeerError):
            x.relu().get()
        daemons.wait_until(
            lambda: (
                not any(
                    each.name in ("tacita stream", "tacita answers")
                    for each in set(threading.enumerate()) - before
                )
            ),
            "the sessions to end",
        )
    finally:
        daemons.stop()


def test_protocols_for_two_are_refused_to_three():
    names = ("alice", "bob", "carol")
    for protocol in ("fss", "snn"):
        topic = Session(b"s" * 16, names, "dana", protocol=protocol)
        with pytest.raises(HoldersError, match="for two holders, not 3: use protocol='tables'"):
            require_same(topic, names, "dana")
    require_same(Session(b"s" * 16, names, "dana"), names, "dana")
    with pytest.raises(UsageError, match="no protocol 'none'"):
        require_same(Session(b"s" * 16, names, "dana", protocol="none"), names, "dana")
    program = archive.encode(small().model.compared_by("fss").program)
    with pytest.raises(ProgramError, match=r"for two parties, and this session has 3: .*tables"):
        deployed(program, b"m" * 16, parties=3)


def test_what_is_published_goes_through_the_storehouse_of_the_first_party(tmp_path):
    folder, key, batch = tmp_path / "stock", b"k" * 16, b"b" * 16
    ledger = Ledger(sqlite_url(tmp_path / "ledger.sqlite"), party="alice")
    words = np.random.default_rng(1).integers(0, 1 << 64, 300_000, np.uint64)
    try:
        house = Storehouse(
            folder, ledger, party=0, parties=2, secret=own_secret(tmp_path), room=64 << 20
        )
        with house.receive(b"m" * 16, b"p" * 32, batch, key) as arriving:
            arriving.add(3, {0: [words], 1: [words[:5]]})
        house.ready(batch)
        assert house.bytes_on_disk > words.nbytes
        with house.take(b"m" * 16, b"p" * 32, batch, "client:hospital") as taken:
            assert taken.key() == key
            found = taken.corrections(3)
            assert np.array_equal(found[0].popleft(), words)
            assert np.array_equal(found[1].popleft(), words[:5])
            taken.finish()
    finally:
        ledger.close()
