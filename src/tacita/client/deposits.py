"""Leaving private tensors with the parties under a name, and computing with what others left.

x.fix_precision().share(alice, bob, crypto_provider=dana)        # as ever
deposit(x, "scans", borrowers=["client:lab"], audience=["client:hospital"])

scans = borrow("scans", alice, bob, crypto_provider=dana)        # the lab, in its own process
# It cannot reveal them itself; who is to fetch them has to be a borrower as well.
deposit(model(scans), "scores", borrowers=["client:hospital"], audience=["client:hospital"])

borrow("scores", alice, bob, crypto_provider=dana).get()         # the hospital again

Deposits lie in the memory of the parties. What is to outlast their daemons is saved, on the same
terms, with `save_private` and `load_private` (`torch/checkpoints.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from tacita.client.remote_worker import RemoteWorker
from tacita.errors import HoldersError, PeerError, PeerFailed, UsageError
from tacita.ring.fixed_point import Precision
from tacita.runtime.choosing import AUTO
from tacita.runtime.session import Session
from tacita.service.conversations import Describing, Withdrawing, agreed, begin, fresh_id
from tacita.service.deposits import Description, description, encode
from tacita.torch.lowering import Lowering
from tacita.torch.private_tensor import PrivateTensor
from tacita.torch.sharing import open_session


def deposit(
    tensor: PrivateTensor,
    name: str,
    *,
    borrowers: Sequence[str] = (),
    audience: Sequence[str] = (),
) -> None:
    """Leaves a private tensor with the parties that hold it.

    borrowers: who may compute with it, as "client:lab" or "client:*"; its owner always may.
    audience: to whom it, and what is computed from it, may be revealed; its owner always.

    What the tensor was computed from keeps its owners' terms. Raises UsageError where a party
    refuses: a name of another owner's, no room, or workers that are not daemons.
    """
    if not isinstance(tensor, PrivateTensor):
        raise UsageError(f"a deposit is a private tensor, not a {type(tensor).__name__}: share it")
    handle, precision = tensor._handle, tensor.precision
    wire = handle.wire
    about = Description(
        id=os.urandom(16),
        name=name,
        shape=tuple(wire.shape),
        scale=wire.scale,
        bound=wire.bound,
        base=0 if precision is None else precision.base,
        digits=0 if precision is None else precision.digits,
        borrowers=tuple(borrowers),
        audience=tuple(audience),
    )
    session = handle.builder
    assert isinstance(session, Session)
    session.keep(handle, name, encode(about))


def borrow(name: str, *holders: RemoteWorker, crypto_provider: RemoteWorker) -> PrivateTensor:
    """A deposit as a private tensor in a session of one's own.

    Raises PeerFailed where a party has none that this user may compute with, or the parties have
    different ones.
    """
    found = {worker.id: _described(worker, name) for worker in holders}
    about = next(iter(found.values()))
    for party, theirs in found.items():
        if theirs != about:
            raise PeerFailed(f"{party} has another deposit {name!r} than {next(iter(found))}")
    session = open_session(holders, crypto_provider, protocol=AUTO, checked=False)
    wire = session.new_wire(about.shape, about.scale, about.bound)
    precision = Precision(base=about.base, digits=about.digits) if about.base else None
    return PrivateTensor(session.borrow(name, wire), Lowering(session, precision))


def withdraw(name: str, *holders: RemoteWorker) -> None:
    """Ends a deposit of one's own; sessions that have borrowed it go on."""
    for worker in holders:
        _ask(worker, Withdrawing(name))


def _described(worker: RemoteWorker, name: str) -> Description:
    return description(bytes.fromhex(_ask(worker, Describing(name))))


def _ask(worker: RemoteWorker, topic: Describing | Withdrawing) -> str:
    if not isinstance(worker, RemoteWorker):
        raise HoldersError(f"deposits lie with daemons; {worker!r} is none: use RemoteWorker")
    limit = worker.config.limits.connect
    stream = worker.link().open(fresh_id())
    try:
        begin(stream, topic, limit)
        return agreed(stream, worker.id, limit)
    finally:
        with suppress(PeerError):
            stream.close()
