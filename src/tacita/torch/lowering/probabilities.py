"""Binary cross entropy of probabilities, and its gradient.

Range: probabilities p of 0 … 1, as torch has it too; targets likewise, private or public.
Computes: -(t·log p + (1 - t)·log(1 - p)), both logarithms at once (logarithms.py). A p or 1 - p
    below one unit of the precision counts as one unit: a logarithm is never below -log(scale), 11.1
    at 16 bits, where torch stops at -100. The gradient is (p - t)/(p·(1 - p)), whose divisor counts
    as 2^-20 where it is less, 1e-12 with torch. `binary_cross_entropy_with_logits` has no such ends
    and costs less.
Error: that of the logarithm, 2^-12 absolute, and the rounding of p; of the gradient, a quotient's.
Cost: six rounds, and one where the target is private; the gradient a product and a quotient.
Opened: nothing but what those open. Leaks: shapes.
"""

from __future__ import annotations

from tacita.compiler.functions import LOGARITHM
from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering.arithmetic import add, handle_of, mul, multiplied, neg, rsub, sub
from tacita.torch.lowering.joining import concatenated
from tacita.torch.lowering.logarithms import logarithm
from tacita.torch.lowering.losses import MEAN, reduced, spread
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Operand, need_precision
from tacita.torch.lowering.reciprocals import quotient
from tacita.torch.lowering.scales import descaled, relabelled
from tacita.torch.lowering.shape import reshaped, split

WHAT = "binary_cross_entropy"


def binary_cross_entropy(
    low: Lowering,
    p: Operand,
    target: Operand,
    weight: Operand | None = None,
    reduction: int = MEAN,
) -> Handle:
    """See the top of the file. Raises PrecisionError for integers."""
    need_precision(low, WHAT)
    p = _private(p)
    if not p.wire.size:
        return reduced(low, low.zeros(p.wire.shape, low.scale), reduction)
    (p,) = descaled(low, (p,), WHAT)
    flat = reshaped(low, p, (p.wire.size,))
    both = concatenated(low, [flat, rsub(low, flat, 1)], 0, WHAT)
    # An approximated probability may be a little above 1; checked mode finds what is above 2.
    near = relabelled(low, both, both.wire.scale, 2 * both.wire.scale)
    logs = logarithm(low, near, LOGARITHM, 1.0, WHAT, guarding=True)
    positive, negative = (
        reshaped(low, half, p.wire.shape) for half in split(low, logs, p.wire.size)
    )
    # t·log p + (1 - t)·log(1 - p), with one product
    losses = neg(low, add(low, negative, mul(low, sub(low, positive, negative), target)))
    if weight is not None:
        losses = mul(low, losses, weight)
    return reduced(low, losses, reduction)


def binary_cross_entropy_backward(
    low: Lowering,
    gradient: Operand,
    p: Operand,
    target: Operand,
    weight: Operand | None = None,
    reduction: int = MEAN,
) -> Handle:
    p = _private(p)
    off = sub(low, p, handle_of(low, target, WHAT))
    slope = quotient(low, off, multiplied(low, p, rsub(low, p, 1)))
    if weight is not None:
        slope = mul(low, slope, weight)
    return spread(low, gradient, slope, reduction)


def _private(p: Operand) -> Handle:
    if not isinstance(p, Handle):
        raise UnsupportedOperation(
            f"{WHAT}: the probabilities are public; compute their logarithms in the clear, and "
            "multiply those by the private targets"
        )
    return p
