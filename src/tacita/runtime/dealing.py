"""The dealer's work on instructions: live, one after the other, or a whole batch on all cores.

What is dealt for an instruction depends on masks alone, and masks come from streams. So a batch
draws the masks first, in the order of the program, and computes the corrections beside one another.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from tacita.errors import MaskReused
from tacita.program.instruction import Instruction
from tacita.program.readings import Array, View
from tacita.ring import kernels
from tacita.ring.planes import Layout
from tacita.ring.randomness import Stream, StreamKey
from tacita.runtime.assisting import Assist, read_only
from tacita.runtime.deployment import Deployment, require_offline
from tacita.runtime.store import Known, MaskStore

Open = Callable[[int, int], list[Stream]]  # of an instruction and a branch, one for each party
LARGEST_AHEAD = 256 << 20  # bytes of corrections that wait to be written


@dataclass(frozen=True, slots=True, repr=False)
class Handout:
    """What the parties get for one instruction, by branch, in the order in which it was dealt.

    last: for the last party, its corrections and what is published; others: for each other party,
    what is published alone, in the same arrays, which nobody may write to. assists: what the dealer
    will be asked.
    """

    last: dict[int, list[Array]] = field(default_factory=dict)
    others: dict[int, list[Array]] = field(default_factory=dict)
    assists: dict[int, Assist] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.last or self.assists)


class DealingOrder:
    """The dealer in the midst of one instruction: implements `program.readings.Dealing`."""

    __slots__ = ("_branch", "_number", "_open", "_store", "_streams", "handout")

    def __init__(
        self,
        store: MaskStore,
        open_streams: Open,
        number: int,
        branch: int = 0,
        handout: Handout | None = None,
    ) -> None:
        self._store = store
        self._open = open_streams
        self._number = number
        self._branch = branch
        self._streams = open_streams(number, branch)
        self.handout = Handout() if handout is None else handout

    def branch(self, number: int) -> DealingOrder:
        return DealingOrder(self._store, self._open, self._number, number, self.handout)

    def mask_of(self, wire: int) -> Array:
        return self._store.mask(wire)

    def write_mask(self, wire: int, mask: Array) -> None:
        self._store.mask_with(wire, mask)

    def alias(self, wire: int, base: int, view: View) -> None:
        self._store.know(wire, Known(base=self._store.known(base), view=view))

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

    def seeds(self, shape: tuple[int, ...]) -> list[Array]:
        return [stream.draw(shape) for stream in self._streams]

    def publish(self, shape: tuple[int, ...], fill: Callable[[Array], None]) -> None:
        into = np.empty(shape, np.uint64)
        fill(into)
        if into.size:  # nobody is sent anything where there is nothing
            into = read_only(into)
            self._record(into)
            self.handout.others.setdefault(self._branch, []).append(into)

    def assist(self, shape: tuple[int, ...], reply: Callable[[list[Array]], Array]) -> None:
        if self._branch in self.handout.assists:
            raise MaskReused(
                f"the dealer assists in instruction {self._number}.{self._branch} once: branch"
            )
        self.handout.assists[self._branch] = Assist(shape, reply)

    def _record(self, array: Array) -> None:
        self.handout.last.setdefault(self._branch, []).append(array)


Write = Callable[[int, Handout], None]


class Releases:
    """Forgets masks that no instruction needs any more."""

    def __init__(self, deployment: Deployment, store: MaskStore) -> None:
        self._uses = dict(deployment.schedule.uses)
        self._store = store

    def after(self, instruction: Instruction) -> None:
        for wire in (*instruction.reads, *instruction.writes):
            self._uses[wire] -= 1
            if not self._uses[wire]:
                self._store.forget(wire)


def deal_run(deployment: Deployment, session: MaskStore, open_streams: Open, write: Write) -> None:
    """Deals for one run, instruction by instruction, on the calling thread."""
    store = deployment.bound_masks(session)
    releases = Releases(deployment, store)
    for number, instruction in enumerate(deployment.program.instructions):
        if instruction.concerns_dealer:
            dealing = DealingOrder(store, open_streams, number)
            instruction.deal(dealing)
            if dealing.handout:
                write(number, dealing.handout)
        releases.after(instruction)


def deal_batch(
    deployment: Deployment,
    session: MaskStore,
    keys: Sequence[bytes],
    write: Write,
    workers: int | None = None,
) -> None:
    """Deals for one run under the parties' keys of a batch, on all cores.

    `write` is called on the calling thread, in the order of the program; what waits for it is
    bounded. Raises ProgramError for a program that takes the dealer online.
    """
    require_offline(deployment.program)
    ranges = [StreamKey(key).reserve(0, deployment.size) for key in keys]

    def open_streams(number: int, branch: int) -> list[Stream]:
        return [streams.open(number, branch) for streams in ranges]

    store = deployment.bound_masks(session)
    releases = Releases(deployment, store)
    waiting: deque[tuple[int, Instruction, int, Future[DealingOrder]]] = deque()
    views: dict[int, Future[DealingOrder]] = {}  # wires whose masks come about in the pool
    ahead = 0

    def deal(number: int, instruction: Instruction) -> DealingOrder:
        dealing = DealingOrder(store, open_streams, number)
        instruction.deal(dealing)
        return dealing

    def take() -> int:
        number, instruction, size, future = waiting.popleft()
        write(number, future.result().handout)
        for wire in instruction.writes:
            views.pop(wire, None)
        releases.after(instruction)
        return size

    dealt = set(deployment.dealt)
    with ThreadPoolExecutor(
        workers or os.cpu_count(), "tacita dealing", initializer=kernels.pool_arrays
    ) as pool:
        for number, instruction in enumerate(deployment.program.instructions):
            for wire in instruction.reads:
                if wire in views:
                    views[wire].result()
            if number in dealt:
                cost = instruction.cost()
                size = cost.dealt_bytes + cost.published_bytes
                while waiting and ahead + size > LARGEST_AHEAD:
                    ahead -= take()
                future = pool.submit(deal, number, instruction)
                waiting.append((number, instruction, size, future))
                ahead += size
                if instruction.aliases:
                    views.update((wire, future) for wire in instruction.writes)
            else:
                if instruction.concerns_dealer:
                    deal(number, instruction)
                releases.after(instruction)
        while waiting:
            take()
