"""The dealer's work on instructions: live, one after the other, or a whole batch on all cores.

What is dealt for an instruction depends on masks alone, and masks come from streams. So a batch
draws the masks first, in the order of the program, and computes the corrections beside one another.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tacita.program.instruction import Instruction
from tacita.program.readings import Array, View
from tacita.ring import kernels
from tacita.ring.planes import Layout
from tacita.ring.randomness import Stream, StreamKey
from tacita.runtime.deployment import Deployment
from tacita.runtime.store import Known, MaskStore

Open = Callable[[int, int], list[Stream]]  # of an instruction and a branch, one for each party
LARGEST_AHEAD = 256 << 20  # bytes of corrections that wait to be written


class DealingOrder:
    """The dealer in the midst of one instruction: implements `program.readings.Dealing`."""

    __slots__ = ("_branch", "_number", "_open", "_store", "_streams", "dealt")

    def __init__(
        self,
        store: MaskStore,
        open_streams: Open,
        number: int,
        branch: int = 0,
        dealt: dict[int, list[Array]] | None = None,
    ) -> None:
        self._store = store
        self._open = open_streams
        self._number = number
        self._branch = branch
        self._streams = open_streams(number, branch)
        self.dealt: dict[int, list[Array]] = {} if dealt is None else dealt

    def branch(self, number: int) -> DealingOrder:
        return DealingOrder(self._store, self._open, self._number, number, self.dealt)

    def mask_of(self, wire: int) -> Array:
        return self._store.mask(wire)

    def write_mask(self, wire: int, mask: Array) -> None:
        self._store.known(wire).mask = mask

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

    def _record(self, correction: Array) -> None:
        self.dealt.setdefault(self._branch, []).append(correction)


Write = Callable[[int, dict[int, list[Array]]], None]


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
            if dealing.dealt:
                write(number, dealing.dealt)
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
    bounded.
    """
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
        write(number, future.result().dealt)
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
                size = instruction.cost().dealt_bytes
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
