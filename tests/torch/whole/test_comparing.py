"""Whole networks whose values are compared in each way, and as planned."""

import pytest
import torch
from torch import nn

import tacita
from tacita.compiler.planning import comparing
from tacita.compiler.prediction import Overheads
from tacita.errors import HoldersError, ProgramError, UsageError
from tacita.program.schedule import cost_of
from tacita.protocols.ways import WAYS, way_of
from tacita.runtime import forecast as forecast_module
from tacita.torch.whole.model import Model, export

OVERHEADS = Overheads(*(1e-4 * count for count in range(1, 12)))


class Exact(nn.Module):
    """Rounds nothing, so that results are those of the program in the clear to the last digit."""

    def forward(self, x):
        return nn.functional.max_pool2d(x, 2).relu().argmax(dim=1)


@pytest.fixture(scope="module")
def model():
    return export(Exact().eval(), torch.rand(1, 3, 4, 4))


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Overheads that are given, and a cache of one's own."""
    monkeypatch.setattr(forecast_module, "measured_overheads", lambda _: OVERHEADS)
    monkeypatch.setattr("tacita.runtime.timings.user_cache_path", lambda *_: tmp_path)


def ways_of(program):
    return {way_of(program.instructions[number]) for number in comparing(program)}


def holders_of(workers):
    return [workers["alice"], workers["bob"]], workers["dan"]


@pytest.mark.parametrize("protocol", WAYS)
def test_a_network_computes_the_same_at_the_declared_cost(model, workers, protocol):
    holders, dealer = holders_of(workers)
    shared = model.share(*holders, crypto_provider=dealer, protocol=protocol)
    assert ways_of(shared.program) == {protocol}
    x = torch.randn(1, 3, 4, 4)
    with tacita.measure(*holders, crypto_provider=dealer, protocol=protocol) as traffic:
        result = shared(x)
    assert torch.equal(result.get().float_precision(), model.preview(x))
    declared = cost_of(shared.program.instructions)
    assert traffic.rounds == declared.rounds
    assert traffic.consultations == declared.consultations
    assert traffic.online_bytes == declared.online_bytes(2)
    assert traffic.dealt_bytes == declared.dealt_bytes
    assert traffic.published_bytes == declared.published_bytes
    assert traffic.answered_bytes == declared.answered_bytes


@pytest.mark.parametrize("protocol", ["fss", "auto"])
def test_what_needs_no_dealer_later_is_dealt_ahead(model, workers, protocol, quick):
    holders, dealer = holders_of(workers)
    shared = model.share(*holders, crypto_provider=dealer, protocol=protocol)
    assert "snn" not in ways_of(shared.program)
    shared.deal(1)
    shared.prepare()
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(shared(x).get().float_precision(), model.preview(x))


def test_what_takes_the_dealer_online_is_not_dealt_ahead(model, workers):
    holders, dealer = holders_of(workers)
    shared = model.share(*holders, crypto_provider=dealer, protocol="snn")
    with pytest.raises(ProgramError, match="use fss or tables"):
        shared.deal(1)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_keeps_its_way_where_none_is_asked_for(model, workers, way):
    holders, dealer = holders_of(workers)
    other = model.compared_by(way)
    assert ways_of(other.program) == {way}
    assert ways_of(model.program) == {"tables"}  # which is another model
    shared = other.share(*holders, crypto_provider=dealer)
    assert shared.program is other.program
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(shared(x).get().float_precision(), model.preview(x))
    assert other.compared_by("tables").cost == model.cost


def test_a_saved_model_keeps_its_way(model, tmp_path):
    path = tmp_path / "network.tacita"
    model.compared_by("fss").save(path)
    assert ways_of(tacita.Model.load(path).program) == {"fss"}


def test_a_plan_suits_the_network_that_it_is_for(model, quick):
    far = model.compared_by("auto", network="10s,100Gbit/s", ahead=True)
    assert "fss" in ways_of(far.program)
    assert far.cost.rounds < model.cost.rounds
    narrow = model.compared_by("auto", network="0,1kbit/s", ways=("tables", "fss"))
    assert narrow.cost.handed_bytes <= model.compared_by("fss").cost.handed_bytes


def test_three_holders_compare_by_tables(model, workers, quick):
    holders = [workers[name] for name in ("alice", "bob", "carol")]
    shared = model.share(*holders, crypto_provider=workers["dan"], protocol="auto")
    assert ways_of(shared.program) == {"tables"}
    with pytest.raises(HoldersError, match="tables"):
        model.share(*holders, crypto_provider=workers["dan"], protocol="fss")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"protocol": "mpc"}, "no protocol 'mpc'"),
        ({"protocol": "fss", "parties": 3}, "use tables"),
        ({"protocol": "snn", "ahead": True}, "use tables or fss"),
        ({"protocol": "auto", "network": "moon"}, "network"),
    ],
)
def test_what_cannot_be_is_refused(model, arguments, said):
    with pytest.raises(UsageError, match=said):
        model.compared_by(**arguments)


@pytest.mark.parametrize("way", ["fss", "snn"])
def test_a_model_that_compares_among_two_is_not_shared_among_three(model, workers, way):
    alice, bob, carol, dan = (workers[name] for name in ("alice", "bob", "carol", "dan"))
    with pytest.raises(HoldersError, match=r"is for two holders, not 3: use .*tables"):
        model.compared_by(way).share(alice, bob, carol, crypto_provider=dan)


def test_what_was_chosen_is_kept_by_share_and_in_a_file(model, workers, tmp_path):
    alice, bob, dan = (workers[name] for name in ("alice", "bob", "dan"))
    chosen = model.compared_by("fss")
    chosen.save(tmp_path / "chosen")
    plain = model.compared_by("tables")
    for kept in (chosen, Model.load(tmp_path / "chosen"), plain):
        assert kept.chosen
        assert kept.share(alice, bob, crypto_provider=dan).program == kept.program
    assert not model.chosen
