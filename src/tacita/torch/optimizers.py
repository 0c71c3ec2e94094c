"""torch.optim on private parameters: what PySyft's calls do, and what is checked before a step.

Optimizers run as they are: their arithmetic is that of tensors, in place and without gradients, and
what they write into a parameter is kept at the scale of gradients (lowering/updates.py). Two
mistakes would go by in silence, and are found before each step: an optimizer whose parameters the
module has no longer, and an eps that fixed point cannot hold.
"""

from __future__ import annotations

import warnings
from math import ceil, floor, log10, sqrt
from typing import Any

from torch import optim

from tacita.errors import UsageError
from tacita.ring.fixed_point import Precision
from tacita.torch.lowering.lowering import finest_of
from tacita.torch.precision_warning import PrecisionWarning
from tacita.torch.private_tensor import PrivateTensor
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.stale import is_stale, replaced_by_kind

# Those that divide by eps plus the root of a running mean of squares; Adagrad adds squares up
# instead, at twice the digits, and Adadelta has its eps below the root.
DIVIDING = (optim.Adam, optim.NAdam, optim.RAdam, optim.RMSprop)
ROOM = 8  # how much eps is larger than a gradient whose square is lost: a step is off by 1/8
WARNED = "_tacita_eps_told"  # on an optimizer that was warned of


def fix_precision(self: optim.Optimizer, *_: Any, **__: Any) -> optim.Optimizer:
    """The optimizer itself: learning rates are public numbers and need no encoding.

    Raises UsageError where a parameter is neither in fixed precision nor shared: it was made of a
    module's parameters before those were shared, and would go on changing the old ones.
    """
    for group in self.param_groups:
        for parameter in group["params"]:
            if not isinstance(parameter, RingTensor):
                raise UsageError(
                    "this optimizer holds parameters in the clear: make it after the module is "
                    "shared, as in optim.SGD(model.fix_precision().share(…).parameters(), lr=0.1)"
                )
    return self


def float_precision(self: optim.Optimizer) -> optim.Optimizer:
    """The optimizer itself, of parameters that are in the clear again.

    Raises UsageError where they are not.
    """
    for group in self.param_groups:
        for parameter in group["params"]:
            if isinstance(parameter, PrivateTensor):
                raise UsageError(
                    "this optimizer holds private parameters: get() and float_precision() of the "
                    "module make new ones, and an optimizer of those is a new one"
                )
    return self


def before_step(optimizer: optim.Optimizer, *_: Any) -> None:
    """What torch calls before each step of any optimizer, while the hook is installed.

    Raises UsageError where the optimizer holds parameters that a module was relieved of, which no
    gradient comes to. Warns, once an optimizer, with a PrecisionWarning where `eps` is below
    `smallest_eps`. Cost: a look at each parameter; nothing is sent.
    """
    precision = None
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if is_stale(parameter):
                raise _stale(optimizer, parameter, replaced_by_kind(parameter))
            if isinstance(parameter, RingTensor):
                precision = precision or parameter.precision
        if precision is not None and isinstance(optimizer, DIVIDING):
            _warn_of_eps(optimizer, group, precision)


def _stale(optimizer: optim.Optimizer, parameter: Any, kind: str) -> UsageError:
    called = getattr(parameter, "called", None)
    which = f"of shape {tuple(parameter.shape)}" if called is None else called
    return UsageError(
        f"step of {type(optimizer).__name__}: parameter {which} is no longer in its module, which "
        f"has a {kind} in its place, and so no gradient comes to it: share(), fix_precision(), "
        "get() and the like make new parameters; make the optimizer afterwards, of the module's "
        "parameters()"
    )


def smallest_eps(precision: Precision, decay: float) -> float:
    """The least `eps` that Adam and its kin are right with: 2^-12 at 16 bits and a decay of 0.999.

    decay: of the running mean of squares (betas[1], or alpha), below 1. That mean is kept to one
    unit of 1/(scale of gradients · scale). Squares are weighted with 1 - decay, so those of
    gradients below sqrt(unit/(1 - decay)) vanish in it, and such a gradient is divided by eps alone
    where it should be by eps and itself. With this eps that is at most one part in ROOM.
    """
    unit = 1 / (finest_of(precision) * precision.scale)
    return ROOM * sqrt(unit / (1 - decay))


def _warn_of_eps(optimizer: optim.Optimizer, group: dict[str, Any], precision: Precision) -> None:
    decay = float(group["betas"][1] if "betas" in group else group["alpha"])
    if not decay < 1 or getattr(optimizer, WARNED, False):
        return
    least = smallest_eps(precision, decay)
    if float(group["eps"]) >= least:
        return
    setattr(optimizer, WARNED, True)
    warnings.warn(
        f"{type(optimizer).__name__} with eps={float(group['eps']):.3g}: at {precision} the "
        f"squares of gradients below {least / ROOM:.2g} vanish, and their steps are wrong, by a "
        f"factor of up to {1 / sqrt(1 - decay):.0f}; make it with eps={_upwards(least):.2g} or "
        "larger, use a finer precision, or scale the loss up",
        PrecisionWarning,
        stacklevel=4,
    )


def _upwards(least: float) -> float:
    """Rounded up to two digits, so that whoever writes the number told is not told again."""
    unit = 10.0 ** (floor(log10(least)) - 1)
    return ceil(least / unit) * unit
