"""Smooth functions with straight tails: sigmoid, tanh, erf, GELU, SiLU, mish, softplus; gradients.

Range: every value of the wire. Beyond a function's range (compiler/functions.py: ±8 for sigmoid and
    softplus, ±4.4 for tanh, ±2.6 for erf, ±4.2 for GELU, ±10.3 for SiLU and mish) it continues
    as its tails do: flat, or with slope 1.
Computes: x is clamped to the range (clamping.py), waves approximate the function there (waves.py),
    and above the range the tail adds slope·(x - end).
Error: 2^-12, absolute, tails included, beside the rounding of x; gradients the same.
Cost: one round where the wire's bound lies within the range; else the opening and the comparison of
    the clamp (four rounds) and one to open what it leaves. Dealt: see clamping.py and waves.py.
    A gradient finds the clamped argument of its function opened already: no round, and 16 bytes an
    element and wave dealt, beside the product with the gradient that comes in.
Opened: nothing but what those open. Leaks: shapes and bounds.
"""

from __future__ import annotations

from tacita.compiler.functions import (
    ERF,
    GELU,
    GELU_SLOPE,
    GELU_TANH,
    GELU_TANH_SLOPE,
    MISH,
    MISH_SLOPE,
    SIGMOID,
    SILU,
    SILU_SLOPE,
    SOFTPLUS,
    TANH,
    Function,
)
from tacita.errors import EncodingError, UnsupportedOperation
from tacita.program.builder import Handle
from tacita.ring.fixed_point import LARGEST
from tacita.torch.lowering.arithmetic import add, multiplied, neg, scaled, square
from tacita.torch.lowering.clamping import clamped
from tacita.torch.lowering.lowering import Lowering
from tacita.torch.lowering.operands import Number, need_precision
from tacita.torch.lowering.scales import descaled
from tacita.torch.lowering.waves import manageable, waved


def smooth(low: Lowering, x: Handle, function: Function) -> Handle:
    """function(x); of the shape of x. See the top of the file.

    Raises PrecisionError for integers.
    """
    need_precision(low, function.name)
    assert function.tails is not None
    x = manageable(low, x, function.name)
    parts = clamped(low, x, function.low, function.high, function.name)
    out = waved(low, parts.inside, function)
    left, right = function.tails
    for beyond, slope in ((parts.above, int(right)), (parts.below, -int(left))):
        if beyond is not None and slope:
            out = _with_tail(low, out, beyond, slope)
    return out


def _with_tail(low: Lowering, out: Handle, beyond: Handle, slope: int) -> Handle:
    """out + slope·beyond: at the waves' own scale, if a bound says that the ring has room."""
    factor, rest = divmod(out.wire.scale, beyond.wire.scale)
    most, own = beyond.wire.bound, out.wire.bound
    if not rest and most is not None and own is not None and own + factor * most < LARGEST:
        return low.combine(((out, 1), (beyond, slope * factor)), out.wire.shape, out.wire.scale)
    (out,) = descaled(low, (out,), "tail")
    return add(low, out, beyond, alpha=slope)


# ---- functions ---------------------------------------------------------------------------------


def sigmoid(low: Lowering, x: Handle) -> Handle:
    return smooth(low, x, SIGMOID)


def tanh(low: Lowering, x: Handle) -> Handle:
    return smooth(low, x, TANH)


def erf(low: Lowering, x: Handle) -> Handle:
    return smooth(low, x, ERF)


def erfc(low: Lowering, x: Handle) -> Handle:
    """1 - erf(x), with the absolute error of erf."""
    return _plus(low, neg(low, erf(low, x)), 1)


def _plus(low: Lowering, x: Handle, value: int) -> Handle:
    """x + a public integer, at the scale of x whatever it is."""
    number = low.number(value * x.wire.scale, x.wire.scale)
    return low.combine(((x, 1), (number, 1)), x.wire.shape, x.wire.scale)


def gelu(low: Lowering, x: Handle, *, approximate: str = "none") -> Handle:
    return smooth(low, x, _gelu(approximate)[0])


def _gelu(approximate: str) -> tuple[Function, Function]:
    if approximate == "none":
        return GELU, GELU_SLOPE
    if approximate == "tanh":
        return GELU_TANH, GELU_TANH_SLOPE
    raise UnsupportedOperation(f"gelu: approximate is 'none' or 'tanh', not {approximate!r}")


def silu(low: Lowering, x: Handle) -> Handle:
    return smooth(low, x, SILU)


def mish(low: Lowering, x: Handle) -> Handle:
    return smooth(low, x, MISH)


def softplus(low: Lowering, x: Handle, beta: Number = 1, _threshold: Number = 20) -> Handle:
    """log(1 + exp(beta·x))/beta. Above its threshold torch has x itself, which this is to 2^-12."""
    if beta == 1:
        return smooth(low, x, SOFTPLUS)
    _need_positive(beta, "softplus")
    return scaled(low, smooth(low, scaled(low, x, beta), SOFTPLUS), 1 / beta)


def _need_positive(value: Number, what: str) -> None:
    if not 0 < value < float("inf"):
        raise EncodingError(f"{what}: beta is a public number above 0, not {value}")


def log_sigmoid(low: Lowering, x: Handle) -> Handle:
    """-softplus(-x)."""
    return neg(low, smooth(low, neg(low, x), SOFTPLUS))


def log_sigmoid_forward(low: Lowering, x: Handle) -> tuple[Handle, Handle]:
    """With what torch keeps for the gradient, which here needs the input alone."""
    return log_sigmoid(low, x), low.zeros((0,), low.scale)


# ---- their gradients ---------------------------------------------------------------------------


def sigmoid_backward(low: Lowering, grad: Handle, out: Handle) -> Handle:
    """grad·y·(1 - y) for y = sigmoid(x)."""
    (out,) = descaled(low, (out,), "sigmoid")
    slope = add(low, out, neg(low, square(low, out)))
    return multiplied(low, grad, slope)


def tanh_backward(low: Lowering, grad: Handle, out: Handle) -> Handle:
    """grad·(1 - y²) for y = tanh(x)."""
    return multiplied(low, grad, _plus(low, neg(low, square(low, out)), 1))


def gelu_backward(low: Lowering, grad: Handle, x: Handle, *, approximate: str = "none") -> Handle:
    return multiplied(low, grad, smooth(low, x, _gelu(approximate)[1]))


def silu_backward(low: Lowering, grad: Handle, x: Handle) -> Handle:
    return multiplied(low, grad, smooth(low, x, SILU_SLOPE))


def mish_backward(low: Lowering, grad: Handle, x: Handle) -> Handle:
    return multiplied(low, grad, smooth(low, x, MISH_SLOPE))


def softplus_backward(
    low: Lowering, grad: Handle, x: Handle, beta: Number, _threshold: Number
) -> Handle:
    """grad·sigmoid(beta·x)."""
    _need_positive(beta, "softplus")
    return multiplied(low, grad, smooth(low, x if beta == 1 else scaled(low, x, beta), SIGMOID))


def log_sigmoid_backward(low: Lowering, grad: Handle, x: Handle, _: Handle) -> Handle:
    """grad·sigmoid(-x) = grad·(1 - sigmoid(x))."""
    slope = _plus(low, neg(low, smooth(low, x, SIGMOID)), 1)
    return multiplied(low, grad, slope)
