"""The user's side of a session: it gives the parties and the dealer their orders.

It sends orders and does not wait for them; it waits only when it asks for a value.
What it sends: public instructions, one share of an input to each party, public constants. What it
gets back: shares of what it reveals.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tacita.compiler.prediction import LOCAL, Link
from tacita.errors import (
    BoundExceeded,
    MaterialError,
    MaterialMismatch,
    MissingDealerError,
    PeerFailed,
    PeerTimeout,
    ProgramError,
    Refused,
    SessionClosed,
    UsageError,
)
from tacita.program.builder import Handle
from tacita.program.instruction import Instruction
from tacita.program.wire import Wire
from tacita.protocols import AnyInstruction, Constant, Forget, Input, MaskWires, Reveal
from tacita.ring.randomness import SharingSource
from tacita.runtime.choosing import AUTO, chooser
from tacita.runtime.deployment import ONLINE
from tacita.runtime.orders import (
    LARGEST_ORDER,
    WITHHELD,
    Ahead,
    Answer,
    Deploy,
    Keep,
    Lend,
    Order,
    Prepare,
    Run,
    Undeploy,
    decode_answer,
    encode,
)
from tacita.runtime.saving import Topic
from tacita.runtime.serving import stop
from tacita.runtime.transport import Endpoint, Message

Array = NDArray[np.uint64]
WAIT_LIMIT = 120.0  # seconds a role waits for another
MOST_WAITING = 64  # instructions that are held back for one order
MOST_HELD_BYTES = 64 << 20  # of shares and constants beside them


class Session:
    """Implements `program.builder.Builder` on the roles of one group of holders.

    The roles follow `serving.serve`, wherever they are: `EmbeddedSession` has them as threads.

    endpoint: reaches them all, by name.
    holders: names of the computing parties, two or more; the last takes the dealer's corrections.
    dealer: its name, or None: then sums and reveals work, and nothing that needs masks.
    protocol: how values are compared; see choosing.py.
    checked: verify every bound that a protocol relies on; each check discloses one bit.
    limit: seconds that a role waits for another before it gives up.
    link: between the roles, as far as it is known; "auto" goes by it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        holders: Sequence[str],
        dealer: str | None,
        *,
        protocol: str = AUTO,
        checked: bool = False,
        limit: float = WAIT_LIMIT,
        link: Link = LOCAL,
    ) -> None:
        self.holders = tuple(holders)
        self.dealer = dealer
        self.protocol = protocol
        self.link = link
        self.choose = chooser(protocol, len(self.holders), link)
        self.checked = checked
        self._limit = limit
        self._ids = count()
        self._process = os.getpid()
        self._number = 0
        self._waiting: list[AnyInstruction] = []
        # The arrays that go beside what waits, for each party in turn.
        self._beside: list[list[Array]] = [[] for _ in self.holders]
        self._held_bytes = 0
        self._forgotten: deque[int] = deque()
        self._dealer_forgets: list[int] = []
        self._deployed: dict[int, int] = {}  # the sizes of deployed programs
        self._undeployed: deque[int] = deque()
        self._source = SharingSource()
        self._lock = Lock()  # orders, and shares of inputs, one after the other
        self._masking = Lock()  # a wire is masked once, whoever needs it first
        self._asking = Lock()  # answers go to the thread that asked
        self._closed: str | None = None
        self._endpoint = endpoint
        self._names = (*self.holders, *([dealer] if dealer is not None else []))

    def __repr__(self) -> str:
        state = "closed" if self._closed is not None else "open"
        return f"Session(holders={list(self.holders)}, dealer={self.dealer!r}, {state})"

    @property
    def usable(self) -> bool:
        return self._closed is None

    def new_id(self) -> int:
        return next(self._ids)

    def new_wire(
        self, shape: tuple[int, ...], scale: int = 1, bound: int | None = None, *, bit: bool = False
    ) -> Wire:
        return Wire(self.new_id(), shape, scale, bound, bit)

    def revise(self, wire: Wire) -> None:
        """Handles know; nothing is kept of wires here."""

    def emit(self, instruction: Instruction) -> None:
        chosen = self.choose(instruction)
        with self._lock:
            self._hold(chosen)

    def flush(self) -> None:
        """Sends what was emitted, as one order."""
        with self._lock:
            self._flush()

    def input(self, values: Array, shape: tuple[int, ...], scale: int, bound: int | None) -> Handle:
        """Shares ring values among the holders; each gets its own share, the dealer nothing."""
        wire = self.new_wire(tuple(shape), scale, bound)
        with self._lock:
            shares = self._source.split(np.ascontiguousarray(values), len(self.holders))
            self._hold(Input(wire.id, wire.shape), shares)
        return Handle(self, wire)

    def constant(self, values: Array, scale: int, bound: int | None) -> Handle:
        """A public tensor, sent to every party; the dealer has no use for it."""
        wire = self.new_wire(values.shape, scale, bound)
        public = np.array(values)
        with self._lock:
            self._hold(Constant(wire.id, wire.shape), [public] * len(self.holders))
        return Handle(self, wire, public=True)

    def _hold(self, instruction: Instruction, beside: Sequence[Array] = ()) -> int:
        """Holds an instruction back for the next order; returns the number it will have there.

        beside: the array that goes with it to each party.
        """
        self._require_open()
        number = self._number + len(self._waiting)
        self._waiting.append(cast(AnyInstruction, instruction))
        for waiting, array in zip(self._beside, beside, strict=False):
            waiting.append(array)
            self._held_bytes += array.nbytes
        if len(self._waiting) >= MOST_WAITING or self._held_bytes >= MOST_HELD_BYTES:
            self._flush()
        return number

    def _flush(self) -> None:
        if not self._waiting:
            return
        self._require_open()
        instructions, self._waiting = tuple(self._waiting), []
        # Handles that die from here on are for the next order; this one may still use the others.
        forget = tuple(self._forgotten.popleft() for _ in range(len(self._forgotten)))
        number, self._number = self._number, self._number + len(instructions)
        self._held_bytes = 0
        try:
            for order, header in in_pieces(Order(number, instructions, forget)):
                self._send(order, header)
        except UsageError:
            for waiting in self._beside:
                waiting.clear()
            raise
        except BaseException:
            # Some roles have the order and others do not; nothing they do would fit together.
            self._close("an order did not reach every role")
            raise

    def _send(self, order: Order, header: bytes) -> None:
        given = order.arrivals
        for holder, waiting in zip(self.holders, self._beside, strict=True):
            arrays, waiting[:given] = tuple(waiting[:given]), []
            self._endpoint.send(holder, Message("instruct", header, arrays))
        if self.dealer is None:
            return
        if not any(each.concerns_dealer for each in order.instructions):
            # It stays here; what the dealer is to forget comes with an order that concerns it.
            self._dealer_forgets.extend(order.forget)
            return
        if self._dealer_forgets:
            forget = (*self._dealer_forgets, *order.forget)
            self._dealer_forgets.clear()
            header = encode(Order(order.number, order.instructions, forget))
        self._endpoint.send(self.dealer, Message("instruct", header))

    def mask(self, handles: Sequence[Handle], what: str) -> None:
        if self.dealer is None:
            raise MissingDealerError(
                f"{what} needs correlated randomness and the tensors held by "
                f"{', '.join(self.holders)} have no crypto provider: share them with "
                "crypto_provider=…"
            )
        with self._masking:
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
            with self._lock:
                number = self._hold(Reveal(handle.wire.id))
                self._flush()
            messages = [self._await(holder, number) for holder in self.holders]
        total: Array | None = None
        refusal: str | None = None
        for message in messages:
            if message.kind == "refuse":
                refusal = decode_answer(message.header).text
                continue
            (share,) = message.arrays
            total = share.copy() if total is None else np.add(total, share, out=total)
        if refusal is not None:
            if refusal.startswith(WITHHELD):
                raise Refused(refusal)
            raise BoundExceeded(refusal)
        assert total is not None
        return total.reshape(handle.wire.shape)

    # ---- what outlasts the session -------------------------------------------------------------

    def borrow(self, name: str, wire: Wire) -> Handle:
        """What lies with the parties under a name, as a wire of this session."""
        with self._lock:
            self._flush()
            number = self._next_number(1)
            self._tell(self.holders, Message("lend", encode(Lend(number, wire.id, name))))
        return Handle(self, wire)

    def keep(self, handle: Handle, name: str, about: bytes) -> None:
        """Leaves a wire with the parties under a name; raises UsageError where one refuses."""
        with self._asking:
            with self._lock:
                self._flush()
                number = self._next_number(1)
                order = Keep(number, handle.wire.id, name, about)
                self._tell(self.holders, Message("keep", encode(order)))
            answers = [self._await(holder, number) for holder in self.holders]
        refusals = [decode_answer(a.header).text for a in answers if a.kind == "refuse"]
        if refusals:
            raise UsageError("; ".join(refusals))

    def ask_of_saved(self, topic: Callable[[int], Topic]) -> list[str]:
        """Asks all parties for something of `saving.py`; their answers, in their order.

        topic: makes it, of its number. Raises UsageError where a party refuses, and PeerError
        where one fails: then it is open whether what was to be saved is.
        """
        with self._asking:
            with self._lock:
                self._flush()
                number = self._next_number(1)
                self._tell(self.holders, Message("saved", encode(topic(number))))
            answers = [self._await(holder, number) for holder in self.holders]
        texts = [decode_answer(each.header).text for each in answers]
        refusals = [
            text for each, text in zip(answers, texts, strict=True) if each.kind == "refuse"
        ]
        if refusals:
            raise UsageError("; ".join(refusals))
        return texts

    # ---- whole programs ------------------------------------------------------------------------

    def deploy(self, program: bytes, size: int, weights: Sequence[Handle], model: bytes) -> int:
        """Hands all roles an encoded program of so many instructions; returns its number.

        weights: masked wires of this session, one for each of the program's.
        """
        with self._lock:
            self._flush()
            self._send_undeployed()
            number = self._next_number(1)
            order = Deploy(number, program, tuple(h.wire.id for h in weights), model)
            self._tell(self._names, Message("deploy", encode(order)))
        self._deployed[number] = size
        return number

    def undeploy(self, deployment: int) -> None:
        """The roles forget a program; may be called from any thread, at any time."""
        self._undeployed.append(deployment)

    def run(
        self, deployment: int, inputs: Sequence[Handle], outputs: Sequence[Wire], batch: bytes = b""
    ) -> list[Handle]:
        """Runs a deployed program on wires of this session; `batch` was prepared, or is empty."""
        with self._lock:
            self._flush()
            number = self._next_number(self._deployed[deployment])
            forget = tuple(self._forgotten.popleft() for _ in range(len(self._forgotten)))
            ins, outs = tuple(h.wire.id for h in inputs), tuple(wire.id for wire in outputs)
            order = Run(number, deployment, ins, outs, batch, forget)
            self._tell(self.holders, Message("run", encode(order)))
            if self.dealer is not None:
                if batch:
                    self._dealer_forgets.extend(forget)
                else:
                    self._tell([self.dealer], Message("run", encode(order)))
            self._send_undeployed()
        return [Handle(self, wire) for wire in outputs]

    def _send_undeployed(self) -> None:
        while self._undeployed:
            number = self._undeployed.popleft()
            self._deployed.pop(number, None)
            self._tell(self._names, Message("undeploy", encode(Undeploy(number))))

    def deal_ahead(
        self, deployment: int, count: int, folder: str, progress: Callable[[int, str], None]
    ) -> list[bytes]:
        """Has the dealer deal batches into a stock; `progress` hears of each batch how far it is.

        Returns the batches, which `prepare` takes. Raises MaterialError where the files cannot be
        written, ProgramError where the program takes the dealer online; the session goes on.
        """
        assert self.dealer is not None
        batches: list[bytes] = []
        with self._asking:
            with self._lock:
                self._flush()
                number = self._next_number(1)
                ahead = Ahead(number, deployment, count, folder)
                self._tell([self.dealer], Message("ahead", encode(ahead)))
            while len(batches) < count:
                message = self._await(self.dealer, number)
                text = decode_answer(message.header).text
                if message.kind == "refuse":
                    refusal = ProgramError if ONLINE in text else MaterialError
                    raise refusal(f"{self.dealer} could not deal ahead: {text}")
                if message.kind == "progress":
                    progress(len(batches), text)
                else:
                    batches.append(bytes.fromhex(text))
        return batches

    def prepare(self, deployment: int, batch: bytes, folder: str) -> None:
        """Has the parties take a batch, and do what needs no input.

        Raises MaterialMismatch where one of them cannot use it; the session goes on.
        """
        with self._asking:
            with self._lock:
                self._flush()
                number = self._next_number(1)
                order = Prepare(number, deployment, batch, folder)
                self._tell(self.holders, Message("prepare", encode(order)))
            answers = [self._await(holder, number) for holder in self.holders]
        refusals = [decode_answer(a.header).text for a in answers if a.kind == "refuse"]
        if refusals:
            # What the others have of the batch is of no use any more.
            with self._lock:
                self._tell(self.holders, Message("release", encode(order)))
            raise MaterialMismatch("; ".join(refusals))

    def _next_number(self, count: int) -> int:
        self._require_open()
        number, self._number = self._number, self._number + count
        return number

    def _tell(self, names: Sequence[str], message: Message) -> None:
        try:
            for name in names:
                self._endpoint.send(name, message)
        except BaseException:
            # Some roles have the order and others do not; nothing they do would fit together.
            self._close("an order did not reach every role")
            raise

    def settle(self) -> None:
        """Waits until every role has carried out all orders; sends what was to be forgotten."""
        if self._forgotten or self._dealer_forgets:
            self.emit(Forget())
        self.flush()
        with self._asking:
            with self._lock:
                number = self._next_number(1)
                self._send_undeployed()
                self._tell(self._names, Message("done", encode(Answer(number))))
            for name in self._names:
                self._await(name, number)

    def _await(self, name: str, number: int) -> Message:
        """A role's answer to the order of that number, for as long as the roles make progress.

        Answers that somebody asked for and, interrupted, did not wait for are dropped.
        """
        while True:
            message = self._next(name)
            answered = decode_answer(message.header).number
            if answered == number:
                return message
            if answered > number:
                self._close(f"{name} answered {answered} where {number} was asked")
                raise PeerFailed(f"{name} answered {answered} where {number} was asked")

    def _next(self, name: str) -> Message:
        seen = self._carried()
        while True:
            try:
                return self._endpoint.receive(name, self._limit)
            except PeerTimeout:
                if self._carried() == seen:
                    self._close(f"no role made progress for {self._limit:g} s")
                    raise
                seen = self._carried()
            except PeerFailed as failure:
                self._close(str(failure))
                raise

    def _carried(self) -> list[int]:
        """How many instructions each role has carried out, where that can be seen."""
        return []

    def _require_open(self) -> None:
        if os.getpid() != self._process:
            raise SessionClosed(
                "this process was forked from the one whose threads are the parties; share the "
                "data here, with workers made here"
            )
        if self._closed is not None:
            raise SessionClosed(
                f"the session of {', '.join(self.holders)} has ended ({self._closed}); share the "
                "data again to start another"
            )

    def _close(self, why: str) -> None:
        self._closed = why
        stop(self._endpoint, self._names)

    def close(self) -> None:
        """Ends the session; its shares are gone."""
        with self._lock:
            if self._closed is None:
                self._close("it was closed")


def in_pieces(order: Order) -> list[tuple[Order, bytes]]:
    """The order and its encoding, or several where one would be too large to send.

    What is to be forgotten goes with the last, since the others may use it.
    """
    header = encode(order)
    if len(header) <= LARGEST_ORDER:
        return [(order, header)]
    number, instructions = order.number, order.instructions
    if len(instructions) == 1:
        raise UsageError(
            f"a {type(instructions[0]).__name__} of {len(header)} bytes is too large to send; the "
            f"limit is {LARGEST_ORDER}: split the tensor"
        )
    half = len(instructions) // 2
    return in_pieces(Order(number, instructions[:half])) + in_pieces(
        Order(number + half, instructions[half:], order.forget)
    )
