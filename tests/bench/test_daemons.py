"""What the benchmark of daemons counts, compares and prints; and one small round of all of it."""

import asyncio
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tacita
from bench import daemons
from bench.daemon_network import Deployment, Snapshot, counted, replaced
from bench.daemons_latency import Asked, measured, parts, percentiles
from bench.daemons_load import Crowd, Outcome, soaked
from bench.tolerance import tolerance
from tacita.compiler.prediction import Link
from tacita.program.schedule import cost_of
from tacita.service.metrics import Metrics

BITS = 16


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1))


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(1)
    return torch.randn(2, 1, 6, 6)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(2)
    return Small().eval()


def asked_of(small, images):
    made = Asked.__new__(Asked)
    made.name, made.batch, made.bits, made.images = "small-2", 2, BITS, images
    precision = tacita.Precision(base=2, digits=BITS)
    made.model = tacita.export(small, images, precision=precision, samples=images)
    with torch.no_grad():
        made.expected = small(images)
    made.tolerance = tolerance(small, images, BITS)
    return made


# ---- the tolerance ----


def test_the_tolerance_holds_for_a_run_of_the_program_and_is_no_more_than_needed(small, images):
    precision = tacita.Precision(base=2, digits=BITS)
    model = tacita.export(small, images, precision=precision, samples=images)
    with torch.no_grad():
        off = (model.preview(images) - small(images)).abs()
    allowed = tolerance(small, images, BITS)
    assert (off <= allowed).all()
    # 9 products and 8 after them, of numbers below 8: below 17·8 units, of which each step takes 2.
    assert float(allowed.max()) < 300 * 2.0**-BITS


def test_a_bit_more_of_precision_halves_the_tolerance(small, images):
    coarse, fine = tolerance(small, images, 10), tolerance(small, images, 11)
    # Not what the plaintext's float32 adds, which is far below either.
    assert torch.allclose(coarse, 2 * fine, rtol=0.01)


def test_of_one_linear_layer_it_is_what_is_worked_out_by_hand():
    layer = nn.Linear(2, 1)
    layer.weight.data, layer.bias.data = torch.tensor([[2.0, -1.0]]), torch.tensor([4.0])
    net, x, unit = nn.Sequential(layer), torch.tensor([[3.0, -5.0]]), 2.0**-4
    half = unit / 2
    by_hand = half * 3 + half * (3 + 5 + 2 * half) + half + unit
    float32 = 2 * 2.0**-24 * (3 * 2 + 5 * 1 + 4)
    assert float(tolerance(net, x, 4)) == pytest.approx(by_hand + float32, rel=1e-12)


def test_a_layer_without_a_bound_is_named():
    with pytest.raises(SystemExit, match="Sigmoid"):
        tolerance(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), torch.zeros(1, 2), 8)


def test_wrong_answers_are_noticed(small, images):
    asked = asked_of(small, images)
    assert not asked.wrong(asked.expected)
    off = asked.expected.clone()
    off[1, 2] += 2 * float(asked.tolerance[1, 2])
    assert asked.wrong(off)


# ---- what is counted ----


def test_metrics_are_read_as_a_party_writes_them():
    metrics = Metrics("party:alice")
    metrics.query("digits", "done")
    metrics.phase("digits", "rounds", 0.25)
    metrics.phase("digits", "rounds", 0.5)
    metrics.rounds("digits", 12)
    metrics.dealt("digits", 3)
    found = counted(metrics.render().decode())
    assert found["queries", "digits", "done"] == 1
    assert found["seconds", "digits", "rounds"] == 0.75
    assert found["times", "digits", "rounds"] == 2
    assert found["rounds", "digits"] == 12
    assert found["dealt", "digits"] == 3


def snapshot(queries, seconds):
    keys = Counter({("queries", "m", "done"): queries, ("queries", "m", "timeout"): 1})
    for phase, each in seconds.items():
        keys["seconds", "m", phase], keys["times", "m", phase] = each * queries, queries
    return Snapshot({"alice": keys}, {"alice": float(queries)}, {"alice": 1})


def test_parts_are_means_of_what_came_between_two_snapshots():
    before = snapshot(2, {"whole": 5.0, "batch": 1.0, "rounds": 1.0})
    after = snapshot(4, {"whole": 4.0, "batch": 1.5, "rounds": 1.0})
    (figure,) = parts(after, before, "m").values()
    assert (figure["done"], figure["failed"]) == (2, 0)
    assert (figure["whole_s"], figure["batch_s"], figure["rounds_s"]) == (3.0, 2.0, 1.0)
    assert figure["other_s"] == 0.0
    assert after.cpu_since(before) == {"alice": 2.0}


def test_percentiles_lie_between_the_least_and_the_most():
    found = percentiles([each / 100 for each in range(101)])
    assert [found[name] for name in ("p50", "p90", "p99")] == pytest.approx([0.5, 0.9, 0.99])
    assert (found["least"], found["most"], found["runs"]) == (0.0, 1.0, 101)
    assert percentiles([2.0])["p99"] == 2.0


def test_an_outcome_is_asked_for_a_stretch_of_time():
    outcome = Outcome(answered=[(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)])
    assert outcome.between(2.0, 3.0) == [0.2]


def test_addresses_are_replaced_as_a_whole_and_at_once():
    text = 'a = "127.0.0.1:80"\nb = "127.0.0.1:8080"\nc = "https://127.0.0.1:81"'
    new = replaced(text, ["127.0.0.1:80", "127.0.0.1:81"], ["127.0.0.1:81", "127.0.0.1:82"])
    assert new == 'a = "127.0.0.1:81"\nb = "127.0.0.1:8080"\nc = "https://127.0.0.1:82"'


# ---- options and what is printed ----


def test_parts_that_are_not_there_are_named():
    with pytest.raises(SystemExit, match="speed"):
        daemons.options_from(["--parts", "soak,speed"])


def test_quick_makes_everything_small():
    options = daemons.options_from(["--quick"])
    assert options.parts == list(daemons.PARTS)
    assert 60 * options.minutes == pytest.approx(20)
    assert options.runs == 20


def test_crowds_are_named_as_they_are():
    assert str(Crowd(1)) == "1 client"
    assert str(Crowd(1, 4)) == "1 client, 4 queries at once each"
    assert str(Crowd(32)) == "32 clients"


# ---- all of it, small ----


def test_daemons_behind_slow_lines_are_measured_and_every_answer_is_checked(
    small, images, tmp_path
):
    asked = asked_of(small, images)
    link = Link("short", 0.004, 50e6)
    stock = {"low": 4, "high": 8, "prepared": 2}
    with Deployment(tmp_path, stock=stock, link=link) as deployment:
        text = (tmp_path / "network.toml").read_text()
        assert all(str(each.peers) in text for each in deployment.local.network.parties)
        program = deployment.publish(asked.name, asked.model, 4)
        figure, off = measured(deployment, asked, 3, spaced=False)
        soak = asyncio.run(soaked(deployment, asked, 2, 1.0))
    rounds = cost_of(program.instructions).rounds
    for party in figure["parties"].values():
        assert party["done"] == 3
        assert party["rounds"] == 3 * rounds
        assert party["rounds_s"] >= (rounds / 2 - 1) * link.rtt  # of one, and back, at the least
    # Nothing is earlier than the lines allow: the request, an opening, the answer.
    assert figure["client_s"]["least"] >= 1.5 * link.rtt
    assert off <= float(asked.tolerance.max())
    assert (soak["wrong"], soak["lost"]) == (0, {})
    assert soak["answered"] >= 2  # each client ends what it began
    assert set(soak["resident_bytes"]["end"]) == {"seconds", "client", "dana", "alice", "bob"}
    assert "\n".join(daemons.shown_soak(soak)).startswith("2 clients")
