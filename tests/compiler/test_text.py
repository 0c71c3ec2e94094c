"""The readable form: what stands in it, and that it stays short."""

import re
from itertools import pairwise

import numpy as np
import pytest
from recorded import Hand, network

from tacita.program.schedule import cost_of
from tacita.program.text import text
from tacita.protocols import Combine, Extremum, Gather, PublicProduct, Reshape, Take, Truncate
from tacita.protocols.extremum import tournament


def lines_of(hand, *outputs):
    return [line.strip() for line in text(hand.program(*outputs)).splitlines()]


def line_with(lines, what):
    (line,) = (line for line in lines if what in line)
    return re.sub(r"  +", "  ", line)


def test_str_is_the_readable_form_and_repr_a_short_one(program):
    assert str(program) == text(program)
    assert len(repr(program)) < 100


def test_every_instruction_has_a_line(program):
    shown = re.findall(r"^    (?:.* = )?(\w+)\(", text(program), re.MULTILINE)
    assert shown == [type(each).__name__ for each in program.instructions]


def test_ports_are_called_by_their_names():
    shown = str(network())
    for name in ("%input:x", "%weight:first.weight", "%weight:first.bias", "%weight:last.weight"):
        assert shown.count(name) >= 2  # where it is declared, and where it is used
    outputs = shown[shown.index("outputs: 4") :]
    assert re.search(r"class = %\d+ +\[4\]", outputs)


def test_modules_are_headings():
    shown = [line.strip() for line in str(network()).splitlines()]
    places = [line[2:] for line in shown if line.startswith("# ")]
    assert set(places) == {"first", "relu", "last", "(no module)"}
    assert all(a != b for a, b in pairwise(places))


def test_results_have_shape_scale_and_bound():
    hand = Hand()
    out = hand.wire(2, 3, scale=1 << 16, bound=(1 << 20) - 1)
    hand.emit(Reshape, out, hand.input(6), (2, 3))
    line = line_with(lines_of(hand, out), "Reshape(")
    assert line == "%0 = Reshape(%input:in0)  [2×3] scale 2^16 |x| < 2^20"


def test_scales_of_other_bases_are_powers_where_they_are():
    hand = Hand()
    tenth, odd = hand.wire(2, scale=10**6), hand.wire(2, scale=3 * 2**20)
    x = hand.input(2)
    hand.emit(Reshape, tenth, x, (2,))
    hand.emit(Reshape, odd, x, (2,))
    lines = lines_of(hand, tenth)
    assert "scale 10^6" in line_with(lines, "%0 = Reshape")
    assert "scale 3145728" in line_with(lines, "%1 = Reshape")


def test_sums_have_their_coefficients():
    hand = Hand()
    x, y, out = hand.input(2), hand.input(2), hand.wire(2)
    hand.emit(Combine, out, ((x, 1), (y, -3)), (2,))
    assert line_with(lines_of(hand, out), "Combine").startswith("%2 = Combine(%input:in0, -3·%inp")


def test_masks_show_what_they_are_on():
    hand = Hand()
    x, y = hand.input(2), hand.input(2, 3)
    hand.mask(x, y)
    line = line_with(lines_of(hand, x), "MaskWires")
    assert line == "MaskWires(%input:in0, %input:in1)  [2]; [2×3]"


def test_numbers_that_look_like_wires_are_not_taken_for_them():
    hand = Hand()
    x, out = hand.input(2, 2), hand.wire(2, 1)
    hand.emit(Take, out, x, 1, (0,))
    assert line_with(lines_of(hand, out), "Take").startswith(
        "%1 = Take(%input:in0, dim=1, indices=(0,))"
    )


def test_what_is_not_wanted_of_a_maximum_is_said():
    hand = Hand()
    x, both, index = hand.input(3, 2), (hand.wire(2), hand.wire(2)), hand.wire(2)
    hand.mask(x)
    hand.emit(Extremum, *both, x, (3, 2), tournament(3, 2, 64))
    hand.emit(Extremum, None, index, x, (3, 2), tournament(3, 2, 64))
    lines = lines_of(hand, index)
    assert line_with(lines, "%1, %2 = Extremum(").endswith("[2]; [2]")
    assert "%3 = Extremum(%input:in0, value=None, " in line_with(lines, "%3 = Extremum(")


def test_divisors_are_powers_where_they_are():
    hand = Hand()
    x, out = hand.input(2), hand.wire(2)
    hand.mask(x)
    hand.emit(Truncate, out, x, 1 << 16, 62, (2,))
    assert "divisor=2^16, bits=62)" in line_with(lines_of(hand, out), "Truncate")


def test_constants_of_one_element_show_it_and_others_do_not():
    hand = Hand()
    x, one = hand.input(3), hand.constant(np.array((1 << 64) - 5, np.uint64))
    many, out = hand.constant(np.arange(100, 103)), hand.wire(3)
    hand.emit(PublicProduct, out, x, one, False, False, (3,))
    hand.emit(PublicProduct, hand.wire(3), x, many, False, False, (3,))
    lines = lines_of(hand, out)
    (declared,) = (line for line in lines if line.startswith("%constant:1"))
    assert declared.split() == ["%constant:1", "=", "-5", "[]"]
    (declared,) = (line for line in lines if line.startswith("%constant:2"))
    assert declared.split() == ["%constant:2", "[3]"]


@pytest.mark.parametrize("count", [9, 100_000])
def test_long_lists_are_counted(count):
    hand = Hand()
    x, out, gathered = hand.input(2, 2), hand.wire(2, count), hand.wire(count)
    hand.emit(Take, out, x, 1, (0,) * count)
    hand.emit(Gather, gathered, x, (count,), bytes(8 * count))
    lines = lines_of(hand, out)
    assert f"indices=<{count}>" in line_with(lines, "Take")
    assert f"indices=<{8 * count} bytes>" in line_with(lines, "Gather")
    assert max(map(len, lines)) < 200


def test_plans_and_widths_are_compact(every):
    for line in str(every).splitlines():
        assert len(line) < 200
    assert "width=Width(bits=33, drop=0, plan=Plan(chunks=<8>, levels=<1>))" in str(every)


def test_totals_are_those_of_the_schedule():
    program = network()
    cost = cost_of(program.instructions)
    last = str(program).splitlines()[-1]
    assert last.startswith(
        f"totals: {len(program.instructions)} instructions, {cost.rounds} rounds"
    )
    assert f"{cost.opened_bytes / 1000:.3g} kB to each other party" in last
    assert f"{cost.dealt_bytes / 1000:.3g} kB dealt" in last


def test_small_totals_are_in_bytes():
    hand = Hand()
    x = hand.input(3)
    hand.mask(x)
    assert lines_of(hand, x)[-1] == (
        "totals: 1 instructions, 1 rounds, 24 B to each other party, 0 B dealt"
    )
