"""The dealer: runs the `deal` reading and sends corrections to the last party.

It shares a key with each party and knows every mask; it receives orders, which are public, and
nothing else: no share, no opened value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tacita.errors import TacitaError
from tacita.program.instruction import Instruction
from tacita.program.readings import Array, View
from tacita.ring.planes import Layout
from tacita.ring.randomness import Stream, StreamKey, fresh_key
from tacita.runtime.orders import Dealt, Order, encode
from tacita.runtime.transport import Endpoint, Message


@dataclass(slots=True, repr=False)
class Known:
    """The mask of a wire, if it has one. A view takes its mask from its base, on demand."""

    mask: Array | None = None
    base: Known | None = None
    view: View | None = None

    def found(self) -> Array | None:
        if self.mask is None and self.base is not None and self.view is not None:
            mask = self.base.found()
            if mask is not None:
                self.mask = self.view(mask)
        return self.mask


class Dealer:
    """The state of the dealer of one session, and how it carries out an order."""

    def __init__(self, endpoint: Endpoint, parties: Sequence[str]) -> None:
        self._endpoint = endpoint
        self._parties = tuple(parties)
        self._keys: list[StreamKey] = []
        self._wires: dict[int, Known] = {}
        self.carried = 0

    def start(self) -> None:
        """Sends a fresh key to each party."""
        for party in self._parties:
            key = fresh_key()
            self._keys.append(StreamKey(key))
            self._endpoint.send(party, Message("key", key))

    def carry_out(self, order: Order, arrays: Sequence[Array]) -> None:
        """One order; `arrays` is empty: shares and constants go to the parties alone."""
        for number, instruction in enumerate(order.instructions, start=order.number):
            if instruction.concerns_dealer:
                self._deal(number, instruction)
            self.carried += 1
        for wire in order.forget:
            self._wires.pop(wire, None)

    def _deal(self, number: int, instruction: Instruction) -> None:
        dealing = DealingOrder(self, number)
        instruction.deal(dealing)
        if dealing.dealt:
            counts = {branch: len(dealt) for branch, dealt in dealing.dealt.items()}
            corrections = tuple(array for dealt in dealing.dealt.values() for array in dealt)
            header = encode(Dealt(number, counts))
            self._endpoint.send(self._parties[-1], Message("material", header, corrections))

    def streams(self, number: int, branch: int) -> list[Stream]:
        return [key.open(number, branch) for key in self._keys]

    def known(self, wire: int) -> Known:
        return self._wires.setdefault(wire, Known())

    def know(self, wire: int, known: Known) -> None:
        self._wires[wire] = known


class DealingOrder:
    """The dealer in the midst of one order: implements `program.readings.Dealing`."""

    __slots__ = ("_branch", "_dealer", "_number", "_streams", "dealt")

    def __init__(
        self,
        dealer: Dealer,
        number: int,
        branch: int = 0,
        dealt: dict[int, list[Array]] | None = None,
    ) -> None:
        self._dealer = dealer
        self._number = number
        self._branch = branch
        self._streams = dealer.streams(number, branch)
        self.dealt: dict[int, list[Array]] = {} if dealt is None else dealt

    def branch(self, number: int) -> DealingOrder:
        return DealingOrder(self._dealer, self._number, number, self.dealt)

    def mask_of(self, wire: int) -> Array:
        mask = self._dealer.known(wire).found()
        if mask is None:
            raise TacitaError(f"wire {wire} has not been masked")
        return mask

    def write_mask(self, wire: int, mask: Array) -> None:
        self._dealer.known(wire).mask = mask

    def alias(self, wire: int, base: int, view: View) -> None:
        self._dealer.know(wire, Known(base=self._dealer.known(base), view=view))

    def mask(self, shape: tuple[int, ...]) -> Array:
        first, *others = self._streams
        total = first.draw(shape)
        for stream in others:
            stream.add_to(total)
        return total

    def mask_bits(self, layout: Layout, planes: int) -> Array:
        first, *others = self._streams
        total = first.draw(layout.shape(planes))
        for stream in others:
            stream.xor_to(total)
        return total

    def deal(self, shape: tuple[int, ...], fill: Callable[[Array], None]) -> None:
        first, *others = self._streams[:-1]
        into = first.draw(shape)
        for stream in others:
            stream.add_to(into)
        fill(into)
        self._record(into)

    def deal_bits(self, layout: Layout, planes: int, fill: Callable[[Array], None]) -> None:
        first, *others = self._streams[:-1]
        into = first.draw(layout.shape(planes))
        for stream in others:
            stream.xor_to(into)
        fill(into)
        self._record(into)

    def _record(self, correction: Array) -> None:
        self.dealt.setdefault(self._branch, []).append(correction)
