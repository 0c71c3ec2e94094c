"""Fixed point: real numbers as ring elements, and back.

A real x is stored as round(x·scale) in two's complement mod 2^64. Rounding is to the nearest
integer, ties to even: 0.123 at two decimals is 12, -0.123 is -12. What is stored is at most 2^61
in size, so that a truncation (62 bits, sign included) can take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacita.errors import EncodingError

Array = NDArray[np.uint64]

LARGEST = 1 << 61  # stored values are smaller than this
LARGEST_SCALE = 1 << 28  # the scale of a product is the square: it leaves room for values to 32


@dataclass(frozen=True, slots=True)
class Precision:
    """`digits` digits in base `base` after the point."""

    base: int = 10
    digits: int = 3

    def __post_init__(self) -> None:
        for name in ("base", "digits"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise EncodingError(
                    f"the {name} of a precision is an integer, not {type(value).__name__}"
                )
        if self.base < 2:
            raise EncodingError(f"the base of a precision is 2 or more, not {self.base}")
        if self.digits < 0:
            raise EncodingError(f"a precision has 0 digits or more, not {self.digits}")
        # Compared by size first: base**digits of an absurd request would not fit in memory.
        if self.digits > 28 or self.scale > LARGEST_SCALE:
            raise EncodingError(
                f"{self.digits} digits in base {self.base} leave no room for products in a "
                "64-bit ring: base**digits is at most 2**28"
            )

    @property
    def scale(self) -> int:
        """What a real number is multiplied by."""
        return int(self.base**self.digits)

    def __str__(self) -> str:
        return f"base {self.base}, {self.digits} digits"


def encode(values: NDArray[Any], precision: Precision, *, vanishing: bool = False) -> Array:
    """Real or integer values of any NumPy dtype as ring elements, of the same shape.

    vanishing: accept values that are not zero and yet round to zero, all of them.
    Raises EncodingError for non-finite values, for |x|·scale >= 2^61, and where every non-zero
    value rounds to zero.
    """
    return encode_at(values, precision.scale, str(precision), vanishing=vanishing)


def encode_at(values: NDArray[Any], scale: int, what: str, *, vanishing: bool = False) -> Array:
    """`encode` at any scale; `what` names the precision in errors."""
    if values.dtype.kind in "bui":
        return _encode_integers(values, scale, what)
    if values.dtype.kind != "f":
        raise EncodingError(f"values of dtype {values.dtype} have no fixed-point form")
    reals = np.asarray(values, np.float64)
    scaled = np.multiply(reals, float(scale))
    # One pass decides the common case: NaN and infinity make the largest size non-finite.
    largest = float(np.max(np.abs(scaled), initial=0.0))
    if not largest < LARGEST:
        _refuse(reals, scaled, what)
    stored = np.rint(scaled)
    if not vanishing and largest and largest <= 0.5 and not stored.any():
        raise EncodingError(
            f"every non-zero value rounds to zero at {what}: ask for more digits, or scale the "
            "values up"
        )
    return stored.astype(np.int64).view(np.uint64)


def _encode_integers(values: NDArray[Any], scale: int, what: str) -> Array:
    """Integers are stored exactly, also beyond the 53 bits of a float64."""
    limit = (LARGEST - 1) // scale
    beyond = values > limit
    if values.dtype.kind == "i":
        beyond = np.logical_or(beyond, values < -limit)
    if np.any(beyond):
        raise EncodingError(_too_large(beyond, what))
    integers = values.astype(np.int64)
    return np.multiply(integers, np.int64(scale)).view(np.uint64)


def _refuse(reals: NDArray[np.float64], scaled: NDArray[np.float64], what: str) -> None:
    finite = np.isfinite(reals)
    if not finite.all():
        count = int(finite.size - np.count_nonzero(finite))
        raise EncodingError(
            f"{count} of {finite.size} values are not finite, the first at index "
            f"{_first(~finite)}: fixed point has no infinity and no NaN"
        )
    raise EncodingError(_too_large(np.abs(scaled) >= LARGEST, what))


def _too_large(beyond: NDArray[np.bool_], what: str) -> str:
    return (
        f"{np.count_nonzero(beyond)} of {np.size(beyond)} values are too large for {what}, the "
        f"first at index {_first(beyond)}: |value|·scale has to be less than 2**61; ask for "
        "fewer digits"
    )


def _first(where: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(where)[0])


def decode(stored: Array, scale: int) -> NDArray[np.float64]:
    """The reals that ring elements stand for: exact division of signed integers by the scale.

    Exact for |stored| < 2^53 up to the one rounding of the division, for either sign.
    """
    return np.true_divide(np.asarray(stored).view(np.int64), float(scale))


def signed(stored: Array) -> NDArray[np.int64]:
    """Ring elements as the signed integers that they stand for."""
    return np.asarray(stored).view(np.int64)
