"""Powers with public exponents that are not natural numbers, and private exponents.

x^-n is 1/x^n (reciprocals.py), x^(n + 1/2) is sqrt(x)·x^n and x^-(n + 1/2) its reciprocal, or
1/sqrt(x) for n = 0 (roots.py): their ranges, errors and costs are those of what they are made of.
base^x for a public base is an exponential (exponentials.py).
"""

from __future__ import annotations

from typing import Any

import torch

from tacita.errors import UnsupportedOperation
from tacita.program.builder import Handle
from tacita.torch.lowering import arithmetic
from tacita.torch.lowering.exponentials import power_of
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import simple
from tacita.torch.lowering.reciprocals import reciprocal
from tacita.torch.lowering.roots import inverse_root, root


def power(low: Lowering, x: Any, exponent: Any) -> Handle:
    """x^exponent; one of the two private, a private x with a public exponent in halves."""
    base, exponent = simple(x) if isinstance(x, torch.Tensor) else x, simple(exponent)
    if isinstance(exponent, Handle):
        if isinstance(base, Handle | torch.Tensor):
            raise UnsupportedOperation(
                "a private exponent takes one public number as its base; write "
                "(exponent * base.log()).exp() for others"
            )
        return power_of(low, base, exponent)
    if isinstance(exponent, torch.Tensor):
        raise UnsupportedOperation(
            "a private tensor is raised to one public number; for several exponents, raise its "
            "parts one by one"
        )
    if exponent == int(exponent) and exponent >= 0:
        return arithmetic.power(low, x, exponent)
    return _by_parts(low, x, exponent)


def _by_parts(low: Lowering, x: Handle, exponent: float) -> Handle:
    if 2 * exponent != int(2 * exponent):
        raise UnsupportedOperation(
            f"a private tensor can be raised to multiples of 0.5, not to {exponent}; for a "
            "positive one, write (exponent * x.log()).exp()"
        )
    if exponent == -0.5:
        return inverse_root(low, x)
    if exponent < 0:
        return reciprocal(low, power(low, x, -exponent))
    whole = int(exponent - 0.5)
    out = root(low, x)
    return arithmetic.multiplied(low, arithmetic.power(low, x, whole), out) if whole else out
