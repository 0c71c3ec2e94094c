"""What daemons count while they work: links, bytes on them, files, batches, refusals."""

import os

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tacita.errors import PeerError, RateExceeded, Refused, UnknownModel
from tacita.network.authority import issue
from tacita.service.config import Limits, StockSettings
from tacita.service.conversations import Dealing, begin

from .daemons import POLICY, Daemons
from .rogue import SOON, answer_to, dialed
from .small_model import small

LIMITS = Limits(round=10, query=20, publish=20, deal=10, stock=5, connect=5, handshake=5)
STOCK = StockSettings(low=2, high=3, prepared=1)
PER_MINUTE = 40


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def network(tmp_path_factory, model):
    daemons = Daemons(tmp_path_factory.mktemp("network"), stock=STOCK, limits=LIMITS)
    text = POLICY.replace("per_minute = 100000", f"per_minute = {PER_MINUTE}")
    (daemons.folder / "policy.toml").write_text(
        text.replace('allow = ["client:*"]\nper_minute', 'allow = ["client:hospital"]\nper_minute')
    )
    daemons.start()
    daemons.published = daemons.publish("small", model.program, model.weights)
    yield daemons
    daemons.stop()


def said(daemons, name):
    """By name and labels, what a daemon's metrics say."""
    daemon = daemons.dealer if name == "dana" else daemons.parties[name]
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(daemon.counters.render().decode())
        for sample in family.samples
    }


def one(daemons, who, metric, **labels):
    return said(daemons, who).get((metric, *sorted(labels.items())), 0)


def sent(daemons, who, to):
    return one(daemons, who, "tacita_sent_bytes_total", peer=to)


def received(daemons, who, sender):
    return one(daemons, who, "tacita_received_bytes_total", peer=sender)


def stocked(network):
    """Waits until nothing is dealt or prepared any more: only then do numbers stand still."""

    def full():
        houses = [each._around.storehouse for each in network.parties.values()]
        return all(
            house.level(network.published) >= STOCK.low and not house.dealing(network.published)
            for house in houses
        )

    network.wait_until(full, "a stock")


def ask(network, model):
    images = model.images()
    (result,) = network.infer("small", model.inputs(images))
    model.require_right(result, images)


def test_what_one_side_sent_the_other_received(network, model):
    ask(network, model)
    stocked(network)
    for one_end, other in (("alice", "bob"), ("alice", "dana"), ("bob", "dana")):
        for sender, receiver in ((one_end, other), (other, one_end)):
            # Until both have been looked at between two messages: links say a word now and then.
            network.wait_until(
                lambda a=sender, b=receiver: (
                    0 < sent(network, a, b) == received(network, b, a) == sent(network, a, b)
                ),
                f"the same bytes at {sender} and {receiver}",
            )


def test_a_query_sends_more(network, model):
    stocked(network)
    before = sent(network, "alice", "bob")
    ask(network, model)
    assert sent(network, "alice", "bob") > before


def test_the_bytes_of_the_stock_are_those_of_its_files(network):
    stocked(network)
    for name in network.names:
        folder = network.folder / name / "stock"

        def agrees(name=name, folder=folder):
            size = sum(path.stat().st_size for path in folder.iterdir())
            return 0 < size == one(network, name, "tacita_stock_bytes")

        network.wait_until(agrees, f"the size of {folder}")


def test_links_are_up_until_they_are_not(network):
    stocked(network)
    for name, peers in (
        ("alice", ("bob", "dana")),
        ("bob", ("alice", "dana")),
        ("dana", network.names),
    ):
        for peer in peers:
            assert one(network, name, "tacita_link_up", peer=peer) == 1
    before = {name: sent(network, name, "bob") for name in ("alice", "dana")}
    network.stop_party("bob")
    try:
        for name in ("alice", "dana"):
            network.wait_until(
                lambda name=name: one(network, name, "tacita_link_up", peer="bob") == 0,
                f"{name} to see that bob is gone",
            )
            assert sent(network, name, "bob") >= before[name]
    finally:
        network.start_party("bob")
    network.wait_connected()
    for name in ("alice", "dana"):
        assert one(network, name, "tacita_link_up", peer="bob") == 1
        assert sent(network, name, "bob") > before[name], "the new link is added to the old one"


def test_the_dealer_counts_what_the_parties_count(network, model):
    ask(network, model)
    stocked(network)
    dealt = one(network, "alice", "tacita_dealt_batches_total", model="small")
    network.wait_until(
        lambda: one(network, "dana", "tacita_dealt_batches_total", model="small") >= dealt,
        "the dealer's last word",
    )
    found = said(network, "dana")
    batches = found["tacita_dealt_batches_total", ("model", "small")]
    for phase in ("computing", "whole"):
        labels = (("model", "small"), ("phase", phase))
        assert found[("tacita_deal_seconds_count", *labels)] >= batches
    assert found["tacita_role_info", ("role", "dealer:dana")] == 1
    assert found["tacita_models",] == 1


def test_a_batch_that_does_not_arrive_is_counted_as_failed(network, monkeypatch):
    stocked(network)
    before = one(network, "dana", "tacita_failed_batches_total", model="small")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("tacita.service.storehouse.StockWriter", full)
        with pytest.raises(PeerError):
            network.parties["alice"].deal(network.principals["acme"], "small", 1)
    network.wait_until(
        lambda: one(network, "dana", "tacita_failed_batches_total", model="small") > before,
        "the dealer to count it",
    )


def test_who_is_turned_away_is_counted(network):
    alice = network.parties["alice"]

    def refusals(name, reason):
        return one(network, name, "tacita_refusals_total", reason=reason)

    before = refusals("alice", "policy")
    with pytest.raises(UnknownModel):  # the clinic is not to know that it is there
        alice.check_query(network.principals["clinic"], "small")
    assert refusals("alice", "policy") == before + 1
    with pytest.raises(UnknownModel):
        alice.check_query(network.principals["clinic"], "nothing-of-this-name")
    assert refusals("alice", "policy") == before + 1
    with pytest.raises(Refused):
        alice.check_publish(network.principals["hospital"], "small")
    assert refusals("alice", "policy") == before + 2

    other = issue(
        network.folder / "authority", "party", "mallory", out=network.folder / "other", days=1
    )
    before = refusals("dana", "policy")
    with dialed(network, other, "dana") as link:
        network.wait_until(lambda: not link.usable, "the link to be closed")
    network.wait_until(lambda: refusals("dana", "policy") == before + 1, "the dealer to count it")
    with dialed(network, network.credentials["hospital"], "dana") as link:
        stream = link.open(os.urandom(16))
        begin(stream, Dealing(network.published, b"d" * 32, 1), SOON)
        assert answer_to(stream)[0] == "refuse"
    network.wait_until(lambda: refusals("dana", "policy") == before + 2, "the dealer to count it")
    assert sent(network, "dana", "eager users") > 0


def test_who_asks_too_often_is_counted(network, model):
    path = network.folder / "policy.toml"
    text = path.read_text()
    path.write_text(text.replace(f"per_minute = {PER_MINUTE}", "per_minute = 0.01"))
    try:
        ask(network, model)
        before = one(network, "bob", "tacita_refusals_total", reason="rate")
        with pytest.raises(RateExceeded):
            ask(network, model)
        network.wait_until(
            lambda: one(network, "bob", "tacita_refusals_total", reason="rate") == before + 1,
            "bob to count it",
        )
    finally:
        path.write_text(text)
