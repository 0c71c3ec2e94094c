"""Passes: what they leave out, what they keep, and that the program computes the same."""

from collections import Counter

import numpy as np
from recorded import Hand, network, run_clear

from tacita.compiler.passes import in_order_of_start, optimised, without_dead_code
from tacita.compiler.validation import validate
from tacita.program.schedule import cost_of, starts
from tacita.protocols import (
    Combine,
    Extremum,
    MaskWires,
    NonNegative,
    PublicProduct,
    Reshape,
    Truncate,
    sign,
)
from tacita.protocols.extremum import tournament


def kinds(program):
    return [type(each) for each in program.instructions]


def outputs_of(program):
    values = run_clear(program)
    return [values[port.wire] for port in program.outputs]


def same_outputs(first, second):
    return all(map(np.array_equal, outputs_of(first), outputs_of(second)))


def test_the_result_of_all_passes_computes_the_same(program):
    after = optimised(program)
    validate(after)
    assert same_outputs(program, after)
    assert (after.wires, after.inputs, after.weights, after.outputs) == (
        program.wires,
        program.inputs,
        program.weights,
        program.outputs,
    )


def test_passes_twice_change_nothing(program):
    once = optimised(program)
    assert optimised(once) == once


# ---- dead code ---------------------------------------------------------------------------------


def test_what_no_output_needs_goes_with_what_it_needs():
    hand = Hand()
    x, c = hand.input(3), hand.constant(np.arange(3))
    kept, product, dead = hand.wire(3), hand.wire(3), hand.wire(3)
    hand.emit(Combine, kept, ((x, 2),), (3,), place="kept")
    hand.emit(PublicProduct, product, x, c, False, False, (3,), place="dead")
    hand.mask(product)
    hand.emit(Truncate, dead, product, 4, 62, (3,), place="dead")
    program = without_dead_code(hand.program(kept))
    assert kinds(program) == [Combine]
    assert program.places == ("kept",)
    assert program.constants == ()
    validate(program)


def test_inputs_and_weights_stay():
    hand = Hand()
    x, unused, weight = hand.input(3), hand.input(2), hand.weight(4)
    out = hand.wire(3)
    hand.emit(Reshape, out, x, (3,))
    program = without_dead_code(hand.program(out))
    assert [port.wire for port in program.inputs] == [x, unused]
    assert [port.wire for port in program.weights] == [weight]


def test_a_constant_that_is_an_output_stays():
    hand = Hand()
    c = hand.constant(np.arange(3))
    program = without_dead_code(hand.program(c))
    assert [each.wire for each in program.constants] == [c]


def test_of_a_mask_only_the_wires_that_are_needed_stay():
    hand = Hand()
    x, y, out, dead = hand.input(3), hand.input(2, 2), hand.wire(3), hand.wire(2, 2)
    hand.mask(x, y)
    hand.emit(Truncate, out, x, 4, 62, (3,))
    hand.emit(Truncate, dead, y, 4, 62, (2, 2))
    program = without_dead_code(hand.program(out))
    assert program.instructions[0] == MaskWires((x,), ((3,),))
    assert kinds(program) == [MaskWires, Truncate]
    validate(program)


def test_a_mask_that_comes_after_the_view_which_needs_it_stays():
    hand = Hand()
    x, view, out = hand.input(2, 3), hand.wire(6), hand.wire(6)
    hand.emit(Reshape, view, x, (6,))
    hand.mask(x)
    hand.emit(NonNegative, out, view, (6,), sign.width(64, 6))
    program = without_dead_code(hand.program(out))
    assert kinds(program) == [Reshape, MaskWires, NonNegative]
    validate(program)


def test_one_result_of_two_is_enough():
    hand = Hand()
    x, value, index = hand.input(3, 2), hand.wire(2), hand.wire(2)
    hand.mask(x)
    hand.emit(Extremum, value, index, x, (3, 2), tournament(3, 2, 64))
    assert kinds(without_dead_code(hand.program(index))) == [MaskWires, Extremum]


def test_a_program_without_outputs_is_empty(every):
    hand = Hand()
    hand.emit(Reshape, hand.wire(3), hand.input(3), (3,))
    assert without_dead_code(hand.program()).instructions == ()


# ---- order -------------------------------------------------------------------------------------


def two_chains():
    """A comparison of x, then one of y: nothing of the second waits for the first."""
    hand = Hand()
    results = []
    for name in "xy":
        x, out = hand.input(4), hand.wire(4)
        hand.emit(MaskWires, (x,), ((4,),), place=name)
        hand.emit(NonNegative, out, x, (4,), sign.width(64, 4), place=name)
        results.append(out)
    return hand.program(*results)


def test_what_can_start_together_stands_together():
    program = in_order_of_start(two_chains())
    assert kinds(program) == [MaskWires, MaskWires, NonNegative, NonNegative]
    assert program.places == ("x", "y", "x", "y")
    validate(program)


def test_starts_ascend_afterwards(program):
    start, total = starts(in_order_of_start(program).instructions)
    assert start == sorted(start)
    assert total == starts(program.instructions)[1]


def test_the_order_costs_nothing(program):
    assert cost_of(in_order_of_start(program).instructions) == cost_of(program.instructions)


def test_the_places_go_with_their_instructions():
    program = network()
    after = in_order_of_start(program)
    pairs = [Counter(zip(p.instructions, p.places, strict=True)) for p in (program, after)]
    assert pairs[0] == pairs[1]
