"""Exponentials of private values, and the activations made of them.

Range: LEAST <= x <= MOST; below, exp(x) counts as exp(LEAST), which is within the error of 0;
    above, as exp(MOST), and in checked mode that is an error that names the operation. Where the
    wire has a bound, the range is no wider than that, and nothing is clamped.
Computes: x clamped to the range (clamping.py), then the instruction Exponential on it.
Error: 2^-BITS·max(1, e^x), beside the rounding of x.
Cost: five rounds, or one where the bound makes a clamp needless. Dealt: the clamp's, and 16 to 32
    bytes an element.
Opened: the masked argument. Leaks: shapes and bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, floor, log, log2

from tacita.errors import EncodingError, UnsupportedOperation, UsageError
from tacita.program.builder import Handle
from tacita.protocols import Exponential
from tacita.protocols.exponential import Plan, plan
from tacita.torch.lowering.arithmetic import add, multiplied, neg, scaled, sub
from tacita.torch.lowering.clamping import clamped
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, need_precision
from tacita.torch.lowering.positive import at_most
from tacita.torch.lowering.scales import descaled, with_masks_digits, within
from tacita.torch.lowering.selection import POSITIVE, exact_relu

LEAST, MOST = -9.9, 14.0  # of exponents of e, where no bound is known: 24 takes three segments
BITS = 13
RATE = 1 << 20  # what an exponent is multiplied by where its base is not e
SEGMENTS = (1, 3, 7, 15, 31)  # that a range may have
FINEST = 1 << 40  # of an exponent's scale: ranges take the rest of the ring's bits


@dataclass(frozen=True, slots=True)
class Exponent:
    """Ring values of `handle` stand for exponents of e in units of 1/scale."""

    handle: Handle
    scale: int


def exponent(low: Lowering, x: Handle, rate: float, what: str) -> Exponent:
    """x·rate as an exponent of e: the rate goes into the scale, exactly enough."""
    need_precision(low, what)
    if x.wire.scale > FINEST:
        (x,) = descaled(low, (x,), what)
    if rate == 1:
        return Exponent(x, x.wire.scale)
    if rate < 0:
        x, rate = neg(low, x), -rate
    by = max(1, ceil(RATE * rate / x.wire.scale))
    return Exponent(_times(low, x, by), round(x.wire.scale * by / rate))


def _times(low: Lowering, x: Handle, by: int) -> Handle:
    """The same values at `by` times the scale."""
    return x if by == 1 else low.combine(((x, by),), x.wire.shape, x.wire.scale * by)


def raised(low: Lowering, e: Exponent, what: str) -> Handle:
    """exp of an exponent anywhere; of its shape. See the top of the file."""
    bound = None if e.handle.wire.bound is None else e.handle.wire.bound / e.scale
    least = LEAST if bound is None else max(LEAST, -bound)
    most = MOST if bound is None else min(MOST, bound)
    e, found = fitted(low, e, least, most, BITS, what)
    x = e.handle
    if bound is None or bound > MOST:
        most_of = f"{what} of an exponent above {MOST:g}"
        x = at_most(low, x, floor(MOST * e.scale), most_of, "is one; clamp(max=…) it first")
    # Ends in units of the wire's own scale, which is not that of the exponent.
    units = x.wire.scale / e.scale
    parts = clamped(low, x, least / units, most / units, what)
    out = exponential(low, Exponent(parts.inside, e.scale), found, most, what)
    return with_masks_digits(low, out)


def fitted(
    low: Lowering, e: Exponent, least: float, most: float, bits: int, what: str
) -> tuple[Exponent, Plan]:
    """The exponent at a scale for which there is a plan, and that.

    An Exponential's segments are powers of two: a scale just above one wastes half of its range,
    and is multiplied up to just below the next. Raises UnsupportedOperation where nothing helps.
    """
    factors = [1]
    for segments in SEGMENTS:
        span = (most - least) * e.scale / segments
        if span > 1:
            # At most 32: the largest that keeps a segment below a power of two.
            factors.append(floor(2.0 ** ceil(log2(16 * span)) / (span * (1 + 2.0**-16))))
    best: tuple[int, Plan] | None = None
    refusal = ""
    for by in factors:
        try:
            found = planned(e.scale * by, least, most, bits)
        except UsageError as error:
            refusal = refusal or f"{what}: {error}"
            continue
        if best is None or found.index_bits < best[1].index_bits:
            best = by, found
    if best is None:
        raise UnsupportedOperation(refusal)
    by, found = best
    return Exponent(_times(low, e.handle, by), e.scale * by), found


def planned(scale: int, least: float, most: float, bits: int) -> Plan:
    """The instruction's fields for exponents of a range; raises UsageError where there are none."""
    return plan(floor(least * scale), ceil(most * scale), scale, bits)


def exponential(low: Lowering, e: Exponent, found: Plan, most: float, what: str) -> Handle:
    """exp of an exponent that the plan is made for; `most` is its largest."""
    x = e.handle
    if not x.wire.size:
        return low.zeros(x.wire.shape, found.unit)
    low.mask((x,), what)
    if x.wire.bound is not None:
        x = within(low, x, x.wire.bound, what)
    bound = ceil((exp(most) + max(1.0, exp(most)) * 2.0**-BITS) * found.unit)
    out = low.wire(x.wire.shape, found.unit, bound)
    return low.emit(
        Exponential(
            out.id, x.wire.id, found.low, e.scale, found.segment_bits, found.index_bits,
            found.a, found.b, x.wire.shape,
        ),
        out,
    )  # fmt: skip


# ---- functions ---------------------------------------------------------------------------------


def exp_(low: Lowering, x: Handle) -> Handle:
    return raised(low, exponent(low, x, 1, "exp"), "exp")


def exp2(low: Lowering, x: Handle) -> Handle:
    return raised(low, exponent(low, x, log(2), "exp2"), "exp2")


def expm1(low: Lowering, x: Handle) -> Handle:
    """exp(x) - 1, with the absolute error of exp also where the result is small."""
    out = exp_(low, x)
    one = low.number(out.wire.scale, out.wire.scale)
    return low.combine(((out, 1), (one, -1)), out.wire.shape, out.wire.scale)


def power_of(low: Lowering, base: Number, x: Handle) -> Handle:
    """base^x for a public base above 0."""
    if not 0 < base < float("inf"):
        raise EncodingError(f"pow: a public base is a number above 0, not {base}")
    if base == 1:
        return low.combine(((x, 0), (low.number(1), 1)), x.wire.shape, 1, bound=1)
    return raised(low, exponent(low, x, log(base), "pow"), "pow")


def elu(
    low: Lowering,
    x: Handle,
    alpha: Number = 1,
    scale: Number = 1,
    input_scale: Number = 1,
) -> Handle:
    """scale·x above 0, and scale·alpha·(exp(input_scale·x) - 1) below."""
    above = exact_relu(low, x, "elu")
    out = add(low, above, scaled(low, _bent(low, x, above, input_scale), alpha))
    return out if scale == 1 else scaled(low, out, scale)


def _bent(low: Lowering, x: Handle, above: Handle, input_scale: Number) -> Handle:
    """exp(input_scale·min(x, 0)) - 1, at the precision's scale."""
    out = below_zero(low, sub(low, x, above), input_scale, "elu")
    one = low.number(out.wire.scale, out.wire.scale)
    (out,) = descaled(
        low, (low.combine(((out, 1), (one, -1)), out.wire.shape, out.wire.scale),), "elu"
    )
    return out


def below_zero(low: Lowering, x: Handle, rate: float, what: str) -> Handle:
    """exp(rate·x) for an x that is known not to be above 0; rate > 0. Clamped below only."""
    if rate <= 0:
        raise EncodingError(f"{what}: the input's scale is a number above 0, not {rate}")
    e = exponent(low, x, rate, what)
    return falling(low, e, -LEAST, BITS, what)


def falling(low: Lowering, e: Exponent, span: float, bits: int, what: str) -> Handle:
    """exp of an exponent that is known not to be above 0, to 2^-bits absolutely.

    Below -span, or further down where that costs nothing, it counts as that.
    """
    e, found = fitted(low, e, -span, 0.0, bits, what)
    x = e.handle
    floor_ = -found.low if x.wire.bound is None else min(-found.low, x.wire.bound)
    if x.wire.bound is None or x.wire.bound > floor_:
        ground = low.number(floor_, x.wire.scale)
        lifted = low.combine(((x, 1), (ground, 1)), x.wire.shape, x.wire.scale)
        lifted = exact_relu(low, lifted, what)
        terms = ((lifted, 1), (ground, -1))
        x = low.combine(terms, x.wire.shape, x.wire.scale, bound=floor_)
    return exponential(low, Exponent(x, e.scale), found, 0.0, what)


def celu(low: Lowering, x: Handle, alpha: Number = 1) -> Handle:
    if alpha == 0:
        raise EncodingError("celu: alpha is a public number other than 0")
    return elu(low, x, alpha, 1, 1 / alpha)


# As in Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural networks" (2017).
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def selu(low: Lowering, x: Handle) -> Handle:
    return elu(low, x, SELU_ALPHA, SELU_SCALE)


def elu_backward(
    low: Lowering,
    grad: Handle,
    alpha: Number,
    scale: Number,
    input_scale: Number,
    is_result: bool,
    x: Handle,
) -> Handle:
    """grad·scale above 0, and below grad·scale·alpha·input_scale·exp(input_scale·x).

    is_result: x is the result, from which alpha·scale·exp(…) is x + alpha·scale where x < 0.
    """
    above = exact_relu(low, x, "elu", keep=True)
    bit = low.derived(above)[POSITIVE] if x.wire.size else low.zeros(x.wire.shape)
    if is_result:
        below = scaled(low, sub(low, x, above), input_scale)
        bent = add(low, below, float(alpha * scale * input_scale))
        # Where x >= 0 `below` is 0, and the constant is left.
    else:
        curve = below_zero(low, sub(low, x, above), input_scale, "elu")
        bent = scaled(low, descaled(low, (curve,), "elu")[0], alpha * scale * input_scale)
    straight = float(scale - alpha * scale * input_scale)
    slope = add(low, bent, scaled(low, bit, straight)) if straight else bent
    return multiplied(low, grad, slope)
