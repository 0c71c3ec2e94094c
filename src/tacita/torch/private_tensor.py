"""PrivateTensor: a torch.Tensor whose values are shared among holders."""

from __future__ import annotations

from math import floor
from typing import Any, NoReturn

import numpy as np
import torch

from tacita.errors import EncodingError, HoldersError, PrivateValueError, UsageError
from tacita.program.builder import Handle
from tacita.runtime.plain import PlainRun
from tacita.torch.encoding import integers_from
from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor, requested_precision
from tacita.torch.lowering import Lowering
from tacita.torch.lowering.scales import presentable, relabelled
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.swapping import replaced_by


class PrivateTensor(RingTensor):
    """Shares of a tensor, held by two or more workers; nobody in this process needs to see it.

    Made by `share()` or `encrypt()`. torch functions and operators work on it and result in
    private tensors again; `get()` reveals. dtype: float32 in fixed precision, int64 for integers.
    """

    @property
    def holders(self) -> tuple[str, ...]:
        """The workers that hold shares, in order."""
        return tuple(getattr(self._lowering.builder, "holders", ()))

    @property
    def crypto_provider(self) -> str | None:
        """The dealer of correlated randomness, if there is one."""
        return getattr(self._lowering.builder, "dealer", None)

    # ---- revealing -----------------------------------------------------------------------------

    def get(self) -> torch.Tensor:
        """Reveals the values to the caller: a FixedPrecisionTensor, or an int64 tensor.

        Raises BoundExceeded where checked mode has found a value outside its bound, and PeerError
        where a role of the session has failed.
        """
        shown = presentable(self._lowering, self._handle)
        wire = shown.wire
        values = self._lowering.builder.reveal(shown)  # type: ignore[attr-defined]
        if self.precision is None:
            return integers_from(values)
        run = PlainRun()
        handle = run.input(values, wire.shape, wire.scale, wire.bound)
        return FixedPrecisionTensor(handle, Lowering(run, self.precision))

    def get_(self) -> torch.Tensor:
        """`get()` in place: this tensor becomes what it was shared from."""
        return replaced_by(self, self.get())

    def decrypt(self) -> torch.Tensor:
        """The revealed values as an ordinary tensor, float32 or int64: undoes `encrypt()`."""
        revealed = self.get()
        if isinstance(revealed, FixedPrecisionTensor):
            return revealed.float_precision()
        return revealed

    def float_precision(self) -> NoReturn:
        """Needs the values: call `get()` first."""
        raise PrivateValueError(
            "float_precision() needs the values: call get() first, as in x.get().float_precision()"
        )

    float_prec = float_precision
    float_precision_ = float_precision
    float_prec_ = float_precision

    # ---- declarations --------------------------------------------------------------------------

    def fix_precision(self, *args: Any, **kwargs: Any) -> PrivateTensor:
        """No change at the precision that the tensor has; another one is an error."""
        wanted = requested_precision(*args, **kwargs)
        if self.precision is None:
            raise UsageError(
                "these are private integers: call fix_precision() before share() to compute with "
                "fractions"
            )
        if wanted not in (None, self.precision):
            raise UsageError(
                f"a private tensor of precision {self.precision} cannot be re-encoded at {wanted}: "
                "choose the precision before share()"
            )
        return self

    fix_prec = fix_precision
    fix_precision_ = fix_precision
    fix_prec_ = fix_precision

    def share(self, *_: Any, **__: Any) -> NoReturn:
        """An error: the tensor is shared already."""
        raise HoldersError(
            f"this tensor is shared already, by {describe(self)}; to share it among others, "
            "call get() first, or let its owner share it again"
        )

    share_ = share
    encrypt = share

    def send(self, *_: Any, **__: Any) -> NoReturn:
        """An error: shares stay with their holders."""
        raise HoldersError(
            f"a private tensor stays with its holders ({describe(self)}) and cannot be sent"
        )

    def bounded(self, limit: float) -> PrivateTensor:
        """Declares |value| <= limit for every element, which makes comparisons cheaper.

        limit: in units of the values. Nobody verifies it: a value beyond the limit makes results
        wrong, unless the tensor was shared with checked=True, where it is an error.
        """
        wire = self._handle.wire
        bound = ring_bound(limit, wire.scale)
        if wire.bound is not None:
            bound = min(bound, wire.bound)
        if self.requires_grad and torch.is_grad_enabled():
            # A tensor of its own for autograd, whose handle is then the one with the bound.
            same: PrivateTensor = self.view(self.shape)  # type: ignore[assignment]
            same._handle = relabelled(self._lowering, self._handle, wire.scale, bound)
            return same
        return self._like(relabelled(self._lowering, self._handle, wire.scale, bound))

    def refresh(self) -> PrivateTensor:
        """The same values under fresh shares: adds a sharing of zeros, drawn here."""
        wire = self._handle.wire
        zeros = self._lowering.builder.input(  # type: ignore[attr-defined]
            np.zeros(wire.shape, np.uint64), wire.shape, wire.scale, 0
        )
        fresh: PrivateTensor = self + self._like(zeros)  # type: ignore[assignment]
        return fresh

    # ---- what Python may not see ---------------------------------------------------------------

    def _hidden(self, *_: Any, **__: Any) -> NoReturn:
        raise PrivateValueError(
            "a private tensor has no value that Python could see: compute on it (a condition "
            "becomes torch.where(condition, a, b)), or call get() to reveal it"
        )

    __bool__ = _hidden
    __int__ = _hidden
    __float__ = _hidden
    __complex__ = _hidden
    __index__ = _hidden
    __array__ = _hidden
    __contains__ = _hidden
    item = _hidden
    tolist = _hidden
    numpy = _hidden

    def __format__(self, spec: str) -> str:
        return self._hidden() if spec else repr(self)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        precision = self.precision
        kind = "integers" if precision is None else f"fixed precision ({precision})"
        return f"PrivateTensor(shape={tuple(self.shape)}, {describe(self)}, {kind})"

    __str__ = __repr__

    @classmethod
    def _seen(cls, *_: Any) -> Any:
        return NotImplemented

    @classmethod
    def _adopt(cls, tensor: RingTensor, first: RingTensor) -> Handle:
        if not isinstance(tensor, PrivateTensor) or not isinstance(first, PrivateTensor):
            raise HoldersError(
                "a private tensor meets a fixed-precision tensor that is not shared: share() it "
                "among the same holders, or use its float_precision() if everybody may see it"
            )
        raise HoldersError(
            f"one tensor is shared by {describe(first)}, the other by {describe(tensor)}: tensors "
            "that are computed together need the same holders, in the same order"
            + _why(first, tensor)
        )


def describe(tensor: PrivateTensor) -> str:
    provider = tensor.crypto_provider
    return f"holders=[{', '.join(tensor.holders)}], crypto_provider={provider}"


def _why(first: PrivateTensor, second: PrivateTensor) -> str:
    """What differs where the workers do not."""
    if (first.holders, first.crypto_provider) != (second.holders, second.crypto_provider):
        return " and crypto provider"
    for name in ("protocol", "checked"):
        values = [getattr(each._lowering.builder, name, None) for each in (first, second)]
        if values[0] != values[1]:
            return (
                f", crypto provider and {name}= ({values[0]!r} and {values[1]!r} here): share both "
                "with the same"
            )
    return (
        "; their sessions differ: one has ended, or a worker was made twice under one id. Make "
        "workers once, and share the older data again"
    )


def ring_bound(limit: float, scale: int) -> int:
    """|value| <= limit as a bound on ring elements, with the half unit that encoding may add."""
    if not 0 < limit < float("inf"):
        raise EncodingError(f"a bound is a positive number, not {limit}")
    return floor(limit * scale + 0.5)
