"""A smooth function of a wire that lies in the function's range, by `Waves` and a line.

Range: that of the function (compiler/functions.py), which the caller sees to.
Computes: the approximation of compiler/approximation.py: c + b·x + waves, of which the waves are
    one instruction on the masked x, at whatever scale x has, and the rest is local.
Error: as the approximation states, absolute or relative as its function counts it.
Cost: the opening of x, unless it is masked already; no other round. Dealt: 16 bytes an element and
    wave; four to eight waves for most functions, 18 at the most.
Opened: nothing but x̂. Leaks: nothing; the function is public.
"""

from __future__ import annotations

from math import ceil, lcm

from tacita.compiler.approximation import approximated
from tacita.compiler.functions import Function
from tacita.program.builder import Handle
from tacita.protocols import Waves
from tacita.protocols.waves import WAVE_BITS
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.scales import descaled

UNIT_BITS = 22  # of the coefficients in 1, at the least
ODD_BITS = 20  # of what a unit may have besides powers of two
FINEST_BITS = 40  # of an argument's scale: a finer one makes turns and lines too coarse


def unit_of(low: Lowering, in_scale: int) -> int:
    """The coefficients' unit: such that argument and result need no rounding to meet.

    It has the odd factors of both scales where there is room, and powers of two.
    """
    odd = odd_part(low.scale)
    both = lcm(odd, odd_part(in_scale))
    if both.bit_length() <= ODD_BITS:
        odd = both
    return odd << max(0, UNIT_BITS + 1 - odd.bit_length())


def odd_part(number: int) -> int:
    return number // (number & -number)


def manageable(low: Lowering, x: Handle, what: str) -> Handle:
    """The wire, truncated where its scale is too fine for waves."""
    return descaled(low, (x,), what)[0] if x.wire.scale > 1 << FINEST_BITS else x


def waved(low: Lowering, x: Handle, function: Function) -> Handle:
    """function(x) for an x in its range; of the shape of x, at about 2^46 times 1.

    Raises UnsupportedOperation where the scale of x is too coarse or too fine for it.
    """
    wire = x.wire
    found = approximated(function, wire.scale, unit_of(low, wire.scale))
    if not wire.size:
        return low.zeros(wire.shape, found.out_scale)
    low.mask((x,), function.name)
    sizes = sum(abs(each) for pair in found.waves for each in pair)
    swinging = low.wire(wire.shape, found.out_scale, (sizes + len(found.waves)) << WAVE_BITS)
    waves = low.emit(Waves(swinging.id, x.wire.id, found.turn, found.waves, wire.shape), swinging)
    terms = [(waves, 1), (low.number(found.constant, found.out_scale), 1)]
    if found.slope:
        terms.append((x, found.slope))
    bound = ceil(found.reach * found.out_scale)
    return low.combine(terms, wire.shape, found.out_scale, bound=bound)
