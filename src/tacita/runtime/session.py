"""A session: the parties and the dealer as threads, and the user's side that gives them orders.

The user's side sends orders and does not wait for them; it waits only when it asks for a value.
What it sends: public instructions, one share of an input to each party, public constants. What it
gets back: shares of what it reveals.
"""

from __future__ import annotations

import traceback
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock, Thread
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tacita.errors import (
    BoundExceeded,
    MissingDealerError,
    PeerFailed,
    PeerTimeout,
    SessionClosed,
    TacitaError,
    UsageError,
)
from tacita.program.builder import Handle
from tacita.program.instruction import Instruction
from tacita.program.wire import Wire
from tacita.protocols import AnyInstruction, Constant, Forget, Input, MaskWires, Reveal
from tacita.ring import kernels
from tacita.ring.randomness import SharingSource
from tacita.runtime.dealer import Dealer
from tacita.runtime.orders import LARGEST_ORDER, Order, decode_order, encode
from tacita.runtime.party import Party
from tacita.runtime.transport import MemoryEndpoint, MemoryNetwork, Message

Array = NDArray[np.uint64]
USER = "the user's side"
WAIT_LIMIT = 120.0  # seconds a role waits for another


class Session:
    """Implements `program.builder.Builder` on the roles of one group of holders.

    holders: names of the computing parties, two or more; the last takes the dealer's corrections.
    dealer: its name, or None: then sums and reveals work, and nothing that needs masks.
    checked: verify every bound that a protocol relies on; each check discloses one bit.
    limit: seconds that a role waits for another before it gives up.
    """

    def __init__(
        self,
        holders: Sequence[str],
        dealer: str | None,
        *,
        protocol: str = "tables",
        checked: bool = False,
        limit: float = WAIT_LIMIT,
    ) -> None:
        self.holders = tuple(holders)
        self.dealer = dealer
        self.protocol = protocol
        self.checked = checked
        self._limit = limit
        self._ids = count()
        self._numbers = count()
        self._forgotten: deque[int] = deque()
        self._source = SharingSource()
        self._lock = Lock()  # orders, and shares of inputs, one after the other
        self._asking = Lock()  # answers go to the thread that asked
        self._closed: str | None = None
        names = [*self.holders, *([dealer] if dealer is not None else [])]
        self.network = MemoryNetwork([*names, USER], limit)
        self._endpoint = self.network.endpoint(USER)
        self._names = tuple(names)
        self.parties = [self._party(index) for index in range(len(self.holders))]
        roles: list[Party | Dealer] = list(self.parties)
        if dealer is not None:
            roles.append(Dealer(self.network.endpoint(dealer), self.holders))
        self._progress = dict.fromkeys(names, 0)
        self._threads = [
            Thread(
                target=serve,
                args=(role, self.network.endpoint(name), self._names, self._progress),
                name=f"tacita {name}",
                daemon=True,
            )
            for name, role in zip(names, roles, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        # The threads do not refer to the session, so that it goes when its last tensor does.
        weakref.finalize(self, stop, self._endpoint, self._names)

    def _party(self, index: int) -> Party:
        name = self.holders[index]
        return Party(
            self.network.endpoint(name),
            [peer for peer in self.holders if peer != name],
            first=index == 0,
            corrected=index == len(self.holders) - 1 and self.dealer is not None,
            dealer=self.dealer,
            user=USER,
            limit=self._limit,
        )

    def __repr__(self) -> str:
        state = "closed" if self._closed is not None else "open"
        return f"Session(holders={list(self.holders)}, dealer={self.dealer!r}, {state})"

    @property
    def usable(self) -> bool:
        return self._closed is None

    def new_id(self) -> int:
        return next(self._ids)

    def emit(self, instruction: Instruction) -> None:
        self._send(instruction, None)

    def _send(
        self, instruction: Instruction, arrays: Callable[[int | None], tuple[Array, ...]] | None
    ) -> None:
        """arrays: what goes beside the order to party i, or to the dealer (None)."""
        with self._lock:
            self._require_open()
            known = cast(AnyInstruction, instruction)
            forget = tuple(self._forgotten)
            header = encode(Order(next(self._numbers), known, forget))
            if len(header) > LARGEST_ORDER:
                raise UsageError(
                    f"a {type(instruction).__name__} of {len(header)} bytes is too large to send; "
                    f"the limit is {LARGEST_ORDER}: split the tensor"
                )
            for _ in forget:
                self._forgotten.popleft()
            for index, name in enumerate(self._names):
                party = index if index < len(self.holders) else None
                beside = arrays(party) if arrays is not None else ()
                self._endpoint.send(name, Message("instruct", header, beside))

    def input(self, values: Array, shape: tuple[int, ...], scale: int, bound: int | None) -> Handle:
        """Shares ring values among the holders; each gets its own share, the dealer nothing."""
        wire = Wire(self.new_id(), tuple(shape), scale, bound)
        with self._lock:
            shares = self._source.split(np.ascontiguousarray(values), len(self.holders))
        self._send(
            Input(wire.id, wire.shape),
            lambda party: () if party is None else (shares[party],),
        )
        return Handle(self, wire)

    def constant(self, values: Array, scale: int, bound: int | None) -> Handle:
        wire = Wire(self.new_id(), values.shape, scale, bound)
        public = np.array(values)
        self._send(
            Constant(wire.id, wire.shape),
            lambda party: () if party is None else (public,),
        )
        return Handle(self, wire, public=True)

    def mask(self, handles: Sequence[Handle], what: str) -> None:
        if self.dealer is None:
            raise MissingDealerError(
                f"{what} needs correlated randomness and the tensors held by "
                f"{', '.join(self.holders)} have no crypto provider: share them with "
                "crypto_provider=…"
            )
        targets: dict[int, Handle] = {}
        for handle in handles:
            if not handle.masked:
                target = handle.mask_target
                targets[target.wire.id] = target
        if targets:
            wires = [target.wire for target in targets.values()]
            self.emit(MaskWires(tuple(w.id for w in wires), tuple(w.shape for w in wires)))
            for target in targets.values():
                target.mark_masked()

    def forget(self, wire: int) -> None:
        self._forgotten.append(wire)

    def reveal(self, handle: Handle) -> Array:
        """The ring values of a wire, from one share of each party.

        Raises BoundExceeded where checked mode has refused the wire, and PeerError where a role
        failed.
        """
        with self._asking:
            self.emit(Reveal(handle.wire.id))
            messages = [self._await(holder) for holder in self.holders]
        total: Array | None = None
        refusal: str | None = None
        for message in messages:
            if message.kind == "refuse":
                refusal = message.header.decode()
                continue
            (share,) = message.arrays
            total = share.copy() if total is None else np.add(total, share, out=total)
        if refusal is not None:
            raise BoundExceeded(refusal)
        assert total is not None
        return total.reshape(handle.wire.shape)

    def settle(self) -> None:
        """Waits until every role has carried out all orders; sends what was to be forgotten."""
        if self._forgotten:
            self.emit(Forget())
        with self._asking:
            with self._lock:
                self._require_open()
                for name in self._names:
                    self._endpoint.send(name, Message("done"))
            for name in self._names:
                self._await(name)

    def _await(self, name: str) -> Message:
        """The next message from a role, for as long as the roles make progress."""
        seen = dict(self._progress)
        while True:
            try:
                return self._endpoint.receive(name, self._limit)
            except PeerTimeout:
                if self._progress == seen:
                    self._close(f"no role made progress for {self._limit:g} s")
                    raise
                seen = dict(self._progress)
            except PeerFailed as failure:
                self._close(str(failure))
                raise

    def _require_open(self) -> None:
        if self._closed is not None:
            raise SessionClosed(
                f"the session of {', '.join(self.holders)} has ended ({self._closed}); share the "
                "data again to start another"
            )

    def _close(self, why: str) -> None:
        self._closed = why
        stop(self._endpoint, self._names)

    def close(self) -> None:
        """Ends the session; its shares are gone. Waits for the roles' threads."""
        with self._lock:
            if self._closed is None:
                self._close("it was closed")
        for thread in self._threads:
            thread.join(self._limit)


def stop(endpoint: MemoryEndpoint, names: Sequence[str]) -> None:
    """Tells the roles to end."""
    for name in names:
        try:
            endpoint.send(name, Message("stop"))
        except PeerTimeout:
            continue  # it has stopped reading, and ends at its own limit


def serve(
    role: Party | Dealer, endpoint: MemoryEndpoint, names: Sequence[str], progress: dict[str, int]
) -> None:
    """A role's thread: carries out orders until it is told to stop, or fails."""
    kernels.pool_arrays()
    try:
        role.start()
        while True:
            message = endpoint.receive(USER, None)
            if message.kind == "stop":
                # Whoever still waits for a result need not wait out the limit.
                endpoint.send(USER, Message("fail", b"the session was closed"))
                return
            if message.kind == "done":
                endpoint.send(USER, Message("done"))
                continue
            role.carry_out(decode_order(message.header), message.arrays)
            progress[endpoint.name] += 1
    except Exception as error:
        announce(endpoint, names, error)


def announce(endpoint: MemoryEndpoint, names: Sequence[str], error: Exception) -> None:
    """Tells everybody that this role has stopped, so that nobody waits for it."""
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, TacitaError):
        # Foreign errors may quote values; where it happened is all that leaves this role.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} in {frame.name}, {frame.filename}:{frame.lineno}"
    for other in (*names, USER):
        if other != endpoint.name:
            try:
                endpoint.send(other, Message("fail", text.encode()))
            except PeerTimeout:
                continue  # it has stopped reading, and ends at its own limit
