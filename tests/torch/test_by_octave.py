"""Functions by octaves: relative errors over whole ranges, at their ends and just below."""

import numpy as np
import pytest

from tacita.compiler.functions import ERROR, ROOT_ERROR
from tacita.compiler.recorder import Recorder
from tacita.errors import PrecisionError
from tacita.program.schedule import cost_of
from tacita.protocols import Staircase
from tacita.ring.fixed_point import Precision
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.plain import PlainRun
from tacita.torch.lowering.by_octave import fits, inverse_root_within, reciprocal_within
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.roots import MARGIN

LIMIT = 10.0  # seconds; a role that waits longer has lost its peer
BITS = 18
RANGES = [
    (1 << 16, 1 << 20, 1 << 16),
    (1, 200, 1),
    (3 << 20, 77 << 27, 1000 * 384),
    (1 << 13, 1 << 41, 1 << 13),
]


@pytest.fixture(scope="module")
def parties():
    session = EmbeddedSession(("alice", "bob"), "dealer", limit=LIMIT)
    yield session
    session.close()


@pytest.fixture(params=["plain", "two"])
def builder(request, parties):
    return PlainRun() if request.param == "plain" else parties


def computed(builder, function, values, least, most, scale, bits=BITS):
    """The results for ring values, and their scale and bound."""
    low = Lowering(builder, Precision(2, 16))
    v = builder.input(values.view(np.uint64), values.shape, scale, most)
    out = function(low, v, least, most, bits, "here")
    return builder.reveal(out).view(np.int64), out.wire.scale, out.wire.bound


def some(least, most):
    """Values of a range, evenly in their logarithm, with the ends and the borders of octaves."""
    rng = np.random.default_rng(0)
    spread = np.exp(rng.uniform(np.log(least), np.log(most), 200)).astype(np.int64)
    borders = [4**e + d for e in range(31) for d in (-1, 0, 1)]
    found = np.array([least, most, *spread, *borders], np.int64)
    return found[(found >= least) & (found <= most)]


@pytest.mark.parametrize(("least", "most", "scale"), RANGES)
def test_reciprocals(builder, least, most, scale):
    values = some(least, most)
    got, out_scale, bound = computed(builder, reciprocal_within, values, least, most, scale)
    error = np.abs(got / out_scale * (values / scale) - 1)
    # What is truncated to 2^-BITS is 1/4 at the least; the result's scale is rounded as well.
    assert error.max() <= ERROR + 4 * 2.0**-BITS + 2.0 ** -(BITS + 1)
    assert np.abs(got).max() <= bound


@pytest.mark.parametrize(("least", "most", "scale"), RANGES)
def test_inverse_roots(builder, least, most, scale):
    values = some(least, most)
    got, out_scale, bound = computed(builder, inverse_root_within, values, least, most, scale)
    error = np.abs(got / out_scale * np.sqrt(values / scale) - 1)
    assert error.max() <= ROOT_ERROR + 2 * 2.0**-BITS + 2.0 ** -(BITS + 2)
    assert np.abs(got).max() <= bound


def test_a_little_less_than_the_least_counts_as_well():
    least = 1 << 20
    values = np.array([least - (least >> MARGIN), least - 1], np.int64)
    got, scale, _ = computed(PlainRun(), reciprocal_within, values, least, 1 << 30, 1 << 20)
    error = np.abs(got / scale * (values / (1 << 20)) - 1)
    assert error.max() <= ERROR + 4 * 2.0**-BITS + 2.0 ** -(BITS + 1)


def test_no_values_need_no_instruction(builder):
    got, _, _ = computed(builder, reciprocal_within, np.zeros(0, np.int64), 1 << 16, 1 << 20, 1)
    assert got.shape == (0,)


def test_results_that_do_not_fit_are_refused():
    values = np.ones(1, np.int64)
    with pytest.raises(PrecisionError, match=r"here: results of \d+ bits do not fit"):
        computed(PlainRun(), reciprocal_within, values, 1, 1 << 50, 1)


@pytest.mark.parametrize(
    ("least", "most", "fine"),
    [(1, 1, True), (1, (1 << 32) - 1, True), (1, 1 << 32, False), (0, 5, False), (7, 6, False),
     (1 << 59, (1 << 60) - 1, True), (1 << 59, 1 << 60, False)],
)  # fmt: skip
def test_ranges_that_have_few_enough_octaves(least, most, fine):
    assert fits(least, most) == fine


@pytest.mark.parametrize(("bits", "rounds", "octaves"), [(4, 3, 3), (12, 4, 7), (26, 4, 14)])
def test_rounds_and_octaves_of_a_range(recorded, bits, rounds, octaves):
    instructions = recorded(1 << 16, 1 << (16 + bits))
    assert cost_of(instructions).rounds == rounds
    (stairs,) = (each for each in instructions if isinstance(each, Staircase))
    assert len(stairs.thresholds) == octaves - 1


@pytest.fixture
def recorded():
    """recorded(least, most): the instructions of reciprocals of six values."""

    def made(least, most):
        recorder = Recorder()
        low = Lowering(recorder, Precision(2, 16))
        v = recorder.input("v", (6,), 1 << 16, None)
        out = reciprocal_within(low, v, least, most, BITS, "here")
        return recorder.program([("out", out)], Precision(2, 16)).instructions

    return made
