"""What a party sees of each protocol is the same for all secrets: enumerated, not sampled.

`enumeration` says how, and why a tiny ring shows it. The last tests are on the method: protocols
that leak on purpose are caught.
"""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from enumeration import MOST_OUTCOMES, check_everything, check_openings, outcomes
from scenes import (
    Grain,
    Scene,
    comparison,
    equality,
    low,
    masked,
    one_wire,
    signed,
    staircase,
    top,
    width,
)
from taped import LeakError

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.readings import Masked, Opening, subtract_from
from tacita.protocols import (
    Convolution,
    Exponential,
    Extremum,
    MaskWires,
    NonNegative,
    OneHot,
    Pad,
    Permute,
    Product,
    Ramps,
    Ranks,
    ReLU,
    Truncate,
    Waves,
    WithinBound,
    check,
    fss,
    sign,
)
from tacita.protocols.extremum import Bracket
from tacita.protocols.tables import Plan
from tacita.ring import kernels
from tacita.ring.planes import Layout

ONE_CHUNK = Plan((2,), ())
TWO_CHUNKS = Plan((1, 1), ((2,),))
TWO_LEVELS = Plan((1, 1, 1), ((2, 1), (2,)))
WIDE_TREE = Plan((2, 1, 1), ((3,),))
DEEP_TREE = Plan((1, 1, 1, 1), ((2, 2), (2,)))


# ---- masks and products ------------------------------------------------------------------------


def test_mask():
    check_everything(Scene(top(4), one_wire, masked))


def test_masks_of_several_wires():
    scene = Scene(
        top(1),
        lambda n: [(n,), (2, n)],
        lambda n: [MaskWires((0, 1), ((n,), (2, n)))],
    )
    check_everything(scene)


def test_product():
    scene = Scene(
        low(2),
        lambda n: [(n,), (n,)],
        lambda n: [MaskWires((0, 1), ((n,), (n,))), Product(2, 0, 1, False, (n,))],
        deals=[low(2)],
        outputs=(2,),
        result=lambda secret: [secret[0] * secret[1]],
        result_bits=2,
    )
    check_everything(scene)


def test_square():
    scene = Scene(
        low(3),
        one_wire,
        lambda n: masked(n, Product(1, 0, 0, False, (n,))),
        deals=[low(3)],
        outputs=(1,),
        result=lambda secret: [secret[0] ** 2],
        result_bits=3,
    )
    check_everything(scene)


def test_matrix_product():
    # One row times one column for each element: a batch of N products [1, 2] @ [2, 1].
    scene = Scene(
        low(1),
        lambda n: [(n, 1, 2), (n, 2, 1)],
        lambda n: [
            MaskWires((0, 1), ((n, 1, 2), (n, 2, 1))),
            Product(2, 0, 1, True, (n, 1, 1)),
        ],
        deals=[low(1)],
        outputs=(2,),
        result=lambda secret: [secret[0] * secret[2] + secret[1] * secret[3]],
        result_bits=1,
    )
    check_everything(scene)


def test_two_products_of_one_masked_wire():
    scene = Scene(
        low(1),
        lambda n: [(n,), (n,), (n,)],
        lambda n: [
            MaskWires((0, 1, 2), ((n,),) * 3),
            Product(3, 0, 1, False, (n,)),
            Product(4, 0, 2, False, (n,)),
            MaskWires((3, 4), ((n,),) * 2),
        ],
        deals=[low(1)],
        outputs=(4,),
        result=lambda secret: [secret[0] * secret[2]],
        result_bits=1,
    )
    check_everything(scene)


def test_convolution():
    # An image of two pixels and a filter of two taps for each element: N groups of one channel.
    scene = Scene(
        low(1),
        lambda n: [(n, 1, 1, 2), (n, 1, 1, 2)],
        lambda n: [
            MaskWires((0, 1), ((n, 1, 1, 2), (n, 1, 1, 2))),
            Permute(2, 0, (1, 0, 2, 3)),
            Convolution(3, 2, 1, (1, 1), (0, 0), (1, 1), n, (1, n, 1, 1)),
        ],
        deals=[low(1)],
        outputs=(3,),
        result=lambda secret: [secret[0] * secret[2] + secret[1] * secret[3]],
        result_bits=1,
    )
    check_everything(scene, 4)


def test_padded_zeros():
    # What they are multiplied with and what masks them shows nothing of the elements beside.
    scene = Scene(
        low(2),
        lambda n: [(1, n)],
        lambda n: [
            MaskWires((0,), ((1, n),)),
            Pad(1, 0, (1, 0), (0, 0), (0, 0)),
            Product(2, 1, 1, False, (2, n)),
        ],
        deals=[low(2)],
        outputs=(2,),
        result=lambda secret: [0, secret[0] ** 2],
        result_bits=2,
    )
    check_everything(scene)


# ---- truncation --------------------------------------------------------------------------------


@pytest.mark.parametrize("divisor", [1 << 61, 3, 1 << 62, 1000])
def test_truncation(divisor):
    scene = Scene(
        top(3),
        one_wire,
        lambda n: masked(n, Truncate(1, 0, divisor, 62, (n,))),
        deals=[low(4)],
    )
    check_everything(scene)


# ---- functions without a round -----------------------------------------------------------------


@pytest.mark.parametrize(("grain", "turn"), [(low(3), 3 << 61), (top(3), 1), (top(3), 12345)])
def test_waves(grain, turn):
    # Cosines and sines are spread over the whole ring, whatever r is.
    scene = Scene(
        grain,
        one_wire,
        lambda n: masked(n, Waves(1, 0, turn, ((1 << 20, 3),), (n,))),
        deals=[low(2)],
    )
    check_everything(scene)


@pytest.mark.parametrize("low_end", [0, -3])
def test_exponential(low_end):
    # Two segments of four numbers: all that there is mod 8.
    scene = Scene(
        low(3),
        one_wire,
        lambda n: masked(n, Exponential(1, 0, low_end, 2, 2, 1, 10, 10, (n,))),
        deals=[low(2)],
    )
    check_everything(scene)


def test_openings_of_an_exponential_of_four_segments():
    scene = Scene(
        low(3),
        one_wire,
        lambda n: masked(n, Exponential(1, 0, -1, 2, 1, 2, 10, 10, (n,))),
        deals=[low(1)],
    )
    check_openings(scene)


def test_one_hot():
    scene = Scene(
        low(2),
        one_wire,
        lambda n: masked(n, OneHot(1, (), 0, (), 2, 3, (n,))),
        deals=[low(1)],
        outputs=(1,),
        result=lambda secret: [int(secret[0] == j) for j in range(3)],
        result_bits=1,
    )
    check_everything(scene)


def test_a_value_at_a_private_place():
    # The dealt shares are of the mask's column, and of the value's mask in it.
    scene = Scene(
        low(1),
        lambda n: [(n,), (n,)],
        lambda n: [MaskWires((0, 1), ((n,), (n,))), OneHot(2, (3,), 0, (1,), 1, 2, (n,))],
        deals=[low(1)],
        outputs=(2, 3),
        result=lambda secret: [
            *(int(secret[0] == j) for j in range(2)),
            *(secret[1] * (secret[0] == j) for j in range(2)),
        ],
        result_bits=1,
    )
    check_everything(scene)


# ---- comparisons -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "plan", "shares"),
    [
        (2, Plan((1,), ()), None),
        (3, ONE_CHUNK, None),
        (3, TWO_CHUNKS, 1),
        (3, fss.Plan(2), None),
    ],
    ids=["narrowest", "one-chunk", "two-chunks", "fss"],
)
def test_comparison(bits, plan, shares):
    check_everything(comparison(bits, plan), shares)


@pytest.mark.parametrize(
    ("bits", "plan"),
    [(3, TWO_CHUNKS), (4, TWO_LEVELS), (5, WIDE_TREE), (5, DEEP_TREE)],
    ids=["two-chunks", "two-levels", "wide", "deep"],
)
def test_openings_of_a_comparison(bits, plan):
    check_openings(comparison(bits, plan))


@pytest.mark.parametrize(
    ("bits", "thresholds", "plan", "columns"),
    [
        (2, (0, 1), Plan((1,), ()), 2),
        (3, (-1, 2), ONE_CHUNK, 1),
        (2, (-1, 0, 1), Plan((1,), ()), 1),
        (3, (-1, 2), fss.Plan(2), 1),
    ],
    ids=["narrowest", "one-chunk", "three-steps", "fss"],
)
def test_staircase(bits, thresholds, plan, columns):
    check_everything(staircase(bits, thresholds, plan, columns))


@pytest.mark.parametrize(
    ("bits", "thresholds", "plan"),
    [
        (3, (0, 1), TWO_CHUNKS),
        (4, (-3,), TWO_LEVELS),
        (3, (-1, 0, 2), TWO_CHUNKS),
    ],
    ids=["two-chunks", "two-levels", "three-steps"],
)
def test_openings_of_a_staircase(bits, thresholds, plan):
    check_openings(staircase(bits, thresholds, plan, 2), 2)


def test_openings_of_a_staircase_that_drops_bits():
    # Of three bits the lowest is left out: what is opened is uniform, whatever the bit says.
    scene = staircase(3, (-2, 0), ONE_CHUNK, 1)
    dropped = sign.Width(64, 62, Plan((1,), ()))

    def program(n):
        (mask, stairs) = scene.program(n)
        return [mask, msgspec.structs.replace(stairs, width=dropped)]

    check_openings(replace(scene, program=program, result=lambda _: None))


def ramps(bits, thresholds, plan):
    """ReLUs of a value, embedded in the top bits, less each threshold."""
    unit, half = 64 - bits, 1 << (bits - 1)

    def result(secret):
        x = signed(secret[0], bits)
        if not all(-half <= x - t < half for t in thresholds):
            return None  # a difference outside the width
        return [max(x - t, 0) << unit for t in thresholds]

    def program(n):
        placed = tuple(t << unit for t in thresholds)
        return masked(n, Ramps(1, 0, placed, (n,), width(bits, plan)))

    return Scene(top(bits), one_wire, program, outputs=(1,), result=result)


@pytest.mark.parametrize(
    ("bits", "thresholds", "plan"),
    [(2, (0, 1), Plan((1,), ())), (3, (-1, 2), ONE_CHUNK)],
    ids=["narrowest", "one-chunk"],
)
def test_ramps(bits, thresholds, plan):
    check_everything(ramps(bits, thresholds, plan))


def test_openings_of_ramps():
    check_openings(ramps(3, (0, 1), TWO_CHUNKS), 2)


@pytest.mark.parametrize(
    "plan", [ONE_CHUNK, TWO_CHUNKS, fss.Plan(2)], ids=["one-chunk", "two-chunks", "fss"]
)
def test_equality(plan):
    check_everything(equality(2, plan))


@pytest.mark.parametrize(
    ("bits", "plan"),
    [(3, TWO_LEVELS), (4, WIDE_TREE), (4, DEEP_TREE)],
    ids=["two-levels", "wide", "deep"],
)
def test_openings_of_an_equality(bits, plan):
    check_openings(equality(bits, plan))


# ---- ReLU --------------------------------------------------------------------------------------


def relu(bits, divisor, plan, deals):
    def result(secret):
        return [max(signed(secret[0], bits), 0) << (64 - bits)] if divisor == 1 else None

    return Scene(
        top(bits),
        one_wire,
        lambda n: masked(n, ReLU(1, 0, divisor, (n,), width(bits, plan))),
        deals=deals,
        outputs=(1,),
        result=result,
    )


def test_relu():
    # s is a small integer, s·r lies where r does.
    check_everything(relu(3, 1, ONE_CHUNK, [low(2), top(2, of=3)]))


@pytest.mark.parametrize("divisor", [1 << 61, 3])
def test_relu_with_truncation(divisor):
    # T, D, s, s·T and s·D are spread over the whole ring, whatever r is.
    check_everything(relu(3, divisor, ONE_CHUNK, [low(1)]))


@pytest.mark.parametrize("divisor", [1, 3, 1 << 59])
def test_openings_of_relu(divisor):
    check_openings(relu(5, divisor, DEEP_TREE, [low(1)] if divisor > 1 else [low(1), top(5)]), 2)


# ---- maximum -----------------------------------------------------------------------------------

PAIR = width(2, Plan((1,), ()))


def extremum(m, levels, *, bits=2, masks=(), deals, value=True, index=True):
    def result(secret):
        values = [signed(v, bits) for v in secret]
        if max(values) - min(values) >= 1 << (bits - 1):
            return None  # a difference outside the width
        best = max(values)
        return [best << (64 - bits)] * value + [values.index(best)] * index

    return Scene(
        top(bits),
        lambda n: [(m, n)],
        lambda n: [
            MaskWires((0,), ((m, n),)),
            Extremum(1 if value else None, 2 if index else None, 0, (m, n), levels),
        ],
        masks=masks,
        deals=deals,
        outputs=(1,) * value + (2,) * index,
        result=result,
    )


def test_maximum_of_two():
    levels = ((Bracket(1, 2, PAIR),),)
    check_everything(extremum(2, levels, deals=[low(1), low(1), top(1, of=2)]), 4)


def test_index_of_the_maximum_of_two():
    check_everything(extremum(2, ((Bracket(1, 2, PAIR),),), deals=[low(2)], value=False), 4)


def test_openings_of_the_maximum_of_three():
    # Three pairs, three ANDs of two bits, three winner bits: all masks of the peer, 15 bits.
    deals = [low(1)] * 3 + [top(2)]
    check_openings(extremum(3, ((Bracket(1, 3, PAIR),),), deals=deals), 2)


def test_openings_of_a_tournament():
    # Two of three, then the better of them and the third, with fresh masks for values and indices.
    levels = ((Bracket(1, 2, PAIR), Bracket(1, 1, None)), (Bracket(1, 2, PAIR),))
    pair = [low(1), low(1), top(2), top(2)]
    masks = [top(2), top(2), low(2)]
    check_openings(extremum(3, levels, masks=masks, deals=[*pair, *pair, low(2)]), 1)


def ranking(m, bits, plan):
    def result(secret):
        values = [signed(v, bits) for v in secret]
        if max(values) - min(values) >= 1 << (bits - 1):
            return None  # a difference outside the width
        order = sorted(range(m), key=lambda i: -values[i])
        return [order.index(i) for i in range(m)]

    return Scene(
        top(bits),
        lambda n: [(m, n)],
        lambda n: [MaskWires((0,), ((m, n),)), Ranks(1, 0, (m, n), width(bits, plan))],
        deals=[low(2)],
        outputs=(1,),
        result=result,
    )


def test_ranks_of_two():
    check_everything(ranking(2, 2, Plan((1,), ())), 4)


@pytest.mark.parametrize(
    ("m", "bits", "plan"), [(2, 3, TWO_CHUNKS), (3, 2, Plan((1,), ()))], ids=["two", "three"]
)
def test_openings_of_ranks(m, bits, plan):
    check_openings(ranking(m, bits, plan), 2)


# ---- checked mode ------------------------------------------------------------------------------


def bound_check(bits, bound, elements, plan):
    """N tensors of so many elements each; `separate` makes them N checks.

    As in the large ring, x + bound must not wrap around for an x within: 2·bound < 2^(bits-1).
    """

    def within(secret):
        return all(abs(signed(v, bits)) <= bound for v in secret)

    return Scene(
        top(bits),
        lambda n: [(elements * n,)],
        lambda n: [
            MaskWires((0,), ((elements * n,),)),
            WithinBound(1, 0, bound << (64 - bits), "test", (elements * n,), width(bits, plan)),
        ],
        outputs=(1,),
        result=lambda secret: [v << (64 - bits) for v in secret],
        learned=within,
    )


@pytest.fixture
def separate(monkeypatch):
    """The checks of N tensors side by side: the AND of each tensor's bits, not of all.

    A tensor of one or two elements has one level of ANDs, of 2 or 4 bits.
    """

    def use(elements):
        def reductions(bits):
            return [(2 * elements, Layout(bits // (2 * elements)))]

        alone = check.reductions(2 * elements)
        assert [(fan, layout.n) for fan, layout in alone] == [(2 * elements, 1)]
        monkeypatch.setattr(check, "reductions", reductions)

    return use


@pytest.mark.parametrize("plan", [Plan((1,), ()), fss.Plan(1)], ids=["tables", "fss"])
def test_bound_check_shows_one_bit(separate, plan):
    separate(1)
    check_everything(bound_check(2, 0, 1, plan))


@pytest.mark.parametrize(
    ("bits", "bound", "plan"),
    [(3, 0, TWO_CHUNKS), (3, 1, TWO_CHUNKS), (4, 3, Plan((2, 1), ((2,),)))],
)
def test_openings_of_a_bound_check(separate, bits, bound, plan):
    separate(1)
    check_openings(bound_check(bits, bound, 1, plan))


def test_openings_of_a_bound_check_of_two(separate):
    separate(2)
    check_openings(bound_check(3, 1, 2, ONE_CHUNK))


def test_the_bit_of_a_bound_check_is_seen(separate):
    separate(1)
    scene = replace(bound_check(2, 0, 1, Plan((1,), ())), learned=lambda _: None)
    with pytest.raises(LeakError):
        check_everything(scene)
    with pytest.raises(LeakError):
        check_openings(scene)


# ---- the method itself: leaks are caught -------------------------------------------------------


class Leaky(Instruction, frozen=True, tag=True):
    """A protocol on wires 0 and 1 of N elements that shows more than it should."""

    n: int

    @property
    def reads(self):
        return (0, 1)

    @property
    def writes(self):
        return ()

    def deal(self, dealer):
        pass

    def cost(self):
        return Cost()


class Unmasked(Leaky, frozen=True, tag=True):
    """Opens a wire as it is."""

    def evaluate(self, party):
        yield [Opening(party.share(0))]


class TwiceTheSameMask(Leaky, frozen=True, tag=True):
    """Hides two values under one mask: their difference shows."""

    def deal(self, dealer):
        dealer.mask((self.n,))

    def evaluate(self, party):
        mask = party.mask((self.n,))
        yield [Opening(party.share(0) + mask.share), Opening(party.share(1) + mask.share)]


class NarrowMask(Leaky, frozen=True, tag=True):
    """Hides a value under a mask without the ring's highest bit."""

    def deal(self, dealer):
        dealer.mask((self.n,))

    def evaluate(self, party):
        mask = party.mask((self.n,))
        yield [Opening(party.share(0) + (mask.share & np.uint64((1 << 63) - 1)))]


class SkewedMask(Leaky, frozen=True, tag=True):
    """Hides a value under the sum of one party's mask with itself: never odd."""

    def deal(self, dealer):
        dealer.mask((self.n,))

    def evaluate(self, party):
        mask = party.mask((self.n,))
        yield [Opening(party.share(0) + mask.share + mask.share)]


class MaskAsCorrection(Leaky, frozen=True, tag=True):
    """Deals a mask without a share to hide it."""

    def deal(self, dealer):
        r = dealer.mask((self.n,))

        def fill(into):
            into[...] = r

        dealer.deal((self.n,), fill)

    def evaluate(self, party):
        mask = party.mask((self.n,))
        party.dealt((self.n,))
        (opened,) = yield [mask.hide(party.share(0))]
        party.write_masked(0, Masked(opened, mask.share))


class MaskDealtAsBits(Leaky, frozen=True, tag=True):
    """As before, in planes."""

    def deal(self, dealer):
        layout = Layout(self.n)
        s = dealer.mask_bits(layout, 1)

        def fill(into):
            into[...] = s

        dealer.deal_bits(layout, 1, fill)

    def evaluate(self, party):
        layout = Layout(self.n)
        mask = party.mask_bits(layout, 1)
        party.dealt_bits(layout, 1)
        yield [mask.hide(party_bits(party, 0, layout))]


class OneBitForTwo(Leaky, frozen=True, tag=True):
    """Hides two bits under one mask bit."""

    def deal(self, dealer):
        dealer.mask_bits(Layout(self.n), 1)

    def evaluate(self, party):
        layout = Layout(self.n)
        mask = party.mask_bits(layout, 1)
        for wire in (0, 1):
            hidden = np.bitwise_xor(party_bits(party, wire, layout), mask.share)
            yield [Opening(hidden, boolean=True)]


class OnlyBobsMask(Leaky, frozen=True, tag=True):
    """Hides nothing from bob: alice leaves her part of the mask out."""

    def deal(self, dealer):
        dealer.mask((self.n,))

    def evaluate(self, party):
        mask = party.mask((self.n,))
        yield [Opening(party.share(0) + (np.uint64(not party.first) * mask.share))]


class DealtShareTwice(Leaky, frozen=True, tag=True):
    """Sends the same correction for a value and for the value times three."""

    def deal(self, dealer):
        r = dealer.mask((self.n,))
        drawn = []

        def keep(into):
            drawn.append(into.copy())
            subtract_from(r)(into)

        def again(into):
            into[...] = r * np.uint64(3) - drawn[0]

        dealer.deal((self.n,), keep)
        dealer.deal((self.n,), again)

    def evaluate(self, party):
        mask = party.mask((self.n,))
        party.dealt((self.n,))
        party.dealt((self.n,))
        yield [mask.hide(party.share(0))]


def party_bits(party, wire, layout):
    """The highest bit of this party's share."""
    top_bits = (party.share(wire) >> np.uint64(63)).astype(np.uint8)
    return kernels.pack_bits(top_bits, layout.width)


LEAKY = [
    Unmasked,
    TwiceTheSameMask,
    NarrowMask,
    SkewedMask,
    MaskAsCorrection,
    MaskDealtAsBits,
    OneBitForTwo,
    OnlyBobsMask,
    DealtShareTwice,
]


def leaky_scene(kind):
    return Scene(top(2), lambda n: [(n,), (n,)], lambda n: [kind(n)], deals=[top(2)])


@pytest.mark.parametrize("kind", LEAKY, ids=lambda kind: kind.__name__)
def test_a_leak_is_caught_by_full_enumeration(kind):
    with pytest.raises(LeakError):
        check_everything(leaky_scene(kind))


@pytest.mark.parametrize("kind", LEAKY, ids=lambda kind: kind.__name__)
def test_a_leak_is_caught_in_the_openings(kind):
    with pytest.raises(LeakError):
        check_openings(leaky_scene(kind))


class OneMaskForTheSign(NonNegative, frozen=True, tag=True):
    """A comparison that opens its bit under a mask bit that has hidden another one before."""

    def evaluate(self, party):
        kept = []

        class Party:
            first = party.first
            masked, share, write, dealt = party.masked, party.share, party.write, party.dealt
            dealt_bits = party.dealt_bits

            def mask_bits(self, layout, planes):
                mask = party.mask_bits(layout, planes)
                if kept:
                    mask.share[:, :1] = kept[0].share[:, :1]
                kept.append(mask)
                return mask

        return (yield from super().evaluate(Party()))


def test_one_reused_bit_among_many_is_caught():
    scene = replace(
        comparison(3, TWO_CHUNKS),
        program=lambda n: masked(n, OneMaskForTheSign(1, 0, (n,), width(3, TWO_CHUNKS))),
        result=lambda _: None,
    )
    with pytest.raises(LeakError):
        check_openings(scene)
    with pytest.raises(LeakError):
        check_everything(scene, 1)


def test_the_comparison_that_is_spoilt_above_is_sound_as_it_stands():
    check_openings(comparison(3, TWO_CHUNKS))


def test_more_draws_than_can_be_enumerated_are_refused():
    assert outcomes(comparison(5, DEEP_TREE), None) > MOST_OUTCOMES
    with pytest.raises(ValueError, match="too many to enumerate"):
        check_everything(comparison(5, DEEP_TREE))


def test_a_value_between_the_grains_is_refused():
    with pytest.raises(AssertionError, match="between the grains"):
        Grain(2, 62).see(np.array([1], np.uint64))
