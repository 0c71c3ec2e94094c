"""Comparisons. Their results are wires of 0 and 1, at scale 1."""

from __future__ import annotations

from dataclasses import replace

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.program.wire import RING_BITS
from tacita.protocols import NonNegative, Zero, sign, tables
from tacita.torch.lowering import arithmetic
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand
from tacita.torch.lowering.scales import within

WHAT = "comparison"


def nonnegative(low: Lowering, x: Handle, what: str = WHAT) -> Handle:
    """[x >= 0]."""
    shape = x.wire.shape
    if not x.wire.size:
        return low.zeros(shape)
    low.mask((x,), what)
    x = _checked(low, x, what)
    out = low.wire(shape, 1, 1)
    width = sign.width(x.wire.comparison_bits(), x.wire.size)
    return marked(low.emit(NonNegative(out.id, x.wire.id, shape, width), out))


def marked(handle: Handle) -> Handle:
    """A handle just made, on a wire whose values are 0 and 1."""
    handle.revise(replace(handle.wire, bit=True))
    return handle


def _checked(low: Lowering, x: Handle, what: str) -> Handle:
    """Where nothing is known the whole ring is compared, and there is no bound to exceed."""
    return x if x.wire.bound is None else within(low, x, x.wire.bound, what)


def zero(low: Lowering, x: Handle, what: str = WHAT) -> Handle:
    """[x = 0]."""
    shape = x.wire.shape
    if not x.wire.size:
        return low.zeros(shape)
    low.mask((x,), what)
    x = _checked(low, x, what)
    out = low.wire(shape, 1, 1)
    bits = min(x.wire.comparison_bits(), RING_BITS)
    plan = tables.plan(bits, x.wire.size, order=False)
    return marked(low.emit(Zero(out.id, x.wire.id, shape, plan), out))


def complement(low: Lowering, bit: Handle) -> Handle:
    """1 - bit."""
    return marked(low.combine(((bit, -1), (low.number(1), 1)), bit.wire.shape, 1, bound=1))


def ge(low: Lowering, a: Operand, b: Operand) -> Handle:
    return nonnegative(low, arithmetic.sub(low, a, b))


def le(low: Lowering, a: Operand, b: Operand) -> Handle:
    return nonnegative(low, arithmetic.rsub(low, a, b))


def gt(low: Lowering, a: Operand, b: Operand) -> Handle:
    return complement(low, le(low, a, b))


def lt(low: Lowering, a: Operand, b: Operand) -> Handle:
    return complement(low, ge(low, a, b))


def eq(low: Lowering, a: Operand, b: Operand) -> Handle:
    return zero(low, arithmetic.sub(low, a, b))


def ne(low: Lowering, a: Operand, b: Operand) -> Handle:
    return complement(low, eq(low, a, b))


def is_bit(x: object) -> bool:
    """Is this a wire of 0 and 1?"""
    return isinstance(x, Handle) and x.wire.bit


def _bits(low: Lowering, what: str, *values: Operand) -> list[Handle]:
    handles = [arithmetic.handle_of(low, each, what) for each in values]
    if not all(map(is_bit, handles)):
        raise UnsupportedOperation(
            f"{what} takes private values of 0 and 1, as comparisons result in; compare first, "
            "as in (x != 0)"
        )
    return handles


def logical_not(low: Lowering, a: Handle) -> Handle:
    return complement(low, _bits(low, "logical not", a)[0])


def logical_and(low: Lowering, a: Operand, b: Operand) -> Handle:
    a, b = _bits(low, "logical and", a, b)
    return _both(low, a, b)


def _both(low: Lowering, a: Handle, b: Handle) -> Handle:
    shape = arithmetic.broadcast(a.wire.shape, b.wire.shape, WHAT)
    return marked(arithmetic.product(low, a, b, shape, matrix=False, bound=1, what=WHAT))


def logical_or(low: Lowering, a: Operand, b: Operand) -> Handle:
    a, b = _bits(low, "logical or", a, b)
    both = _both(low, a, b)
    return marked(low.combine(((a, 1), (b, 1), (both, -1)), both.wire.shape, 1, bound=1))


def logical_xor(low: Lowering, a: Operand, b: Operand) -> Handle:
    a, b = _bits(low, "logical xor", a, b)
    both = _both(low, a, b)
    return marked(low.combine(((a, 1), (b, 1), (both, -2)), both.wire.shape, 1, bound=1))
