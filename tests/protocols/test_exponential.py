"""Exponentials: that the index never fails, and that the error is what is derived."""

from math import exp, log

import numpy as np
import pytest
from cases import ring
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.errors import ProgramError, UsageError
from tacita.program.builder import Handle
from tacita.protocols import Exponential, exponential
from tacita.protocols.exponential import Plan, plan
from tacita.ring import kernels
from tacita.runtime.plain import PlainRun

ONE = 1 << 16
# What float64 loses of e^x: its argument, of up to 60, is off by 2^-47.
FLOAT = 2.0**-45


def check(got, x, scale, shape):
    """got: results as ring elements for signed x."""
    absolute, relative = exponential.error(shape.segment_bits, scale, shape.a, shape.b)
    want = np.exp(x / scale)
    off = np.abs(got.view(np.int64) / shape.unit - want)
    assert np.all(off <= absolute + (relative + FLOAT) * want)


def raised(builder, x, scale, shape):
    handle = builder.input(ring(x), x.shape, 1, None)
    builder.mask([handle], "test")
    out = Handle(builder, builder.new_wire(x.shape, 1, None))
    low, segment_bits, index_bits, a, b = shape
    builder.emit(
        Exponential(
            out.wire.id, handle.wire.id, low, scale, segment_bits, index_bits, a, b, x.shape
        )
    )
    return builder.reveal(out)


@pytest.mark.parametrize("low", [-100, -64, -1, 0, 37])
@pytest.mark.parametrize(("segment_bits", "index_bits"), [(6, 1), (5, 2), (4, 3), (1, 5), (1, 1)])
def test_every_value_under_every_mask(segment_bits, index_bits, low):
    """All of the range, and all that a mask is modulo all segments: no index is off by one."""
    scale, shape = 8, Plan(low, segment_bits, index_bits, 12, 20)
    assert exponential.unfit(shape, scale) is None
    count = 1 << index_bits
    values = np.arange(low, low + ((count - 1) << segment_bits) + 1)
    masks = np.arange(count << segment_bits, dtype=np.uint64)
    x, r = (each.reshape(-1) for each in np.meshgrid(values, masks))
    dealt = np.zeros((count, x.size), np.uint64)
    kernels.exponential_correction(r, scale, segment_bits, shape.b, dealt)
    # Some multiple of all segments more or less: the mask has 64 bits, and so has the opening.
    r = r + np.arange(r.size, dtype=np.uint64) * np.uint64(count << segment_bits)
    got = kernels.exponential_share(ring(x) + r, dealt, low, scale, segment_bits, shape.a)
    check(got, x, scale, shape)


def test_the_segment_left_out_is_that_which_fails():
    """One value more, and there is a mask under which it comes out as another: e^(M·K/scale)
    times too small, as the sum with the mask begins anew."""
    low, scale, segment_bits, shape = 0, 8, 4, Plan(0, 4, 1, 12, 20)
    r = np.arange(32, dtype=np.uint64)
    dealt = np.zeros((2, r.size), np.uint64)
    kernels.exponential_correction(r, scale, segment_bits, shape.b, dealt)
    for beyond, fails in ((16, 0), (17, 2), (18, 4)):
        got = kernels.exponential_share(r + np.uint64(beyond), dealt, low, scale, segment_bits, 12)
        off = np.abs(got.view(np.int64) / shape.unit - exp(beyond / scale))
        assert np.count_nonzero(off > 0.1 * exp(beyond / scale)) == fails


RANGES = [
    (-12 * ONE, 0, ONE, 16),
    (-12 * ONE, 0, ONE, 18),
    (-9 * ONE, 9 * ONE, ONE, 12),
    (0, 16 * ONE, ONE, 10),
    (-ONE, ONE, ONE, 26),
    (-12_000, 3_000, 1000, 14),
    (-12 << 40, 3 << 40, 1 << 40, 14),
    (-9, 9, 1, 12),
]


@pytest.mark.parametrize("asked", RANGES, ids=str)
def test_a_range_is_met_densely(session, asked):
    low, high, scale, bits = asked
    shape = plan(*asked)
    x = np.unique(np.linspace(low, high, 50_000).astype(np.int64))
    assert (x[0], x[-1]) == (low, high)
    want = np.exp(x / scale)
    for builder in (session, PlainRun()):
        got = raised(builder, x, scale, shape)
        check(got, x, scale, shape)
        off = np.abs(got.view(np.int64) / shape.unit - want)
        assert np.all(off <= (2.0**-bits + FLOAT) * np.maximum(1, want))


def test_plans_are_known():
    assert plan(-12 * ONE, 0, ONE, 14) == Plan(-16 * ONE, 20, 1, 14, 38)
    assert plan(-16 * ONE, 0, ONE, 14) == Plan(-16 * ONE, 20, 1, 14, 38)
    assert plan(-16 * ONE - 1, 0, ONE, 14) == Plan(-24 * ONE, 19, 2, 14, 26)
    assert plan(5, 5, ONE, 14) == Plan(3, 1, 1, 14, 15)


def test_a_plan_is_no_larger_than_it_has_to_be():
    shape = plan(-12 * ONE, 0, ONE, 14)
    for smaller in (shape._replace(b=shape.b - 1), shape._replace(a=shape.a - 1)):
        assert sum(exponential.error(smaller.segment_bits, ONE, smaller.a, smaller.b)) > 2.0**-14
    assert (1 << shape.segment_bits) > 12 * ONE > (1 << (shape.segment_bits - 1))


@settings(max_examples=100)
@given(
    scale=st.integers(1, 1 << 40),
    low=st.floats(-30, 12),
    width=st.floats(0, 30),
    bits=st.integers(1, 26),
)
def test_any_plan_keeps_its_word(scale, low, width, bits):
    start, end = int(low * scale), int((low + width) * scale)
    try:
        shape = plan(start, end, scale, bits)
    except UsageError:
        # What is small enough has a plan: the least index does, where it takes no more octaves.
        assert 2 * bits + 4 + (2 * (end - start + 1) / scale + max(0, end / scale)) / log(2) > 59
        return
    assert exponential.unfit(shape, scale) is None
    assert shape.low <= start
    assert end <= shape.low + ((1 << shape.index_bits) - 1 << shape.segment_bits)
    assert sum(exponential.error(shape.segment_bits, scale, shape.a, shape.b)) <= 2.0**-bits
    # Results, with their errors, are ones that truncation takes.
    assert (shape.a + shape.b + end / scale / log(2)) <= 60 + 2.0**-20


@pytest.mark.parametrize(
    "asked",
    [
        (0, 1, 0, 12),
        (0, 1, 1 << 62, 12),
        (1, 0, ONE, 12),
        (0, 1 << 62, ONE, 12),
        (-40 * ONE, 20 * ONE, ONE, 12),
        (0, ONE, ONE, 27),
        (0, 60 * ONE, ONE, 1),
    ],
    ids=str,
)
def test_what_has_no_plan(asked):
    with pytest.raises(UsageError, match="exponential"):
        plan(*asked)


def test_an_absurd_index_takes_no_memory():
    """Such an instruction can come in an order that nobody has validated."""
    for index_bits in (1 << 62, 64, 6, 0, -1):
        instruction = Exponential(1, 0, 0, ONE, 16, index_bits, 16, 16, (2,))
        with pytest.raises(ProgramError, match="index has 1 … 5 bits"):
            instruction.cost()
