"""TorchHook: PySyft's methods on torch.Tensor and nn.Module, and a look at each optimizer's step
(optimizers.py), while the hook is installed.

Importing tacita changes nothing in torch; this does, and `unhook()` undoes it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import nn, optim
from torch.optim import optimizer as steps

from tacita.errors import HoldersError, UsageError
from tacita.torch import module as modules
from tacita.torch import optimizers
from tacita.torch.checkpoints import load_module, save_private
from tacita.torch.fixed_precision_tensor import fix_precision
from tacita.torch.pointer_tensor import send
from tacita.torch.sharing import encrypt, share
from tacita.torch.swapping import replaced_by


def copy(self: torch.Tensor) -> torch.Tensor:
    """A copy, as clone()."""
    return self.clone()


def fix_precision_(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """`fix_precision()` in place."""
    return replaced_by(self, fix_precision(self, *args, **kwargs))


def share_(self: torch.Tensor, *holders: Any, **options: Any) -> torch.Tensor:
    """`share()` in place."""
    return replaced_by(self, share(self, *holders, **options))


def send_(self: torch.Tensor, location: Any) -> torch.Tensor:
    """`send()` in place."""
    return replaced_by(self, send(self, location))


def float_precision(self: torch.Tensor) -> NoReturn:
    """An ordinary tensor has nothing to decode."""
    raise UsageError(
        f"float_precision(): a tensor of {self.dtype} is not in fixed precision; it can be used "
        "as it is"
    )


def get(_: torch.Tensor) -> NoReturn:
    """An ordinary tensor has nowhere to be fetched from."""
    raise HoldersError("get(): this tensor is here already, neither shared nor sent")


TENSOR_METHODS = {
    "copy": copy,
    "decrypt": get,
    "encrypt": encrypt,
    "fix_prec": fix_precision,
    "fix_prec_": fix_precision_,
    "fix_precision": fix_precision,
    "fix_precision_": fix_precision_,
    "float_prec": float_precision,
    "float_prec_": float_precision,
    "float_precision": float_precision,
    "float_precision_": float_precision,
    "get": get,
    "get_": get,
    "save_private": save_private,
    "send": send,
    "send_": send_,
    "share": share,
    "share_": share_,
}

# A module is converted in place with and without the underscore, as in PySyft.
MODULE_METHODS = {
    "copy": modules.copy,
    "decrypt": modules.decrypt,
    "encrypt": modules.encrypt,
    "fix_prec": modules.fix_precision,
    "fix_prec_": modules.fix_precision,
    "fix_precision": modules.fix_precision,
    "fix_precision_": modules.fix_precision,
    "float_prec": modules.float_precision,
    "float_prec_": modules.float_precision,
    "float_precision": modules.float_precision,
    "float_precision_": modules.float_precision,
    "get": modules.get,
    "get_": modules.get,
    "load_private": load_module,
    "save_private": save_private,
    "send": modules.send,
    "send_": modules.send,
    "share": modules.share,
    "share_": modules.share,
}

OPTIMIZER_METHODS = {
    "fix_prec": optimizers.fix_precision,
    "fix_prec_": optimizers.fix_precision,
    "fix_precision": optimizers.fix_precision,
    "fix_precision_": optimizers.fix_precision,
    "float_prec": optimizers.float_precision,
    "float_precision": optimizers.float_precision,
}

METHODS: tuple[tuple[type, dict[str, Any]], ...] = (
    (torch.Tensor, TENSOR_METHODS),
    (nn.Module, MODULE_METHODS),
    (optim.Optimizer, OPTIMIZER_METHODS),
)


def _step_hooks() -> dict[int, Any]:
    """Torch's own, on the steps of all optimizers; its public function only adds to them."""
    return steps._global_optimizer_pre_hooks


class TorchHook:
    """Installs the methods; a second hook finds them there and changes nothing.

    torch: the torch module, as PySyft's users pass it.
    Raises UsageError where torch, or another library, has a method of such a name already.
    """

    def __init__(self, torch: ModuleType | None = None, *_: Any, **__: Any) -> None:
        self.torch = torch
        for owner, methods in METHODS:
            for name, method in methods.items():
                present = getattr(owner, name, None)
                if present is not None and present is not method:
                    raise UsageError(
                        f"{owner.__name__}.{name} exists already; another library has hooked "
                        "torch: unhook it first"
                    )
        for owner, methods in METHODS:
            for name, method in methods.items():
                setattr(owner, name, method)
        if optimizers.before_step not in _step_hooks().values():
            steps.register_optimizer_step_pre_hook(optimizers.before_step)

    def unhook(self) -> None:
        """Removes the methods, from whichever hook they are; what is shared stays usable."""
        for owner, methods in METHODS:
            for name, method in methods.items():
                if owner.__dict__.get(name) is method:
                    delattr(owner, name)
        hooks = _step_hooks()
        for key in [key for key, each in hooks.items() if each is optimizers.before_step]:
            del hooks[key]

    def __repr__(self) -> str:
        return "TorchHook()"
