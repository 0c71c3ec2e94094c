"""From torch tensors to ring elements and back; what cannot make the journey is refused here."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tacita.errors import EncodingError
from tacita.ring.fixed_point import Array, Precision, decode, encode, encode_at, signed

_INTEGERS = {
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
}
_FLOATS = {torch.float64, torch.float32, torch.float16, torch.bfloat16}


def is_integer(tensor: torch.Tensor) -> bool:
    return tensor.dtype in _INTEGERS


def array_of(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The values as a NumPy array; 16-bit floats become float32.

    Raises EncodingError for layouts, devices and dtypes without a meaning in the ring.
    """
    if tensor.layout is not torch.strided:
        raise EncodingError(
            f"a tensor of layout {tensor.layout} has no ring form: call to_dense() first"
        )
    if tensor.device.type != "cpu":
        advice = "it has no values" if tensor.device.type == "meta" else "call cpu() first"
        raise EncodingError(f"a tensor on device {tensor.device} has no ring form: {advice}")
    if tensor.is_quantized:
        raise EncodingError("a quantized tensor has no ring form: call dequantize() first")
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.to(torch.float32)
    elif tensor.dtype not in _FLOATS and tensor.dtype not in _INTEGERS:
        advice = (
            "share its real and imaginary parts"
            if tensor.is_complex()
            else "convert it to float32 or int64 first"
        )
        raise EncodingError(f"a tensor of dtype {tensor.dtype} has no ring form: {advice}")
    array: np.ndarray[Any, Any] = tensor.detach().resolve_neg().numpy()
    if array.dtype == np.uint64 and np.any(array >> np.uint64(63)):
        raise EncodingError("unsigned integers of 2^63 and more do not fit in signed 64 bits")
    return array


def fixed_point_of(tensor: torch.Tensor, precision: Precision) -> Array:
    """A tensor of reals or integers as ring elements of scale precision.scale."""
    return encode(array_of(tensor), precision)


def integers_of(tensor: torch.Tensor) -> Array:
    """An integer tensor as ring elements of scale 1: every 64-bit integer has its own."""
    if not is_integer(tensor):
        raise EncodingError(
            f"a tensor of dtype {tensor.dtype} is shared in fixed point: call fix_precision() first"
        )
    values = array_of(tensor)
    return values.astype(np.uint64) if values.dtype.kind != "i" else _wrapped(values)


def _wrapped(values: np.ndarray[Any, Any]) -> Array:
    return values.astype(np.int64).view(np.uint64)


def public_of(tensor: torch.Tensor, scale: int, what: str, *, vanishing: bool) -> Array:
    """A public operand as ring elements of the given scale."""
    return encode_at(array_of(tensor), scale, what, vanishing=vanishing)


def reals_from(stored: Array, scale: int) -> torch.Tensor:
    """float32, as fixed-precision tensors say they are."""
    return torch.from_numpy(np.array(decode(stored, scale), np.float32))


def integers_from(stored: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(signed(stored)))
