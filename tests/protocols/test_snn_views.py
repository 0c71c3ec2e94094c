"""What `snn` shows, by its own `deal` and `evaluate`: enumerated, and counted in real sessions.

Enumerated are all that both parties draw alike, for digits modulo a prime that is just above the
sums: the argument that views are the same for all numbers asks no more of 67. In sessions, with the
kernels, what goes into a party's digits is looked at draw by draw, and the dealer's sums are
counted; `uniformity` has the rate of false alarms, below 1e-9 for all of this file.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from cases import Case, play
from enumeration import check_dealer, check_everything, check_openings
from recorded_draws import Draws
from scenes import comparison, equality, staircase
from taped import LeakError, Run, TapedParty
from uniformity import assert_bits, assert_distinct, assert_numbers

from tacita.protocols import NonNegative, Staircase, Zero, sign, snn
from tacita.ring import digits
from tacita.ring import digits_twin as twin
from tacita.runtime.embedded import EmbeddedSession

PARTIES = ("alice", "bob")

# ---- enumerated --------------------------------------------------------------------------------


@pytest.fixture
def modulo(monkeypatch):
    """`snn` with digits modulo another prime, by the readable twin of the kernels."""

    def use(scene, prime):
        monkeypatch.setattr(twin, "PRIME", prime)
        monkeypatch.setattr(snn, "digits", twin)
        monkeypatch.setattr(snn, "AT_ONCE", 1 << 40)  # a piece has elements of all outcomes
        (instruction,) = scene.program(1)[1:]
        plan = instruction.plan if isinstance(instruction, Zero) else instruction.width.plan
        points = len(getattr(instruction, "thresholds", (0,)))
        # For each point the factors, the summands and the rotations.
        return replace(scene, modulus=prime, commons=(prime - 1, prime, plan.bits + 1) * points)

    return use


# Of b bits no digit exceeds b + 2 where there is an order, and b where there is none: primes above.
SCENES = {
    "order of one bit": (comparison(2, snn.Plan(1)), 5),
    "order of two bits": (comparison(3, snn.Plan(2)), 5),
    "equality of one bit": (equality(1, snn.Plan(1)), 3),
    "equality of two bits": (equality(2, snn.Plan(2)), 3),
}


@pytest.mark.parametrize("name", SCENES)
def test_the_dealer_is_told_the_same_of_all_numbers(modulo, name):
    scene, prime = SCENES[name]
    check_dealer(modulo(scene, prime), {"order of two bits": 1}.get(name, 8))


@pytest.mark.parametrize("name", SCENES)
def test_a_party_sees_the_same_of_all_numbers(modulo, name):
    scene, prime = SCENES[name]
    if name.endswith("one bit"):
        check_everything(modulo(scene, prime), commons=4)
    else:
        check_openings(modulo(scene, prime), 8)


def test_a_party_sees_the_same_of_two_thresholds(modulo):
    check_everything(modulo(staircase(2, (0, 1), snn.Plan(1), 1), 5), own_shares=1, commons=4)


DRAWN_ALIKE = ("flips", "factors", "summands", "turns")


@pytest.mark.parametrize("what", DRAWN_ALIKE)
@pytest.mark.parametrize("name", ["order of one bit", "equality of two bits"])
def test_nothing_that_hides_from_the_dealer_can_be_left_out(modulo, monkeypatch, name, what):
    common, drawn = TapedParty.common, defaultdict(int)

    def without(party, shape):
        words = common(party, shape)
        drawn[party] += 1
        return np.zeros_like(words) if drawn[party] - 1 == DRAWN_ALIKE.index(what) else words

    monkeypatch.setattr(TapedParty, "common", without)
    scene, prime = SCENES[name]
    with pytest.raises(LeakError):
        check_dealer(modulo(scene, prime), 16)


@pytest.mark.parametrize("what", ["draw_bits", "draw_seeds"])
@pytest.mark.parametrize("name", SCENES)
def test_nothing_that_hides_from_the_parties_can_be_left_out(modulo, monkeypatch, name, what):
    # The bit under which the dealer answers, and alice's digits, which hide r from bob.
    draw = getattr(Run, what)
    monkeypatch.setattr(Run, what, lambda *arguments: np.zeros_like(draw(*arguments)))
    scene, prime = SCENES[name]
    with pytest.raises(LeakError):
        check_openings(modulo(scene, prime))


# ---- what goes into a party's digits -----------------------------------------------------------


class Calls:
    """The arguments of the kernels, each call's by the parameters' names."""

    def __init__(self, monkeypatch):
        self.of = defaultdict(list)
        for name in ("drawn", "lacking", "hidden", "found"):
            monkeypatch.setattr(digits, name, self._recording(name, getattr(digits, name)))

    def _recording(self, name, kernel):
        names = kernel.__code__.co_varnames

        def recorded(*arguments, **options):
            given = dict(zip(names, arguments, strict=False)) | options
            copies = {
                each: value.copy() if isinstance(value, np.ndarray) else value
                for each, value in given.items()
            }
            self.of[name].append(copies)
            return kernel(*arguments, **options)

        return recorded

    def hidden(self, first):
        return [call for call in self.of["hidden"] if call["first"] == first]


def compared(session, kind, x, bits, thresholds=(0,)):
    """Runs a comparison of numbers of so many bits, and reveals what comes out."""
    x = np.asarray(x, np.int64)
    how = (
        sign.plan("snn", bits, x.size, order=False)
        if kind is Zero
        else sign.width(bits, x.size, way="snn")
    )
    shape = x.shape

    def build(reads, writes):
        if kind is Staircase:
            steps = (tuple(1 for _ in thresholds),)
            return Staircase(*writes, *reads, thresholds, (0,), steps, shape, how)
        return kind(*writes, *reads, shape, how)

    out = (1, *shape) if kind is Staircase else shape
    case = Case(kind, "views", build, (out,), (x.view(np.uint64),), masked=True)
    (found,) = play(session, case).outputs
    return session.reveal(found)


@pytest.fixture(scope="module")
def recorded():
    """A session of comparisons of several kinds and sizes, one of them in pieces."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        draws, calls = Draws(monkeypatch), Calls(monkeypatch)
        session = EmbeddedSession(PARTIES, "dealer", protocol="snn")
        try:
            compared(session, NonNegative, [5], 21)
            compared(session, NonNegative, range(-33, 34), 64)
            compared(session, NonNegative, range(-150, 150), 11)
            compared(session, Zero, range(-70, 70), 21)
            compared(session, Staircase, range(-128, 128), 10, (-7, 0, 50))
            with monkeypatch.context() as smaller:
                smaller.setattr(snn, "AT_ONCE", 4000)
                compared(session, NonNegative, range(-100, 100), 21)
        finally:
            session.close()
    calls.draws = draws
    return calls


def gathered(calls, name):
    return np.concatenate([call[name].reshape(-1) for call in calls])


WORDS = ("factors", "summands", "turns")


def test_several_sizes_points_and_pieces_were_recorded(recorded):
    sizes = [call["flips"].size for call in recorded.hidden(True)]
    assert sizes == [1, 67, 300, 140, 256, 256, 256, 93, 93, 14]
    assert {call["order"] for call in recorded.of["hidden"]} == {True, False}


def test_both_parties_hide_under_the_same(recorded):
    for one, other in zip(recorded.hidden(True), recorded.hidden(False), strict=True):
        for name in ("places", "flips", *WORDS):
            assert np.array_equal(one[name], other[name])


def test_every_digit_has_words_of_its_own(recorded):
    for call in recorded.hidden(True):
        n, count = call["flips"].size, call["bits"] + 1
        assert call["factors"].shape == call["summands"].shape == (n, count)
        assert call["turns"].shape == (n,)


def flips_of(call):
    """The flips of whole words of elements, as words."""
    whole = call["flips"][: call["flips"].size // 64 * 64]
    return np.packbits(whole).view(np.uint64)


def test_no_word_hides_twice(recorded):
    calls = recorded.hidden(True)
    words = [gathered(calls, name) for name in WORDS]
    seeds = gathered(recorded.of["drawn"], "seeds")
    assert_distinct(np.concatenate([*words, seeds, *map(flips_of, calls)]), "words")


@pytest.mark.parametrize("name", WORDS)
def test_words_are_uniform(recorded, name):
    assert_bits(gathered(recorded.hidden(True), name), name)


def test_seeds_are_uniform(recorded):
    assert_bits(gathered(recorded.of["drawn"], "seeds"), "seeds")


def test_flips_are_uniform(recorded):
    flips = gathered(recorded.hidden(True), "flips")
    assert_numbers(flips, 2, "flips")


def test_flips_of_two_points_have_nothing_to_do_with_each_other(recorded):
    # Else the dealer would know whether a number lies between two thresholds.
    points = [call["flips"] for call in recorded.hidden(True) if call["flips"].size == 256]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert_numbers(points[one] ^ points[other], 2, f"flips of points {one} and {other}")


def test_words_come_from_a_key_that_the_dealer_does_not_have(recorded):
    draws = recorded.draws
    for party, first in zip(PARTIES, (True, False), strict=True):
        drawn = draws.all_words(party, *PARTIES)
        for name in WORDS:
            assert np.isin(gathered(recorded.hidden(first), name), drawn).all()


def test_shares_of_bits_come_from_alices_stream(recorded):
    # As the dealer drew it, in the same order; bob's part is what her digits lack.
    ours, dealers = (gathered(recorded.of[name], "seeds") for name in ("drawn", "lacking"))
    assert np.array_equal(ours, dealers)
    assert np.isin(ours, recorded.draws.all_words("alice", "alice", "dealer")).all()


# ---- what the dealer is told -------------------------------------------------------------------

BITS = 20  # that are compared
MANY = 1 << 13  # elements that hide the same number

NUMBERS = {
    NonNegative: (-(1 << 19), -1, 0, 1, 77, (1 << 20) - 1),
    Zero: (0, 1, -1, 1 << 18),
}


@pytest.fixture(scope="module")
def told():
    """For comparisons and each of some numbers, what both parties tell the dealer: the digits of
    each point and element, [2, points, MANY, BITS + 1]."""
    found = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        calls = Calls(monkeypatch)
        session = EmbeddedSession(PARTIES, "dealer", protocol="snn")

        def tell(kind, number, **options):
            x = np.full(MANY, number)
            width = BITS + (kind is not Zero)
            out = compared(session, kind, x, width, **options)
            (call,) = calls.of.pop("found")
            assert call["count"] == BITS + 1
            both = np.stack([twin.unpacked(call[name], BITS + 1) for name in ("one", "other")])
            return out, both.reshape(2, -1, MANY, BITS + 1)

        try:
            for kind, numbers in NUMBERS.items():
                for number in numbers:
                    out, found[kind, number] = tell(kind, number)
                    holds = number >= 0 if kind is NonNegative else number == 0
                    assert (out == holds).all()
            for number in (-9, 0, 9):
                _, found[Staircase, number] = tell(Staircase, number, thresholds=(-5, 5))
        finally:
            session.close()
    return found


def sums_of(both):
    return (both[0].astype(int) + both[1]) % twin.PRIME


def test_what_one_party_tells_is_uniform(told):
    for (kind, number), both in told.items():
        for party, said in zip(PARTIES, both, strict=True):
            assert_numbers(said, twin.PRIME, f"{party} for {kind.__name__} of {number}")


def test_half_of_the_sums_have_one_zero_and_the_others_none(told):
    for (kind, number), both in told.items():
        zeros = (sums_of(both) == 0).sum(axis=2)
        for point in zeros:
            assert_numbers(point, 2, f"zeros for {kind.__name__} of {number}")


def test_the_zero_has_a_uniform_place(told):
    for (kind, number), both in told.items():
        for point in sums_of(both):
            _, places = np.nonzero(point == 0)
            assert_numbers(places, BITS + 1, f"places for {kind.__name__} of {number}")


def test_all_other_sums_are_uniform_from_1_on(told):
    for (kind, number), both in told.items():
        sums = sums_of(both)
        others = sums[sums > 0] - 1
        assert_numbers(others, twin.PRIME - 1, f"sums for {kind.__name__} of {number}")


def test_zeros_of_two_points_have_nothing_to_do_with_each_other(told):
    for number in (-9, 0, 9):
        one, other = (sums_of(told[Staircase, number]) == 0).any(axis=2)
        assert_numbers(one ^ other, 2, f"zeros of two points for {number}")
