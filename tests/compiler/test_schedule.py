"""Who waits for whom, and how many rounds that takes."""

import numpy as np
from recorded import Hand

from tacita.program.cost import Cost
from tacita.program.schedule import cost_of, schedule, starts
from tacita.protocols import Combine, NonNegative, PublicProduct, Reshape, WithinBound, sign

WIDTH = sign.width(64, 4)
ROUNDS = NonNegative(1, 0, (4,), WIDTH).cost().rounds


def comparison(hand, x):
    out = hand.wire(4)
    hand.mask(x)
    hand.emit(NonNegative, out, x, (4,), WIDTH)
    return out


def edges(program):
    plan = schedule(program.instructions)
    assert [sum(each in them for them in plan.followers) for each in range(len(plan.waits))] == (
        list(plan.waits)
    )
    return {(a, b) for a, followers in enumerate(plan.followers) for b in followers}


def test_nobody_waits_for_what_is_bound():
    hand = Hand()
    x, w, c = hand.input(4), hand.weight(4), hand.constant(np.arange(4))
    hand.emit(Combine, hand.wire(4), ((x, 1), (w, 1)), (4,))
    hand.emit(PublicProduct, hand.wire(4), x, c, False, False, (4,))
    assert edges(hand.program()) == set()


def test_readers_wait_for_the_writer_and_for_the_mask():
    hand = Hand()
    x, total = hand.input(4), hand.wire(4)
    hand.emit(Combine, total, ((x, 1),), (4,))
    comparison(hand, total)
    assert edges(hand.program()) == {(0, 1), (0, 2), (1, 2)}


def test_a_view_has_the_mask_of_what_it_shows():
    hand = Hand()
    x, view, further, out = hand.input(4), hand.wire(2, 2), hand.wire(4), hand.wire(4)
    hand.emit(Reshape, view, x, (2, 2))
    hand.emit(Reshape, further, view, (4,))
    hand.mask(x)
    hand.emit(NonNegative, out, further, (4,), WIDTH)
    assert edges(hand.program()) == {(0, 1), (1, 3), (2, 3)}


def test_a_checked_wire_is_a_view_that_takes_rounds():
    hand = Hand()
    x, checked, out = hand.input(4), hand.wire(4), hand.wire(4)
    hand.mask(x)
    hand.emit(WithinBound, checked, x, 9, "relu", (4,), sign.width(64, 8))
    hand.emit(NonNegative, out, checked, (4,), WIDTH)
    program = hand.program()
    assert edges(program) == {(0, 1), (0, 2), (1, 2)}
    check = program.instructions[1].cost().rounds
    assert starts(program.instructions) == ([0, 1, 1 + check], 1 + check + ROUNDS)


def test_waiting_for_one_twice_is_waiting_once():
    hand = Hand()
    x, a, out = hand.input(4), hand.wire(4), hand.wire(4)
    hand.emit(Combine, a, ((x, 1),), (4,))
    hand.emit(Combine, out, ((a, 1), (a, 2)), (4,))
    assert schedule(hand.program().instructions).waits == (0, 1)


def test_uses_count_readers_and_writers():
    hand = Hand()
    x, a, out = hand.input(4), hand.wire(4), hand.wire(4)
    hand.emit(Combine, a, ((x, 1),), (4,))
    hand.emit(Combine, out, ((a, 1), (a, 2)), (4,))
    assert schedule(hand.program().instructions).uses == {x: 1, a: 3, out: 1}


def test_waits_lead_forward_in_every_program(program):
    for before, after in edges(program):
        assert before < after


# ---- rounds ------------------------------------------------------------------------------------


def test_independent_openings_share_rounds():
    hand = Hand()
    comparison(hand, hand.input(4))
    comparison(hand, hand.input(4))
    program = hand.program()
    one = sum((each.cost() for each in program.instructions[:2]), Cost())
    assert one.rounds == 1 + ROUNDS
    assert starts(program.instructions) == ([0, 1, 0, 1], 1 + ROUNDS)
    assert cost_of(program.instructions) == Cost(
        one.rounds, 2 * one.opened_bytes, 2 * one.dealt_bytes
    )


def test_openings_that_wait_for_each_other_do_not():
    hand = Hand()
    comparison(hand, comparison(hand, hand.input(4)))
    program = hand.program()
    assert cost_of(program.instructions) == sum(
        (each.cost() for each in program.instructions), Cost()
    )


def test_the_longest_way_counts():
    hand = Hand()
    x, y, total = hand.input(4), hand.input(4), hand.wire(4)
    late = comparison(hand, x)
    hand.emit(Combine, total, ((late, 1), (y, 1)), (4,))
    comparison(hand, total)
    comparison(hand, y)
    start, rounds = starts(hand.program().instructions)
    assert rounds == 2 * (1 + ROUNDS)
    assert start == [0, 1, 1 + ROUNDS, 1 + ROUNDS, 2 + ROUNDS, 0, 1]


def test_nothing_costs_nothing():
    assert starts(()) == ([], 0)
    assert cost_of(()) == Cost()


def test_an_instruction_starts_when_all_it_waits_for_have_ended(program):
    start, total = starts(program.instructions)
    ends = [at + each.cost().rounds for at, each in zip(start, program.instructions, strict=True)]
    waited = dict.fromkeys(range(len(start)), 0)
    for before, after in edges(program):
        waited[after] = max(waited[after], ends[before])
    assert start == [waited[each] for each in range(len(start))]
    assert total == max(ends)
