"""torch.optim on private parameters: there is nothing to be done, so PySyft's calls do nothing.

Optimizers run as they are: their arithmetic is that of tensors, in place and without gradients, and
what they write into a parameter is kept at the scale of gradients (lowering/updates.py).
"""

from __future__ import annotations

from typing import Any

from torch import optim

from tacita.errors import UsageError
from tacita.torch.private_tensor import PrivateTensor
from tacita.torch.ring_tensor import RingTensor


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
