"""Live runs over slow lines: who talks over which, and one small round of it."""

import pytest
import torch
from torch import nn

import tacita
from bench.comparisons_lines import LiveLines, by_turns, noted
from bench.daemons_latency import Asked
from bench.tolerance import tolerance
from tacita.client.local_network import LocalNetwork
from tacita.compiler.prediction import Link
from tacita.protocols.ways import WAYS
from tacita.service.config import load_client, load_dealer, load_party

FAST = Link("", 1e-3, 1e9)
BITS = 16


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    with LiveLines(tmp_path_factory.mktemp("live"), FAST) as running:
        yield running


@pytest.fixture(scope="module")
def asked():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    made = Asked.__new__(Asked)
    made.name, made.batch, made.bits, made.images = "small", 2, BITS, torch.randn(2, 4)
    precision = tacita.Precision(base=2, digits=BITS)
    made.model = tacita.export(net, made.images, precision=precision, samples=made.images)
    with torch.no_grad():
        made.expected = net(made.images)
    made.tolerance = tolerance(net, made.images, BITS)
    return made


def models_of(asked):
    return {way: asked.model.compared_by(way) for way in WAYS} | {
        "auto": asked.model.compared_by("snn")
    }


class Kept:
    def __init__(self):
        self.figures = {}

    def add(self, name, figure):
        self.figures[name] = figure


def test_no_two_roles_that_talk_do_it_past_their_line(lines):
    local = lines.local
    alice = load_party(local.config("alice")).network
    bob = load_party(local.config("bob")).network
    carol = load_client(local.client_config("client", "carol")).network
    near = local.network
    ends = [
        alice.parties[1].peers, alice.dealer.address, bob.dealer.address,
        carol.parties[0].peers, carol.parties[1].peers, carol.dealer.address,
    ]  # fmt: skip
    assert len({str(each) for each in ends}) == 6
    there = {near.parties[0].peers, near.parties[1].peers, near.dealer.address}
    assert not {str(each) for each in ends} & {str(each) for each in there}
    # Who listens does it at the near end.
    for name, place in (("alice", 0), ("bob", 1)):
        assert load_party(local.config(name)).peers == near.parties[place].peers
    assert load_dealer(local.config("dana")).address == near.dealer.address


def test_every_way_runs_live_and_its_seconds_are_kept(lines, asked):
    taken = by_turns(models_of(asked), lines.workers(), asked, runs=2)
    assert {way: len(each) for way, each in taken.items()} == dict.fromkeys((*WAYS, "auto"), 2)
    # The input has to get there, and the result back.
    assert min(min(each) for each in taken.values()) > FAST.rtt


def test_a_wrong_answer_ends_it(lines, asked, monkeypatch):
    monkeypatch.setattr(asked, "expected", asked.expected + 1)
    with pytest.raises(SystemExit, match="a wrong answer by tables"):
        by_turns(models_of(asked), lines.workers(), asked, runs=1)


def test_what_is_noted_is_the_pick_over_the_best(asked, capsys):
    record, picked = Kept(), asked.model.compared_by("snn")
    taken = {"tables": [3.0, 1.0, 2.0], "snn": [5.0, 4.0, 4.5], "auto": [2.5, 2.5, 9.0]}
    noted(record, "lines; x", picked, taken, dict.fromkeys(taken, 1.0))
    figure = record.figures["lines; x"]
    assert figure["seconds"] == {"tables": 2.0, "snn": 4.5, "auto": 2.5}
    assert figure["pick_over_best"] == 1.25
    assert figure["picked"] == {"snn": 1}
    assert figure["spread_s"]["snn"]["least"] == 4.0
    assert "pick/best 1.25, target 1.15" in capsys.readouterr().out


def test_where_lines_do_not_come_up_nothing_is_left_running(tmp_path, monkeypatch):
    def fails(self, limit=0):
        raise RuntimeError("no daemons today")

    monkeypatch.setattr(LocalNetwork, "start", fails)
    lines = LiveLines(tmp_path, FAST)
    with pytest.raises(RuntimeError, match="no daemons today"), lines:
        pass
    assert lines._slow.ports == []
