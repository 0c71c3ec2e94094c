"""Sharing: encoded values go to the holders, and a PrivateTensor stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tacita.errors import EncodingError, HoldersError, UsageError
from tacita.ring.fixed_point import LARGEST, Array, Precision
from tacita.runtime.choosing import AUTO
from tacita.runtime.session import Session
from tacita.runtime.worker import Worker, session_for
from tacita.torch.encoding import integers_of, is_integer
from tacita.torch.fixed_precision_tensor import (
    FixedPrecisionTensor,
    fix_precision,
    require_dtype,
    require_within,
)
from tacita.torch.lowering import Lowering
from tacita.torch.private_tensor import PrivateTensor, ring_bound
from tacita.torch.swapping import replaced_by

PYSYFT_DEFAULT = "mpc"  # what PySyft's encrypt calls sharing, whichever comparison it uses


def share(
    tensor: torch.Tensor,
    *holders: Worker,
    crypto_provider: Worker | None = None,
    requires_grad: bool = False,
    protocol: str = AUTO,
    dtype: str | None = None,
    checked: bool = False,
    bound: float | None = None,
) -> PrivateTensor:
    """Shares an integer tensor, or one in fixed precision, additively among two or more holders.

    crypto_provider: the dealer of correlated randomness; without one there are sums, products
        with public values and reveals only. It must not collude with a holder.
    dtype: "int" states that the values fit in 32 bits (verified), which makes comparisons cheaper.
    protocol: how values are compared, with the same results: "tables", "fss" or "snn" (the latter
        two for two holders). "auto" takes what costs least between these workers, operation by
        operation: `tables` or `fss`. Tensors that are computed with one another need the same.
    checked: verify every bound that a protocol relies on; each check discloses one bit.
    bound: states that |value| <= bound (verified); public, and makes comparisons cheaper.
    requires_grad: autograd computes the tensor's gradient, which is private and costs what it
        takes: data need it in few trainings, whatever the parameters do.

    For training take 16 bits, fix_precision(base=2, precision_fractional=16): gradients and
    parameters have 24 from the first step on, and sums of products then have to stay below 2^21
    in a layer and in its gradient (2^61 ring units at the scale of 2^40). With PySyft's default of
    three decimals they have seven, and inputs and activations three.

    Raises EncodingError for a float tensor, HoldersError for holders that cannot share,
    BoundExceeded where a value is larger than stated.
    """
    values, scale, known, precision = ring_values(tensor, dtype=dtype, bound=bound)
    if requires_grad and precision is None:
        raise UsageError("only tensors in fixed precision have gradients: fix_precision() first")
    session = open_session(holders, crypto_provider, protocol=protocol, checked=checked)
    handle = session.input(values, tuple(tensor.shape), scale, known)
    shared = PrivateTensor(handle, Lowering(session, precision))
    if requires_grad:
        shared.requires_grad_()
    return shared


def open_session(
    holders: Sequence[Worker],
    crypto_provider: Worker | None,
    *,
    protocol: str,
    checked: bool,
) -> Session:
    """The session of these workers; PySyft's way of passing a list of workers works too."""
    if len(holders) == 1 and isinstance(holders[0], list | tuple):
        holders = holders[0]
    return session_for(holders, crypto_provider, protocol=protocol, checked=checked)


def ring_values(
    tensor: torch.Tensor, *, dtype: str | None, bound: float | None
) -> tuple[Array, int, int | None, Precision | None]:
    """Ring elements, their scale, what is known of their size, and the precision."""
    require_dtype(dtype)
    if isinstance(tensor, PrivateTensor):
        tensor.share()
    if isinstance(tensor, FixedPrecisionTensor):
        wire = tensor._handle.wire
        values, scale, known = tensor._ring(), wire.scale, wire.bound
        precision = tensor.precision
    else:
        if not is_integer(tensor) and tensor.is_floating_point():
            raise EncodingError(
                f"a tensor of {tensor.dtype} is shared in fixed point: call fix_precision() "
                "first, as in x.fix_precision().share(alice, bob, crypto_provider=dealer)"
            )
        values, scale, known, precision = integers_of(tensor), 1, None, None
    for limit in ([] if dtype != "int" else [(1 << 31) / scale]) + (
        [] if bound is None else [bound]
    ):
        own = min(ring_bound(limit, scale), LARGEST - 1)
        require_within(values, own, limit)
        known = own if known is None else min(known, own)
    return values, scale, known, precision


def encrypt(
    tensor: torch.Tensor,
    protocol: str = AUTO,
    *,
    workers: Sequence[Worker] = (),
    crypto_provider: Worker | None = None,
    requires_grad: bool = False,
    precision_fractional: int = 3,
    base: int = 10,
    inplace: bool = False,
    **options: Any,
) -> torch.Tensor:
    """fix_precision() and share() in one; `decrypt()` undoes it."""
    if not workers:
        raise HoldersError("encrypt takes the holders: encrypt(workers=[alice, bob], …)")
    protocol = AUTO if protocol == PYSYFT_DEFAULT else protocol
    fixed = fix_precision(tensor, base=base, precision_fractional=precision_fractional)
    shared = share(
        fixed,
        *workers,
        crypto_provider=crypto_provider,
        requires_grad=requires_grad,
        protocol=protocol,
        **options,
    )
    return replaced_by(tensor, shared) if inplace else shared
