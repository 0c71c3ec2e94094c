"""What to say about an operation that has no protocol: its name, where, and what to use instead."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch

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
    "sigmoid": "a polynomial, or relu for an activation",
    "tanh": "hardtanh or a polynomial",
    "gelu": "relu",
    "silu": "relu",
    "elu": "relu or leaky_relu",
    "exp": "a polynomial",
    "log": "a polynomial",
    "reciprocal": "a reciprocal computed before sharing",
    "_softmax": "argmax for a class, or softmax on the revealed scores",
    "_log_softmax": "argmax for a class, or log_softmax on the revealed scores",
    "softmax": "argmax for a class, or softmax on the revealed scores",
    "log_softmax": "argmax for a class, or log_softmax on the revealed scores",
    "bernoulli_": "eval(), where dropout does nothing",
    "sort": "max, argmax or comparisons",
    "topk": "max and argmax",
    "embedding": "a product of one-hot rows with the table",
    "std": "((x - x.mean()) ** 2).mean().sqrt()",
    "linalg_vector_norm": "(x * x).sum().sqrt()",
    "upsample_bilinear2d": "nearest neighbours, or a convolution with public weights",
    "max_pool3d_with_indices": "two-dimensional pooling",
    "avg_pool3d": "two-dimensional pooling",
    "scatter": "torch.where with a public mask",
    "bitwise_left_shift": "a product with a power of two",
    "prod": "a product written out",
}


def refuse(func: Any) -> TacitaError:
    """The error for an operation without an entry in the table."""
    name = str(func)
    plain = name.removeprefix("aten.").split(".")[0]
    where = module_path()
    place = f" in module {where}" if where else ""
    if plain in _NEED_VALUES:
        return PrivateValueError(
            f"{name}{place} needs to see private values; call get() first if whoever runs this "
            "may see them"
        )
    stem = plain.rstrip("_") if not plain.startswith("_") else plain
    instead = _INSTEAD.get(plain) or _INSTEAD.get(stem)
    advice = f"; use {instead}" if instead else "; call get() first, or rewrite it with + - * @, "
    if not instead:
        advice += "comparisons, relu, max and sums"
    return UnsupportedOperation(f"{name}{place} has no protocol for private tensors{advice}")


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
