"""Workers: named places that hold shares, and, as threads of this process, plain tensors."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from tacita.errors import HoldersError, UsageError
from tacita.runtime.at_rest import own_secret
from tacita.runtime.checkpoint_files import InFolder
from tacita.runtime.checkpoints import Cabinet, Checkpoints, InMemory
from tacita.runtime.choosing import AUTO
from tacita.runtime.consulting import desk_of
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.offer import require_offered
from tacita.runtime.saving import OwnVault
from tacita.runtime.serving import USER
from tacita.runtime.session import Session
from tacita.runtime.traffic import Traffic, measured_together


class Worker:
    """A named place that holds shares; `VirtualWorker` is one in this process.

    hook: accepted as PySyft's users pass it; not needed.
    """

    def __init__(self, hook: Any = None, id: str = "worker") -> None:
        if not isinstance(id, str) or not id:
            raise UsageError(f"a worker's id is a non-empty string, not {id!r}")
        self.id = id
        self.hook = hook
        self._sessions: dict[tuple[object, ...], Session] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r})"

    def put(self, array: np.ndarray) -> int:
        """Stores a plain array; returns its number here."""
        raise UsageError(f"{self!r} takes shares only: share the tensor instead of sending it")

    def take(self, number: int) -> np.ndarray:
        """Hands a stored array back and forgets it."""
        raise UsageError(f"{self!r} has no plain tensors")

    def clear_objects(self) -> None:
        """Ends the sessions that start with this worker."""
        with self._lock:
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()

    def open_session(
        self, holders: Sequence[Worker], dealer: Worker | None, *, protocol: str, checked: bool
    ) -> Session:
        """A new session of these workers, all of one kind, the first of whom this is."""
        raise NotImplementedError


class VirtualWorker(Worker):
    """A worker in this process, named by `id`.

    folder: where it keeps what is saved (`save_private`), sealed under a secret beside it; each
    worker has its own, and one at a time has it. Without a folder that lasts as long as the worker.
    """

    def __init__(
        self, hook: Any = None, id: str = "worker", *, folder: str | os.PathLike[str] | None = None
    ) -> None:
        """Raises MaterialError for a folder that cannot be used; warns of files that cannot."""
        super().__init__(hook, id)
        cabinet: Cabinet = InMemory()
        if folder is not None:
            path = Path(folder)
            cabinet = InFolder(path / "checkpoints", own_secret(path))
        checkpoints = Checkpoints(cabinet)
        for each in checkpoints.unreadable:
            warnings.warn(f"{id} cannot read what was saved: {each.why}", stacklevel=2)
        self.vault = OwnVault(checkpoints)
        self._objects: dict[int, np.ndarray] = {}
        self._object_ids = count(1)

    def put(self, array: np.ndarray) -> int:
        number = next(self._object_ids)
        self._objects[number] = array.copy()
        return number

    def take(self, number: int) -> np.ndarray:
        try:
            return self._objects.pop(number)
        except KeyError:
            raise UsageError(
                f"{self.id} has no object {number}: it was taken back already"
            ) from None

    def clear_objects(self) -> None:
        """Forgets plain arrays and ends the sessions that start with this worker."""
        self._objects.clear()
        super().clear_objects()

    def open_session(
        self, holders: Sequence[Worker], dealer: Worker | None, *, protocol: str, checked: bool
    ) -> Session:
        return EmbeddedSession(
            [each.id for each in holders],
            dealer.id if dealer is not None else None,
            protocol=protocol,
            checked=checked,
            vaults=[each.vault for each in holders if isinstance(each, VirtualWorker)],
        )


def session_for(
    holders: Sequence[Worker],
    dealer: Worker | None,
    *,
    protocol: str = AUTO,
    checked: bool = False,
) -> Session:
    """The session of these holders and this dealer, in this order; opened at first use.

    Raises HoldersError where they cannot hold shares together, with this protocol or at all,
    UsageError for a protocol that does not exist.
    """
    validate(holders, dealer, protocol)
    key = (*holders, dealer, protocol, checked)
    owner = holders[0]
    with owner._lock:
        session = owner._sessions.get(key)
        if session is None or not session.usable:
            session = owner.open_session(holders, dealer, protocol=protocol, checked=checked)
            owner._sessions[key] = session
        return session


def validate(holders: Sequence[Worker], dealer: Worker | None, protocol: str) -> None:
    workers = [*holders, *([dealer] if dealer is not None else [])]
    for each in workers:
        if not isinstance(each, Worker):
            raise HoldersError(f"shares are held by workers, not by {type(each).__name__}")
        if type(each) is not type(workers[0]):
            raise HoldersError(
                f"{workers[0]!r} and {each!r} hold no shares together: one is in this process, the "
                "other is not"
            )
    names = [each.id for each in holders]
    if USER in names or (dealer is not None and dealer.id == USER):
        raise HoldersError(f"{USER!r} is not a worker's id: choose another")
    if len(names) < 2:
        raise HoldersError(
            f"sharing takes two holders or more, not {names}: one holder alone would see the value"
        )
    if len(set(names)) < len(names):
        raise HoldersError(f"the holders {names} name a worker twice: it would see the value")
    if dealer is not None and desk_of(dealer.id) in names:
        raise HoldersError(f"{desk_of(dealer.id)!r} is how {dealer.id} is called: choose another")
    if dealer is not None and dealer.id in names:
        raise HoldersError(
            f"{dealer.id} cannot be crypto provider and holder at once: it would know the masks"
        )
    require_offered(protocol, len(names))


@contextmanager
def measure(
    *holders: Worker,
    crypto_provider: Worker | None = None,
    protocol: str | None = None,
    checked: bool | None = None,
) -> Iterator[Traffic]:
    """with measure(alice, bob, crypto_provider=dealer) as traffic: …

    Counts rounds and bytes of what these workers, in this order, compute together; filled in when
    the block ends. protocol, checked: only of what was shared so; None: of everything.
    """
    validate(holders, crypto_provider, protocol or AUTO)
    if not isinstance(holders[0], VirtualWorker):
        raise UsageError("traffic is counted of workers in this process: use VirtualWorker")

    def sessions() -> list[EmbeddedSession]:
        owner = holders[0]
        with owner._lock:
            found = list(owner._sessions.items())
        return [
            session
            for (*workers, how, whether), session in found
            if workers == [*holders, crypto_provider]
            and how == (how if protocol is None else protocol)
            and whether == (whether if checked is None else checked)
            and session.usable
            and isinstance(session, EmbeddedSession)
        ]

    with measured_together(sessions) as traffic:
        yield traffic
