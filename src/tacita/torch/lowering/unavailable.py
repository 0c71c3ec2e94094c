"""A result that torch expects beside another, and that has no protocol."""

from __future__ import annotations

from typing import Any, Self

import torch

from tacita.errors import UnsupportedOperation

# What torch does to such a result before anybody has asked for it.
RESHAPING = (
    torch.ops.aten.squeeze.dim,
    torch.ops.aten.unsqueeze.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.alias.default,
)


class Unavailable(torch.Tensor):
    """A tensor without values: whatever needs them raises UnsupportedOperation, which says why.

    kept: what the backward pass needs in its place, if anything.
    """

    _why: str
    kept: Any

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type[Self], shape: tuple[int, ...], why: str, kept: Any = None) -> Self:
        tensor: Self = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.int64)
        tensor._why = why
        tensor.kept = kept
        return tensor

    def __init__(self, *_: Any) -> None:
        """All is done in __new__, which torch requires."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        why = next((each._why for each in args if isinstance(each, cls)), "it has no values")
        if func in RESHAPING:
            shape = func(torch.empty(args[0].shape, device="meta"), *args[1:]).shape
            return cls(tuple(shape), why, args[0].kept)
        raise UnsupportedOperation(f"{func}: {why}")

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Unavailable(shape={tuple(self.shape)}: {self._why})"
