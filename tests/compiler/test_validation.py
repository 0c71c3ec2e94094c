"""Malformed programs are refused, one attack at a time, and what is not refused can be run."""

import sys
import tracemalloc
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from recorded import INTEGERS, Hand, run_clear, run_shared
from setting import Setting, refused
from variants import program_variants

from tacita.compiler import shapes, validation
from tacita.compiler.validation import validate
from tacita.errors import BoundExceeded, ProgramError
from tacita.program.instruction import Instruction
from tacita.program.program import Literal, Port
from tacita.program.schedule import schedule
from tacita.program.wire import Wire
from tacita.protocols import (
    AnyInstruction,
    Combine,
    Constant,
    Convolution,
    Exponential,
    Extremum,
    Forget,
    Input,
    MaskWires,
    NonNegative,
    OneHot,
    Permute,
    Product,
    PublicConvolution,
    PublicProduct,
    Ranks,
    ReLU,
    Reshape,
    Reveal,
    Slice,
    Truncate,
    Waves,
    WithinBound,
    Zero,
    sign,
    tables,
)
from tacita.protocols.boundary import Boundary
from tacita.protocols.extremum import tournament
from tacita.protocols.tables import Plan

FULL, NARROW, PLAN = sign.width(64, 6), sign.width(33, 6), tables.plan(33, 6, order=False)
ONE, NO, UNIT = (1, 1), (0, 0), (1, 1)


def test_good_programs_pass(program):
    validate(program)


def test_the_setting_itself_is_fine():
    hand = Setting()
    validate(hand.program(hand.x, hand.result(Reshape, hand.y, (2, 3))))


# ---- each attack by itself: what it does to the setting, and what is said of it ----------------

ORDER = {
    "a wire that is not there": (
        lambda h: h.result(Reshape, 999, (2, 3)),
        "there is no wire 999",
    ),
    "a negative wire": (lambda h: h.result(Reshape, -1, (2, 3)), "there is no wire -1"),
    "a result that is not there": (
        lambda h: h.emit(Reshape, 999, h.x, (2, 3), place="layer.0"),
        "there is no wire 999",
    ),
    "a wire before it is written": (
        lambda h: h.result(Reshape, h.wire(2, 3), (2, 3)),
        r"wire \d+ is read before it is written",
    ),
    "its own result": (
        lambda h: h.emit(Reshape, *(h.wire(2, 3),) * 2, (2, 3), place="layer.0"),
        "is read before it is written",
    ),
    "an input as a result": (
        lambda h: h.emit(Reshape, h.x, h.y, (2, 3), place="layer.0"),
        "wire 0 is written twice",
    ),
    "a result twice": (
        lambda h: h.emit(Reshape, h.result(Reshape, h.x, (2, 3)), h.y, (2, 3), place="layer.0"),
        r"wire \d+ is written twice",
    ),
    "both results of a maximum on one wire": (
        lambda h: h.emit(
            Extremum, *(h.wire(3),) * 2, h.y, (2, 3), tournament(2, 3, 64), place="layer.0"
        ),
        r"wire \d+ is written twice",
    ),
    "a mask on a wire before it is written": (
        lambda h: h.emit(MaskWires, (h.wire(2, 3),), ((2, 3),), place="layer.0"),
        "is read before it is written",
    ),
    "a mask on a constant": (
        lambda h: h.emit(MaskWires, (h.c,), ((2, 3),), place="layer.0"),
        "is public and needs no mask",
    ),
    "a mask on a view of a constant": (
        lambda h: h.emit(
            MaskWires, (h.result(Reshape, h.c, (6,), shape=(6,)),), ((6,),), place="layer.0"
        ),
        "is public and needs no mask",
    ),
    "a mask on a weight": (
        lambda h: h.emit(MaskWires, (h.w,), ((4, 3),), place="layer.0"),
        "wire 5 is masked already",
    ),
    "a mask twice": (
        lambda h: h.emit(MaskWires, (h.y,), ((2, 3),), place="layer.0"),
        "wire 1 is masked already",
    ),
    "a mask twice at once": (
        lambda h: h.emit(MaskWires, (h.x, h.x), ((2, 3),) * 2, place="layer.0"),
        "wire 0 is masked already",
    ),
    "a mask on a view of what is masked": (
        lambda h: h.emit(
            MaskWires, (h.result(Reshape, h.y, (6,), shape=(6,)),), ((6,),), place="layer.0"
        ),
        "is masked already",
    ),
    "a mask of another shape": (
        lambda h: h.emit(MaskWires, (h.x,), ((3, 2),), place="layer.0"),
        "to be masked have the shapes",
    ),
    "masks without shapes": (
        lambda h: h.emit(MaskWires, (h.x, h.flat), ((2, 3),), place="layer.0"),
        "to be masked have the shapes",
    ),
    "no mask at all": (lambda h: h.emit(MaskWires, (), (), place="layer.0"), "masks nothing"),
    "a mask on nothing": (
        lambda h: h.emit(MaskWires, (h.empty,), ((0, 3),), place="layer.0"),
        "has no elements",
    ),
}

UNMASKED = {
    "product, left": lambda h: h.result(Product, h.x, h.y, False, (2, 3)),
    "product, right": lambda h: h.result(Product, h.y, h.x, False, (2, 3)),
    "convolution": lambda h: h.result(
        Convolution, h.result(Reshape, h.input(2, 4, 5, 5), (2, 4, 5, 5), shape=(2, 4, 5, 5)),
        h.filters, ONE, NO, UNIT, 2, (2, 6, 3, 3), shape=(2, 6, 3, 3),
    ),
    "truncation": lambda h: h.result(Truncate, h.x, 10, 62, (2, 3)),
    "waves": lambda h: h.result(Waves, h.x, 1 << 40, ((1, 2),), (2, 3)),
    "exponential": lambda h: h.result(Exponential, h.x, 0, 1 << 16, 16, 1, 16, 16, (2, 3)),
    "one-hot": lambda h: h.emit(
        OneHot, h.wire(3, 2, 3), (), h.x, (), 2, 3, (2, 3), place="layer.0"
    ),
    "values in one-hot columns": lambda h: h.emit(
        OneHot, None, (h.wire(3, 2, 3),), h.y, (h.x,), 2, 3, (2, 3), place="layer.0"
    ),
    "ranks": lambda h: h.result(Ranks, h.x, (2, 3), NARROW),
    "relu": lambda h: h.result(ReLU, h.x, 1, (2, 3), NARROW),
    "comparison": lambda h: h.result(NonNegative, h.x, (2, 3), NARROW),
    "equality": lambda h: h.result(Zero, h.x, (2, 3), PLAN),
    "check": lambda h: h.result(WithinBound, h.x, 9, "relu", (2, 3), FULL),
    "maximum": lambda h: h.emit(
        Extremum, h.wire(3), None, h.x, (2, 3), tournament(2, 3, 64), place="layer.0"
    ),
    "through views": lambda h: h.result(
        NonNegative, h.result(Permute, h.result(Reshape, h.x, (3, 2), shape=(3, 2)), (1, 0)),
        (2, 3), NARROW,
    ),
    "of a sum of masked wires": lambda h: h.result(
        NonNegative, h.result(Combine, ((h.y, 1), (h.y, 1)), (2, 3)), (2, 3), NARROW
    ),
}  # fmt: skip

NOT_OF_A_PROGRAM = {
    "input": lambda h: h.emit(Input, h.wire(2, 3), (2, 3), place="layer.0"),
    "constant": lambda h: h.emit(Constant, h.wire(2, 3), (2, 3), place="layer.0"),
    "reveal": lambda h: h.emit(Reveal, h.x, place="layer.0"),
    "forget": lambda h: h.emit(Forget, place="layer.0"),
}

PRIVATE = {
    "product": lambda h: h.result(PublicProduct, h.x, h.y, False, False, (2, 3)),
    "product with a weight": lambda h: h.result(
        PublicProduct, h.x, h.result(Slice, h.w, 0, 0, 2, 1), False, False, (2, 3)
    ),
    "product with a sum of constants": lambda h: h.result(
        PublicProduct, h.x, h.result(Combine, ((h.c, 2),), (2, 3)), False, False, (2, 3)
    ),
    "convolution": lambda h: h.result(
        PublicConvolution, h.image, h.filters, False, ONE, NO, UNIT, 2, (2, 6, 3, 3),
        shape=(2, 6, 3, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ORDER, ids=ORDER)
def test_order(attack):
    refused(*ORDER[attack])


@pytest.mark.parametrize("attack", UNMASKED, ids=UNMASKED)
def test_operands_that_are_not_masked(attack):
    refused(UNMASKED[attack], r"wire \d+ is not masked before it")


@pytest.mark.parametrize("attack", NOT_OF_A_PROGRAM, ids=NOT_OF_A_PROGRAM)
def test_instructions_that_cannot_stand_in_a_program(attack):
    refused(NOT_OF_A_PROGRAM[attack], "cannot stand in a program")


@pytest.mark.parametrize("attack", PRIVATE, ids=PRIVATE)
def test_private_wires_where_constants_are_due(attack):
    refused(PRIVATE[attack], "is private where a constant is due")


def test_an_instruction_outside_of_any_module_is_named_by_its_number():
    hand = Hand()
    hand.emit(Reveal, hand.input(2))
    with pytest.raises(ProgramError, match=r"^instruction 0 \(Reveal, no module\): "):
        validate(hand.program())


def test_a_cycle_of_two():
    hand = Hand()
    a, b = hand.wire(2), hand.wire(2)
    hand.emit(Reshape, a, b, (2,))
    hand.emit(Reshape, b, a, (2,))
    with pytest.raises(ProgramError, match="wire 1 is read before it is written"):
        validate(hand.program(a))


def test_a_mask_that_comes_too_late():
    hand = Hand()
    x, out = hand.input(6), hand.wire(6)
    hand.emit(NonNegative, out, x, (6,), NARROW)
    hand.mask(x)
    with pytest.raises(ProgramError, match="wire 0 is not masked before it"):
        validate(hand.program(out))


def test_a_mask_on_the_source_serves_its_views_and_so_does_one_that_comes_after_the_view():
    hand = Hand()
    x, view, out = hand.input(2, 3), hand.wire(6), hand.wire(6)
    hand.emit(Reshape, view, x, (6,))
    hand.mask(x)
    hand.emit(NonNegative, out, view, (6,), NARROW)
    validate(hand.program(out))


def test_a_view_of_a_constant_is_one():
    hand = Setting()
    turned = hand.result(Permute, hand.c, (1, 0), shape=(3, 2))
    out = hand.result(PublicProduct, hand.x, turned, True, False, (2, 2), shape=(2, 2))
    validate(hand.program(out))


def test_views_of_views_without_end():
    hand = Hand()
    wire = hand.input(2)
    for _ in range(validation.DEEPEST_VIEW + 1):
        view = hand.wire(2)
        hand.emit(Reshape, view, wire, (2,))
        wire = view
    with pytest.raises(ProgramError, match="is a view of more than 256 others"):
        validate(hand.program(wire))


def test_views_of_views_as_deep_as_they_may_be_can_be_run():
    hand = Hand()
    wire = hand.input(2)
    hand.mask(wire)
    for _ in range(validation.DEEPEST_VIEW):
        view = hand.wire(2)
        hand.emit(Reshape, view, wire, (2,))
        wire = view
    out = hand.wire(2)
    hand.emit(NonNegative, out, wire, (2,), sign.width(64, 2))
    program = hand.program(out)
    validate(program)
    assert np.array_equal(run_shared(program)[0], run_clear(program)[out])


def test_material_beyond_measure():
    hand = Hand()
    x, w = hand.input(1 << 17, 1), hand.weight(1, 1 << 18)
    out = hand.wire(1 << 17, 1 << 18)
    hand.mask(x)
    hand.emit(Product, out, x, w, True, (1 << 17, 1 << 18))
    with pytest.raises(ProgramError, match=r"more than \d+ elements"):
        validate(hand.program(out))
    hand = Hand()
    x = hand.input(1 << 31)
    hand.mask(x)
    out = hand.wire(1 << 31)
    wide = Plan((8,) * 8, ((8,),))  # tables of 2048 entries: 256 bytes an element
    hand.emit(Zero, out, x, (1 << 31,), wide)
    with pytest.raises(ProgramError, match="bytes of material"):
        validate(hand.program(out))


# ---- the table of wires, ports and constants ---------------------------------------------------

WIRES = {
    "number": (Wire(5, (2, 3)), "wire 0 has the number 5"),
    "negative dimension": (Wire(0, (-2, -3)), "wire 0 cannot have the shape"),
    "too many dimensions": (Wire(0, (1,) * 9), "wire 0 cannot have the shape"),
    "too many elements": (Wire(0, (1 << 16, 1 << 16)), "wire 0 .* more than"),
    "too many beside none": (Wire(0, (0, 1 << 62, 1 << 62)), "wire 0 .* more than"),
    "other shape": (Wire(0, (3, 2)), "to be masked have the shapes"),
    "no scale": (Wire(0, (2, 3), 0), "wire 0 cannot have the scale"),
    "negative scale": (Wire(0, (2, 3), -4), "wire 0 cannot have the scale"),
    "absurd scale": (Wire(0, (2, 3), 1 << 63), "wire 0 cannot have the scale"),
    "negative bound": (Wire(0, (2, 3), 1, -1), "wire 0 cannot have the bound"),
    "absurd bound": (Wire(0, (2, 3), 1, 1 << 63), "wire 0 cannot have the bound"),
}


@pytest.mark.parametrize("name", WIRES, ids=WIRES)
def test_wires(every, name):
    wire, said = WIRES[name]
    with pytest.raises(ProgramError, match=said):
        validate(replace(every, wires=(wire, *every.wires[1:])))


def test_absurd_sizes_are_refused_without_making_anything_of_them(every):
    huge = Wire(0, (1 << 31, 1 << 31, 1 << 31))
    tracemalloc.start()
    try:
        with pytest.raises(ProgramError):
            validate(replace(every, wires=(huge, *every.wires[1:])))
        hand = Hand()
        x, out = hand.input(1 << 15, 1 << 16), hand.wire(1 << 31)
        hand.emit(Reshape, out, x, (1 << 31,))
        validate(hand.program(out))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


PORTS = {
    "input of no wire": ({"inputs": (Port("x", 999),)}, "input 'x': there is no wire 999"),
    "input of a negative wire": ({"inputs": (Port("x", -1),)}, "input 'x': there is no wire -1"),
    "weight that is an input": (
        {"weights": (Port("w", 0),)},
        "weight 'w': wire 0 is bound twice",
    ),
    "two inputs of one name": (
        {"inputs": (Port("x", 0), Port("x", 3))},
        "input 'x' stands twice",
    ),
    "constant of no wire": ({"constants": (Literal(999, b""),)}, "a constant: there is no wire"),
    "constant of an input": ({"constants": (Literal(0, bytes(48)),)}, "wire 0 is bound twice"),
    "constant that is too short": (
        {"constants": (Literal(2, bytes(63)),)},
        "the constant of wire 2 has 63 bytes, not 8 for each of 8 elements",
    ),
    "output of no wire": ({"outputs": (Port("y", 999),)}, "output 'y': there is no wire 999"),
    "output that is never written": (
        {"instructions": (), "places": (), "outputs": (Port("y", 3),)},
        "output 'y': wire 3 is read before it is written",
    ),
    "name that acts on a terminal": ({"inputs": (Port("\x1b[2J", 0),)}, "cannot be printed"),
    "name beyond measure": ({"inputs": (Port("x" * 513, 0),)}, "a name of 513 characters"),
    "places without instructions": ({"places": ("a",)}, r"1 places for \d+ instructions"),
    "base": ({"base": 1}, "the base of a precision"),
    "digits": ({"digits": 1 << 40}, "leave no room"),
    "negative digits": ({"digits": -1}, "0 digits or more"),
}


@pytest.mark.parametrize("name", PORTS, ids=PORTS)
def test_ports_and_constants(every, name):
    change, said = PORTS[name]
    with pytest.raises(ProgramError, match=said):
        validate(replace(every, **change))


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("MOST_WIRES", r"\d+ wires"),
        ("MOST_INSTRUCTIONS", r"\d+ instructions"),
        ("MOST_CONSTANTS", "2 constants"),
        ("MOST_PORTS", "inputs; the most are"),
    ],
)
def test_counts(every, monkeypatch, limit, said):
    monkeypatch.setattr(validation, limit, 0)
    with pytest.raises(ProgramError, match=said):
        validate(every)


# ---- what is let through can be run ------------------------------------------------------------


def test_every_instruction_of_a_program_has_a_rule():
    for kind in get_args(AnyInstruction):
        ruled = shapes.written.dispatch(kind) is not shapes.written.dispatch(Instruction)
        assert ruled is not issubclass(kind, Boundary)


def test_the_program_of_every_instruction_has_them_all(every):
    kinds = {kind for kind in get_args(AnyInstruction) if not issubclass(kind, Boundary)}
    assert {type(each) for each in every.instructions} == kinds


@pytest.fixture(scope="module")
def let_through(every, recorded):
    """What is left of a thousand programs with a change each, when the refused ones are gone."""
    kept, refusals = [], 0
    for program in (every, recorded):
        for variant in program_variants(program):
            try:
                validate(variant)
            except ProgramError:
                refusals += 1
            else:
                kept.append(variant)
    assert len(kept) > 100
    assert refusals > 1000
    return kept


def test_what_is_let_through_has_the_shapes_that_it_declares(let_through):
    for program in let_through:
        values = run_clear(program)
        for wire, value in values.items():
            assert value.shape == program.wires[wire].shape


def test_what_is_let_through_can_be_run_by_parties(let_through):
    for program in let_through:
        try:
            outputs = run_shared(program)
        except BoundExceeded:
            continue  # checked mode at work, not a fault of the program's
        for port, value in zip(program.outputs, outputs, strict=True):
            assert value.shape == program.wires[port.wire].shape


def test_the_precision_is_that_of_the_program(every):
    assert (every.base, every.digits) == (INTEGERS.base, INTEGERS.digits)


# ---- hostile programs take no longer than others of their size ---------------------------------


def lines_run(function, *arguments):
    """How many lines of Python that takes: a measure that no machine's speed is in."""
    count, before = 0, sys.gettrace()

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


def below_views(depth, users=40):
    """So many comparisons, sums and masks on views of a wire through so many others."""
    hand = Hand()
    x, y = hand.input(2), hand.input(2)
    deepest = {}
    for wire in (x, y):
        deepest[wire] = wire
        for _ in range(depth):
            view = hand.wire(2)
            hand.emit(Reshape, view, deepest[wire], (2,))
            deepest[wire] = view
    hand.mask(x)
    for _ in range(users):
        hand.emit(NonNegative, hand.wire(2), deepest[x], (2,), sign.width(64, 2))
        hand.emit(Combine, hand.wire(2), ((deepest[y], 1), (deepest[x], 1)), (2,))
        view = hand.wire(2)
        hand.emit(Reshape, view, deepest[y], (2,))
        hand.mask(view)
    return hand.program()


@pytest.mark.parametrize("work", [validate, lambda program: schedule(program.instructions)])
def test_views_of_views_are_not_walked_through_at_each_use(work):
    depth, users = 100, 40
    without, deep = below_views(0, users), below_views(depth, users)
    # The views themselves, each alike; a user waits for one more, whatever the depth.
    one = (lines_run(work, below_views(depth, 0)) - lines_run(work, below_views(0, 0))) / depth
    assert lines_run(work, deep) - lines_run(work, without) <= depth * one + 20 * users


def test_a_shape_of_very_many_dimensions_is_not_multiplied_out():
    hand = Hand()
    hand.emit(Reshape, hand.wire(1), hand.input(1), ((1 << 62) + 1,) * 1_000_000)
    with pytest.raises(ProgramError, match="a shape of 1000000 dimensions"):
        validate(hand.program())
