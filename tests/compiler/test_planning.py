"""Plans: over given works of instructions, none of which is measured here."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import Hand, run_clear, run_shared
from rich.console import Console

from tacita.compiler import archive
from tacita.compiler.costs import by_place
from tacita.compiler.plan_table import show_plan
from tacita.compiler.planning import (
    MOST_HANDED,
    comparing,
    in_way,
    planned,
    possible,
    rewritten,
    with_instructions,
)
from tacita.compiler.prediction import LAN, LOCAL, WAN, Link, Machine, Overheads, Work, predicted
from tacita.compiler.report import Report
from tacita.compiler.validation import validate
from tacita.errors import UsageError
from tacita.program.cost import Cost
from tacita.program.program import Port, Program
from tacita.program.schedule import consulting, cost_of, starts
from tacita.program.wire import Wire
from tacita.protocols import (
    Extremum,
    MaskWires,
    NonNegative,
    Ramps,
    Ranks,
    ReLU,
    Staircase,
    WithinBound,
    Zero,
    sign,
    tables,
)
from tacita.protocols.extremum import tournament
from tacita.protocols.relu import relu_width
from tacita.protocols.staircase import staircase_width
from tacita.protocols.ways import WAYS, compared_by, way_of

NOTHING = Overheads(0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0)
MACHINE = Machine("a processor", 2, NOTHING)
FAR = Link("far", rtt=10.0, bandwidth=1e15)
NARROW = Link("narrow", rtt=0.0, bandwidth=1e3)


def works_of(program, seconds=None, ways=WAYS):
    """No work at all but for `seconds` of each comparison, by way."""
    numbers = set(comparing(program))

    def work(number, way):
        took = (seconds or {}).get(way, 0.0) if number in numbers else 0.0
        return Work(deal=took, online=took, online_beside=took)

    return {way: [work(n, way) for n in range(len(program.instructions))] for way in ways}


def plan_for(program, link, *, ahead=False, parties=2, seconds=None, ways=WAYS, machine=MACHINE):
    works = works_of(program, seconds, ways)
    return planned(program, works, machine, link, parties, ahead=ahead)


def in_each_way(program, number):
    return {way: compared_by(program.instructions[number], way).cost() for way in WAYS}


def moved(cost):
    """Bytes that a run waits for, dealing included."""
    return cost.online_bytes(2) + cost.answered_bytes + cost.handed_bytes


# ---- picks that are forced ---------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [False, True])
def test_where_messages_take_long_the_fewest_hops_are_picked(program, ahead):
    _, plan = plan_for(program, FAR, ahead=ahead)
    for choice in plan.choices:
        costs = choice.costs
        assert costs[choice.way].hops == min(cost.hops for cost in costs.values())
        if costs[choice.way].hops < min(c.hops for w, c in costs.items() if w != choice.way):
            assert choice.reason == "fewest rounds"
    assert "fss" in plan.ways


def test_a_far_network_compares_by_fss(recorded):
    made, plan = plan_for(recorded, FAR, ahead=True)
    relu = next(choice for choice in plan.choices if choice.kind == "ReLU")
    assert (relu.way, relu.reason) == ("fss", "fewest rounds")
    assert way_of(made.instructions[relu.number]) == "fss"
    assert "fewest rounds" in plan.reason()


def test_where_the_line_is_narrow_and_dealing_counts_the_fewest_bytes_are_picked(program):
    _, plan = plan_for(program, NARROW)
    for choice in plan.choices:
        cost = choice.costs[choice.way]
        assert moved(cost) == min(moved(each) for each in choice.costs.values())


def test_a_narrow_line_compares_by_tables_rather_than_by_fss(recorded):
    _, plan = plan_for(recorded, NARROW, ways=("tables", "fss"))
    relu = next(choice for choice in plan.choices if choice.kind == "ReLU")
    assert (relu.way, relu.reason) == ("tables", "fewest bytes")
    assert plan.left_out["snn"]


def test_what_is_dealt_ahead_does_not_count():
    """FSS hands out most and opens least."""
    _, live = plan_for(chain(2), NARROW, ways=("tables", "fss"))
    _, ahead = plan_for(chain(2), NARROW, ahead=True, ways=("tables", "fss"))
    assert live.ways == ("tables",)
    assert ahead.ways == ("fss",)


def test_dealing_ahead_may_count_as_much_as_is_wished():
    program = chain(2)
    works = works_of(program, ways=("tables", "fss"))
    picked = []
    for dealing in (0.0, 1e-6, 1.0):
        _, plan = planned(program, works, MACHINE, NARROW, ahead=True, dealing=dealing)
        best = min(each.seconds(True, dealing) for each in plan.singly.values())
        assert plan.planned.seconds(True, dealing) <= best
        assert (f"counted as {dealing:g}" in plan.reason()) == (dealing > 0)
        picked.append(plan.ways)
    assert picked == [("fss",), ("fss",), ("tables",)]


@pytest.mark.parametrize("least", WAYS)
def test_where_messages_cost_nothing_the_least_work_is_picked(recorded, least):
    seconds = {way: 1.0 if way == least else 2.0 for way in WAYS}
    near = Link("near", 0.0, 1e15)
    made, plan = plan_for(recorded, near, seconds=seconds)
    assert {choice.way for choice in plan.choices} == {least}
    assert {choice.reason for choice in plan.choices} == {"least work"}
    assert {way_of(made.instructions[number]) for number in comparing(made)} == {least}
    assert plan.best_single == least


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("link", [FAR, NARROW, LOCAL])
def test_three_parties_have_tables_alone(recorded, link, ahead):
    made, plan = plan_for(recorded, link, ahead=ahead, parties=3)
    assert made is recorded
    assert plan.ways == ("tables",)
    assert set(plan.left_out) == {"fss", "snn"}
    assert "two parties, not 3" in plan.left_out["fss"]
    assert plan.reason() == "tables: the only way here"


@pytest.mark.parametrize("link", [FAR, NARROW, LOCAL, LAN, WAN])
def test_nothing_that_consults_the_dealer_is_dealt_ahead(program, link):
    made, plan = plan_for(program, link, ahead=True, seconds={"tables": 9.0, "fss": 9.0})
    assert not cost_of(made.instructions).consultations
    assert "snn" not in plan.ways
    assert "cannot be dealt ahead" in plan.left_out["snn"]


def test_what_would_fill_a_memory_is_left_out():
    shape = (1 << 23,)
    program = Program(
        wires=(Wire(0, shape), Wire(1, shape)), inputs=(), weights=(), constants=(), outputs=(),
        instructions=(
            MaskWires((0,), (shape,)),
            ReLU(out=1, x=0, divisor=1, shape=shape, width=sign.width(64, shape[0])),
        ),
        places=("", ""), base=2, digits=0,
    )  # fmt: skip
    program = replace(program, inputs=(Port("x", 0),))
    assert rewritten(program, "fss").instructions[1].cost().handed_bytes > MOST_HANDED
    programs, left_out = possible(program, 2, ahead=False)
    assert "smaller batch" in left_out["fss"]
    assert set(programs) == {"tables", "snn"}


# ---- a plan as a whole -------------------------------------------------------------------------

times = st.floats(0, 1e-2)


@st.composite
def machines(draw):
    return Machine("one", draw(st.integers(1, 8)), replace(
        NOTHING, live_round=draw(times), online_round=draw(times),
        live_stretch=draw(st.floats(1, 2)), online_stretch=draw(st.floats(1, 2)),
    ))  # fmt: skip


links = st.one_of(
    st.builds(Link, st.just("some"), st.floats(0, 0.2), st.floats(1e4, 1e10)), st.just(LOCAL)
)


@st.composite
def random_works(draw, program):
    works = st.builds(Work, times, times, times, times, times, times)
    return {way: [draw(works) for _ in program.instructions] for way in WAYS}


@settings(max_examples=25, deadline=None)
@given(st.data(), links, machines(), st.booleans())
def test_a_plan_is_never_worse_than_one_way_for_all(recorded, data, link, machine, ahead):
    works = data.draw(random_works(recorded))
    made, plan = planned(recorded, works, machine, link, 2, ahead=ahead)
    best = min(each.seconds(ahead) for each in plan.singly.values())
    assert plan.planned.seconds(ahead) <= best
    assert best == plan.singly[plan.best_single].seconds(ahead)
    picked = {choice.number: choice.way for choice in plan.choices}
    assert {n: way_of(made.instructions[n]) for n in comparing(made)} == picked
    assert plan.planned.cost == cost_of(made.instructions)


@settings(max_examples=10, deadline=None)
@given(st.data(), links, machines())
def test_ahead_no_other_mix_is_faster(recorded, data, link, machine):
    """The comparisons of this network wait for each other, so that nothing is counted twice."""
    works = data.draw(random_works(recorded))
    _, plan = planned(recorded, works, machine, link, 2, ahead=True)
    ways = ("tables", "fss")
    programs = {way: rewritten(recorded, way) for way in ways}
    numbers = comparing(recorded)
    for mix in product(ways, repeat=len(numbers)):
        picks = dict(zip(numbers, mix, strict=True))
        own = [picks.get(number, "tables") for number in range(len(recorded.instructions))]
        mixed = with_instructions(
            recorded, [programs[way].instructions[number] for number, way in enumerate(own)]
        )
        work = [works[way][number] for number, way in enumerate(own)]
        took = predicted(mixed, by_place(mixed), work, machine, link, 2).total.online
        assert plan.planned.seconds(True) <= took * (1 + 1e-9)


def test_dealer_and_parties_may_share_the_work_between_ways():
    """One way is all work for the parties and the other for the dealer: half of each is faster."""
    program = chain(6)
    numbers = set(comparing(program))

    def works(deal, online):
        return [
            Work(deal=deal, online=online) if number in numbers else Work()
            for number in range(len(program.instructions))
        ]

    near = Link("near", 0.0, 1e15)
    given_works = {"tables": works(1.0, 0.0), "fss": works(0.0, 1.0)}
    _, plan = planned(program, given_works, MACHINE, near, 2, ahead=False)
    assert plan.planned.seconds(False) == pytest.approx(3.0)
    assert {way: each.time.live for way, each in plan.singly.items()} == pytest.approx(
        {"tables": 6.0, "fss": 6.0}, rel=1e-6
    )
    reasons = {choice.reason for choice in plan.choices}
    assert "dealer and parties wait less for each other" in reasons


def chain(count, n=100):
    """So many ReLUs, one after the other."""
    shape = (n,)
    wires = [Wire(0, shape)]
    instructions = []
    for _ in range(count):
        x, out = len(wires) - 1, len(wires)
        wires.append(Wire(out, shape))
        instructions.append(MaskWires((x,), (shape,)))
        instructions.append(ReLU(out=out, x=x, divisor=1, shape=shape, width=sign.width(33, n)))
    return Program(
        wires=tuple(wires), inputs=(Port("x", 0),), weights=(), constants=(),
        outputs=(Port("y", count),), instructions=tuple(instructions),
        places=("",) * len(instructions), base=2, digits=0,
    )  # fmt: skip


def test_without_works_nothing_can_be_planned(recorded):
    with pytest.raises(UsageError, match="no way"):
        planned(recorded, {}, MACHINE, FAR, 2, ahead=False)


def test_a_program_that_compares_nothing_stays_as_it_is():
    shape = (2,)
    program = replace(
        chain(1), instructions=(MaskWires((0,), (shape,)),), places=("",), outputs=(),
        wires=(Wire(0, shape),),
    )  # fmt: skip
    made, plan = plan_for(program, FAR)
    assert made is program
    assert plan.reason() == "nothing is compared"
    assert plan.ways == ()


# ---- the programs ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_rewritten_program_is_valid_and_computes_the_same(program, way):
    made = rewritten(program, way)
    validate(made)
    assert {way_of(made.instructions[number]) for number in comparing(program)} == {way}
    assert made.outputs == program.outputs
    before, after = run_clear(program), run_clear(made)
    for wire in range(len(program.wires)):
        if wire in before:
            assert np.array_equal(before[wire], after[wire])
    assert rewritten(made, way) is made
    assert archive.decode(archive.encode(made)) == made
    assert [each.reads for each in made.instructions] == [e.reads for e in program.instructions]


@pytest.mark.parametrize("link", [FAR, NARROW])
def test_a_planned_program_computes_the_same(program, link):
    made, _ = plan_for(program, link)
    before, after = run_clear(program), run_clear(made)
    for port in program.outputs:
        assert np.array_equal(before[port.wire], after[port.wire])


@pytest.mark.parametrize("ways", [("tables",), ("fss",), ("snn",), WAYS])
def test_parties_compute_the_same_in_each_way(ways):
    """Of instructions that round nothing, in one way and in several by turns."""
    program = exact()
    numbers = comparing(program)
    mixed = {number: ways[place % len(ways)] for place, number in enumerate(numbers)}
    made = with_instructions(
        program,
        [
            compared_by(each, mixed[number]) if number in mixed else each
            for number, each in enumerate(program.instructions)
        ],
    )
    clear = run_clear(program)
    shared = run_shared(made)
    assert len(numbers) == 8  # of which the first gives the second what it reads
    for port, values in zip(made.outputs, shared, strict=True):
        assert np.array_equal(values, clear[port.wire].reshape(values.shape))


def exact():
    """A program of everything that compares, on one input."""
    hand = Hand()
    x = hand.input(4, 5)
    hand.mask(x)
    bounded, above, positive = hand.wire(4, 5), hand.wire(4, 5), hand.wire(4, 5)
    hand.emit(WithinBound, bounded, x, 1 << 10, "", (4, 5), sign.width(64, 40))
    hand.emit(ReLU, above, bounded, 1, (4, 5), relu_width(1 << 10, 20, 1))
    hand.emit(NonNegative, positive, x, (4, 5), sign.width(33, 20))
    nothing, stairs, ramps = hand.wire(4, 5), hand.wire(2, 4, 5), hand.wire(2, 4, 5)
    hand.emit(Zero, nothing, x, (4, 5), tables.plan(64, 20, order=False))
    climbs, ends = (-9, 4), (-(1 << 20), 1 << 20)
    hand.emit(
        Staircase, stairs, x, climbs, (1, 0), ((2, 3), (5, -7)), (4, 5),
        staircase_width(*ends, climbs, 20),
    )  # fmt: skip
    hand.emit(Ramps, ramps, x, climbs, (4, 5), staircase_width(*ends, climbs, 20))
    places, value, index = hand.wire(4, 5), hand.wire(5), hand.wire(5)
    hand.emit(Ranks, places, x, (4, 5), sign.width(44, 30))
    hand.emit(Extremum, value, index, x, (4, 5), tournament(4, 5, 44))
    return hand.program(above, positive, nothing, stairs, ramps, places, value)


def test_a_protocol_by_name(recorded):
    assert in_way(recorded, "tables", 3, ahead=True) is recorded
    assert in_way(recorded, "snn", 2, ahead=False) == rewritten(recorded, "snn")
    for protocol, parties, ahead, said in [
        ("fss", 3, False, "two parties, not 3; use tables"),
        ("snn", 2, True, "cannot be dealt ahead; use tables or fss"),
        ("mpc", 2, False, "no protocol 'mpc'; there is tables, fss, snn and auto"),
    ]:
        with pytest.raises(UsageError, match=said):
            in_way(recorded, protocol, parties, ahead=ahead)


# ---- what consulting costs ---------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_layers_of_each_way_add_up(program, way):
    made = rewritten(program, way)
    total = sum((layer.cost for layer in by_place(made)), start=Cost())
    assert total == cost_of(made.instructions)
    assert (total.consultations > 0) == (way == "snn")


def test_consultations_side_by_side_are_one(every):
    made = rewritten(every, "snn")
    alone = sum(each.cost().consultations for each in made.instructions)
    merged = cost_of(made.instructions).consultations
    assert 0 < merged < alone
    start, rounds = starts(made.instructions)
    asking = consulting(made.instructions, start)
    assert len(asking) == merged
    assert all(0 <= round_ < rounds for round_ in asking)


def test_a_consulting_round_takes_a_whole_round_trip(recorded):
    link = Link("", rtt=0.02, bandwidth=1e6)
    made = rewritten(recorded, "snn")
    works = [Work(answer=1e-3) if way_of(each) else Work() for each in made.instructions]
    time = predicted(made, by_place(made), works, MACHINE, link, 2).total
    cost = cost_of(made.instructions)
    assert cost.consultations
    ends = sum(8 * made.wires[port.wire].size for port in (*made.inputs, *made.outputs))
    moved_bytes = cost.opened_bytes + cost.consulted_bytes + cost.answered_bytes
    answers = 1e-3 * len(comparing(made))
    expected = (
        (cost.rounds + cost.consultations) * 0.01 + 0.02 + (moved_bytes + ends) / 1e6 + answers
    )
    assert time.online == pytest.approx(expected)
    # Live, the dealer answers and hands out on the same line, which is what takes longest here.
    assert time.live == pytest.approx(expected + cost.handed_bytes / 1e6)


def test_what_is_published_is_dealt_to_the_last_party_as_well(recorded):
    made = rewritten(recorded, "fss")
    cost = cost_of(made.instructions)
    assert cost.published_bytes
    works = [Work()] * len(made.instructions)
    link = Link("", 0.0, 1e6)
    time = predicted(made, by_place(made), works, MACHINE, link, 2).total
    assert time.dealing == pytest.approx((cost.dealt_bytes + cost.published_bytes) / 1e6)


# ---- how it is shown ---------------------------------------------------------------------------


def shown(plan):
    console = Console(record=True, width=100, color_system=None)
    with console.capture() as capture:
        show_plan(plan, console)
    return capture.get()


@pytest.mark.parametrize("ahead", [False, True])
def test_a_plan_shows_the_ways_side_by_side(recorded, ahead):
    _, plan = plan_for(recorded, FAR, ahead=ahead, seconds={"tables": 0.1, "fss": 0.2, "snn": 0.3})
    text = shown(plan)
    for way, outcome in plan.singly.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{way} for all"))
        assert line.split()[3] == str(outcome.cost.rounds)
        assert (" - " in line) == (way == "snn")  # nothing of it is dealt ahead
    assert "planned" in text
    assert "Picked: " in text
    assert ("Not snn:" in text) == ahead


def test_a_mix_is_shown_layer_by_layer(recorded):
    relu = next(n for n in comparing(recorded) if isinstance(recorded.instructions[n], ReLU))
    works = works_of(recorded)
    works["fss"] = [Work(online=0.0 if n == relu else 1e3) for n in range(len(works["fss"]))]
    works["fss"] = [
        each if n in comparing(recorded) else Work() for n, each in enumerate(works["fss"])
    ]
    _, plan = planned(recorded, works, MACHINE, FAR, 2, ahead=True)
    assert plan.ways == ("tables", "fss")
    rows = [line for line in shown(plan).splitlines() if line.startswith("relu ReLU")]
    assert len(rows) == 1
    assert rows[0].rstrip().endswith("fss  fewest rounds")
    assert f"fss for 1 of {len(plan.choices)}" in plan.reason()


@pytest.mark.parametrize("link", [FAR, NARROW])
def test_a_plan_in_numbers_is_json(recorded, link):
    _, plan = plan_for(recorded, link)
    told = plan.as_dict()
    assert json.loads(json.dumps(told)) == told
    assert set(told["singly"]) == set(WAYS)
    assert told["singly"]["snn"]["seconds"]["online"] is None
    assert told["singly"]["fss"]["published_bytes"] > 0
    assert told["planned"]["seconds"]["live"] == plan.planned.time.live
    for choice in told["choices"]:
        assert choice["way"] in choice["ways"]
        assert choice["comparisons"] > 0


def test_a_report_of_what_consults_has_no_times_ahead(recorded):
    made = rewritten(recorded, "snn")
    layers = by_place(made)
    works = [Work(1e-3, 1e-3, 1e-3)] * len(made.instructions)
    prediction = predicted(made, layers, works, MACHINE, WAN, 2)
    report = Report.of(made, layers, 2, prediction)
    assert not report.ahead
    text = " ".join(str(report).split())
    assert "nothing of it can be dealt ahead" in text
    assert "out of the stock" not in text
    head = str(report).splitlines()[1].split()
    assert head[:4] == ["layer", "rounds", "by", "dealer"]
    assert "online" not in head
    told = report.as_dict()
    assert told["total"]["consultations"] == cost_of(made.instructions).consultations
    assert told["total"]["seconds"]["online"] is None
    assert told["total"]["seconds"]["live"] == pytest.approx(prediction.total.live)
    assert json.loads(json.dumps(told)) == told
