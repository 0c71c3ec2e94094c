"""Predicted times: formulas over given times of instructions, none of which is measured here."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacita.compiler.costs import by_place
from tacita.compiler.prediction import (
    LAN,
    LINKS,
    LOCAL,
    WAN,
    Link,
    Machine,
    Overheads,
    Work,
    link_named,
    predicted,
)
from tacita.errors import UsageError
from tacita.program.schedule import cost_of

NOTHING = Overheads(0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0)
OVERHEADS = Overheads(4e-4, 2e-4, 1.5, 8e-4, 1e-4, 1.25, 3e-3, 3e-4, 2e-9, 2e-3, 1e-9)


def machine(cores=2, overheads=OVERHEADS):
    return Machine("a processor", cores, overheads)


def works_of(program, scale=1.0):
    """As if a byte that is dealt took two nanoseconds, whoever works on it."""
    times = [2e-9 * scale * each.cost().dealt_bytes for each in program.instructions]
    return [Work(3 * t, t, 2 * t, prepare_beside=1.1 * t, online_beside=2.5 * t) for t in times]


def predict(program, link=LOCAL, parties=2, cores=2, overheads=OVERHEADS, scale=1.0):
    return predicted(
        program,
        by_place(program),
        works_of(program, scale),
        machine(cores, overheads),
        link,
        parties,
    )


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_layers_and_what_is_fixed_add_up(recorded, link):
    prediction = predict(recorded, link)
    for name, total in asdict(prediction.total).items():
        parts = [asdict(each)[name] for each in (*prediction.layers, prediction.fixed)]
        assert total == pytest.approx(sum(parts))
        assert all(part >= 0 for part in parts)
        assert total > 0


def test_online_time_is_that_of_the_formula(recorded):
    link = Link("", rtt=0.02, bandwidth=1e6)
    prediction = predict(recorded, link, parties=3)
    cost = cost_of(recorded.instructions)
    ends = sum(8 * recorded.wires[p.wire].size for p in (*recorded.inputs, *recorded.outputs))
    expected = (
        cost.rounds * (0.01 + OVERHEADS.online_round)
        + cost.online_bytes(3) / 1e6
        + sum(work.online for work in works_of(recorded))
        + OVERHEADS.online_run
        + 0.02  # the client's input and result: there and back
        + ends / 1e6
    )
    assert prediction.total.online == pytest.approx(expected)


def test_dealing_takes_all_cores_and_the_network_to_the_last_party(recorded):
    cost = cost_of(recorded.instructions)
    alone = predict(recorded, Link("", 0.02, 1e6), cores=4, overheads=NOTHING)
    work = sum(each.deal for each in works_of(recorded))
    assert alone.total.dealing == pytest.approx(work / 4 + cost.dealt_bytes / 1e6)


def total(program, part):
    return sum(getattr(work, part) for work in works_of(program))


def test_in_one_process_it_counts_how_long_parties_take_beside_each_other(recorded):
    time = predict(recorded, overheads=NOTHING).total
    assert time.online == pytest.approx(total(recorded, "online_beside"))
    assert time.preparing == pytest.approx(total(recorded, "prepare_beside"))


def test_on_machines_of_their_own_they_take_as_long_as_by_themselves(recorded):
    near = Link("", 0.0, 1e15)
    time = predict(recorded, near, overheads=NOTHING).total
    assert time.online == pytest.approx(total(recorded, "online"))
    assert time.preparing == pytest.approx(total(recorded, "prepare"))


def test_live_all_roles_share_the_cores_or_wait_for_the_slowest(recorded):
    party = total(recorded, "prepare_beside") + total(recorded, "online_beside")
    deal = total(recorded, "deal")
    # Two parties fill one core or two; the dealer's work comes on top.
    one = predict(recorded, cores=1, overheads=NOTHING).total.live
    assert one == pytest.approx(party + deal)
    two = predict(recorded, cores=2, overheads=NOTHING).total.live
    assert two == pytest.approx(party + deal / 2)
    # With a core for each, the slower of the two decides.
    many = predict(recorded, cores=16, overheads=NOTHING).total.live
    assert many == pytest.approx(max(party, deal))


def test_in_one_process_alone_work_takes_longer_than_one_by_one(recorded):
    stretched = replace(NOTHING, live_stretch=1.5, online_stretch=1.25)
    for link, live, online in [(LOCAL, 1.5, 1.25), (LAN, 1.0, 1.0)]:
        before = predict(recorded, link, overheads=NOTHING).total
        after = predict(recorded, link, overheads=stretched).total
        assert after.live == pytest.approx(live * before.live)
        assert after.online == pytest.approx(online * before.online)


def test_a_slow_line_from_the_dealer_holds_a_live_run_up(recorded):
    slow = Link("", 0.0, 1e3)
    cost = cost_of(recorded.instructions)
    live = predict(recorded, slow, overheads=NOTHING).total.live
    assert live > (cost.dealt_bytes + cost.online_bytes(2)) / 1e3


times = st.floats(1e-6, 1e-1)
rates = st.floats(1e4, 1e10)


@given(times, times, rates, rates)
def test_more_latency_or_less_bandwidth_is_never_faster(recorded, rtt, other, rate, lower):
    near, far = sorted((rtt, other))
    narrow, wide = sorted((rate, lower))
    good = predict(recorded, Link("", near, wide)).total
    bad = predict(recorded, Link("", far, narrow)).total
    for name in asdict(good):
        assert getattr(bad, name) >= getattr(good, name) * (1 - 1e-12)


@given(st.floats(1, 100), st.integers(2, 5), st.sampled_from(list(LINKS.values())))
def test_more_work_or_more_parties_are_never_faster(recorded, scale, parties, link):
    small = predict(recorded, link).total
    large = predict(recorded, link, parties=parties, scale=scale).total
    for name in asdict(small):
        assert getattr(large, name) >= getattr(small, name) * (1 - 1e-12)


def test_a_wide_area_network_is_slower_than_a_local_one(recorded):
    local, lan, wan = (predict(recorded, each).total.online for each in (LOCAL, LAN, WAN))
    assert local < lan < wan


def test_one_party_is_refused(recorded):
    with pytest.raises(UsageError, match="2 parties or more, not 1"):
        predict(recorded, parties=1)


# ---- networks as they are typed ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rtt", "bandwidth"),
    [
        ("20ms,100Mbit/s", 0.02, 12.5e6),
        ("0.02,12.5e6", 0.02, 12.5e6),
        ("1s, 1GB/s", 1.0, 1e9),
        ("250us,10Gbit", 250e-6, 1.25e9),
        ("0,8kbit/s", 0.0, 1e3),
        ("1e-3s,1e6B/s", 1e-3, 1e6),
    ],
)
def test_a_round_trip_and_a_bandwidth_name_a_network(text, rtt, bandwidth):
    link = link_named(text)
    assert link.rtt == pytest.approx(rtt)
    assert link.bandwidth == pytest.approx(bandwidth)
    assert not link.local


@pytest.mark.parametrize("name", LINKS)
def test_known_networks_have_names(name):
    assert link_named(name) is LINKS[name]
    assert name in str(LINKS[name])


@pytest.mark.parametrize(
    "text",
    ["", "moon", "20ms", "20ms,", ",1GB/s", "20 parsec,1GB/s", "1ms,0", "1..2ms,1GB/s", "-1,1e6",
     "1ms,1e999", "1e999,1", "nan,1", "1,inf"],
)  # fmt: skip
def test_other_networks_are_refused(text):
    with pytest.raises(UsageError, match="network"):
        link_named(text)


def test_a_prediction_says_what_it_was_made_for(recorded):
    prediction = predict(recorded, WAN, cores=7)
    assert prediction.link == WAN
    assert prediction.machine == replace(machine(), cores=7)
