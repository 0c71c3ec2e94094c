"""What the parties serve, whether they agree on it, and publishing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tacita
from tacita.compiler import archive
from tacita.errors import ConfigError, PeerFailed, Refused, UnknownModel, UsageError
from tacita.service.front.engine import TensorInfo

from .fronts import SCALE, info

X = torch.ones(2, 3)
WIDE = TensorInfo("x", (4, 3), SCALE), TensorInfo("y", (4, 3), SCALE)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(7)
    return tacita.export(torch.nn.Linear(3, 2).eval(), torch.ones(5, 3))


def test_a_model_is_described_by_all_together(client):
    found = client.model("doubling")
    assert (found.name, found.owner, found.ready) == ("doubling", "owner:olga", True)
    assert found.stock == 2  # bob has fewest
    assert str(found.inputs[0]) == "x 2×3"
    assert client.models() == [found]


def test_a_model_that_one_party_lacks_is_not_listed(client, engines):
    engines[0].models_["other"] = info("other", 0)
    assert [each.name for each in client.models()] == ["doubling"]
    with pytest.raises(UnknownModel, match="bob answered 404"):
        client.model("other")


DIFFERENT = {
    "publication": ({"model_id": b"1" * 16}, "publications of 'doubling' differ"),
    "program": ({"program": b"another"}, "programs of 'doubling' differ"),
    "inputs": ({"inputs": WIDE[:1]}, "inputs of 'doubling' differ"),
    "outputs": ({"outputs": WIDE[1:]}, "outputs of 'doubling' differ"),
}


@pytest.mark.parametrize(("change", "words"), DIFFERENT.values(), ids=DIFFERENT)
def test_parties_that_serve_different_models_are_named_and_sent_nothing(
    client, engines, change, words
):
    engines[1].models_["doubling"] = info("doubling", 1, **change)
    with pytest.raises(PeerFailed) as caught:
        client.predict("doubling", X)
    assert words in str(caught.value)
    assert "alice has another than bob" in str(caught.value)
    assert engines[0].queries == engines[1].queries == []


def test_metadata_are_fetched_once_for_many_queries(client, engines):
    for _ in range(3):
        client.predict("doubling", X)
    # Each query asks the engine for the model besides, in `infer`.
    assert engines[0].asked.count("model") == 1 + engines[0].asked.count("infer") == 4


def test_a_model_that_was_published_anew_is_looked_at_again(client, engines):
    """Its queries have another shape: the first is refused, and asked again as it should be."""
    assert client.predict("doubling", X).shape == (2, 3)
    for index, engine in enumerate(engines):
        engine.models_["doubling"] = info(
            "doubling", index, WIDE[:1], WIDE[1:], model_id=b"2" * 16, program=b"new"
        )
    images = torch.arange(12).reshape(4, 3) / 4
    for engine in engines:
        taken = engine.infer

        def infer(principal, name, query, inputs, taken=taken):
            if inputs[0].shape != (4, 3):
                raise UsageError("it does not fit")
            return taken(principal, name, query, inputs)

        engine.infer = infer
    assert torch.equal(client.predict("doubling", images), 2 * images)


def test_a_refusal_of_the_same_model_is_not_asked_twice(client, engines):
    client.predict("doubling", X)
    engines[1].fails_with = UsageError("it does not fit")
    with pytest.raises(UsageError, match="bob answered 400"):
        client.predict("doubling", X)
    assert len(engines[1].queries) == 2


# ---- programs ------------------------------------------------------------------------------------


def test_the_program_is_the_one_that_all_have(setting, client, model):
    program = archive.encode(model.program)
    digest = program[-archive.DIGEST_BYTES :].hex()
    for engine in setting.engines:
        engine.models_["doubling"] = replace(engine.models_["doubling"], digest=digest)
        engine.programs["doubling"] = program
    assert client.program("doubling") == model.program
    setting.engines[1].programs["doubling"] = program[:-1] + b"x"
    with pytest.raises(PeerFailed, match="alice has another than bob"):
        client.program("doubling")


def test_a_program_that_is_not_the_announced_one_is_refused(setting, client, model):
    for engine in setting.engines:
        engine.programs["doubling"] = archive.encode(model.program)
    with pytest.raises(PeerFailed, match="is not the one they announced"):
        client.program("doubling")


# ---- publishing ----------------------------------------------------------------------------------


def test_publishing_gives_each_party_its_shares_and_the_program(setting, model):
    owner, told = setting.client("olga"), []
    found = owner.publish(
        model, "linear", audience=("client:carol", "owner:*"),
        progress=lambda *each: told.append(each),
    )  # fmt: skip
    first, second = (engine.published[0] for engine in setting.engines)
    assert found.id == first.model_id.hex() == second.model_id.hex()
    assert first.audience == ("client:carol", "owner:*")
    assert first.program == second.program == archive.encode(model.program)
    for mine, theirs, weight in zip(first.weights, second.weights, model.weights, strict=True):
        assert np.array_equal(mine.values + theirs.values, weight)
        assert not (mine.values == weight).any()
        assert not (theirs.values == weight).any()
        assert (mine.share, theirs.share) == (0, 1)
    what, done, total = told[-1]
    assert (what, done) == ("sending linear", total)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_publishing_again_takes_other_shares_and_another_id(setting, model):
    owner = setting.client("olga")
    ids = {owner.publish(model, "linear").id for _ in range(2)}
    assert len(ids) == 2
    first, second = setting.engines[0].published
    assert not (first.weights[0].values == second.weights[0].values).any()


def test_a_refused_publication_says_by_whom(setting, model):
    setting.engines[1].fails_with = Refused("not you")
    with pytest.raises(Refused, match="bob answered 403: not you"):
        setting.client("olga").publish(model, "linear")


def test_only_models_and_audiences_that_can_be_are_published(setting, model):
    owner = setting.client("olga")
    with pytest.raises(UsageError, match=r"tacita\.Model, not a Linear"):
        owner.publish(torch.nn.Linear(3, 2), "linear")
    with pytest.raises(ConfigError, match="everybody"):
        owner.publish(model, "linear", audience=("everybody",))
    assert setting.engines[0].published == []


# ---- the rest ------------------------------------------------------------------------------------


def test_dealing_asks_the_leader_alone_piece_by_piece(client, engines):
    told = []
    assert client.deal("doubling", 10, lambda *each: told.append(each)) == 20
    assert engines[0].asked == [("deal", 4), ("deal", 4), ("deal", 2)]
    assert engines[1].asked == []
    assert [done for _, done, _ in told] == [0, 4, 8, 10]


@pytest.mark.parametrize("runs", [0, -1, True, 1.5])
def test_dealing_takes_a_number(client, runs):
    with pytest.raises(UsageError, match="number of runs"):
        client.deal("doubling", runs)


def test_removing_goes_to_all_and_forgives_those_who_lack_it(client, engines):
    del engines[0].models_["doubling"]
    client.remove("doubling")
    assert engines[1].models_ == {}
    with pytest.raises(UnknownModel):
        client.remove("doubling")


def test_status_has_those_who_fail_as_well(client, engines):
    engines[1].fails_with = Refused("not you")
    alice, bob = client.status()
    assert alice.details == {"asked_by": "client:carol"}
    assert alice.error is None
    assert bob.details is None
    assert isinstance(bob.error, Refused)


@pytest.mark.parametrize("name", ["../status", "a/b", "a b", "ä", "?x", ""])
def test_a_name_is_a_name_and_no_path(client, name):
    with pytest.raises((UnknownModel, UsageError, PeerFailed)):
        client.model(name)
