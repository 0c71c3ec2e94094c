"""A computing party: holds shares, runs the `evaluate` reading, opens masked values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from tacita.errors import MaterialMismatch, PeerFailed, TacitaError
from tacita.program.instruction import Instruction
from tacita.program.readings import Array, BitMask, Mask, Masked, Round, View
from tacita.protocols import Constant, MaskWires, Reveal
from tacita.protocols.boundary import Arrival
from tacita.ring.planes import Layout
from tacita.ring.randomness import Stream, StreamKey
from tacita.runtime.orders import Answer, Order, Turn, decode_dealt, decode_turn, encode
from tacita.runtime.transport import Endpoint, Kind, Message


@dataclass(slots=True, repr=False)
class Held:
    """What a party holds of a wire. A view takes its mask from its base, on demand."""

    share: Array
    masked: Masked | None = None
    base: Held | None = None
    view: View | None = None
    public: bool = False

    def mask(self) -> Masked | None:
        if self.masked is None and self.base is not None and self.view is not None:
            found = self.base.mask()
            if found is not None:
                self.masked = found.map(self.view)
        return self.masked


class Corrections:
    """The last party's shares of what is dealt in one order, fetched when first asked for."""

    __slots__ = ("_arrays", "_fetch", "_number")

    def __init__(self, number: int, fetch: Callable[[int], dict[int, deque[Array]]]) -> None:
        self._number = number
        self._fetch = fetch
        self._arrays: dict[int, deque[Array]] | None = None

    def take(self, branch: int, shape: tuple[int, ...]) -> Array:
        if self._arrays is None:
            self._arrays = self._fetch(self._number)
        arrays = self._arrays.get(branch)
        if not arrays or arrays[0].size != prod(shape):
            raise MaterialMismatch(
                f"the dealer's material for order {self._number} has no array of shape {shape} "
                "where one was due"
            )
        return arrays.popleft().reshape(shape)

    def check_spent(self) -> None:
        left = sum(len(arrays) for arrays in (self._arrays or {}).values())
        if left:
            raise MaterialMismatch(f"order {self._number} left {left} dealt arrays unused")


class Party:
    """The state of one party in one session, and how it carries out an order.

    peers: the other parties' names. dealer: None where nothing is ever dealt.
    corrected: True for the last party, which takes the dealer's corrections.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        peers: Sequence[str],
        *,
        first: bool,
        corrected: bool,
        dealer: str | None,
        user: str,
        limit: float,
    ) -> None:
        self._endpoint = endpoint
        self._peers = tuple(peers)
        self._first = first
        self._corrected = corrected
        self._dealer = dealer
        self._user = user
        self._limit = limit
        self._key: StreamKey | None = None
        self._wires: dict[int, Held] = {}
        self._failed: dict[int, str] = {}
        self.rounds = 0
        self.carried = 0

    def start(self) -> None:
        """Takes the key of this party's streams, from the dealer."""
        if self._dealer is not None:
            self._key = StreamKey(self._receive(self._dealer, "key").header)

    def carry_out(self, order: Order, arrays: Sequence[Array]) -> None:
        """One order: its rounds, and what it hands to the user.

        arrays: beside the order, one for each of its inputs and constants, in turn.
        """
        if len(arrays) != order.arrivals:
            raise PeerFailed(
                f"order {order.number} came with {len(arrays)} arrays, not {order.arrivals}"
            )
        given = iter(arrays)
        for number, instruction in enumerate(order.instructions, start=order.number):
            if isinstance(instruction, Arrival):
                share = next(given)
                public = isinstance(instruction, Constant)
                self._wires[instruction.out] = Held(share.reshape(instruction.shape), public=public)
            elif isinstance(instruction, Reveal):
                self._reveal(number, instruction.x)
            elif self._failed and (failure := self._failure(instruction)) is not None:
                self._pass_over(number, instruction, failure)
            else:
                self._run(number, instruction)
            self.carried += 1
        for wire in order.forget:
            self._wires.pop(wire, None)
            self._failed.pop(wire, None)

    def _pass_over(self, number: int, instruction: Instruction, failure: str) -> None:
        for wire in instruction.writes:
            self._failed[wire] = failure
        if self._corrected and instruction.cost().dealt_bytes:
            self._fetch(number)  # the dealer does not know, and its channel must not fill

    def _failure(self, instruction: Instruction) -> str | None:
        # Masking a failed wire opens something uniform all the same, and others with it. What was
        # passed over when it should have been made is opened as zero.
        if isinstance(instruction, MaskWires):
            for wire, shape in zip(instruction.wires, instruction.shapes, strict=True):
                if wire in self._failed:
                    self._wires.setdefault(wire, Held(np.zeros(shape, np.uint64)))
            return None
        return next((self._failed[w] for w in instruction.reads if w in self._failed), None)

    def _reveal(self, number: int, wire: int) -> None:
        if wire in self._failed:
            refusal = encode(Answer(number, self._failed[wire]))
            self._endpoint.send(self._user, Message("refuse", refusal))
        else:
            share = np.ascontiguousarray(self.share(wire))
            self._endpoint.send(self._user, Message("share", encode(Answer(number)), (share,)))

    def _fetch(self, number: int) -> dict[int, deque[Array]]:
        """The dealer's corrections for an order, by branch."""
        if self._dealer is None:
            raise MaterialMismatch(f"order {number} needs a dealer and there is none")
        message = self._receive(self._dealer, "material")
        header = decode_dealt(message.header)
        if header.number != number or sum(header.counts.values()) != len(message.arrays):
            raise MaterialMismatch(f"the dealer's material for order {number} is out of turn")
        arrays = iter(message.arrays)
        return {
            branch: deque(next(arrays) for _ in range(count))
            for branch, count in header.counts.items()
        }

    def _run(self, number: int, instruction: Instruction) -> None:
        corrections = Corrections(number, self._fetch) if self._corrected else None
        steps = instruction.evaluate(Reading(self, number, corrections))
        answer: list[Array] | None = None
        turn = 0
        try:
            while True:
                openings = next(steps) if answer is None else steps.send(answer)
                answer = self._exchange(Turn(number, turn), openings)
                turn += 1
        except StopIteration:
            pass
        if corrections is not None:
            corrections.check_spent()

    def _receive(self, sender: str, kind: Kind) -> Message:
        message = self._endpoint.receive(sender, self._limit)
        fits = message.kind == kind
        for array in message.arrays:
            fits = fits and array.dtype == np.uint64
        if not fits:
            raise PeerFailed(f"{sender} sent a message of kind {message.kind} where {kind} was due")
        return message

    def _exchange(self, turn: Turn, openings: Round) -> list[Array]:
        """One round: every party sends its summands to every other, and all take the sums."""
        self.rounds += 1
        header = encode(turn)
        mine = Message("open", header, tuple(opening.summand for opening in openings))
        for peer in self._peers:
            self._endpoint.send(peer, mine)
        sums: list[Array] | None = None
        for peer in self._peers:
            theirs = self._receive(peer, "open")
            if theirs.header != header or len(theirs.arrays) != len(openings):
                raise PeerFailed(f"{peer} opened {decode_turn(theirs.header)} instead of {turn}")
            sums = [
                joined(opening.boolean, opening.summand if sums is None else sums[i], array)
                for i, (opening, array) in enumerate(zip(openings, theirs.arrays, strict=True))
            ]
        assert sums is not None
        return sums

    def held(self, wire: int) -> Held:
        try:
            return self._wires[wire]
        except KeyError:
            raise TacitaError(f"{self._endpoint.name} holds no wire {wire}") from None

    def share(self, wire: int) -> Array:
        """Of a public wire, which every party holds whole, only the first one's share is not 0."""
        held = self.held(wire)
        return held.share if not held.public or self._first else np.zeros_like(held.share)

    def hold(self, wire: int, held: Held) -> None:
        self._wires[wire] = held

    @property
    def first(self) -> bool:
        return self._first

    def stream(self, number: int, branch: int) -> Stream | None:
        return None if self._key is None else self._key.open(number, branch)

    def fail(self, wire: int, message: str) -> None:
        self._failed[wire] = message


def joined(boolean: bool, a: Array, b: Array) -> Array:
    if a.shape != b.shape:
        raise PeerFailed(f"a peer opened an array of shape {b.shape} instead of {a.shape}")
    return np.bitwise_xor(a, b) if boolean else np.add(a, b)


class Reading:
    """A party in the midst of one order: implements `program.readings.Evaluating`."""

    __slots__ = ("_branch", "_corrections", "_number", "_party", "_stream")

    def __init__(
        self, party: Party, number: int, corrections: Corrections | None, branch: int = 0
    ) -> None:
        self._party = party
        self._number = number
        self._corrections = corrections
        self._branch = branch
        self._stream = party.stream(number, branch)

    def branch(self, number: int) -> Reading:
        return Reading(self._party, self._number, self._corrections, number)

    def _draw(self, shape: tuple[int, ...]) -> Array:
        if self._stream is None:
            raise MaterialMismatch(f"order {self._number} needs a dealer and there is none")
        return self._stream.draw(shape)

    @property
    def first(self) -> bool:
        return self._party.first

    def share(self, wire: int) -> Array:
        return self._party.share(wire)

    def public(self, wire: int) -> Array:
        held = self._party.held(wire)
        if not held.public:
            raise TacitaError(f"wire {wire} is private")
        return held.share

    def write(self, wire: int, share: Array) -> None:
        self._party.hold(wire, Held(share))

    def masked(self, wire: int) -> Masked:
        masked = self._party.held(wire).mask()
        if masked is None:
            raise TacitaError(f"wire {wire} has not been masked")
        return masked

    def write_masked(self, wire: int, masked: Masked) -> None:
        self._party.held(wire).masked = masked

    def alias(self, wire: int, base: int, view: View) -> None:
        source = self._party.held(base)
        self._party.hold(
            wire, Held(view(source.share), base=source, view=view, public=source.public)
        )

    def mask(self, shape: tuple[int, ...]) -> Mask:
        return Mask(self._draw(shape))

    def mask_bits(self, layout: Layout, planes: int) -> BitMask:
        return BitMask(self._draw(layout.shape(planes)))

    def dealt(self, shape: tuple[int, ...]) -> Array:
        if self._corrections is not None:
            return self._corrections.take(self._branch, shape)
        return self._draw(shape)

    def dealt_bits(self, layout: Layout, planes: int) -> Array:
        return self.dealt(layout.shape(planes))

    def fail(self, wire: int, message: str) -> None:
        self._party.fail(wire, message)
