"""PointerTensor: an ordinary tensor that was sent to a worker, and can be fetched back."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from tacita.errors import UnsupportedOperation
from tacita.runtime.worker import Worker
from tacita.torch.encoding import array_of
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.swapping import replaced_by


class PointerTensor(torch.Tensor):
    """Says where a tensor is; it has a shape and a dtype, and no values here.

    The worker holds the tensor in the clear: this moves data, it protects nothing.
    """

    location: Worker
    id_at_location: int

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(
        cls: type[Self], location: Worker, number: int, shape: Any, dtype: torch.dtype
    ) -> Self:
        tensor: Self = torch.Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=dtype)
        tensor.location = location
        tensor.id_at_location = number
        return tensor

    def __init__(self, *_: Any) -> None:
        """All is done in __new__, which torch requires."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.detach.default:
            (it,) = args
            return cls(it.location, it.id_at_location, it.shape, it.dtype)
        raise UnsupportedOperation(
            f"{func}: the tensor is at a worker, and nothing is computed there in the clear; call "
            "get() first"
        )

    def get(self) -> torch.Tensor:
        """Fetches the tensor; the worker forgets it."""
        array = np.array(self.location.take(self.id_at_location))
        return torch.from_numpy(array).to(self.dtype)

    def get_(self) -> torch.Tensor:
        """`get()` in place."""
        return replaced_by(self, self.get())

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return (
            f"PointerTensor(shape={tuple(self.shape)}, dtype={self.dtype}, "
            f"location={self.location.id}, id={self.id_at_location})"
        )

    __str__ = __repr__


def send(tensor: torch.Tensor, location: Worker) -> PointerTensor:
    """Moves a plain tensor to a worker, which sees it."""
    if not isinstance(location, Worker):
        raise UnsupportedOperation(f"a tensor is sent to a worker, not to {location!r}")
    if isinstance(tensor, RingTensor | PointerTensor):
        raise UnsupportedOperation(
            f"a {type(tensor).__name__} cannot be sent; send an ordinary tensor, or share() one"
        )
    number = location.put(array_of(tensor))
    return PointerTensor(location, number, tensor.shape, tensor.dtype)
