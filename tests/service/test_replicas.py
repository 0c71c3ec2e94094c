"""Two processes of one party with one ledger in PostgreSQL: a standby that takes over, which works,
and two at once, which does not work and is safe."""

import shutil
from collections import Counter

import pytest
from postgresql import Server, missing
from pydantic import SecretStr

from tacita.errors import TacitaError, UnknownModel
from tacita.runtime.at_rest import AT_REST
from tacita.service import storehouse
from tacita.service.config import Limits, StockSettings
from tacita.service.ledger import Ledger
from tacita.service.logs import logger
from tacita.service.party import PartyService

from .daemons import Daemons
from .small_model import small

pytest.importorskip("psycopg", reason="the extra `postgresql` is not installed")
pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"a PostgreSQL server's programs are not in PATH: {missing()}"
)

LIMITS = Limits(round=3, query=8, publish=10, deal=5, stock=4, connect=3, handshake=3)
STOCK = StockSettings(low=3, high=4, prepared=1)


@pytest.fixture(scope="module")
def server():
    with Server() as started:
        yield started


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture
def network(server, tmp_path, model, request):
    """alice as ever, and bob, whose ledger is in PostgreSQL."""
    database = f"bob{abs(hash(request.node.name)):x}"
    server.say(f"CREATE DATABASE {database}")
    daemons = Daemons(tmp_path, stock=STOCK, limits=LIMITS)
    daemons.url = server.url(database)
    daemons.start_dealer()
    daemons.start_party("alice")
    daemons.start_party("bob", ledger=SecretStr(daemons.url))
    daemons.published = daemons.publish("small", model.program, model.weights)
    yield daemons
    daemons.stop()


@pytest.fixture
def taken(monkeypatch):
    """How often each batch's file was opened, by party."""
    opened, open_spent = Counter(), storehouse.open_spent

    def counting(folder, label, *rest):
        opened[label.party, label.batch] += 1
        return open_spent(folder, label, *rest)

    monkeypatch.setattr(storehouse, "open_spent", counting)
    return opened


def ask(network, model):
    images = model.images()
    (result,) = network.infer("small", model.inputs(images))
    model.require_right(result, images)


def second_folder(network):
    """What deploy.md says a standby needs of the first one's folder: no stock."""
    first, second = network.folder / "bob", network.folder / "bob-standby"
    second.mkdir(mode=0o700)
    shutil.copytree(first / "models", second / "models")
    shutil.copy2(first / AT_REST, second / AT_REST)
    return second


def states(network):
    ledger = Ledger(network.url, party="bob")
    try:
        return ledger.counts()[network.published]
    finally:
        ledger.close()


def test_a_standby_takes_over(network, model, taken):
    for _ in range(3):
        ask(network, model)
    folder = second_folder(network)
    network.stop_party("bob")
    before = states(network)
    alice = network.parties["alice"]._around
    waited = alice.storehouse.waiting(network.published)
    network.start_party("bob", data=folder, ledger=SecretStr(network.url))
    network.wait_connected()
    for _ in range(6):  # more than there ever were in the first one's stock
        ask(network, model)
    after = states(network)
    assert after["spent"] >= before["spent"] + 6
    assert set(alice.ledger.states(waited).values()) <= {"void", "spent"}, "only the first had them"
    assert set(taken.values()) == {1}, "no batch was opened twice, by whichever of the two"
    assert not {path.stem for path in (network.folder / "bob" / "stock").iterdir()} & {
        path.stem for path in (folder / "stock").iterdir()
    }


def test_a_standby_without_the_models_serves_none(network, model):
    ask(network, model)
    network.wait_until(lambda: states(network)["ready"], "a batch in stock")
    folder = network.folder / "bob-empty"
    network.stop_party("bob")
    network.start_party("bob", data=folder, ledger=SecretStr(network.url))
    network.wait_connected()
    with pytest.raises(TacitaError):
        ask(network, model)
    with pytest.raises(UnknownModel):
        network.parties["bob"].model(network.principals["hospital"], "small")
    assert states(network)["ready"] == 0, "the stock of a model that is not there is given up"


def test_two_at_once_lose_queries_and_never_use_a_batch_twice(network, model, taken):
    ask(network, model)
    folder = second_folder(network)
    # Others reach the first; the dealer hears of both, and keeps the link of whoever came last.
    second = PartyService(
        network.party_config(
            "bob", data=folder, ledger=SecretStr(network.url), peers="127.0.0.1:0"
        ),
        logger("party:bob"),
    )
    try:
        second.start()
        answered = 0
        for _ in range(8):
            try:
                ask(network, model)  # an answer that comes is right
            except TacitaError:
                continue
            answered += 1
        assert set(taken.values()) <= {1}
    finally:
        second.stop()
    spent = states(network)["spent"]
    assert spent >= answered

    def recovered():
        try:
            ask(network, model)
        except TacitaError:
            return False
        return True

    network.wait_until(recovered, "queries to be answered again", 60)
    assert set(taken.values()) == {1}
