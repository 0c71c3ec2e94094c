"""Norms, variances and standard deviations over dimensions.

Range: a sum of squares, at the square of the precision's scale, has to stay below 2^60; in checked
    mode one that does not is an error.
Error: that of squares of values rounded to the precision, and that of the root (roots.py).
Cost: one product, and for norms and standard deviations the rounds of a root.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod
from typing import Any

from tacita.errors import ShapeError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import square, sub
from tacita.torch.lowering.extrema import amax, amin
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, need_precision
from tacita.torch.lowering.positive import squarable
from tacita.torch.lowering.reduction import dims_of, mean, sum_
from tacita.torch.lowering.roots import root
from tacita.torch.lowering.scales import descaled, rescaled
from tacita.torch.lowering.selection import abs_

Dims = int | Sequence[int] | None


def vector_norm(
    low: Lowering, x: Handle, ord: Number = 2, dim: Dims = None, keepdim: bool = False, **_: Any
) -> Handle:
    """(Σ|x|^ord)^(1/ord) for ord 1, 2, inf and -inf."""
    if ord == 2:
        need_precision(low, "norm")
        (x,) = descaled(low, (x,), "norm")
        x = squarable(low, x, "norm")
        return root(low, sum_(low, square(low, x), dim, keepdim))
    if ord == 1:
        return sum_(low, abs_(low, x), dim, keepdim)
    if ord in (inf, -inf):
        dims = dims_of(dim, len(x.wire.shape))
        return (amax if ord > 0 else amin)(low, abs_(low, x), dims, keepdim)
    raise UnsupportedOperation(f"a norm of order {ord} has no protocol; use 1, 2, inf or -inf")


def norm(
    low: Lowering, x: Handle, p: Number | None = 2, dim: Dims = None, keepdim: bool = False,
    **_: Any,
) -> Handle:  # fmt: skip
    """As `vector_norm`, in the older form."""
    return vector_norm(low, x, 2 if p is None else p, dim, keepdim)


def var(
    low: Lowering,
    x: Handle,
    dim: Dims = None,
    *,
    correction: Number | None = None,
    keepdim: bool = False,
) -> Handle:
    """Σ(x - mean)²/(n - correction); the correction is 1 where none is given."""
    need_precision(low, "variance")
    count = prod(x.wire.shape[d] for d in dims_of(dim, len(x.wire.shape)))
    divisor = count - (1 if correction is None else correction)
    if divisor <= 0 or divisor != int(divisor):
        raise ShapeError(
            f"the variance of {count} elements with a correction of {correction} would divide by "
            f"{divisor}"
        )
    (centred,) = descaled(low, (sub(low, x, mean(low, x, dim, keepdim=True)),), "variance")
    centred = squarable(low, centred, "variance")
    total = sum_(low, square(low, centred), dim, keepdim)
    return rescaled(low, total, total.wire.scale * int(divisor))


def std(
    low: Lowering,
    x: Handle,
    dim: Dims = None,
    *,
    correction: Number | None = None,
    keepdim: bool = False,
) -> Handle:
    """The root of `var`."""
    return root(low, var(low, x, dim, correction=correction, keepdim=keepdim))


def var_mean(
    low: Lowering,
    x: Handle,
    dim: Dims = None,
    *,
    correction: Number | None = None,
    keepdim: bool = False,
) -> tuple[Handle, Handle]:
    spread = var(low, x, dim, correction=correction, keepdim=keepdim)
    return spread, mean(low, x, dim, keepdim)


def std_mean(
    low: Lowering,
    x: Handle,
    dim: Dims = None,
    *,
    correction: Number | None = None,
    keepdim: bool = False,
) -> tuple[Handle, Handle]:
    spread = std(low, x, dim, correction=correction, keepdim=keepdim)
    return spread, mean(low, x, dim, keepdim)
