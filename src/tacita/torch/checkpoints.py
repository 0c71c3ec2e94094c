"""Saving private tensors, modules and optimizers at the parties, and loading them again.

save_private({"model": model, "optimizer": optimizer, "epoch": 3}, "scans-net")

# Later, perhaps in another process: the session, or a party of it, was gone meanwhile.
state = load_private(
    "scans-net", alice, bob, crypto_provider=dana, into={"model": model, "optimizer": optimizer}
)
state["epoch"]

Every party keeps its own shares; nobody sees a value. What is saved at once is one version, and a
load gives the newest that all parties have, so a model and its optimizer always fit (see
`runtime/saving.py`). With daemons it is on their disks; with workers in one process, in memory or
in the folder that each was given.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tacita.errors import PeerError, PeerFailed, ShapeError, UsageError
from tacita.program.builder import Handle
from tacita.ring.fixed_point import Precision
from tacita.runtime.checkpoint import (
    ID_BYTES,
    LONGEST_NAME,
    Description,
    Found,
    SavedTensor,
    encode,
    found_in,
)
from tacita.runtime.choosing import AUTO
from tacita.runtime.saving import Find, Load, Remove, Save, Topic
from tacita.runtime.session import Session
from tacita.runtime.worker import Worker
from tacita.torch.aliases import require_unaliased
from tacita.torch.lowering import Lowering
from tacita.torch.private_tensor import PrivateTensor
from tacita.torch.saved_values import Gathering, Stateful, named_tensors, restored
from tacita.torch.sharing import open_session
from tacita.torch.swapping import replaced_by

PAUSE = 0.2  # seconds between two tries to reach the parties


def save_private(
    what: Any, name: str, *, borrowers: Sequence[str] = (), audience: Sequence[str] = ()
) -> None:
    """Has the parties keep what they hold of private tensors, under a name.

    what: a private tensor, a shared module, an optimizer, a scheduler of learning rates; or a
        dictionary, list or tuple of these and of numbers and texts, which are public. A module's
        parameters and buffers; an optimizer's state, such as momentum, and its public hyper-
        parameters and count of steps. Modules and optimizers become dictionaries.
    borrowers, audience: with daemons, who else may load it, and to whom it and what is computed
        from it may be revealed, as "client:lab" or "client:*"; its owner always. What it was
        computed from keeps its owners' terms.

    Replaces what the same owner saved under the name before, once every party has this.
    Costs each party 8 bytes an element of disk, twice as much while it is being replaced.

    Raises UsageError for what cannot be saved, or where a party refuses: a name of another
    owner's, no room; then what was saved before stays. Raises PeerError where a party fails: then
    either this is saved, or what was before; `load_private` gives whichever.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise UsageError(f"a name to save under is a text of 1 to {LONGEST_NAME} characters")
    gathering = Gathering()
    values = gathering.encoded(what)
    if not gathering.tensors:
        raise UsageError("there is nothing private in what is to be saved: share() it first")
    sessions = {id(tensor._handle.builder): tensor for _, tensor in gathering.tensors}
    if len(sessions) > 1:
        raise UsageError(
            f"the tensors to be saved as {name!r} are of {len(sessions)} sessions; save those of "
            "each under a name of its own"
        )
    session = gathering.tensors[0][1]._handle.builder
    assert isinstance(session, Session)
    wires = tuple(tensor._handle.wire.id for _, tensor in gathering.tensors)
    about = encode(
        Description(
            name=name,
            holders=session.holders,
            tensors=tuple(_described(*each) for each in gathering.tensors),
            values=values,
            borrowers=tuple(borrowers),
            audience=tuple(audience),
        )
    )
    session.ask_of_saved(lambda number: Save(number, name, os.urandom(ID_BYTES), wires, about))


def _described(name: str, tensor: PrivateTensor) -> SavedTensor:
    wire, precision = tensor._handle.wire, tensor.precision
    return SavedTensor(
        name=name,
        shape=tuple(wire.shape),
        scale=wire.scale,
        bound=wire.bound,
        bit=wire.bit,
        base=0 if precision is None else precision.base,
        digits=0 if precision is None else precision.digits,
        working_scale=tensor._lowering.scale,
    )


def load_private(
    name: str,
    *holders: Worker,
    crypto_provider: Worker | None = None,
    into: Any = None,
    patience: float = 0.0,
    protocol: str = AUTO,
    checked: bool = False,
) -> Any:
    """What was saved under a name, as it was saved, in a session of these workers.

    holders: those who held it. into: of the same structure as what was saved, or a part of it:
        modules, optimizers, schedulers and private tensors in it are changed in place, so that an
        optimizer goes on with the parameters that it has. A module may be a new one, not shared.
    patience: seconds for which to try again where a party cannot be reached, being restarted.

    Returns what was saved, with dictionaries for modules, optimizers and schedulers.

    Raises UsageError where nothing is saved under the name that this user may load, or it does not
    fit `into`, which stays as it was then; PeerError where a party fails or is not there.
    """
    session, texts = _asked(
        lambda number: Find(number, name), holders, crypto_provider, patience, protocol, checked
    )
    found = _same_everywhere(name, session.holders, texts)
    about = found.about
    handles = [
        Handle(session, session.new_wire(each.shape, each.scale, each.bound, bit=each.bit))
        for each in about.tensors
    ]
    wires = tuple(handle.wire.id for handle in handles)
    session.ask_of_saved(lambda number: Load(number, name, found.version, wires))
    lowerings: dict[tuple[int, int, int], Lowering] = {}
    tensors = []
    for handle, each in zip(handles, about.tensors, strict=True):
        key = (each.base, each.digits, each.working_scale)
        if key not in lowerings:
            precision = Precision(base=each.base, digits=each.digits) if each.base else None
            lowerings[key] = Lowering(session, precision, each.working_scale)
        tensors.append(PrivateTensor(handle, lowerings[key]))
    value = restored(about.values, tensors)
    if into is not None:
        _check(into, value, "")
        _put(into, value)
    return value


def _asked(
    topic: Callable[[int], Topic],
    holders: Sequence[Worker],
    crypto_provider: Worker | None,
    patience: float = 0.0,
    protocol: str = AUTO,
    checked: bool = False,
) -> tuple[Session, list[str]]:
    """A session in which all parties have answered, and their answers in order."""
    deadline = time.monotonic() + patience
    tried = False
    while True:
        try:
            session = open_session(holders, crypto_provider, protocol=protocol, checked=checked)
            return session, session.ask_of_saved(topic)
        except PeerError:
            # The first may have been a session whose party is gone, which nobody had noticed.
            if tried and time.monotonic() >= deadline:
                raise
            if tried:
                time.sleep(PAUSE)
            tried = True


def _same_everywhere(name: str, holders: Sequence[str], texts: Sequence[str]) -> Found:
    answers = [found_in(text, each) for text, each in zip(texts, holders, strict=True)]
    for party, answer in zip(holders, answers, strict=True):
        if answer != answers[0]:
            raise PeerFailed(f"{party} has saved something else as {name!r} than the others")
    return answers[0]


def remove_private(name: str, *holders: Worker, crypto_provider: Worker | None = None) -> None:
    """Has the parties delete what one saved oneself; sessions that have loaded it go on.

    Raises UsageError where a party has nothing of this user's under the name, or cannot; then the
    others may have deleted theirs: do it again, or save again.
    """
    _asked(lambda number: Remove(number, name), holders, crypto_provider)


def load_module(self: nn.Module, name: str, *holders: Worker, **options: Any) -> nn.Module:
    """`load_private` into this module, which was saved alone."""
    load_private(name, *holders, into=self, **options)
    return self


# ---- into what is there ------------------------------------------------------------------------


def _check(into: Any, value: Any, path: str) -> None:
    """Raises UsageError where a saved value does not fit; nothing is changed."""
    where = path or "what was saved"
    if isinstance(into, torch.Tensor):
        _check_tensor(into, value, where)
    elif isinstance(into, nn.Module):
        tensors = named_tensors(into)
        saved = value if isinstance(value, Mapping) else {}
        missing, unknown = sorted(tensors.keys() - saved), sorted(saved.keys() - tensors)
        if missing or unknown:
            raise UsageError(
                f"{where} is of another module: it lacks {missing[:5]} and has {unknown[:5]} beyond"
            )
        for name, tensor in tensors.items():
            _check_tensor(tensor, value[name], f"{path}.{name}" if path else name)
    elif isinstance(into, Mapping):
        for key, each in into.items():
            if not isinstance(value, Mapping) or key not in value:
                raise UsageError(f"{where} has no {key!r}")
            _check(each, value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(into, torch.optim.Optimizer):
        groups = value.get("param_groups") if isinstance(value, Mapping) else None
        sizes = [len(group["params"]) for group in into.param_groups]
        if groups is None or [len(group["params"]) for group in groups] != sizes:
            raise UsageError(f"{where} is not of an optimizer with groups of {sizes} parameters")
    elif not isinstance(into, Stateful) or not isinstance(value, Mapping):
        raise UsageError(f"nothing is loaded into a {type(into).__name__}: take it from the result")


def _check_tensor(into: torch.Tensor, value: Any, where: str) -> None:
    if not isinstance(value, torch.Tensor):
        raise UsageError(f"{where} is no tensor")
    if into.shape != value.shape:
        raise ShapeError(f"{where} has shape {tuple(value.shape)}, not {tuple(into.shape)}")
    if into.is_floating_point() != value.is_floating_point():
        raise UsageError(f"{where} is of {value.dtype}, and the tensor to be changed {into.dtype}")
    if isinstance(into, PrivateTensor):
        if not isinstance(value, PrivateTensor):
            raise UsageError(f"{where} was saved as a public tensor, and is private here")
        # Views of what belongs to a session that has ended are of no use any more.
        if into._lowering.builder is value._lowering.builder:
            require_unaliased(into, "loading")


def _put(into: Any, value: Any) -> None:
    if isinstance(into, torch.Tensor):
        _put_tensor(into, value)
    elif isinstance(into, nn.Module):
        for name, tensor in named_tensors(into).items():
            _put_tensor(tensor, value[name])
    elif isinstance(into, Mapping):
        for key, each in into.items():
            _put(each, value[key])
    else:
        into.load_state_dict(value)


def _put_tensor(into: torch.Tensor, value: torch.Tensor) -> None:
    into.grad = None
    if isinstance(into, PrivateTensor) and isinstance(value, PrivateTensor):
        into._handle, into._lowering = value._handle, value._lowering
        into._aliases = into._transposed = None
    elif isinstance(value, PrivateTensor):
        twin = value.copy()
        if isinstance(into, nn.Parameter):
            # nn.Parameter(twin) would be a view, and what has views takes nobody's place.
            twin.requires_grad_(into.requires_grad)
            twin._is_param = True
        replaced_by(into, twin)
    else:
        with torch.no_grad():
            into.copy_(value)
