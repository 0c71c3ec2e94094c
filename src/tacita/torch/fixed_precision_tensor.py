"""FixedPrecisionTensor: encoded values in the clear, to be shared, or to preview accuracy."""

from __future__ import annotations

from typing import Any, NoReturn, cast

import numpy as np
import torch

from tacita.errors import BoundExceeded, HoldersError, PrecisionError, UsageError
from tacita.program.builder import Handle
from tacita.ring.fixed_point import Array, Precision, signed
from tacita.runtime.plain import PlainRun
from tacita.torch.encoding import fixed_point_of, reals_from
from tacita.torch.lowering import Lowering
from tacita.torch.lowering.scales import relabelled
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.swapping import replaced_by

DTYPES = (None, "int", "long")


class FixedPrecisionTensor(RingTensor):
    """A tensor encoded in fixed point, not yet (or no longer) shared.

    Arithmetic on it runs the same instructions as on a private tensor, in the clear: what it
    results in is what the parties would compute, but for the last unit of a truncation.
    """

    def _ring(self) -> Array:
        run = cast(PlainRun, self._lowering.builder)
        return run.reveal(self._handle)

    def float_precision(self) -> torch.Tensor:
        """The values as an ordinary float32 tensor."""
        return reals_from(self._ring(), self._handle.wire.scale)

    float_prec = float_precision

    def float_precision_(self) -> torch.Tensor:
        """`float_precision()` in place."""
        return replaced_by(self, self.float_precision())

    float_prec_ = float_precision_

    def fix_precision(self, *args: Any, **kwargs: Any) -> FixedPrecisionTensor:
        """No change at the precision that the tensor has; another one is an error."""
        if requested_precision(*args, **kwargs) not in (None, self.precision):
            raise PrecisionError(
                f"the tensor has precision {self.precision} already: call float_precision() first"
            )
        return self

    fix_prec = fix_precision
    fix_precision_ = fix_precision
    fix_prec_ = fix_precision

    def share(self, *holders: Any, **options: Any) -> torch.Tensor:
        """Shares the values among the holders; see `sharing.share`."""
        from tacita.torch.sharing import share

        return share(self, *holders, **options)

    def share_(self, *holders: Any, **options: Any) -> torch.Tensor:
        """`share()` in place."""
        return replaced_by(self, self.share(*holders, **options))

    def get(self) -> NoReturn:
        raise HoldersError("this tensor is here already, not shared: use float_precision()")

    get_ = get

    def bounded(self, limit: float) -> FixedPrecisionTensor:
        """Declares |value| <= limit; verified here. Sharing passes the bound on.

        Raises BoundExceeded where a value is larger.
        """
        from tacita.torch.private_tensor import ring_bound

        wire = self._handle.wire
        bound = ring_bound(limit, wire.scale)
        require_within(self._ring(), bound, limit)
        return self._like(relabelled(self._lowering, self._handle, wire.scale, bound))

    # ---- Python --------------------------------------------------------------------------------

    def item(self) -> Any:
        return self.float_precision().item()

    def tolist(self) -> Any:
        return self.float_precision().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        return self.float_precision().numpy(force=force)

    def __array__(self, dtype: Any = None) -> Any:
        return np.asarray(self.float_precision().numpy(), dtype)

    def __contains__(self, value: Any) -> bool:
        return value in self.float_precision()

    def __format__(self, spec: str) -> str:
        return format(self.float_precision(), spec) if spec else repr(self)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        shown = repr(self.float_precision())
        return f"FixedPrecisionTensor({shown}, {self.precision})"

    __str__ = __repr__

    @classmethod
    def _seen(cls, func: Any, args: Any) -> Any:
        """Operations that need to see values, which these may."""
        if func in SEEN:
            return func(*(a.float_precision() if isinstance(a, cls) else a for a in args))
        return NotImplemented

    @classmethod
    def _adopt(cls, tensor: RingTensor, first: RingTensor) -> Handle:
        if not isinstance(tensor, FixedPrecisionTensor):
            return type(tensor)._adopt(first, tensor)
        run = cast(PlainRun, first._lowering.builder)
        wire = tensor._handle.wire
        return run.input(tensor._ring(), wire.shape, wire.scale, wire.bound)


SEEN = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
}


def requested_precision(
    precision: Precision | int | None = None,
    *,
    base: int | None = None,
    precision_fractional: int | None = None,
    dtype: str | None = None,
) -> Precision | None:
    """The precision that fix_precision's arguments ask for; None where they ask for nothing."""
    require_dtype(dtype)
    if isinstance(precision, int):
        precision, precision_fractional = None, precision
    if precision is not None:
        return precision
    if base is None and precision_fractional is None:
        return None
    default = Precision()
    return Precision(
        default.base if base is None else base,
        default.digits if precision_fractional is None else precision_fractional,
    )


def require_dtype(dtype: str | None) -> None:
    if dtype not in DTYPES:
        raise UsageError(f"no dtype {dtype!r} for shares; there is 'int' (32 bits) and 'long'")


def require_within(values: Array, bound: int, limit: float) -> None:
    """Raises BoundExceeded, with the index and not the value, unless every |value| <= bound."""
    integers = signed(values)
    beyond = np.logical_or(integers > bound, integers < -bound)
    if beyond.any():
        first = tuple(int(i) for i in np.argwhere(beyond)[0])
        raise BoundExceeded(
            f"{np.count_nonzero(beyond)} of {beyond.size} values exceed the declared limit of "
            f"{limit}, the first at index {first}"
        )


def fix_precision(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> FixedPrecisionTensor:
    """Encodes an ordinary tensor: base 10 with 3 decimals unless told otherwise.

    Raises EncodingError where a value has no fixed-point form.
    """
    precision = requested_precision(*args, **kwargs) or Precision()
    values = fixed_point_of(tensor, precision)
    bound = None
    if kwargs.get("dtype") == "int":
        bound = 1 << 31
        require_within(values, bound, bound / precision.scale)
    run = PlainRun()
    handle = run.input(values, tuple(tensor.shape), precision.scale, bound)
    return FixedPrecisionTensor(handle, Lowering(run, precision))
