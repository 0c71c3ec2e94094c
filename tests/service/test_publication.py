"""Publishing: at one party only, with different things, by several at once, and half done."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tacita.errors import MaterialError, PeerError, PeerFailed, Refused, TacitaError, UsageError
from tacita.service import weights
from tacita.service.config import Limits, StockSettings
from tacita.service.models import ARRIVING

from .daemons import POLICY, Daemons
from .small_model import small

# Who is told at once is told long before these are over.
LIMITS = Limits(round=60, query=60, publish=60, deal=60, stock=60, connect=20, handshake=20)
AT_ONCE = 30
STOCK = StockSettings(low=1, high=2, prepared=1)


@pytest.fixture(scope="module")
def model():
    return small(1)


@pytest.fixture(scope="module")
def other():
    return small(2)


@pytest.fixture
def network(tmp_path, model):
    for name in ("alice", "bob"):
        (tmp_path / f"{name}.policy.toml").write_text(POLICY)
    daemons = Daemons(tmp_path, stock=STOCK, limits=LIMITS).start()
    daemons.publish("small", model.program, model.weights)
    yield daemons
    daemons.stop()


def ask(network, model, name="small"):
    images = model.images()
    (result,) = network.infer(name, model.inputs(images))
    model.require_right(result, images)


def failures(network, parts, owners=("acme", "acme")):
    """What each party says of its part, at once."""
    with ThreadPoolExecutor(len(parts)) as pool:
        asked = [
            pool.submit(network.parties[name].publish, network.principals[owner], part)
            for name, owner, part in zip(network.names, owners, parts, strict=True)
        ]
        return [each.exception(AT_ONCE) for each in asked]


@pytest.mark.parametrize("bad", [0, 1])
def test_what_one_party_does_not_take_is_published_nowhere(network, model, other, bad):
    """And the model that was there before is served as before."""
    for spoil, kind in (
        (lambda part: replace(part, weights=part.weights[:-1]), UsageError),
        (lambda part: replace(part, program=part.program[:-40]), UsageError),
        (lambda part: replace(part, program=b""), UsageError),
        (lambda part: replace(part, weights=shares_of_another(part)), UsageError),
        (lambda part: replace(part, name="s/mall"), UsageError),
    ):
        parts = network.publications("small", other.program, other.weights)
        parts[bad] = spoil(parts[bad])
        errors = failures(network, parts)
        assert isinstance(errors[bad], kind)
        assert isinstance(errors[1 - bad], PeerFailed)
        assert f"{network.names[bad]} declined the publication" in str(errors[1 - bad])
    parts = network.publications("small", other.program, other.weights)
    parts[bad] = replace(parts[bad], audience=("client:clinic",))
    for error in failures(network, parts):
        assert isinstance(error, PeerError)
    ask(network, model)


def shares_of_another(part):
    return tuple(replace(each, share=1 - each.share) for each in part.weights)


def test_one_partys_policy_refuses_for_all(network, other):
    network.policy("bob").write_text(POLICY.replace("owner:acme", "owner:nobody"))
    refusing, told = failures(network, network.publications("x", other.program, other.weights))[
        ::-1
    ]
    assert isinstance(refusing, Refused)
    assert "bob declined the publication" in str(told)


def test_a_models_id_is_for_one_publication(network, model, other):
    (served,) = network.parties["alice"]._around.models.all()
    for owner in ("acme", "other"):
        parts = network.publications("again", other.program, other.weights, model=served.id)
        for error in failures(network, parts, (owner, owner)):
            assert isinstance(error, TacitaError)
    ask(network, model)
    owner = network.principals["acme"]
    assert network.parties["alice"].deal(owner, "small", 1) > 0  # the dealer has it still


@pytest.mark.parametrize("owners", [("acme", "acme"), ("acme", "other")])
def test_publications_under_one_name_follow_each_other(network, model, other, owners):
    """The parties serve the same one in the end, and a name is one owner's."""
    done = []

    def publish(number):
        chosen = (model, other)[number % 2]
        try:
            network.publish("one", chosen.program, chosen.weights, owner=owners[number % 2])
            done.append(owners[number % 2])
        except TacitaError as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        errors = [each for each in pool.map(publish, range(6), timeout=AT_ONCE) if each]
    served = [party._around.models.named("one") for party in network.parties.values()]
    assert len({each.id for each in served}) == 1
    assert len(set(done)) == 1
    assert {each.published.owner for each in served} == {f"owner:{done[0]}"}
    assert len(errors) == (0 if owners[0] == owners[1] else 3)
    (values,) = {each.digest for each in served}
    ours = next(each for each in (model, other) if each.program.endswith(values))
    if model.program != other.program:
        ask(network, ours, "one")
    # Of those that were replaced nothing is left.
    for name, party in network.parties.items():
        ids = {each.id.hex() for each in party._around.models.all()}
        folder = network.folder / name / "models"
        network.wait_until(
            lambda folder=folder, ids=ids: (
                {each.name for each in folder.iterdir() if each.name != ARRIVING} == ids
            ),
            "the files of the models that are served",
        )


def test_a_failure_before_all_agree_leaves_the_older_model(network, model, other, monkeypatch):
    bob = network.parties["bob"]._around.models

    def full(*_):
        raise MaterialError("the disk is full")

    monkeypatch.setattr(bob, "keep", full)
    errors = failures(network, network.publications("small", other.program, other.weights))
    assert isinstance(errors[1], MaterialError)
    assert isinstance(errors[0], PeerFailed)
    assert "the disk is full" in str(errors[0])
    ask(network, model)
    assert len(network.dealer._models) == 1
    assert not list((network.folder / "alice" / "models" / ARRIVING).iterdir())


def test_what_a_crash_left_is_cleared_away(network, model):
    """A model that had not arrived, and batches of a model that is gone."""
    alice = network.parties["alice"]._around
    (served,) = alice.models.all()
    network.wait_until(lambda: alice.storehouse.waiting(served.id), "a stock")
    network.stop_party("alice")
    folder = network.folder / "alice" / "models"
    (folder / ARRIVING).mkdir(exist_ok=True)
    (folder / ARRIVING / ("ab" * 16)).write_bytes(b"half a model")
    network.start_party("alice")
    network.wait_connected()
    ask(network, model)
    assert not (folder / ARRIVING).exists()

    network.stop_party("bob")
    (network.folder / "bob" / "models" / served.id.hex()).unlink()
    bob = network.start_party("bob")._around
    assert bob.models.all() == []
    assert not bob.storehouse.waiting(served.id)
    assert not bob.storehouse.bytes_on_disk


def test_only_one_party_is_sent_a_publication(tmp_path, model):
    limits = Limits(round=2, query=5, publish=2, deal=20, stock=20, connect=5, handshake=5)
    daemons = Daemons(tmp_path, limits=limits).start()
    try:
        for name in daemons.names:
            parts = daemons.publications("small", model.program, model.weights)
            part = parts[daemons.names.index(name)]
            with pytest.raises(PeerError, match=r"join|sent nothing"):
                daemons.parties[name].publish(daemons.principals["acme"], part)
        daemons.publish("small", model.program, model.weights)
        ask(daemons, model)
        for party in daemons.parties.values():
            assert not party._around.meeting._waiting
    finally:
        daemons.stop()


# ---- an id is for one model ----------------------------------------------------------------------


def test_the_id_of_a_removed_model_is_not_published_again(network, model, other):
    """What was dealt for it fits the masks of its weights, and those of no others."""
    gone = network.publish("gone", model.program, model.weights)
    ask(network, model, "gone")
    network.at_all(lambda party, _: party.remove(network.principals["acme"], "gone"))
    for again in (model, other):
        parts = network.publications("again", again.program, again.weights, model=gone)
        for error in failures(network, parts):
            assert isinstance(error, TacitaError)
    # Not by who has forgotten what was said on links that are gone, either.
    for name in network.names:
        network.stop_party(name)
    network.stop_dealer()
    network.start_dealer()
    for name in network.names:
        network.start_party(name)
    network.wait_connected()
    parts = network.publications("again", model.program, model.weights, model=gone)
    for error in failures(network, parts):
        assert isinstance(error, PeerFailed)
        assert "was published before" in str(error)
    network.publish("again", other.program, other.weights)
    ask(network, other, "again")


def test_nothing_is_dealt_for_a_model_that_is_gone(network, model):
    """A dealing of many runs that goes on at the dealer while the model is removed ends."""
    gone = network.publish("gone", model.program, model.weights)
    dealt = network.dealer._models[gone]
    network.at_all(lambda party, _: party.remove(network.principals["acme"], "gone"))
    with pytest.raises(PeerFailed, match="was removed"):
        network.dealer._deal_batch(dealt)


def test_a_crash_between_the_two_steps_of_removing_is_made_up_for(network, model):
    gone = network.publish("gone", model.program, model.weights)
    folder = network.folder / "dana" / "models"
    weights.retire(folder, gone)
    network.stop_dealer()
    network.start_dealer()
    assert gone not in network.dealer._models
    assert not (folder / gone.hex()).exists()
    assert weights.is_retired(folder, gone)
