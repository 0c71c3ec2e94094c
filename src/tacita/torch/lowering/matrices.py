"""Matrix products: mm, bmm, mv, dot and what torch builds of them."""

from __future__ import annotations

import torch

from tacita.errors import ShapeError
from tacita.program.builder import Handle
from tacita.torch.lowering import arithmetic
from tacita.torch.lowering.lowering import Lowering, Shape
from tacita.torch.lowering.operands import Number, Operand, factor
from tacita.torch.lowering.shape import expanded, permuted, reshaped

WHAT = "matrix product"


def matmul(low: Lowering, a: Operand, b: Operand) -> Handle:
    """torch.matmul: vectors, matrices and batches of them, with broadcasting."""
    a, b = _handles(low, a, b)
    if not a.wire.shape or not b.wire.shape:
        raise ShapeError(f"{WHAT}: a 0-d tensor is no matrix; use *")
    rows, columns = a.wire.shape, b.wire.shape
    if len(rows) == 1:
        a = reshaped(low, a, (1, *rows))
    if len(columns) == 1:
        b = reshaped(low, b, (*columns, 1))
    out = _matrices(low, a, b)
    # A vector's dimension of size 1 goes again: the last but one for the left, the last for the
    # right operand.
    shape = list(out.wire.shape)
    if len(rows) == 1:
        del shape[-2]
    if len(columns) == 1:
        del shape[-1]
    return reshaped(low, out, tuple(shape))


def _matrices(low: Lowering, a: Handle, b: Handle) -> Handle:
    """[…, m, k] @ […, k, n]."""
    left, right = a.wire.shape, b.wire.shape
    m, k, n = left[-2], left[-1], right[-1]
    if right[-2] != k:
        raise ShapeError(f"{WHAT}: shapes {left} and {right} do not fit")
    if len(right) == 2 and len(left) > 2:
        # One large product instead of many small ones.
        flat = reshaped(low, a, (_count(left[:-1]), k))
        return reshaped(low, _product(low, flat, b, (flat.wire.shape[0], n)), (*left[:-1], n))
    if len(left) > 2 or len(right) > 2:
        batch = arithmetic.broadcast(left[:-2], right[:-2], WHAT)
        a = expanded(low, a, (*batch, m, k))
        b = expanded(low, b, (*batch, k, n))
        if len(batch) > 1:
            a = reshaped(low, a, (_count(batch), m, k))
            b = reshaped(low, b, (_count(batch), k, n))
        return reshaped(low, _product(low, a, b, (_count(batch), m, n)), (*batch, m, n))
    return _product(low, a, b, (m, n))


def _count(shape: Shape) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _handles(low: Lowering, a: Operand, b: Operand) -> tuple[Handle, Handle]:
    """Both operands as handles; the public one is a factor, encoded as such."""
    first = a if isinstance(a, Handle) else factor(low, _tensor(a), WHAT)
    second = b if isinstance(b, Handle) else factor(low, _tensor(b), WHAT)
    return first, second


def _tensor(value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise ShapeError(f"{WHAT}: a {type(value).__name__} is no matrix; use *")
    return value


def _product(low: Lowering, a: Handle, b: Handle, shape: Shape) -> Handle:
    return arithmetic.product(low, a, b, shape, matrix=True, what=WHAT)


def mm(low: Lowering, a: Operand, b: Operand) -> Handle:
    a, b = _handles(low, a, b)
    left, right = a.wire.shape, b.wire.shape
    if len(left) != 2 or len(right) != 2 or left[1] != right[0]:
        raise ShapeError(f"{WHAT}: shapes {left} and {right} do not fit")
    return _product(low, a, b, (left[0], right[1]))


def bmm(low: Lowering, a: Operand, b: Operand) -> Handle:
    a, b = _handles(low, a, b)
    left, right = a.wire.shape, b.wire.shape
    if len(left) != 3 or len(right) != 3 or left[0] != right[0]:
        raise ShapeError(f"{WHAT}: batches of shapes {left} and {right} do not fit")
    return _matrices(low, a, b)


def mv(low: Lowering, a: Operand, b: Operand) -> Handle:
    return matmul(low, a, b)


def dot(low: Lowering, a: Operand, b: Operand) -> Handle:
    a, b = _handles(low, a, b)
    if len(a.wire.shape) != 1 or a.wire.shape != b.wire.shape:
        raise ShapeError(f"dot product: shapes {a.wire.shape} and {b.wire.shape} do not fit")
    return matmul(low, a, b)


def addmm(
    low: Lowering, bias: Operand, a: Operand, b: Operand, *, beta: Number = 1, alpha: Number = 1
) -> Handle:
    out = mm(low, a, b)
    return _plus_bias(low, bias, out, beta, alpha)


def addmv(
    low: Lowering, bias: Operand, a: Operand, b: Operand, *, beta: Number = 1, alpha: Number = 1
) -> Handle:
    return _plus_bias(low, bias, matmul(low, a, b), beta, alpha)


def baddbmm(
    low: Lowering, bias: Operand, a: Operand, b: Operand, *, beta: Number = 1, alpha: Number = 1
) -> Handle:
    return _plus_bias(low, bias, bmm(low, a, b), beta, alpha)


def _plus_bias(low: Lowering, bias: Operand, out: Handle, beta: Number, alpha: Number) -> Handle:
    if alpha != 1:
        out = arithmetic.scaled(low, out, alpha)
    return out if beta == 0 else arithmetic.add(low, out, bias, alpha=beta)


def linear(low: Lowering, x: Operand, weight: Operand, bias: Operand | None = None) -> Handle:
    if isinstance(weight, Handle):
        transposed: Operand = permuted(low, weight, (1, 0))
    else:
        transposed = _tensor(weight).t()
    out = matmul(low, x, transposed)
    return out if bias is None else arithmetic.add(low, out, bias)
