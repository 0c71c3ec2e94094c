"""softmax(scores)·values without a softmax: exponentials weigh the values, and their sum divides.

Range: scores as softmax.py has them; values with a bound, which has to leave the ring's room.
Computes: u = Σ_j e^(s_j - c)·v_j and t = Σ_j e^(s_j - c), and u/t; any c will do. Where the range
    of the scores is known and moderate, c is a public number, the least that log Σ e^s of a row may
    be, and nothing is compared; else it is the row's maximum (softmax.py). A private mask
    that is the same for all queries goes into the values: e^(s + b)·v = e^s·(e^b·v), and e^b is a
    further column of them, whose sum is t. The octave of t is looked for while u is truncated
    (by_octave.py); so what is as large as scores or values waits for no division.
Error: relative to the largest value: a power is within 2^-13 of itself, or of 1 where it is less,
    and rounded to POWER_BITS or what the ring leaves; the reciprocal adds 2^-12. So n keys add up
    to 2n·(2^-13 + 2^-16) for a row whose sum is the least that there may be, and about 2^-12 for
    others. Where the ring is tight, u has fewer bits, LEAST_PRODUCT_BITS after the point at least.
Cost: seven rounds from scores that are not masked to a result that is not, eight with a private
    mask; with a maximum, as many more as that and a clamp take.
Opened: nothing but what those open. Leaks: shapes and bounds.
Source: dividing after the product with the values as in Dao, Fu, Ermon, Rudra, Ré,
    "FlashAttention" (2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, exp, floor, log, log2

import numpy as np
import torch

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.program.wire import limited
from tacita.ring.fixed_point import Precision
from tacita.torch.lowering import by_octave
from tacita.torch.lowering.arithmetic import exact_product, public_product
from tacita.torch.lowering.clamping import clamped
from tacita.torch.lowering.expected import MASK, SCORES, SHOWN, SUMS, Interval
from tacita.torch.lowering.exponentials import Exponent, exponent, exponential, fitted
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.matrices import matmul
from tacita.torch.lowering.operands import Operand, tensor_constant
from tacita.torch.lowering.positive import in_range
from tacita.torch.lowering.reduction import sum_
from tacita.torch.lowering.scales import descaled
from tacita.torch.lowering.selection import exact_relu
from tacita.torch.lowering.shape import expanded, narrow, transpose
from tacita.torch.lowering.softmax import MOST_SUMMED, SPAN, Powers

ROOM = 60  # bits of the largest product
POWER_BITS = 16  # after the point, of exponentials that are multiplied, where there is room
LEAST_POWER_BITS = 10  # of a row whose sum is the least that there may be
LEAST_VALUE_BITS = 11
LEAST_PRODUCT_BITS = 9
RECIPROCAL_BITS = 16
LEAST_RECIPROCAL_BITS = 13
EXPONENTIAL_BITS = 13
WIDEST_RANGE = 40.0  # of scores above that number: e^40 is 58 bits
LEAST_MASK = -36.0  # e^-36 is nothing, also beside scores that differ by 20
KEYS = "weights of keys"  # in `derived`, of a mask: its exponential


@dataclass(frozen=True, slots=True)
class Weights:
    """powers: e^(s - c), 0 where a score does not count. total: their sum, or None where the
    product with the keys' column makes it. keys: e^b of a private mask, [..., S, 1].
    whole: that a sum is no larger than; it is 1 at the least.
    """

    powers: Handle
    total: Handle | None
    keys: Handle | None
    whole: float


@dataclass(frozen=True, slots=True)
class Room:
    """Bits after the point: of powers and values that are multiplied, and of the products and of
    the reciprocals that they are multiplied with."""

    power: int
    value: int
    product: int
    reciprocal: int


def weighted_mean(
    low: Lowering,
    scores: Handle,
    value: Handle,
    kept: torch.Tensor | None,
    mask: Handle | None,
    what: str,
) -> Handle | None:
    """softmax(scores + mask)·value; [..., L, S] and [..., S, E] make [..., L, E].

    kept: public flags of the scores that count; a row without any is 0. mask: private summands.
    None where the ring has no room, or a bound is missing.
    """
    if low.precision is None or value.wire.bound is None or value.public or scores.public:
        return None
    if not (scores.wire.size and value.wire.size):
        return None
    found = _by_a_number(low, scores, value, kept, mask, what)
    if found is None:
        found = _by_the_maximum(low, scores, value, kept, mask, what)
    return None if found is None else _divided(low, *found, value, what)


def plus(low: Lowering, scores: Handle, mask: Operand, what: str) -> Handle:
    """Scores of any scale with a mask added, which is rounded to one part in 2^18 or to a unit."""
    scale = scores.wire.scale
    if isinstance(mask, Handle):
        (mask,) = descaled(low, (mask,), what)
        terms = ((scores, 1), (mask, max(1, round(scale / mask.wire.scale))))
    else:
        assert isinstance(mask, torch.Tensor)
        terms = ((scores, 1), (tensor_constant(low, mask, scale, what, vanishing=True), 1))
    return low.combine(terms, scores.wire.shape, scale)


def _room(low: Lowering, value: Handle, whole: float) -> Room | None:
    """How the ring's bits are shared out, where sums are no larger; None where they do not suffice.

    Σ p·v is no larger than Σ p times the largest value.
    """
    assert value.wire.bound is not None
    assert low.precision is not None
    size = ceil(log2(max(1.0, value.wire.bound / value.wire.scale)))
    full = (low.scale - 1).bit_length()
    left = ROOM - ceil(log2(whole * (1 + 2.0**-8))) - size
    digits = min(full, max(LEAST_VALUE_BITS, left - POWER_BITS))
    power = min(POWER_BITS, left - digits)
    left -= 2  # the reciprocal's scale is up to four times the largest sum
    product = min(full, max(LEAST_PRODUCT_BITS, left - RECIPROCAL_BITS))
    reciprocal = min(RECIPROCAL_BITS, left - product)
    if digits < full and low.precision.base != 2:
        return None  # another scale would have no common multiple that fits
    if power < LEAST_POWER_BITS or reciprocal < LEAST_RECIPROCAL_BITS:
        return None
    return Room(power, digits, product, reciprocal)


# ---- exponentials of scores ----------------------------------------------------------------------


def _by_a_number(
    low: Lowering,
    scores: Handle,
    value: Handle,
    kept: torch.Tensor | None,
    mask: Handle | None,
    what: str,
) -> tuple[Weights, Room] | None:
    """Scores less a public number; None where their range is unknown or too wide."""
    known = low.expected
    if SUMS not in known:
        return None
    if mask is not None and not (
        MASK in known and known[MASK].most < WIDEST_RANGE and _of_keys(mask, scores)
    ):
        return None
    scale, count = scores.wire.scale, scores.wire.shape[-1]
    of_rows, around = known[SUMS], _around(known, kept is not None, mask is not None)
    least, most = around.least - of_rows.least, around.most - of_rows.least
    if most > WIDEST_RANGE:
        return None
    whole = exp(of_rows.most - of_rows.least)
    room = _room(low, value, whole)
    if room is None:
        return None
    ends = floor(least * scale), ceil(most * scale)
    terms = ((scores, 1), (low.number(-round(of_rows.least * scale), scale), 1))
    shifted = low.combine(terms, scores.wire.shape, scale, bound=max(-ends[0], ends[1]))
    shifted = in_range(low, shifted, *ends, f"{what}: scores")
    raised = _raised(low, Exponent(shifted, scale), least, most, SPAN + log(count), what)
    if raised is None:
        return None
    powers = _counting(low, raised, kept)
    (rounded,) = descaled(_at(low, room.power), (powers,), what)
    if mask is not None:
        return Weights(rounded, None, _of_mask(low, mask, room, what), whole), room
    summed = powers if log2(powers.wire.scale * whole) < MOST_SUMMED else rounded
    total = _nowhere_zero(low, sum_(low, summed, -1, keepdim=True), kept)
    return Weights(rounded, total, None, whole), room


def _by_the_maximum(
    low: Lowering,
    scores: Handle,
    value: Handle,
    kept: torch.Tensor | None,
    mask: Handle | None,
    what: str,
) -> tuple[Weights, Room] | None:
    count = scores.wire.shape[-1]
    room = _room(low, value, float(count))
    if room is None:
        return None
    if mask is not None:
        scores = plus(low, scores, mask, what)
    made = Powers(low, scores, (len(scores.wire.shape) - 1,), kept)
    (rounded,) = descaled(_at(low, room.power), (made.powers,), what)
    total = _nowhere_zero(low, made.total, kept)
    return Weights(rounded, total, None, float(count)), room


def _around(known: Mapping[str, Interval], hides: bool, private: bool) -> Interval:
    """Where scores lie: those that are hidden may be larger than what counts."""
    if private:
        return known[SCORES]
    least, most = known[SHOWN].least, known[SUMS].most
    if not hides:
        return Interval(least, most)
    return Interval(min(least, known[SCORES].least), max(most, known[SCORES].most))


def _raised(
    low: Lowering, e: Exponent, least: float, most: float, span: float, what: str
) -> Handle | None:
    """e to the exponents; what is below -span counts as that, if that makes the range narrow enough
    for the ring. None where nothing does."""
    try:
        e, plan = fitted(low, e, least, most, EXPONENTIAL_BITS, what)
    except UnsupportedOperation:
        least = -span
    else:
        return exponential(low, e, plan, most, what)
    try:
        e, plan = fitted(low, e, least, most, EXPONENTIAL_BITS, what)
    except UnsupportedOperation:
        return None
    wire, ground = e.handle.wire, low.number(-plan.low, e.handle.wire.scale)
    above = low.combine(((e.handle, 1), (ground, 1)), wire.shape, wire.scale)
    above = exact_relu(low, above, what)
    inside = low.combine(
        ((above, 1), (ground, -1)), wire.shape, wire.scale,
        bound=max(-plan.low, ceil(most * e.scale)),
    )  # fmt: skip
    return exponential(low, Exponent(inside, e.scale), plan, most, what)


def _counting(low: Lowering, powers: Handle, kept: torch.Tensor | None) -> Handle:
    """Powers, with 0 where a score does not count."""
    if kept is None:
        return powers
    shape = powers.wire.shape
    flags = low.constant(np.ascontiguousarray(kept.expand(shape).numpy().astype(np.uint64)), 1)
    return public_product(low, powers, flags, shape, bound=powers.wire.bound)


def _nowhere_zero(low: Lowering, total: Handle, kept: torch.Tensor | None) -> Handle:
    """Sums, with a 1 for rows in which nothing counts."""
    if kept is None or bool(kept.any(-1).all()):
        return total
    shape = total.wire.shape
    empty = (~kept.any(-1, keepdim=True)).expand(shape).numpy().astype(np.uint64)
    ones = low.constant(np.ascontiguousarray(empty), 1)
    return low.combine(((total, 1), (ones, total.wire.scale)), shape, total.wire.scale)


def _at(low: Lowering, bits: int) -> Lowering:
    """Where wires are truncated to so many bits after the point."""
    return Lowering(low.builder, Precision(2, bits))


# ---- a private mask ------------------------------------------------------------------------------


def _of_keys(mask: Handle, scores: Handle) -> bool:
    """Whether a mask is the same for all queries."""
    shape = mask.wire.shape
    return len(shape) >= 2 and shape[-2] == 1 and shape[-1] == scores.wire.shape[-1]


def _of_mask(low: Lowering, mask: Handle, room: Room, what: str) -> Handle:
    """e^b, [..., S, 1] at the values' bits; computed once, whatever layers have the mask."""
    kept = low.derived(mask)
    key = (KEYS, room.value)
    if key not in kept:
        known = low.expected[MASK]
        least, most = max(known.least, LEAST_MASK), max(known.most, LEAST_MASK + 1)
        units = mask.wire.scale
        ends = floor(known.least * units), ceil(most * units)
        x = in_range(low, mask, *ends, f"{what}: mask")
        if known.least < least:
            x = clamped(low, x, least, most, what).inside
        e, plan = fitted(low, exponent(low, x, 1, what), least, most, EXPONENTIAL_BITS, what)
        (rounded,) = descaled(_at(low, room.value), (exponential(low, e, plan, most, what),), what)
        kept[key] = transpose(low, rounded, -2, -1)
    found: Handle = kept[key]
    return found


# ---- the mean ------------------------------------------------------------------------------------


def _divided(low: Lowering, weights: Weights, room: Room, value: Handle, what: str) -> Handle:
    """Σ powers·values over Σ powers."""
    size, shape = value.wire.bound, value.wire.shape
    assert size is not None
    largest = size / value.wire.scale
    total = weights.total
    if weights.keys is not None:
        (value,) = descaled(low, (value,), what)
        value = exact_product(low, value, weights.keys, shape, what=what)
        (value,) = descaled(_at(low, room.value), (value,), what)
        column = expanded(low, weights.keys, (*shape[:-1], 1))
        value = concatenated(low, (value, column), len(shape) - 1, what)
    elif room.value < (low.scale - 1).bit_length():
        (value,) = descaled(_at(low, room.value), (value,), what)
    else:
        (value,) = descaled(low, (value,), what)
    # A product of what is at its scale already, and no larger than the sum times a value.
    out = matmul(Lowering(low.builder, low.precision, 1 << ROOM), weights.powers, value)
    bound = ceil(weights.whole * max(1.0, largest) * (1 + 2.0**-7) * out.wire.scale)
    out.revise(replace(out.wire, bound=limited(bound)))
    if total is None:
        total = narrow(low, out, -1, shape[-1], 1)
        out = narrow(low, out, -1, 0, shape[-1])
    scale = total.wire.scale
    # By roundings, a sum may be a little less than it should be.
    least, most = scale - (scale >> 8), ceil(weights.whole * scale * (1 + 2.0**-8))
    total = in_range(low, total, least, most, f"{what}: sum of exponentials")
    inverse = by_octave.reciprocal_within(low, total, scale, most, room.reciprocal, what)
    (out,) = descaled(_at(low, room.product), (out,), what)
    bound = ceil(largest * out.wire.scale * inverse.wire.scale * (1 + 2.0**-7))
    return exact_product(low, out, inverse, out.wire.shape, bound=bound, what=what)
