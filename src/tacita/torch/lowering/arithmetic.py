"""Sums, products and powers, element by element."""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from typing import Any, cast

import numpy as np
import torch

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.protocols import Product, PublicProduct
from tacita.ring.fixed_point import Array, Precision
from tacita.torch.lowering.hidden import finite, hide
from tacita.torch.lowering.lowering import NUMBER, Lowering, Shape
from tacita.torch.lowering.operands import (
    Number,
    Operand,
    factor,
    fitting,
    fraction,
    simple,
    summand,
)
from tacita.torch.lowering.scales import MASKS_DIGITS, MULTIPLE, aligned, descaled, rescaled, shrunk
from tacita.torch.lowering.shape import FILLED, VIEW, expanded

PUBLIC = "public"  # in `derived`: the ring values of a public constant


def broadcast(a: Shape, b: Shape, what: str) -> Shape:
    """The shape of an elementwise operation on two shapes, as NumPy and torch have it."""
    if a == b:
        return a
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    lead = len(longer) - len(shorter)
    shape = list(longer)
    for i, size in enumerate(shorter, start=lead):
        if shape[i] == 1:
            shape[i] = size
        elif size not in (1, shape[i]):
            raise ShapeError(f"{what}: shapes {a} and {b} do not broadcast")
    return tuple(shape)


def handle_of(low: Lowering, value: Operand, what: str) -> Handle:
    """A summand as a handle, made public where it is not private."""
    return value if isinstance(value, Handle) else summand(low, value, what)


def add(low: Lowering, a: Operand, b: Operand, *, alpha: Number = 1) -> Handle:
    return _weighted(low, a, b, alpha, "addition")


def sub(low: Lowering, a: Operand, b: Operand, *, alpha: Number = 1) -> Handle:
    return _weighted(low, a, b, -alpha, "subtraction")


def rsub(low: Lowering, a: Operand, b: Operand, alpha: Number = 1) -> Handle:
    return _weighted(low, b, a, -alpha, "subtraction")


def _weighted(low: Lowering, a: Operand, b: Operand, weight: Number, what: str) -> Handle:
    """a + weight·b."""
    shown = None
    if isinstance(a, Handle) and isinstance(b, torch.Tensor) and weight == 1:
        b, shown = finite(b)
    if not isinstance(weight, int):
        b = scaled(low, b, weight) if isinstance(b, Handle) else b * weight
        weight = 1
    left, right = handle_of(low, a, what), handle_of(low, b, what)
    shape = broadcast(left.wire.shape, right.wire.shape, what)
    terms, scale = aligned(low, (left, right), what)
    (left, p), (right, q) = terms
    return hide(low, low.combine(((left, p), (right, q * weight)), shape, scale), shown)


def neg(low: Lowering, x: Handle) -> Handle:
    return low.combine(((x, -1),), x.wire.shape, x.wire.scale)


def scaled(low: Lowering, x: Handle, value: Number) -> Handle:
    """x times a public number."""
    p, q = fraction(low, value, "multiplication")
    return by_fraction(low, x, p, q, "multiplication")


def number_of(x: Handle) -> tuple[int, int] | None:
    """(p, q) where every element of a public wire is the number p/q; None where that is unknown."""
    if not x.public:
        return None
    kept = x.derived
    while kept is not None and NUMBER not in kept and VIEW in kept and FILLED not in kept:
        x = kept[VIEW][0]
        kept = x.derived
    found: tuple[int, int] | None = None if kept is None else kept.get(NUMBER)
    return found


def by_fraction(low: Lowering, x: Handle, p: int, q: int, what: str) -> Handle:
    number = number_of(x)
    if number is not None:
        common = gcd(number[0] * p, number[1] * q)
        value, scale = number[0] * p // common, number[1] * q // common
        if max(abs(value), scale) < low.widest:
            return expanded(low, low.number(value, scale), x.wire.shape)
    if x.derived is not None and PUBLIC in x.derived:
        factor_at = low.scale if q > 1 else 1
        each = round(Fraction(p * factor_at, q)) % (1 << 64)
        values: Array = x.derived[PUBLIC] * np.uint64(each)
        return low.constant(values, x.wire.scale * factor_at)
    if abs(p) != 1 and x.wire.scale * q > low.widest:
        if low.precision is not None and low.scale == low.finest:
            return _in_gradient(low, x, Fraction(p, q), low.precision, what)
        (x,) = descaled(low, (x,), what)
    wire = x.wire
    if p == 1:
        out = rescaled(low, x, wire.scale * q)
    else:
        out = low.combine(((x, p),), wire.shape, wire.scale * q)
    if wire.scale <= low.widest < out.wire.scale and MASKS_DIGITS not in (x.derived or {}):
        low.derived(out)[MULTIPLE] = True
    return out


def _in_gradient(
    low: Lowering, x: Handle, value: Fraction, precision: Precision, what: str
) -> Handle:
    """x·value without truncating x first: what optimizers average is smaller than one unit.

    The result is at the scale of a gradient's product, by one truncation, unless there is room to
    multiply by a number of enough digits.
    """
    wire, scale = x.wire, low.finest * precision.scale
    fits = fitting(value, low.widest // wire.scale, precision.base)
    if fits is not None:
        return by_fraction(low, x, *fits, what)
    if wire.scale == scale and 0.5 < value < 1:
        # A decay: of the remainder, whose error is then small beside it; and x's own mask serves.
        rest = shrunk(low, x, 1 - value, scale, what)
        return low.combine(((x, 1), (rest, -1)), wire.shape, scale)
    out = shrunk(low, x, abs(value), scale, what)
    return out if value > 0 else neg(low, out)


def mul(low: Lowering, a: Operand, b: Operand) -> Handle:
    if isinstance(a, Handle):
        return times(low, a, b)
    return times(low, cast(Handle, b), a)


def times(low: Lowering, x: Handle, value: Operand) -> Handle:
    """x times something private or public."""
    if isinstance(value, Handle):
        return multiplied(low, x, value)
    value = simple(value)
    if not isinstance(value, torch.Tensor):
        return scaled(low, x, value)
    shape = broadcast(x.wire.shape, tuple(value.shape), "multiplication")
    return public_product(low, x, factor(low, value, "multiplication"), shape)


def product(
    low: Lowering,
    a: Handle,
    b: Handle,
    shape: Shape,
    *,
    matrix: bool,
    bound: int | None = None,
    what: str = "multiplication",
) -> Handle:
    """a∘b of two wires, elementwise or as matrices; `bound` where the caller knows a tighter one.

    Wires above the precision's scale are truncated first, so that the ring has room.
    """
    if a.public or b.public:
        private, public = (b, a) if a.public else (a, b)
        number = None if matrix else number_of(public)
        if number is not None:
            return expanded(low, by_fraction(low, private, *number, what), shape)
        return public_product(
            low, private, public, shape, matrix=matrix, public_first=a.public, bound=bound
        )
    a, b = descaled(low, (a, b), what)
    return exact_product(low, a, b, shape, matrix=matrix, bound=bound, what=what)


def exact_product(
    low: Lowering,
    a: Handle,
    b: Handle,
    shape: Shape,
    *,
    matrix: bool = False,
    bound: int | None = None,
    what: str = "multiplication",
) -> Handle:
    """`product` of two private wires at whatever scales they are; the caller knows that the ring
    has room."""
    if bound is None:
        bound = _product_bound(a, b, matrix=matrix)
    wire = low.wire(shape, a.wire.scale * b.wire.scale, bound)
    if not wire.size or (matrix and not a.wire.size):
        return low.zeros(shape, wire.scale)
    low.mask((a, b) if a is not b else (a,), what)
    return low.emit(Product(wire.id, a.wire.id, b.wire.id, matrix, shape), wire)


def _product_bound(a: Handle, b: Handle, *, matrix: bool) -> int | None:
    if a.wire.bound is None or b.wire.bound is None:
        return None
    terms = a.wire.shape[-1] if matrix else 1
    return terms * a.wire.bound * b.wire.bound


def public_product(
    low: Lowering,
    x: Handle,
    public: Handle,
    shape: Shape,
    *,
    matrix: bool = False,
    public_first: bool = False,
    bound: int | None = None,
) -> Handle:
    """x∘c or c∘x for a constant c; local, unless x has to be truncated first."""
    if public.wire.scale > 1 and x.wire.scale * public.wire.scale > low.widest:
        (x,) = descaled(low, (x,), "multiplication")
    if bound is None:
        first, second = (public, x) if public_first else (x, public)
        bound = _product_bound(first, second, matrix=matrix)
    wire = low.wire(shape, x.wire.scale * public.wire.scale, bound)
    if not wire.size:
        return low.zeros(shape, wire.scale)
    return low.emit(
        PublicProduct(wire.id, x.wire.id, public.wire.id, matrix, public_first, shape), wire
    )


def power(low: Lowering, x: Handle, exponent: Any) -> Handle:
    exponent = simple(exponent)
    if isinstance(exponent, Handle | torch.Tensor) or exponent != int(exponent) or exponent < 0:
        raise UnsupportedOperation(
            "a private tensor can be raised to a public integer of 0 or more; for roots, "
            "reciprocals and exponentials use a polynomial, or compute them before sharing"
        )
    exponent = int(exponent)
    if exponent == 0:
        return low.combine(((x, 0), (low.number(1), 1)), x.wire.shape, 1, bound=1)
    # The lowest bit that is set decides where the result starts.
    while not exponent & 1:
        x, exponent = multiplied(low, x, x), exponent >> 1
    result = x
    while exponent := exponent >> 1:
        x = multiplied(low, x, x)
        if exponent & 1:
            result = multiplied(low, result, x)
    return result


def multiplied(low: Lowering, a: Handle, b: Handle) -> Handle:
    """a·b of two wires, with broadcasting."""
    shape = broadcast(a.wire.shape, b.wire.shape, "multiplication")
    return product(low, a, b, shape, matrix=False)


def square(low: Lowering, x: Handle) -> Handle:
    return product(low, x, x, x.wire.shape, matrix=False)


def addcmul(low: Lowering, x: Operand, a: Operand, b: Operand, *, value: Number = 1) -> Handle:
    between = mul(low, a, b) if isinstance(a, Handle) or isinstance(b, Handle) else a * b
    return add(low, x, between, alpha=value)


def lerp(low: Lowering, start: Operand, end: Operand, weight: Operand) -> Handle:
    return add(low, start, mul(low, sub(low, end, start), weight))
