"""In the clear, among two parties and among three: every instruction computes the same.

The tolerance is derived: none, or one unit upwards where the instruction truncates, or twice the
error that a protocol states where it approximates.
"""

from typing import get_args

import msgspec
import numpy as np
import pytest
from cases import BY_OTHER_WAYS, CASES, Case, play, ring
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tacita.errors import BoundExceeded
from tacita.protocols import (
    AnyInstruction,
    Combine,
    Extremum,
    NonNegative,
    Product,
    ReLU,
    Truncate,
    WithinBound,
    Zero,
    sign,
    tables,
    ways,
)
from tacita.protocols.extremum import tournament
from tacita.protocols.relu import relu_width
from tacita.runtime.orders import Order, decode_order, encode
from tacita.runtime.plain import PlainRun

KINDS = set(get_args(AnyInstruction))


def agree(session, case):
    """Runs a case in the clear and on a session; both give the same, but for the units."""
    plain = PlainRun()
    expected = play(plain, case)
    found = play(session, case)
    assert len(found.outputs) == len(expected.outputs)
    for ours, theirs in zip(found.outputs, expected.outputs, strict=True):
        if case.fails:
            with pytest.raises(BoundExceeded, match="test: "):
                plain.reveal(theirs)
            with pytest.raises(BoundExceeded, match="test: "):
                session.reveal(ours)
            continue
        want = plain.reveal(theirs)
        got = session.reveal(ours)
        assert got.shape == want.shape
        above = np.subtract(got, want).view(np.int64)
        least, most = -case.either, case.units + case.either
        assert np.all((above >= least) & (above <= most)), case.id


def test_every_instruction_has_cases():
    counts = {kind: sum(case.kind is kind for case in CASES) for kind in KINDS}
    assert {kind.__name__ for kind, count in counts.items() if count < 3} == set()
    assert {case.kind for case in CASES} == KINDS


def test_case_names_are_distinct():
    names = [case.id for case in CASES]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_plain_is_private(session, case):
    agree(session, case)


@pytest.mark.parametrize("case", BY_OTHER_WAYS, ids=lambda case: case.id)
def test_every_way_to_compare_gives_the_same(sessions, case):
    agree(sessions.of(2, case.protocol), case)


def test_every_instruction_that_compares_does_so_in_every_way():
    assert {ways.way_of(built(case)) for case in BY_OTHER_WAYS} == {"fss", "snn"}
    compared = {case.kind for case in CASES if ways.way_of(built(case)) is not None}
    assert compared == {
        each for each in KINDS if "width" in fields(each) or each in (Zero, Extremum)
    }
    assert {case.kind for case in BY_OTHER_WAYS} == compared


@pytest.mark.parametrize("case", BY_OTHER_WAYS, ids=lambda case: case.id)
def test_the_way_there_and_back_changes_nothing(case):
    other = built(case)
    planned = ways.compared_by(other, "tables")
    assert ways.way_of(planned) == "tables"
    assert ways.compared_by(planned, ways.way_of(other)) == other


def built(case):
    return case.build(
        list(range(len(case.private) + len(case.public))), list(range(10, 10 + len(case.shapes)))
    )


def fields(kind):
    return kind.__struct_fields__


@pytest.mark.parametrize("case", [*CASES, *BY_OTHER_WAYS], ids=lambda case: case.id)
def test_an_instruction_survives_its_encoding(case):
    instruction = built(case)
    order = Order(3, (instruction,), (1, 2))
    assert decode_order(encode(order)) == order
    assert type(decode_order(encode(order)).instructions[0]) is case.kind


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_reads_and_writes_are_the_wires_that_it_names(case):
    reads = list(range(len(case.private) + len(case.public)))
    writes = list(range(10, 10 + len(case.shapes)))
    instruction = case.build(reads, writes)
    if case.act is None:
        assert set(instruction.reads) == set(reads)
        assert list(instruction.writes) == writes


def test_a_comparison_of_another_width_than_its_plan_is_refused():
    with pytest.raises(ValueError, match="a plan for 3 bits"):
        sign.Width(64, 0, tables.one_level(3))
    planned = msgspec.to_builtins(sign.width(8, 1))
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**planned, "bits": 9}, sign.Width)


# ---- random values and shapes ------------------------------------------------------------------

EXAMPLES = settings(max_examples=25)
PARTIES = st.sampled_from([2, 3])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)


def integers(least, most):
    return st.integers(least, most) | st.sampled_from([least, most, 0, 1, -1])


def arrays(least=-(1 << 63), most=(1 << 63) - 1, shape=SHAPES):
    """Ring elements of [least, most]; the ends more often than chance has it."""
    ends = st.sampled_from([v for v in (least, most, 0, 1, -1) if least <= v <= most])
    return hnp.arrays(np.int64, shape, elements=st.integers(least, most) | ends).map(ring)


@st.composite
def broadcast(draw):
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=5))
    x, w = (draw(arrays(shape=shape)) for shape in shapes.input_shapes)
    return x, w, shapes.result_shape


@EXAMPLES
@given(parties=PARTIES, operands=broadcast())
def test_any_product(sessions, parties, operands):
    x, w, shape = operands
    agree(
        sessions.of(parties),
        Case(
            Product,
            "any",
            lambda reads, writes: Product(*writes, *reads, False, shape),
            (shape,),
            (x, w),
            masked=True,
        ),
    )


@st.composite
def matrices(draw):
    rows, inner, columns = (draw(st.integers(0, 6)) for _ in range(3))
    batch = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3))
    left, right = batch.input_shapes
    x = draw(arrays(shape=(*left, rows, inner)))
    w = draw(arrays(shape=(*right, inner, columns)))
    return x, w, (*batch.result_shape, rows, columns)


@EXAMPLES
@given(parties=PARTIES, operands=matrices())
def test_any_matrix_product(sessions, parties, operands):
    x, w, shape = operands
    agree(
        sessions.of(parties),
        Case(
            Product,
            "any",
            lambda reads, writes: Product(*writes, *reads, True, shape),
            (shape,),
            (x, w),
            masked=True,
        ),
    )


@EXAMPLES
@given(parties=PARTIES, data=st.data(), bits=st.integers(2, 62))
def test_any_truncation(sessions, parties, data, bits):
    divisor = data.draw(st.integers(1, 1 << 20) | st.integers(0, 40).map(lambda f: 1 << f))
    most = (1 << (bits - 1)) - 1
    x = data.draw(arrays(-most, most))
    agree(
        sessions.of(parties),
        Case(
            Truncate,
            "any",
            lambda reads, writes: Truncate(*writes, *reads, divisor, bits, x.shape),
            (x.shape,),
            (x,),
            masked=True,
            units=1 if divisor > 1 else 0,
        ),
    )


@st.composite
def plans(draw, bits):
    """Any chunks and any tree over them."""
    chunks = []
    while sum(chunks) < bits:
        chunks.append(draw(st.integers(1, min(5, bits - sum(chunks)))))
    nodes, levels = len(chunks), []
    while nodes > 1:
        fan = []
        while sum(fan) < nodes:
            fan.append(draw(st.integers(1, min(4, nodes - sum(fan)))))
        if len(fan) == nodes:
            fan = [2, *fan[2:]]
        levels.append(tuple(fan))
        nodes = len(fan)
    return tables.Plan(tuple(chunks), tuple(levels))


def compared(kind, x, how):
    """A NonNegative or Zero of x by this width or plan."""
    return Case(
        kind,
        "any",
        lambda reads, writes: kind(*writes, *reads, x.shape, how),
        (x.shape,),
        (x,),
        masked=True,
    )


@EXAMPLES
@given(parties=PARTIES, data=st.data(), bits=st.integers(2, 64))
def test_any_comparison(sessions, parties, data, bits):
    most = (1 << (bits - 1)) - 1
    x = data.draw(arrays(-most, most))
    width = sign.Width(bits, 0, data.draw(plans(bits - 1)))
    agree(
        sessions.of(parties),
        compared(NonNegative, x, width),
    )


@EXAMPLES
@given(parties=PARTIES, data=st.data(), bits=st.integers(1, 64))
def test_any_equality(sessions, parties, data, bits):
    most = (1 << (bits - 1)) - 1
    x = data.draw(arrays(-most, most))
    plan = data.draw(plans(bits))
    agree(
        sessions.of(parties),
        compared(Zero, x, plan),
    )


@EXAMPLES
@given(data=st.data(), bits=st.integers(2, 64), way=st.sampled_from(["fss", "snn"]))
def test_any_comparison_by_another_way(sessions, data, bits, way):
    most = (1 << (bits - 1)) - 1
    x = data.draw(arrays(-most, most))
    agree(
        sessions.of(2, way),
        compared(NonNegative, x, sign.width(bits, x.size, way=way)),
    )


@EXAMPLES
@given(data=st.data(), bits=st.integers(1, 64), way=st.sampled_from(["fss", "snn"]))
def test_any_equality_by_another_way(sessions, data, bits, way):
    most = (1 << (bits - 1)) - 1
    x = data.draw(arrays(-most, most))
    plan = sign.plan(way, bits, x.size, order=False)
    agree(
        sessions.of(2, way),
        compared(Zero, x, plan),
    )


@EXAMPLES
@given(
    parties=PARTIES,
    data=st.data(),
    bound=st.integers(0, 1 << 59),
    divisor=st.sampled_from([1, 2, 3, 1000, 1 << 12, 1 << 20, 999_999]),
)
def test_any_relu(sessions, parties, data, bound, divisor):
    x = data.draw(arrays(-bound, bound))
    width = relu_width(bound, x.size, divisor)
    agree(
        sessions.of(parties),
        Case(
            ReLU,
            "any",
            lambda reads, writes: ReLU(*writes, *reads, divisor, x.shape, width),
            (x.shape,),
            (x,),
            masked=True,
            units=1 if divisor > 1 else 0,
        ),
    )


@EXAMPLES
@given(parties=PARTIES, data=st.data(), m=st.integers(1, 24), n=st.integers(0, 5))
def test_any_extremum(sessions, parties, data, m, n):
    reach = data.draw(st.sampled_from([2, (1 << 62) - 1]))
    x = data.draw(arrays(-reach, reach, shape=(m, n)))
    levels = tournament(m, n, 64)
    agree(
        sessions.of(parties),
        Case(
            Extremum,
            "any",
            lambda reads, writes: Extremum(*writes, *reads, (m, n), levels),
            ((n,), (n,)),
            (x,),
            masked=True,
        ),
    )


@EXAMPLES
@given(parties=PARTIES, data=st.data(), bound=st.integers(0, (1 << 62) - 1))
def test_any_bound(sessions, parties, data, bound):
    x = data.draw(arrays(shape=hnp.array_shapes(max_dims=2, max_side=20)) | arrays(-bound, bound))
    signed = x.view(np.int64)
    width = sign.width(64, 2 * x.size)
    agree(
        sessions.of(parties),
        Case(
            WithinBound,
            "any",
            lambda reads, writes: WithinBound(*writes, *reads, bound, "test", x.shape, width),
            (x.shape,),
            (x,),
            masked=True,
            fails=bool(np.any((signed > bound) | (signed < -bound))),
        ),
    )


@EXAMPLES
@given(
    parties=PARTIES,
    operands=broadcast(),
    coefficients=st.tuples(*[integers(-(1 << 63), (1 << 63) - 1)] * 2),
)
def test_any_combination(sessions, parties, operands, coefficients):
    x, w, shape = operands
    agree(
        sessions.of(parties),
        Case(
            Combine,
            "any",
            lambda reads, writes: Combine(
                *writes, tuple(zip(reads, coefficients, strict=True)), shape
            ),
            (shape,),
            (x, w),
        ),
    )


def test_truncation_rounds_both_ways_and_without_bias(session):
    # x / d = 0.25: a mean of 0.25 over n draws, with a standard error of sqrt(3/16 / n).
    n, divisor = 40_000, 1 << 12
    x = np.full(n, divisor // 4, np.uint64)
    case = Case(
        Truncate,
        "quarter",
        lambda reads, writes: Truncate(*writes, *reads, divisor, 40, (n,)),
        ((n,),),
        (x,),
        masked=True,
    )
    (out,) = play(session, case).outputs
    ones = session.reveal(out).view(np.int64)
    assert set(np.unique(ones)) == {0, 1}
    # Six standard errors: one false alarm in 10^9 runs.
    assert abs(ones.mean() - 0.25) < 6 * np.sqrt(3 / 16 / n)


def test_truncation_never_wraps_around(session):
    # Truncating shares locally would fail here with probability 2^-2 for each element.
    n, bits, divisor = 200_000, 62, 1 << 12
    most = (1 << (bits - 1)) - 1
    x = ring(np.random.default_rng(5).choice([-most, most, most // 2, -most // 2], n))
    agree(
        session,
        Case(
            Truncate,
            "large",
            lambda reads, writes: Truncate(*writes, *reads, divisor, bits, (n,)),
            ((n,),),
            (x,),
            masked=True,
            units=1,
        ),
    )
