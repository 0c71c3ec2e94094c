"""nn.Module as PySyft has it: fix_precision, share, get, float_precision, in place.

Parameters and floating-point buffers are converted; integer buffers (such as BatchNorm's count of
batches) stay as they are. Everything is converted before anything is replaced, so an error leaves
the module as it was. Parameters that are tied stay tied.
"""

from __future__ import annotations

import copy as copying
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from tacita.errors import EncodingError, HoldersError, UsageError
from tacita.runtime.choosing import AUTO
from tacita.runtime.worker import Worker
from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor
from tacita.torch.fixed_precision_tensor import fix_precision as fixed
from tacita.torch.lowering import Lowering
from tacita.torch.pointer_tensor import PointerTensor
from tacita.torch.pointer_tensor import send as sent
from tacita.torch.private_tensor import PrivateTensor
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.sharing import PYSYFT_DEFAULT, open_session, ring_values
from tacita.torch.stale import mark_replaced

Place = tuple[dict[str, Any], str]


def places(module: nn.Module) -> list[tuple[torch.Tensor, list[Place]]]:
    """Every tensor of the module with the places that hold it, each tensor once."""
    found: dict[int, tuple[torch.Tensor, list[Place]]] = {}
    for owner in module.modules():
        for held in (owner._parameters, owner._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    found.setdefault(id(tensor), (tensor, []))[1].append((held, name))
    return list(found.values())


def replace(
    module: nn.Module,
    wanted: Callable[[torch.Tensor], bool],
    convert: Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]],
    *,
    requires_grad: bool | None = None,
) -> int:
    """Converts the wanted tensors, all before the first is replaced; returns how many.

    requires_grad: of the new parameters; None keeps that of the old ones.
    """
    chosen = [(tensor, where) for tensor, where in places(module) if wanted(tensor)]
    results = convert([tensor for tensor, _ in chosen])
    made = []
    for (old, where), new in zip(chosen, results, strict=True):
        if isinstance(old, nn.Parameter):
            grad = old.requires_grad if requires_grad is None else requires_grad
            new = nn.Parameter(new, requires_grad=grad)
        made.append((old, new, where))
    for old, new, where in made:
        if isinstance(old, nn.Parameter):
            mark_replaced(old, new)
        for held, name in where:
            held[name] = new
    return len(made)


def is_float(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point()


def is_plain_float(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and not isinstance(tensor, RingTensor)


def each(
    convert: Callable[[Any], torch.Tensor],
) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]:
    return lambda tensors: [convert(tensor) for tensor in tensors]


def fix_precision(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """Encodes all parameters and float buffers in fixed point, in place; see the tensor's."""
    for tensor, _ in places(self):
        if isinstance(tensor, RingTensor):
            tensor.fix_precision(*args, **kwargs)  # type: ignore[attr-defined]
    names = {id(tensor): name for name, tensor in (*self.named_parameters(), *self.named_buffers())}

    def encoded(tensor: torch.Tensor) -> torch.Tensor:
        try:
            return fixed(tensor, *args, **kwargs)
        except EncodingError as error:
            raise EncodingError(f"{names.get(id(tensor), 'a parameter')}: {error}") from None

    replace(self, is_plain_float, each(encoded))
    return self


def float_precision(self: nn.Module) -> nn.Module:
    """Decodes all parameters and buffers into ordinary float32 ones, in place."""
    shared = [t for t, _ in places(self) if isinstance(t, PrivateTensor)]
    if shared:
        shared[0].float_precision()
    replace(
        self,
        lambda tensor: isinstance(tensor, FixedPrecisionTensor),
        each(FixedPrecisionTensor.float_precision),
    )
    return self


def share(
    self: nn.Module,
    *holders: Worker,
    crypto_provider: Worker | None = None,
    requires_grad: bool = False,
    protocol: str = AUTO,
    dtype: str | None = None,
    checked: bool = False,
    bound: float | None = None,
) -> nn.Module:
    """Shares all parameters and float buffers, in place; see the tensor's `share`.

    With a crypto provider all are masked at once: a weight is opened under its mask when the
    model is shared, and never again, however often the model is used, unless it is trained.

    requires_grad: of all parameters; True to train them.

    The module has new parameters afterwards, as after `fix_precision()`, `get()` and
    `float_precision()`. An optimizer that was made before holds the old ones, and its `step()`
    raises UsageError: make it of the new `parameters()`.
    """

    def convert(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        encoded = [ring_values(tensor, dtype=dtype, bound=bound) for tensor in tensors]
        session = open_session(holders, crypto_provider, protocol=protocol, checked=checked)
        lowerings: dict[Any, Lowering] = {}
        made: list[torch.Tensor] = []
        handles = []
        for tensor, (values, scale, known, precision) in zip(tensors, encoded, strict=True):
            if precision not in lowerings:
                lowerings[precision] = Lowering(session, precision)
            handle = session.input(values, tuple(tensor.shape), scale, known)
            handles.append(handle)
            made.append(PrivateTensor(handle, lowerings[precision]))
        if crypto_provider is not None:
            session.mask([h for h in handles if h.wire.size], "sharing a module")
        return made

    if not replace(self, is_float, convert, requires_grad=requires_grad):
        raise UsageError("the module has no parameters to share")
    for name, parameter in self.named_parameters():
        if isinstance(parameter, PrivateTensor):
            parameter.called = name
    return self


def get(self: nn.Module) -> nn.Module:
    """Reveals all parameters and buffers to the caller, or fetches those that were sent."""
    there = (PrivateTensor, PointerTensor)
    count = replace(
        self, lambda tensor: isinstance(tensor, there), each(lambda tensor: tensor.get())
    )
    if not count:
        raise HoldersError("the module is here already, and not shared")
    return self


def send(self: nn.Module, location: Worker) -> nn.Module:
    """Moves all parameters and buffers to a worker, which sees them."""
    replace(self, lambda _: True, each(lambda tensor: sent(tensor, location)))
    return self


def copy(self: nn.Module) -> nn.Module:
    """A deep copy."""
    return copying.deepcopy(self)


def encrypt(
    self: nn.Module,
    protocol: str = AUTO,
    *,
    workers: Sequence[Worker] = (),
    precision_fractional: int = 3,
    base: int = 10,
    **options: Any,
) -> nn.Module:
    """fix_precision() and share() in one, in place; an error leaves the module as it was."""
    if not workers:
        raise HoldersError("encrypt takes the holders: encrypt(workers=[alice, bob], …)")
    protocol = AUTO if protocol == PYSYFT_DEFAULT else protocol
    had_plain = any(is_plain_float(tensor) for tensor, _ in places(self))
    fix_precision(self, base=base, precision_fractional=precision_fractional)
    try:
        return share(self, *workers, protocol=protocol, **options)
    except Exception:
        if had_plain:
            float_precision(self)
        raise


def decrypt(self: nn.Module) -> nn.Module:
    """Reveals the module as an ordinary one: undoes `encrypt()`."""
    return float_precision(get(self))
