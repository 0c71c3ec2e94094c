"""What is saved, as a tree: the places of private tensors in it, and public values beside them.

The tree has the shape of a `state_dict`: dictionaries, lists and tuples of numbers, texts, tensors.
Public values lie with the parties in the clear. So floating-point tensors that are not shared are
no part of it: that a weight is saved in the clear because somebody forgot to share it must not
happen. An optimizer's count of steps is the exception, which it keeps as such a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, runtime_checkable

import msgspec
import numpy as np
import torch
from torch import nn

from tacita.errors import HoldersError, PeerFailed, UsageError
from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor
from tacita.torch.private_tensor import PrivateTensor

STEP = "step"  # of an optimizer's state: a number, whatever holds it
DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64",
)  # fmt: skip


@runtime_checkable
class Stateful(Protocol):
    """Optimizers and schedulers of learning rates, which torch gives no common class."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class Private(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The private tensor with this number."""

    number: Annotated[int, msgspec.Meta(ge=0)]


class Public(msgspec.Struct, frozen=True, array_like=True, tag=True):
    value: bool | int | float | str | None


class PublicTensor(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """data: the elements row by row, little-endian."""

    dtype: str
    shape: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    data: bytes


class Items(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A list, or a tuple where `fixed`."""

    fixed: bool
    items: tuple[Node, ...]


class Entries(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A dictionary, in its order."""

    entries: tuple[tuple[str | int, Node], ...]


Node = Private | Public | PublicTensor | Items | Entries
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Node).decode


class Gathering:
    """Makes a tree of what is to be saved. tensors: the private ones in it, each once, by name."""

    def __init__(self) -> None:
        self.tensors: list[tuple[str, PrivateTensor]] = []
        self._numbers: dict[tuple[int, int], int] = {}

    def encoded(self, what: Any) -> bytes:
        """Raises UsageError, naming the place in `what`, for anything that is not for saving."""
        try:
            return _encode(self._node(what, "", countable=False))
        except OverflowError:
            raise UsageError("an integer of more than 64 bits is not saved") from None

    def _node(self, what: Any, path: str, *, countable: bool) -> Node:
        """countable: in the state of an optimizer, where steps are counted."""
        match what:
            case PrivateTensor():
                return self._private(what, path)
            case FixedPrecisionTensor():
                raise HoldersError(f"{path or 'the tensor'} is not shared: share() it first")
            case torch.Tensor():
                return _public_tensor(what, path, countable=countable and path.endswith(STEP))
            case nn.Module():
                return self._entries(named_tensors(what), path, countable=False)
            case Mapping():
                return self._entries(what, path, countable=countable)
            case bool() | int() | float() | str() | None:
                return Public(what)
            case list() | tuple():
                items = (
                    self._node(each, _joined(path, number), countable=countable)
                    for number, each in enumerate(what)
                )
                return Items(isinstance(what, tuple), tuple(items))
            case Stateful():
                return self._entries(what.state_dict(), path, countable=True)
        raise UsageError(
            f"{path or 'this'} is a {type(what).__name__}, which is not saved: save private "
            "tensors, modules, optimizers, numbers and texts, and dictionaries and lists of these"
        )

    def _entries(self, what: Mapping[Any, Any], path: str, *, countable: bool) -> Entries:
        for key in what:
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise UsageError(f"{path or 'the dictionary'} has a key that is no text or integer")
        return Entries(
            tuple(
                (key, self._node(value, _joined(path, key), countable=countable))
                for key, value in what.items()
            )
        )

    def _private(self, tensor: PrivateTensor, path: str) -> Private:
        handle = tensor._handle
        key = (id(handle.builder), handle.wire.id)
        if key not in self._numbers:
            self._numbers[key] = len(self.tensors)
            self.tensors.append((path, tensor))
        return Private(self._numbers[key])


def named_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers by their names, those outside of its `state_dict` as well."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def restored(encoded: bytes, tensors: list[PrivateTensor]) -> Any:
    """What `Gathering.encoded` was given, modules and optimizers as dictionaries.

    Raises PeerFailed for what no `Gathering` has made.
    """
    try:
        return _value(_decode(encoded), tensors)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, IndexError):
        raise PeerFailed("what was saved beside the tensors cannot be read") from None


def _value(node: Node, tensors: list[PrivateTensor]) -> Any:
    match node:
        case Private():
            return tensors[node.number]
        case Public():
            return node.value
        case PublicTensor():
            if node.dtype not in DTYPES:
                raise ValueError(node.dtype)
            little = np.dtype(node.dtype).newbyteorder("<")
            values = np.frombuffer(node.data, little).reshape(node.shape)
            return torch.from_numpy(values.astype(node.dtype))
        case Items():
            items = [_value(each, tensors) for each in node.items]
            return tuple(items) if node.fixed else items
        case Entries():
            return {key: _value(each, tensors) for key, each in node.entries}


def _public_tensor(tensor: torch.Tensor, path: str, *, countable: bool) -> PublicTensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_floating_point() and not (countable and tensor.numel() == 1):
        raise HoldersError(
            f"{path or 'the tensor'} is not shared, and would lie with the parties in the clear: "
            "share() it first"
        )
    if dtype not in DTYPES:
        raise UsageError(f"{path or 'the tensor'} is of {tensor.dtype}, which is not saved")
    values = tensor.detach().numpy()
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return PublicTensor(dtype, tuple(tensor.shape), data)


def _joined(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
