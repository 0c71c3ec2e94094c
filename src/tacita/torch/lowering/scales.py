"""Scales: bringing wires to a common one, and back to that of the precision.

Truncation is lazy. A product leaves its result at the product of the scales, a division by a
public integer merely multiplies the scale, and whoever needs a smaller scale truncates.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

from tacita.errors import EncodingError
from tacita.program.builder import Handle
from tacita.program.wire import TRUNCATION_BITS
from tacita.protocols import Reshape, Truncate, WithinBound, sign
from tacita.ring.fixed_point import LARGEST
from tacita.torch.lowering.lowering import Lowering

# A divisor that leaves nothing of any value that truncation accepts.
EVERYTHING = 1 << (TRUNCATION_BITS - 1)


def descaled(low: Lowering, handles: Sequence[Handle], what: str) -> list[Handle]:
    """Wires above the precision's scale truncated to it, all masked in one round."""
    for each in handles:
        if each.wire.scale > low.scale:
            break
    else:
        return list(handles)
    # The same wire twice is truncated once.
    pairs: dict[int, tuple[Handle, int]] = {}
    for each in handles:
        if each.wire.scale > low.scale and each.wire.id not in pairs:
            pairs[each.wire.id] = divisible(low, each)
    low.mask([each for each, divisor in pairs.values() if divisor < EVERYTHING], what)
    done = {wire: truncated(low, each, divisor, what) for wire, (each, divisor) in pairs.items()}
    return [done.get(each.wire.id, each) for each in handles]


def divisible(low: Lowering, handle: Handle) -> tuple[Handle, int]:
    """The wire, multiplied up where its scale is no multiple of the precision's; the divisor."""
    wire = handle.wire
    scale = lcm(wire.scale, low.scale)
    if scale != wire.scale:
        handle = low.combine([(handle, scale // wire.scale)], wire.shape, scale)
    return handle, scale // low.scale


def truncated(low: Lowering, handle: Handle, divisor: int, what: str) -> Handle:
    """A masked wire divided by a public integer, at the precision's scale."""
    wire = handle.wire
    if not wire.size or divisor >= EVERYTHING:
        return low.zeros(wire.shape, low.scale)
    handle = within(low, handle, EVERYTHING - 1, what)
    bound = wire.bound
    out = low.wire(wire.shape, low.scale, None if bound is None else bound // divisor + 1)
    bits = wire.truncation_bits()
    return low.emit(Truncate(out.id, handle.wire.id, divisor, bits, wire.shape), out)


def within(low: Lowering, handle: Handle, widest: int, what: str) -> Handle:
    """In checked mode, the masked wire with a proof that it keeps its bound, or else `widest`."""
    wire = handle.wire
    if not low.builder.checked or not wire.size:
        return handle
    bound = widest if wire.bound is None else min(wire.bound, widest)
    out = low.wire(wire.shape, wire.scale, wire.bound, bit=wire.bit)
    # Values may lie anywhere in the ring: the check itself relies on no bound.
    width = sign.width(64, 2 * wire.size)
    return low.emit(
        WithinBound(out.id, handle.wire.id, bound, what, wire.shape, width), out, handle
    )


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
    return low.emit(Reshape(wire.id, handle.wire.id, wire.shape), wire, handle)
