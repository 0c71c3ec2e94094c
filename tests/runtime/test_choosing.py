"""How sessions compare: by one way for all, or by the rule of `auto`."""

import numpy as np
import pytest

from tacita.compiler.prediction import Link
from tacita.errors import HoldersError, UsageError
from tacita.protocols import Combine, Extremum, ReLU, sign
from tacita.protocols.extremum import tournament
from tacita.protocols.relu import relu_width
from tacita.protocols.ways import WAYS, compared_by, way_of
from tacita.runtime.choosing import AUTO, WEIGHED, chooser, weight
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.offer import PROTOCOLS, require_offered


def relu(n, bits=33):
    return ReLU(out=1, x=0, divisor=1, shape=(n,), width=sign.width(bits, n))


@pytest.mark.parametrize("way", WAYS)
def test_a_way_is_that_of_all_comparisons(way):
    choose = chooser(way, 2)
    assert way_of(choose(relu(9))) == way
    extremum = Extremum(1, 2, 0, (5, 3), tournament(5, 3, 44))
    assert way_of(choose(extremum)) == way
    assert choose(relu(9)).cost() == compared_by(relu(9), way).cost()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_does_not_compare_stays_as_it_is(protocol):
    total = Combine(2, ((0, 1), (1, 1)), (3,))
    assert chooser(protocol, 2)(total) is total


@pytest.mark.parametrize("bits", [8, 17, 33, 64])
@pytest.mark.parametrize("n", [1, 64, 1000, 100_000])
def test_auto_takes_what_weighs_least_and_can_be_dealt_ahead(bits, n):
    instruction = relu(n, bits)
    chosen = chooser(AUTO, 2)(instruction)
    least = min(weight(compared_by(instruction, way).cost()) for way in WEIGHED)
    assert weight(chosen.cost()) == least
    assert not chosen.cost().consultations


def test_few_values_are_worth_a_round_less_over_a_line_and_many_are_not():
    choose = chooser(AUTO, 2, Link("a line", 20e-3, 1e9 / 8))
    assert way_of(choose(relu(16))) == "fss"
    assert way_of(choose(relu(1 << 18))) == "tables"


@pytest.mark.parametrize("count", [1, 64, 1 << 10, 1 << 18])
@pytest.mark.parametrize("bits", [16, 33, 64])
def test_threads_of_one_process_compare_by_tables(count, bits):
    assert way_of(chooser(AUTO, 2)(relu(count, bits))) == "tables"


def test_more_holders_compare_by_tables():
    assert way_of(chooser(AUTO, 3)(relu(16))) == "tables"
    require_offered(AUTO, 3)
    require_offered("tables", 3)
    for protocol in ("fss", "snn"):
        with pytest.raises(HoldersError, match="tables"):
            require_offered(protocol, 3)


def test_what_there_is_not_is_refused():
    with pytest.raises(UsageError, match="tables, fss, snn, auto"):
        require_offered("mpc", 2)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_session_carries_out_what_it_chose(protocol):
    session = EmbeddedSession(("alice", "bob"), "dealer", protocol=protocol, limit=20.0)
    try:
        values = np.arange(-5, 5).astype(np.uint64)
        x = session.input(values, (10,), 1, None)
        session.mask([x], "a test")
        result = type(x)(session, session.new_wire((10,)))
        emitted = ReLU(
            out=result.wire.id, x=x.wire.id, divisor=1, shape=(10,), width=relu_width(None, 10, 1)
        )
        session.settle()
        before = session.parties[0].rounds
        session.emit(emitted)
        session.settle()
        declared = chooser(protocol, 2)(emitted).cost()
        assert session.parties[0].rounds - before == declared.rounds
        assert session.reveal(result).view(np.int64).tolist() == [0] * 5 + list(range(5))
    finally:
        session.close()
