"""Softmax and its logarithm over a dimension, log-sum-exp, and their gradients.

Range: every value whose differences fit in the ring, |x| < 2^61 in ring units. Differences from the
    largest beyond SPAN + log n count as that: their share is below 2^-14 together.
Computes: d = x - max (extrema.py), which is not above 0, and e^d (exponentials.py); their sum is
    one at the least and n at the most, so that its reciprocal and its logarithm take few octaves
    (reciprocals.py, logarithms.py), and there is one of it a row.
    softmax = e^d / sum, log softmax = d - log(sum), log-sum-exp = max + log(sum).
Error: softmax 2^-11, absolute; log softmax 2^-11; beside the rounding of x.
Cost: the rounds of the maximum, five to the exponentials, one or two to their sum, and then eight
    for softmax or six for its logarithm.
Opened: nothing but what those open. Leaks: shapes and bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, prod

import numpy as np
import torch

from tacita.compiler.functions import LOGARITHM
from tacita.program.builder import Handle
from tacita.ring.fixed_point import Precision
from tacita.torch.lowering.arithmetic import add, exact_product, multiplied, public_product, sub
from tacita.torch.lowering.exponentials import exponent, falling
from tacita.torch.lowering.extrema import amax
from tacita.torch.lowering.hidden import shown_of
from tacita.torch.lowering.logarithms import logarithm
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import need_precision
from tacita.torch.lowering.reciprocals import inverse
from tacita.torch.lowering.reduction import dims_of, reduced_shape, sum_
from tacita.torch.lowering.scales import descaled, relabelled
from tacita.torch.lowering.shape import reshaped

WHAT = "softmax"
SPAN = 9.8  # 14 bits, as an exponent of e
BITS, MOST_BITS = 14, 18  # of an exponential: more where many are added up
WORKING = 20  # bits after the point, of exponentials that are multiplied
MOST_SUMMED = 59  # bits of a sum of exponentials as they come
HIDDEN = 1 << 60  # in size, of what stands in for values that do not count
WEIGHTS = "weights"  # in `derived`, of a logarithm of softmax: softmax itself, or what makes it


class Powers:
    """e^(x - max) over some dimensions, and their sum.

    top, total: with the dimensions kept as ones. below: x - max, exactly.
    """

    __slots__ = ("below", "count", "least", "powers", "top", "total")

    def __init__(
        self, low: Lowering, x: Handle, dims: tuple[int, ...], kept: torch.Tensor | None
    ) -> None:
        """kept: which positions count, public, to be broadcast to x; None for all."""
        shape = x.wire.shape
        self.count = prod(shape[d] for d in dims)
        flags = None
        kept = shown_of(low, x) if kept is None else kept
        if kept is not None:
            flags = low.constant(
                np.ascontiguousarray(kept.expand(shape).numpy().astype(np.uint64)), 1
            )
            x = _hidden(low, x, flags)
        self.top = amax(low, x, dims, keepdim=True)
        bound = None if x.wire.bound is None else 2 * x.wire.bound
        self.below = low.combine(((x, 1), (self.top, -1)), shape, x.wire.scale, bound=bound)
        # Errors add up like their number in the worst case, and like its root as a rule.
        bits = min(MOST_BITS, BITS + (self.count - 1).bit_length() // 2)
        span = SPAN + log(self.count)
        powers = falling(low, exponent(low, self.below, 1, WHAT), span, bits, WHAT)
        if flags is not None:
            powers = public_product(low, powers, flags, shape, bound=powers.wire.bound)
        self.powers = powers
        summed = powers
        if powers.wire.scale.bit_length() + self.count.bit_length() > MOST_SUMMED:
            (summed,) = descaled(_work(low), (powers,), WHAT)
        total = sum_(low, summed, dims, keepdim=True)
        # The largest value brings a 1, or almost: octaves make an allowance for that.
        self.least = total.wire.scale
        most = self.count * (total.wire.scale + (total.wire.scale >> BITS) + 1)
        self.total = relabelled(low, total, total.wire.scale, most)

    def weights(self, low: Lowering) -> Handle:
        """softmax: powers/total. As the total is n at the most, f is exact with so many bits."""
        (powers,) = descaled(_work(low), (self.powers,), WHAT)
        exact = 2 * (-(-self.count.bit_length() // 2) + 1)
        share = inverse(low, self.total, self.least, 1 << exact)
        low.mask((share, powers), WHAT)
        shape = powers.wire.shape
        scale = share.wire.scale * powers.wire.scale
        return exact_product(low, powers, share, shape, bound=scale + (scale >> 8), what=WHAT)

    def logarithm(self, low: Lowering) -> Handle:
        """log(total)."""
        return logarithm(low, self.total, LOGARITHM, 1.0, WHAT, self.least)


def _work(low: Lowering) -> Lowering:
    return Lowering(low.builder, Precision(2, WORKING))


def _hidden(low: Lowering, x: Handle, flags: Handle) -> Handle:
    """x where the flags are 1; elsewhere no more than any x."""
    wire = x.wire
    away = HIDDEN if wire.bound is None else wire.bound
    chosen = public_product(low, x, flags, wire.shape, bound=wire.bound)
    terms = ((chosen, 1), (flags, away), (low.number(-away, 1), 1))
    return low.combine(terms, wire.shape, wire.scale, bound=wire.bound)


def _ready(low: Lowering, x: Handle) -> tuple[Handle, bool]:
    """A number as a row of its own; whether there is anything to compute."""
    need_precision(low, WHAT)
    return (x if x.wire.shape else reshaped(low, x, (1,))), bool(x.wire.size)


def softmax(
    low: Lowering, x: Handle, dim: int, *_: object, kept: torch.Tensor | None = None
) -> Handle:
    """exp(x)/Σ exp(x) over a dimension; of the shape of x. See the top of the file.

    kept: public flags of the positions that count, to be broadcast to x; the others are 0, exactly,
    and a row without any is 0 altogether. Raises PrecisionError for integers.
    """
    rows, any_ = _ready(low, x)
    if not any_:
        return low.zeros(x.wire.shape, low.scale)
    powers = Powers(low, rows, dims_of(dim, len(rows.wire.shape)), kept)
    return reshaped(low, powers.weights(low), x.wire.shape)


def log_softmax(low: Lowering, x: Handle, dim: int, *_: object) -> Handle:
    """x - log Σ exp(x) over a dimension; of the shape of x. See the top of the file."""
    rows, any_ = _ready(low, x)
    if not any_:
        return low.zeros(x.wire.shape, low.scale)
    powers = Powers(low, rows, dims_of(dim, len(rows.wire.shape)), None)
    out = reshaped(low, sub(low, powers.below, powers.logarithm(low)), x.wire.shape)
    low.derived(out)[WEIGHTS] = powers
    return out


def logsumexp(low: Lowering, x: Handle, dim: int | Sequence[int], keepdim: bool = False) -> Handle:
    """log Σ exp(x) over dimensions, without overflow."""
    rows, any_ = _ready(low, x)
    dims = dims_of(dim, len(rows.wire.shape))
    shape = reduced_shape(x.wire.shape, dims if x.wire.shape else (), keepdim=keepdim)
    if not any_:
        return low.zeros(shape, low.scale)
    powers = Powers(low, rows, dims, None)
    return reshaped(low, add(low, powers.top, powers.logarithm(low)), shape)


def softmax_backward(low: Lowering, grad: Handle, out: Handle, dim: int, *_: object) -> Handle:
    """y·(grad - Σ grad·y) for y = softmax(x), as y·grad - y·Σ y·grad: the sums are few."""
    (out,) = descaled(low, (out,), WHAT)
    each = multiplied(low, grad, out)
    dims = dims_of(dim, len(out.wire.shape))
    whole = sum_(low, each, dims, keepdim=True) if dims else each
    return sub(low, each, multiplied(low, out, whole))


def log_softmax_backward(low: Lowering, grad: Handle, out: Handle, dim: int, *_: object) -> Handle:
    """grad - softmax(x)·Σ grad. Of the forward pass softmax is left a division; else it is exp."""
    kept = low.derived(out)
    found = kept.get(WEIGHTS)
    if isinstance(found, Powers):
        found = kept[WEIGHTS] = reshaped(low, found.weights(low), out.wire.shape)
    if found is None:
        found = falling(low, exponent(low, out, 1, WHAT), SPAN, BITS, WHAT)
    dims = dims_of(dim, len(out.wire.shape))
    whole = sum_(low, grad, dims, keepdim=True) if dims else grad
    return sub(low, grad, multiplied(low, found, whole))
