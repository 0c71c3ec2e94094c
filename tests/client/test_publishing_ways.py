"""Publishing a model with its values compared in another way, or in the one that is the fastest."""

import asyncio

import pytest
import torch
from torch import nn

from tacita.client import links
from tacita.client.async_client import AsyncClient
from tacita.client.comparing import MEASURING, compared, told_of
from tacita.compiler import archive
from tacita.compiler.planning import comparing, with_instructions
from tacita.compiler.prediction import Link, Overheads, Work
from tacita.errors import Busy, Refused, UsageError
from tacita.protocols.ways import compared_by, way_of
from tacita.runtime import forecast as forecast_module
from tacita.runtime.progress import silent
from tacita.torch.whole.model import Model, export

# What `fss` takes to be computed, in seconds, beyond tables: less than a round over FAR, of which
# it saves at least one, and more than the few of which it does over NEAR.
WORK = 1e-2
ROUND = 1e-4
NEAR = {"round_trip": 2e-5, "sent": 1e9, "received": 1e9}
FAR = {"round_trip": 50e-3, "sent": 20e6 / 8, "received": 20e6 / 8}


@pytest.fixture(scope="module")
def model():
    return export(nn.ReLU().eval(), torch.rand(2, 3))


@pytest.fixture(autouse=True)
def timed(monkeypatch, tmp_path):
    """A machine whose times are known."""

    def rehearsed(program, parties, known, progress):
        return [Work(online=WORK * (way_of(each) == "fss")) for each in program.instructions]

    live = online = (ROUND, ROUND, 1)
    overheads = Overheads(*live, *online, ROUND, ROUND, 0, ROUND, 0)
    monkeypatch.setattr(forecast_module, "measured_overheads", lambda _: overheads)
    monkeypatch.setattr(forecast_module, "rehearsed", rehearsed)
    monkeypatch.setattr("tacita.runtime.timings.user_cache_path", lambda *_: tmp_path)
    monkeypatch.setattr(links, "PAUSE", 0.0)


@pytest.fixture
def olga(setting):
    """An owner at parties that are far from each other."""
    answers(setting, FAR)
    return setting.client("olga")


def answers(setting, link):
    """Has the parties measure this, and count who asks."""
    for engine, other in zip(setting.engines, ("bob", "alice"), strict=True):

        def neighbours(principal, engine=engine, other=other):
            engine.asked.append("neighbours")
            if isinstance(link, Exception):
                raise link
            return {other: link, "dana": NEAR}

        engine.neighbours = neighbours


def asked(setting):
    return [engine.asked.count("neighbours") for engine in setting.engines]


def ways_of(encoded):
    program = archive.decode(encoded)
    return [way_of(program.instructions[number]) for number in comparing(program)]


def sent(setting):
    """How the models compare that were published, in order."""
    found = [[ways_of(each.program) for each in engine.published] for engine in setting.engines]
    assert found[0] == found[1]
    return found[0]


# ---- who chooses ---------------------------------------------------------------------------------


def test_who_says_how_has_nothing_measured(setting, olga, model):
    told = []
    for protocol in ("tables", "fss"):
        found = olga.publish(
            model, "relu", protocol=protocol, progress=lambda *each: told.append(each[0])
        )
        assert found.compared == f"compares with {protocol}: as asked for"
    assert sent(setting) == [["tables"], ["fss"]]
    assert asked(setting) == [0, 0]
    assert set(told) == {"sending relu"}


def test_what_was_chosen_for_a_model_is_kept(setting, olga, model, tmp_path):
    model.compared_by("fss").save(tmp_path / "relu.tacita")
    for each in (
        model.compared_by("fss"),
        model.compared_by("tables"),
        Model.load(tmp_path / "relu.tacita"),
    ):
        found = olga.publish(each, "relu")
        assert found.compared.endswith(": as was chosen for the model before")
    assert sent(setting) == [["fss"], ["tables"], ["fss"]]
    assert asked(setting) == [0, 0]


def test_a_choice_can_be_asked_for_anew(setting, olga, model):
    olga.publish(model.compared_by("tables"), "relu", protocol="auto")
    assert sent(setting) == [["fss"]]
    assert asked(setting) == [1, 0]


def test_what_takes_the_dealer_online_is_not_published(setting, olga, model):
    with pytest.raises(UsageError, match="use tables or fss"):
        olga.publish(model, "relu", protocol="snn")
    with pytest.raises(UsageError, match="no protocol 'none'"):
        olga.publish(model, "relu", protocol="none")
    assert setting.engines[0].published == []


@pytest.mark.parametrize("protocol", [None, "auto", "tables"])
def test_a_network_that_is_none(setting, olga, model, protocol):
    with pytest.raises(UsageError, match="no network 'moon'"):
        olga.publish(model, "relu", protocol=protocol, network="moon")
    assert setting.engines[0].published == []


# ---- who does not --------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [None, "auto"])
@pytest.mark.parametrize(
    ("link", "way", "words"),
    [
        (FAR, "fss", "50 ms round trip, 20 Mbit/s"),
        (NEAR, "tables", "0.02 ms round trip, 8 Gbit/s"),
    ],
)
def test_a_plan_is_for_the_network_as_the_parties_measure_it(
    setting, model, protocol, link, way, words
):
    answers(setting, link)
    told = []
    found = setting.client("olga").publish(
        model, "relu", protocol=protocol, progress=lambda *each: told.append(each)
    )
    assert sent(setting) == [[way]]
    assert found.compared == f"compares with {way}: {words} between the parties"
    assert asked(setting) == [1, 0]
    assert told[:2] == [(MEASURING, 0, 1), (MEASURING, 1, 1)]
    assert ("timing this machine", 1, 1) in told


@pytest.mark.parametrize("network", ["50ms,20Mbit/s", Link("mine", 50e-3, 20e6 / 8)])
def test_a_network_that_is_given_is_not_measured(setting, model, network):
    answers(setting, NEAR)
    found = setting.client("olga").publish(model, "relu", network=network)
    assert sent(setting) == [["fss"]]
    assert found.compared == "compares with fss: 50 ms round trip, 20 Mbit/s, as given"
    assert asked(setting) == [0, 0]


@pytest.mark.parametrize(
    ("answer", "reason", "times"),
    [
        (Refused("not you"), "alice answered 403: not you", 1),
        (Busy("for others"), "alice answered 503: for others", links.TRIES),
        ({**FAR, "sent": "fast"}, "alice does not say how fast its ways are", 1),
        ({"round_trip": 0.05}, "alice does not say how fast its ways are", 1),
    ],
    ids=["refused", "busy", "garbage", "another version"],
)
def test_where_parties_cannot_say_a_local_network_is_assumed(setting, model, answer, reason, times):
    answers(setting, answer)
    found = setting.client("olga").publish(model, "relu")
    assert sent(setting) == [["tables"]]
    assert found.compared == (
        "compares with tables: 0.3 ms round trip, 3 Gbit/s assumed, since it could not be measured "
        f"({reason})"
    )
    assert asked(setting) == [times, times]


def test_a_model_without_comparisons_is_published_as_it_is(setting, olga):
    linear = export(nn.Linear(3, 2).eval(), torch.rand(2, 3))
    for protocol in (None, "auto", "fss"):
        assert olga.publish(linear, "linear", protocol=protocol).compared == "compares nothing"
    encoded = archive.encode(linear.program)
    assert {each.program for each in setting.engines[0].published} == {encoded}
    assert asked(setting) == [0, 0]


def test_what_is_said_is_no_part_of_the_model(olga, model):
    published = olga.publish(model, "relu")
    again = olga.model("relu")
    assert published == again
    assert again.compared == ""


def test_it_is_the_same_in_an_event_loop(setting, model):
    answers(setting, FAR)

    async def publish():
        async with AsyncClient(setting.config("olga")) as client:
            return await client.publish(model, "relu")

    assert asyncio.run(publish()).compared.startswith("compares with fss: 50 ms")


# ---- more than two -------------------------------------------------------------------------------


class Silent:
    """A party that nobody is to ask."""


def for_three(model, protocol):
    return asyncio.run(compared(model, protocol, None, [Silent()] * 3, 1.0, silent))


@pytest.mark.parametrize("protocol", [None, "auto"])
def test_more_than_two_parties_have_one_way(model, protocol):
    made, says = for_three(model, protocol)
    assert made.program == model.program
    assert says == "compares with tables: the only way for 3 parties"


def test_a_way_for_two_is_refused_to_three(model):
    with pytest.raises(UsageError, match="use tables"):
        for_three(model, "fss")


# ---- in words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        (("tables", "tables", "tables"), "compares with tables"),
        (("fss", "tables", "fss"), "compares with fss (2 of 3 layers), tables (1)"),
        (("tables", "tables", "fss"), "compares with tables (2 of 3 layers), fss (1)"),
        (("fss", "snn", "tables"), "compares with tables (1 of 3 layers), fss (1), snn (1)"),
    ],
)
def test_layers_are_counted(ways, words):
    layers = [each for _ in range(3) for each in (nn.Linear(3, 3), nn.ReLU())]
    program = export(nn.Sequential(*layers).eval(), torch.rand(2, 3)).program
    numbers = comparing(program)
    assert len(numbers) == 3
    instructions = list(program.instructions)
    for number, way in zip(numbers, ways, strict=True):
        instructions[number] = compared_by(instructions[number], way)
    assert told_of(with_instructions(program, instructions)) == words


def test_a_layer_counts_once_whatever_it_compares():
    class Both(nn.Module):
        def forward(self, x):
            return x.relu() * (x - 1).relu()

    program = export(nn.Sequential(Both(), nn.ReLU()).eval(), torch.rand(2, 3)).program
    *first, last = comparing(program)
    assert len(first) > 1
    instructions = list(program.instructions)
    instructions[last] = compared_by(instructions[last], "fss")
    made = with_instructions(program, instructions)
    assert told_of(made) == "compares with tables (1 of 2 layers), fss (1)"
