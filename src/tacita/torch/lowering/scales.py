"""Scales: bringing wires to a common one, and back to that of the precision.

Truncation is lazy. A product leaves its result at the product of the scales, a division by a
public integer merely multiplies the scale, and whoever needs a smaller scale truncates.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

from tacita.compiler.recorder import Recorder
from tacita.errors import EncodingError
from tacita.program.builder import Handle
from tacita.program.wire import TRUNCATION_BITS
from tacita.protocols import Reshape, Truncate, WithinBound, sign
from tacita.ring.fixed_point import LARGEST
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.places import described
from tacita.torch.lowering.shape import VIEW, viewed

# A divisor that leaves nothing of any value that truncation accepts.
FAITHFUL = 1 << 10  # how much larger a factor in a gradient has to be than its error
EVERYTHING = 1 << (TRUNCATION_BITS - 1)
MASKS_DIGITS = "digits of masks"  # in `derived`: see with_masks_digits
MULTIPLE = "multiple"  # in `derived`: a public multiple of a wire that may be revealed as it is
CLOSE_BITS = 20  # of the quotient of two scales that is no integer
ROUNDED = "rounded"  # in `derived`: the wire truncated
# What to do about values that do not fit, in any operation of a forward or backward pass.
SMALLER = "keep values smaller (scale inputs, clip gradients, lower the rate) or take fewer digits"
SETTLED = "settled"  # in `derived`: at the scale of gradients it needs no truncation


def descaled(low: Lowering, handles: Sequence[Handle], what: str) -> list[Handle]:
    """Wires above the precision's scale truncated to it, all masked in one round."""
    for each in handles:
        if each.wire.scale > low.scale:
            break
    else:
        return list(handles)
    sources = [source_of(each) for each in handles]
    # The same wire twice is truncated once, and so are views of it.
    pairs: dict[int, tuple[Handle, Handle, int]] = {}
    for each in sources:
        if _owes(low, each) and each.wire.id not in pairs:
            pairs[each.wire.id] = (each, *divisible(low, each))
    low.mask([each for _, each, divisor in pairs.values() if divisor < EVERYTHING], what)
    for source, each, divisor in pairs.values():
        low.derived(source)[ROUNDED] = truncated(low, each, divisor, what)
    return [_rounded(low, each) for each in handles]


def _owes(low: Lowering, source: Handle) -> bool:
    """Whether a wire has to be truncated before it is multiplied."""
    if source.wire.scale <= (low.finest if is_settled(source) else low.scale):
        return False
    kept = low.derived(source)
    return ROUNDED not in kept or kept[ROUNDED].wire.scale > low.scale


def _rounded(low: Lowering, handle: Handle) -> Handle:
    """What was made of the source of a view, seen in the same way."""
    if handle.wire.scale <= (low.finest if is_settled(handle) else low.scale):
        return handle
    kept = low.derived(handle)
    if ROUNDED in kept and kept[ROUNDED].wire.scale <= low.scale:
        rounded: Handle = kept[ROUNDED]
        return rounded
    if VIEW not in kept:
        return handle
    source, shape, make = kept[VIEW]
    below = _rounded(low, source)
    if below is source:
        return handle
    out = viewed(low, below, shape, make)
    kept[ROUNDED] = out
    return out


def source_of(handle: Handle) -> Handle:
    """The wire that a view is of, through all views; itself where it is none.

    A view of a part stands for itself: truncating all of its source would be more work.
    """
    while handle.derived is not None and VIEW in handle.derived:
        source: Handle = handle.derived[VIEW][0]
        if source.wire.size > handle.wire.size:
            break
        handle = source
    return handle


def is_settled(handle: Handle) -> bool:
    """Whether this is a parameter at the scale of gradients, or a view of one."""
    kept = handle.derived
    while kept is not None and SETTLED not in kept and VIEW in kept:
        kept = kept[VIEW][0].derived
    return kept is not None and SETTLED in kept


def settled(low: Lowering, handle: Handle, what: str) -> Handle:
    """A wire truncated to the scale of gradients, at which it is multiplied as it is.

    Parameters are, while they are trained: so no step is lost, however small.
    """
    if handle.wire.scale > low.finest:
        (handle,) = descaled(low.finer, (handle,), what)
    if low.finest > low.scale:
        low.derived(handle)[SETTLED] = handle.wire.scale
    return handle


def with_masks_digits(low: Lowering, handle: Handle) -> Handle:
    """Marks the result of a function, whose last digits depend on masks."""
    low.derived(handle)[MASKS_DIGITS] = True
    return handle


def presentable(low: Lowering, handle: Handle) -> Handle:
    """What may be revealed of a wire: without digits that come of masks instead of values.

    Functions of a masked value (waves, exponentials, roots) have more digits than the precision,
    and their errors depend on the mask: whoever learned those digits and held a party's opening
    could tell the argument more closely than by the result. They are rounded away: of scales wider
    than those of products, and of what `with_masks_digits` marks. Products and public multiples of
    values at the precision's scale are exact, and revealed as they are.
    """
    scale, kept = handle.wire.scale, handle.derived or {}
    exact = kept.get(MULTIPLE, scale <= low.widest) and MASKS_DIGITS not in kept
    without_dealer = getattr(low.builder, "dealer", handle) is None  # then there are no functions
    if low.precision is None or handle.public or scale <= low.scale or exact or without_dealer:
        return handle
    return descaled(low, (handle,), "reveal")[0]


def divisible(low: Lowering, handle: Handle) -> tuple[Handle, int]:
    """The wire, multiplied up where its scale is no multiple of the precision's; the divisor.

    Where a known bound says that the ring has no room for that, the nearest integer is the divisor:
    it is large then, so that the result is off by 2^-CLOSE_BITS of itself at the most.
    """
    wire = handle.wire
    scale = lcm(wire.scale, low.scale)
    if scale != wire.scale:
        by = scale // wire.scale
        if wire.bound is not None and wire.bound * by >= EVERYTHING:
            by = max(1, -(-(low.scale << CLOSE_BITS) // wire.scale))
            scale = round(wire.scale * by / low.scale) * low.scale
        if by > 1:
            handle = low.combine([(handle, by)], wire.shape, wire.scale * by)
    return handle, scale // low.scale


def shrunk(low: Lowering, handle: Handle, factor: Fraction, scale: int, what: str) -> Handle:
    """handle·factor at the given scale, for a factor above 0: one truncation by scale and factor.

    The factor is off by one part in FAITHFUL at the most; up to 64 times x has to fit in what
    truncation takes, or for a scale that is no power of two times the other up to 2^11.
    """
    wire = handle.wire
    times, divisor = _integers(wire.scale / (scale * factor))
    if times > 1:
        handle = low.combine(((handle, times),), wire.shape, wire.scale * times)
    if divisor == 1:
        return rescaled(low, handle, scale)
    if divisor < EVERYTHING:
        low.mask((handle,), what)
    return truncated(low, handle, divisor, what, scale)


def _integers(by: Fraction) -> tuple[int, int]:
    """(times, divisor) with divisor/times = `by` to one part in FAITHFUL, small if possible."""
    for largest in (1, 8, 64):
        near = by.limit_denominator(largest)
        if abs(near - by) * FAITHFUL <= by:
            return near.denominator, near.numerator
    times = 64
    while abs(round(by * times) - by * times) * FAITHFUL > by * times:
        times *= 2
    return times, round(by * times)


def truncated(
    low: Lowering, handle: Handle, divisor: int, what: str, scale: int | None = None
) -> Handle:
    """A masked wire divided by a public integer, at the precision's scale or the one given."""
    wire, scale = handle.wire, scale or low.scale
    if not wire.size or divisor >= EVERYTHING:
        return low.zeros(wire.shape, scale)
    handle = within(low, handle, EVERYTHING - 1, what)
    bound = wire.bound
    out = low.wire(wire.shape, scale, None if bound is None else bound // divisor + 1)
    bits = wire.truncation_bits()
    return low.emit(Truncate(out.id, handle.wire.id, divisor, bits, wire.shape), out)


def within(
    low: Lowering, handle: Handle, widest: int, what: str, outside: str | None = None
) -> Handle:
    """In checked mode, the masked wire with a proof that it keeps its bound, or else `widest`.

    what: the operation, for the error. outside: what is said of such a value, and what to do about
    it, where that is not the bound.
    """
    wire = handle.wire
    if not low.builder.checked or not wire.size:
        return handle
    bound = widest if wire.bound is None else min(wire.bound, widest)
    exporting = isinstance(low.builder, Recorder)  # which knows places and scales itself
    if not exporting:
        if outside is None:
            outside = _beyond(bound / wire.scale, declared=wire.bound is not None)
        what = f"{described(what)}: a value of the private tensor of shape {wire.shape} {outside}"
    out = low.wire(wire.shape, wire.scale, wire.bound, bit=wire.bit)
    # Values may lie anywhere in the ring: the check itself relies on no bound.
    width = sign.width(64, 2 * wire.size)
    check = WithinBound(out.id, handle.wire.id, bound, what, wire.shape, width, said=not exporting)
    return low.emit(check, out, handle)


def _beyond(limit: float, *, declared: bool) -> str:
    if declared:
        return (
            f"lies outside the bound of {limit:.6g} that was declared, or follows from what was; "
            "declare a larger bound"
        )
    return f"lies outside the bound of {limit:.6g}, which is what fits in the ring; {SMALLER}"


def aligned(
    low: Lowering, handles: Sequence[Handle], what: str
) -> tuple[list[tuple[Handle, int]], int]:
    """(handle, coefficient) pairs at one common scale, and that scale; exact and free, unless
    the common scale would be so wide that wires have to be truncated first."""
    scale = handles[0].wire.scale
    for each in handles:
        if each.wire.scale != scale:
            break
    else:
        return [(each, 1) for each in handles], scale
    scale = lcm(*(each.wire.scale for each in handles))
    if scale > low.widest:
        handles = descaled(low, handles, what)
        scale = lcm(*(each.wire.scale for each in handles))
    pairs = [(each, scale // each.wire.scale) for each in handles]
    for each, coefficient in pairs:
        if each.public and (each.wire.bound or 0) * coefficient >= LARGEST:
            raise EncodingError(
                f"{what}: a public number is too large for a 64-bit ring at a scale of {scale}"
            )
    return pairs, scale


def rescaled(low: Lowering, handle: Handle, scale: int) -> Handle:
    """The same ring values read at another scale: what a free division is."""
    return relabelled(low, handle, scale, handle.wire.bound)


def relabelled(low: Lowering, handle: Handle, scale: int, bound: int | None) -> Handle:
    """The same ring values under another scale or bound; a view, so a mask serves both."""
    bit = handle.wire.bit and scale == handle.wire.scale
    wire = low.wire(handle.wire.shape, scale, bound, bit=bit)
    out = low.emit(Reshape(wire.id, handle.wire.id, wire.shape), wire, handle)
    out.public = handle.public
    return out
