"""What to say about an operation that has no protocol: its name, where, and what to use instead."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F

from tacita.errors import PrivateValueError, TacitaError, UnsupportedOperation

# Operations whose result depends on a value in a way that Python or a shape would show.
_NEED_VALUES = {
    "_local_scalar_dense",
    "item",
    "is_nonzero",
    "nonzero",
    "nonzero_numpy",
    "masked_select",
    "equal",
    "allclose",
    "unique",
    "_unique2",
    "unique_consecutive",
    "bincount",
}

_INSTEAD = {
    "bernoulli_": "eval(), where dropout does nothing",
    "bernoulli": "eval(), where dropout does nothing",
    "dropout": "eval(), where dropout does nothing",
    "native_dropout": "eval(), where dropout does nothing",
    "rand": "an input for random numbers, which are drawn anew for each run",
    "rand_like": "an input for random numbers, which are drawn anew for each run",
    "randn": "an input for random numbers, which are drawn anew for each run",
    "randn_like": "an input for random numbers, which are drawn anew for each run",
    "searchsorted": "(values.unsqueeze(-1) > boundaries).sum(-1)",
    "bucketize": "(values.unsqueeze(-1) > boundaries).sum(-1)",
    "nanmedian": "median: private values are never NaN",
    "mode": "sums of comparisons, as in (x.unsqueeze(-1) == classes).sum(0).argmax(-1)",
    "upsample_bilinear2d": "nearest neighbours, or a convolution with public weights",
    "max_pool3d_with_indices": "two-dimensional pooling",
    "avg_pool3d": "two-dimensional pooling",
    "scatter": "torch.where with a public mask",
    "bitwise_left_shift": "a product with a power of two",
}


# In the table only so that they can say why there is no protocol for them.
_REFUSED_ALWAYS = {"conv3d", "conv_transpose3d"}
_ONLY_IN_TORCH = {"cat", "stack"}  # neither methods nor in torch.nn.functional
_CALLED = {"_local_scalar_dense": "item", "_unique2": "unique", "nonzero_numpy": "nonzero"}


def refuse(func: Any) -> TacitaError:
    """The error for an operation without an entry in the table."""
    name = str(func)
    where = module_path()
    place = f" in module {where}" if where else ""
    if needs_values(func):
        return sees_values(f"{name}{place}")
    instead = instead_of(func)
    advice = f"; use {instead}" if instead else "; call get() first, or rewrite it with + - * @, "
    if not instead:
        advice += "comparisons, relu, max and sums"
    return UnsupportedOperation(f"{name}{place} has no protocol for private tensors{advice}")


def sees_values(what: str) -> PrivateValueError:
    return PrivateValueError(
        f"{what} needs to see private values; call get() first if whoever runs this may see them"
    )


def needs_values(func: Any) -> bool:
    """Whether Python or a shape would show what an operation computes."""
    return _packet(func) in _NEED_VALUES


def instead_of(func: Any) -> str | None:
    """What to use in place of an operation without a protocol, if anything is known."""
    plain = _packet(func)
    return _INSTEAD.get(plain) or _INSTEAD.get(user_name(func))


def user_name(func: Any) -> str:
    """What users call an operation: softmax for aten._softmax.default."""
    plain = _packet(func)
    return _CALLED.get(plain) or (plain if plain.startswith("__") else plain.strip("_"))


def names_of(operations: Iterable[Any]) -> list[str]:
    """The functions and methods of torch among operations, each once and by its public name."""
    found = {_packet(each) for each in operations}
    return sorted(
        name
        for name in found - _REFUSED_ALWAYS
        if not name.startswith(("_", "native_"))
        and not name.endswith(("_", "_with_indices"))
        and (hasattr(torch.Tensor, name) or hasattr(F, name) or name in _ONLY_IN_TORCH)
    )


def _packet(func: Any) -> str:
    """_softmax for aten._softmax.default."""
    return str(func).removeprefix("aten.").split(".")[0]


def module_path() -> str | None:
    """The nn.Module whose forward is running, by its path from the outermost one.

    Read off the stack of the failing call, so that a call that does not fail pays nothing.
    """
    modules: list[torch.nn.Module] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in ("_call_impl", "forward"):
            owner = frame.f_locals.get("self")
            if isinstance(owner, torch.nn.Module) and (not modules or modules[-1] is not owner):
                modules.append(owner)
        frame = frame.f_back
    if not modules:
        return None
    innermost, outermost = modules[0], modules[-1]
    for name, module in outermost.named_modules():
        if module is innermost:
            path = f"{type(outermost).__name__}.{name}" if name else type(outermost).__name__
            return f"{path} ({type(innermost).__name__})" if name else path
    return type(innermost).__name__
