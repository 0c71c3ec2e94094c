"""What private and fixed-precision tensors have in common: torch calls become instructions.

A RingTensor is a torch.Tensor without storage; it holds a handle on a wire. `__torch_dispatch__`
is called below autograd, with one aten operation at a time, and looks it up in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn, Self

import torch

from tacita.errors import PrecisionError, ShapeError, UnsupportedOperation, UsageError
from tacita.program.builder import Handle
from tacita.ring.fixed_point import Precision
from tacita.torch import assignment
from tacita.torch.aliases import Aliases, require_unaliased, share_memory, unaliased
from tacita.torch.aten import TABLE, Entry, functional, operation, without_out
from tacita.torch.lowering import Lowering
from tacita.torch.lowering.arithmetic import handle_of
from tacita.torch.lowering.shape import expand
from tacita.torch.lowering.updates import Updating, in_parameter
from tacita.torch.unsupported import module_path, refuse

TRANSPOSE = torch.ops.aten.t.default
FILLS = tuple(map(operation, ("zero_.default", "fill_.Scalar", "fill_.Tensor", "copy_.default")))


class RingTensor(torch.Tensor):
    """A tensor of ring elements: float32 in fixed point, int64 where there is no precision.

    Subclasses say how operands of different origin meet (`_adopt`) and what may be seen.
    """

    _handle: Handle
    _lowering: Lowering
    _aliases: Aliases | None
    _transposed: tuple[Handle, Handle] | None
    called: str | None  # what a module calls this parameter, for errors

    # Dispatch happens below; torch functions go straight through.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type[Self], handle: Handle, lowering: Lowering) -> Self:
        tensor: Self = torch.Tensor._make_wrapper_subclass(
            cls,
            handle.wire.shape,
            dtype=torch.int64 if lowering.precision is None else torch.float32,
        )
        tensor._handle = handle
        tensor._lowering = lowering
        tensor._aliases = None
        tensor._transposed = None
        tensor.called = None
        return tensor

    def __init__(self, *_: Any) -> None:
        """All is done in __new__, which torch requires."""

    @property
    def precision(self) -> Precision | None:
        """Base and digits, or None for integers."""
        return self._lowering.precision

    # ---- operations ----------------------------------------------------------------------------

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        entry = TABLE.get(func)
        if entry is None:
            return _unlisted(cls, func, args, kwargs or {})
        if func is TRANSPOSE:
            return args[0]._transpose()
        lowering, operands, named = _operands(args, kwargs)
        if entry.in_training is not None and _needs_gradient(args):
            entry = entry.in_training
        out = _lower(entry, func, lowering, operands, named)
        if isinstance(out, Updating):
            out = _updated(args, out)
        if not entry.aliases:  # a view can wait for whatever uses it
            lowering.builder.flush()
        return _wrap(cls, lowering, out, args[0] if entry.aliases else None)

    def _transpose(self) -> Self:
        """t(), which Linear asks of its weight at every call: the view is made once."""
        if self._transposed is None or self._transposed[0] is not self._handle:
            entry = TABLE[TRANSPOSE]
            view = _lower(entry, TRANSPOSE, self._lowering, [self._handle], {})
            self._transposed = (self._handle, view)
        transposed = self._like(self._transposed[1])
        share_memory(self, transposed)
        return transposed

    @classmethod
    def _seen(cls, func: Any, args: Any) -> Any:
        """What an operation that needs values results in; NotImplemented where it may not."""
        raise NotImplementedError

    @classmethod
    def _adopt(cls, tensor: RingTensor, first: RingTensor) -> Handle:
        """The handle of `tensor` for use with `first`, whose builder is another one."""
        raise NotImplementedError

    def _become(self, handle: Handle) -> None:
        """Gives this tensor other values, in place."""
        if handle.wire.shape != self._handle.wire.shape:
            raise ShapeError(
                f"in place: a result of shape {handle.wire.shape} does not fit a tensor of shape "
                f"{self._handle.wire.shape}"
            )
        self._handle = handle

    def __setitem__(self, index: Any, value: Any) -> None:
        require_unaliased(self, "assignment to an index")
        lowering, (own, given), _ = _operands((self, value), None)
        _same_kind(self, lowering)
        self._become(assignment.assigned(lowering, own, index, given))

    def __invert__(self) -> torch.Tensor:
        # torch refuses ~ on floats, which comparisons in fixed point are.
        return self.logical_not()

    @property
    def data(self) -> torch.Tensor:
        """As torch's: the same values without history."""
        return self.detach()

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        if not isinstance(value, type(self)):
            raise UsageError(
                f".data of a {type(self).__name__} takes another one, not a "
                f"{type(value).__name__}: encode and share the new values first"
            )
        require_unaliased(self, "assignment to .data")
        _same_kind(self, value._lowering)
        self._become(value._handle)

    # ---- copies --------------------------------------------------------------------------------

    def copy(self) -> Self:
        """A copy with the same values and holders; gradients flow through it."""
        twin: Self = self.clone()  # type: ignore[assignment]
        return twin

    def _like(self, handle: Handle) -> Self:
        return type(self)(handle, self._lowering)

    def __copy__(self) -> Self:
        return self._twin()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if id(self) not in memo:
            memo[id(self)] = self._twin()
        twin: Self = memo[id(self)]
        return twin

    def _twin(self) -> Self:
        """A copy that is a leaf, and a parameter if this is one."""
        twin = self._like(self._handle)
        twin.requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            twin._is_param = True
        return twin

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise UsageError(
            f"a {type(self).__name__} cannot be pickled: its values lie elsewhere; call get() and "
            "float_precision() first if whoever reads the file may see them"
        )


Named = dict[str, Any]


def _operands(args: Sequence[Any], kwargs: Named | None) -> tuple[Lowering, list[Any], Named]:
    """Arguments with handles in place of ring tensors, and the lowering that suits all of them."""
    first: RingTensor | None = None
    lowering: Lowering | None = None
    alike = True
    out: list[Any] = []
    for arg in args:
        if isinstance(arg, RingTensor):
            own = arg._lowering
            if lowering is None:
                first, lowering = arg, own
            elif own is not lowering and (
                own.builder is not lowering.builder
                or own.precision != lowering.precision
                or own.scale != lowering.scale
            ):
                alike = False
            out.append(arg._handle)
        elif type(arg) is list or type(arg) is tuple:
            inner = [each for each in arg if isinstance(each, RingTensor)]
            if inner:
                alike = False
            out.append(arg)
        else:
            out.append(arg)
    if alike and lowering is not None and not kwargs:
        return _digits_for(lowering), out, {}
    tensors = list(_tensors((*args, *(kwargs or {}).values())))
    if first is None:
        first = tensors[0]
    lowering = _joined(first, tensors)
    handles = {id(each): _handle_with(each, first) for each in tensors}
    return (
        _digits_for(lowering),
        [_replaced(arg, handles) for arg in args],
        {name: _replaced(arg, handles) for name, arg in (kwargs or {}).items()},
    )


def _digits_for(lowering: Lowering) -> Lowering:
    """What runs inside of backward() works at the scale of gradients."""
    return lowering if torch._C._current_graph_task_id() < 0 else lowering.finer


def _needs_gradient(args: Sequence[Any]) -> bool:
    """Whether autograd will ask for the backward pass of an operation on these."""
    return torch.is_grad_enabled() and any(each.requires_grad for each in _tensors(args))


def _tensors(args: Sequence[Any]) -> Any:
    for arg in args:
        if isinstance(arg, RingTensor):
            yield arg
        elif isinstance(arg, list | tuple):
            yield from _tensors(arg)


def _replaced(arg: Any, handles: dict[int, Handle]) -> Any:
    if isinstance(arg, RingTensor):
        return handles[id(arg)]
    if isinstance(arg, list | tuple):
        return [_replaced(each, handles) for each in arg]
    return arg


def _handle_with(tensor: RingTensor, first: RingTensor) -> Handle:
    if type(tensor) is type(first) and tensor._lowering.builder is first._lowering.builder:
        return tensor._handle
    return type(first)._adopt(tensor, first)


def _joined(first: RingTensor, tensors: Sequence[RingTensor]) -> Lowering:
    """The lowering of an operation on several tensors: integers take the precision of the rest."""
    chosen = first._lowering
    for each in tensors:
        own = each._lowering.precision
        if own is None:
            continue
        if own == chosen.precision:
            if each._lowering.scale > chosen.scale:
                chosen = chosen.finer  # one of them is a gradient
            continue
        if chosen.precision is not None:
            raise PrecisionError(
                f"one tensor has precision {chosen.precision}, the other {own}: use one precision "
                "for all that is computed together"
            )
        builder = first._lowering.builder
        chosen = each._lowering
        if chosen.builder is not builder:
            chosen = Lowering(builder, own)
    return chosen


def _updated(args: Sequence[Any], out: Updating) -> Any:
    """Writes into the arguments what the operation says that they become."""
    for place, handle in out.arguments.items():
        target = args[place]
        if isinstance(target, RingTensor):
            require_unaliased(target, "an update of running statistics")
            target._become(handle)
    return out.results


def _lower(entry: Entry, func: Any, lowering: Lowering, operands: list[Any], named: Named) -> Any:
    try:
        return entry.lower(lowering, *operands, **named)
    except UnsupportedOperation as error:
        where = module_path()
        text = str(error).removeprefix(f"{func}: ")  # which some name themselves
        raise UnsupportedOperation(
            f"{func}{f' in module {where}' if where else ''}: {text}"
        ) from None


def _wrap(cls: type[RingTensor], lowering: Lowering, out: Any, source: Any) -> Any:
    if isinstance(out, Handle):
        tensor = cls(out, lowering)
        if isinstance(source, RingTensor):
            share_memory(source, tensor)
        return tensor
    if isinstance(out, list | tuple):
        return type(out)(_wrap(cls, lowering, each, source) for each in out)
    return out


def _unlisted(cls: type[RingTensor], func: Any, args: Any, kwargs: Named) -> Any:
    """In-place operations, those on several tensors, and what torch itself builds of others."""
    if str(func).startswith("aten._foreach_"):
        return _for_each(func, args, kwargs)
    if "out" in kwargs and (entry := TABLE.get(without_out(func))) is not None:
        return _written_out(entry, func, args, dict(kwargs))
    if func._schema.is_mutable and "out" not in kwargs:
        if func in FILLS:
            return _filled(func, *args)
        wanted = functional(func)
        entry = TABLE.get(wanted)
        if entry is not None:
            return _in_place(entry, wanted, func, args, kwargs)
        raise refuse(func)
    seen = cls._seen(func, args)
    if seen is not NotImplemented:
        return seen
    out = func.decompose(*args, **kwargs)
    if out is NotImplemented:
        raise refuse(func)
    return out


def _for_each(func: Any, args: Any, kwargs: Named) -> Any:
    """_foreach_add_ and its kin: the operation on each of several tensors in turn.

    Arguments that are lists are taken apart, and all others are for each of them.
    """
    packet = str(func).removeprefix("aten._foreach_").split(".")[0]
    one = getattr(torch.ops.aten, packet, None)
    if one is None:
        raise refuse(func)
    out = []
    for i in range(len(args[0])):
        own = [each[i] if isinstance(each, list | tuple) else each for each in args]
        if packet.startswith("addc") and len(own) == 4:  # its factor has a name
            out.append(one(*own[:3], value=own[3], **kwargs))
        else:
            out.append(one(*own, **kwargs))
    return None if packet.endswith("_") else out


def _in_place(entry: Entry, wanted: Any, func: Any, args: Any, kwargs: Named) -> Any:
    if entry.aliases and isinstance(args[0], RingTensor):
        return _reshaped_in_place(entry, func, args[0], args, kwargs)
    target = _target(func, args[0])
    lowering, operands, named = _operands(args, kwargs)
    _same_kind(target, lowering)
    if target.requires_grad and target.is_leaf:
        name = target.called
        lower = partial(in_parameter, wanted, entry.lower, name)
        entry = Entry(lower, entry.aliases)
    elif lowering.scale > target._lowering.scale and not target.requires_grad:
        # What an optimizer remembers of gradients has their digits from now on.
        target._lowering = lowering
    target._become(_lower(entry, wanted, lowering, operands, named))
    lowering.builder.flush()
    return target


def _written_out(entry: Entry, func: Any, args: Any, kwargs: Named) -> RingTensor:
    """torch.maximum(a, b, out=c), which optimizers write: c becomes the result."""
    target = _target(func, kwargs.pop("out"))
    lowering, operands, named = _operands((*args, target), kwargs)
    _same_kind(target, lowering)
    if lowering.scale > target._lowering.scale and not target.requires_grad:
        target._lowering = lowering
    target._become(_lower(entry, func, lowering, operands[:-1], named))
    lowering.builder.flush()
    return target


def _reshaped_in_place(
    entry: Entry, func: Any, target: RingTensor, args: Any, kwargs: Named
) -> RingTensor:
    """squeeze_, t_, …: other views keep their own shape, so nobody else is concerned."""
    lowering, operands, named = _operands(args, kwargs)
    handle = _lower(entry, func, lowering, operands, named)
    # torch keeps the shape on its side; let it change that as it does for any tensor.
    with torch._C._DisableTorchDispatch():
        func(*args, **kwargs)
    target._handle = handle
    return target


def _filled(func: Any, target: Any, source: Any = 0, *__: Any) -> Any:
    target = _target(func, target)
    lowering, (own, given), _ = _operands((target, source), None)
    _same_kind(target, lowering)
    values = handle_of(lowering, given, "copy")
    target._become(expand(lowering, values, own.wire.shape))
    return target


def _target(func: Any, target: Any) -> RingTensor:
    if not isinstance(target, RingTensor):
        raise UsageError(
            f"{func}: a private value cannot be written into a plain tensor; write y = y + x"
        )
    if target.requires_grad and target.is_leaf and not unaliased(target):
        name = "a parameter" if target.called is None else f"parameter {target.called}"
        raise UsageError(
            f"{name} changes while something was computed of it whose backward pass is still to "
            "come: call backward() first, let go of that result, or compute it under "
            "torch.no_grad()"
        )
    require_unaliased(target, str(func))
    return target


def _same_kind(target: RingTensor, lowering: Lowering) -> None:
    if lowering.precision != target.precision:
        raise PrecisionError(
            "a fixed-precision result cannot be written into a tensor of private integers"
        )
