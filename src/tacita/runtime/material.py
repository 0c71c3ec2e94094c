"""A party's one-time randomness: its streams, and what the dealer sends it.

That is, for the last party, its corrections, and for every party what the dealer publishes.

It comes from the dealer as a session goes (`LiveMaterial`), or out of a stock (`BatchMaterial`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Protocol

from tacita.errors import MaskReused, MaterialMismatch
from tacita.program.readings import Array
from tacita.ring.randomness import Stream, StreamKey, StreamRange
from tacita.runtime.deployment import Deployment
from tacita.runtime.stock import TakenBatch

Dealt = dict[int, deque[Array]]  # by branch


class Material(Protocol):
    """What an instruction's reading draws from; numbers mean the same to all roles."""

    corrected: bool

    def stream(self, number: int, branch: int) -> Stream | None:
        """Opens once; None where there is no dealer."""
        ...

    def corrections(self, number: int) -> Dealt:
        """What the dealer has sent this party for an instruction; to be asked for once.

        Corrections where the party is `corrected`, and what is published, as they were dealt.
        """
        ...


class Corrections:
    """What the dealer has sent this party for one instruction, fetched when first wanted."""

    __slots__ = ("_dealt", "_material", "_number")

    def __init__(self, material: Material, number: int) -> None:
        self._material = material
        self._number = number
        self._dealt: Dealt | None = None

    def take(self, branch: int, shape: tuple[int, ...]) -> Array:
        if self._dealt is None:
            self._dealt = self._material.corrections(self._number)
        arrays = self._dealt.get(branch)
        if not arrays or arrays[0].size != prod(shape):
            raise MaterialMismatch(
                f"the dealer's material for instruction {self._number} has no array of shape "
                f"{shape} where one was due"
            )
        return arrays.popleft().reshape(shape)

    def check_spent(self) -> None:
        if not self._dealt:
            return
        left = sum(map(len, self._dealt.values()))
        if left:
            raise MaterialMismatch(f"instruction {self._number} left {left} dealt arrays unused")


class LiveMaterial:
    """From the dealer, as the session goes: streams of the session's key, corrections on demand.

    fetch: the next of the dealer's messages, as the number of its instruction and the arrays.
    """

    def __init__(
        self, key: StreamKey | None, fetch: Callable[[], tuple[int, Dealt]], *, corrected: bool
    ) -> None:
        self.corrected = corrected
        self.fetch = fetch
        self._key = key

    def bind(self, told: bytes) -> None:
        if self._key is not None:
            self._key.bind(told)

    def key(self, number: int) -> StreamKey:
        if self._key is None:
            raise MaterialMismatch(f"instruction {number} needs a dealer and there is none")
        return self._key

    def stream(self, number: int, branch: int) -> Stream | None:
        return None if self._key is None else self._key.open(number, branch)

    def corrections(self, number: int) -> Dealt:
        self.key(number)
        came, dealt = self.fetch()
        if came != number:
            raise MaterialMismatch(f"the dealer's material for instruction {number} is out of turn")
        return dealt


class Ordered:
    """What comes in the order of the program, for instructions that may overtake.

    coming: the numbers of the instructions for which anything does, ascending.
    """

    __slots__ = ("_coming", "_early", "_fetch")

    def __init__(self, coming: Sequence[int], fetch: Callable[[int], Dealt]) -> None:
        self._coming = deque(coming)
        self._fetch = fetch
        self._early: dict[int, Dealt] = {}

    def take(self, number: int) -> Dealt:
        while number not in self._early:
            if not self._coming or self._coming[0] > number:
                raise MaterialMismatch(f"there is no material for instruction {number}")
            came = self._coming.popleft()
            self._early[came] = self._fetch(came)
        return self._early.pop(number)

    def check_spent(self) -> None:
        check_none_left([*self._early, *self._coming])


def check_none_left(numbers: Iterable[int]) -> None:
    for number in numbers:
        raise MaterialMismatch(f"the run left the material of instruction {number} unused")


class RunMaterial:
    """Live material for one run of a deployed program, whose instructions count from `first`."""

    def __init__(self, live: LiveMaterial, first: int, deployment: Deployment) -> None:
        self.corrected = live.corrected
        self._first = first
        self._streams: StreamRange = live.key(first).reserve(first, deployment.size)
        coming = deployment.dealt if live.corrected else deployment.published
        self._ordered = Ordered(coming, lambda number: live.corrections(first + number))

    def stream(self, number: int, branch: int) -> Stream:
        return self._streams.open(self._first + number, branch)

    def corrections(self, number: int) -> Dealt:
        return self._ordered.take(number)

    def finish(self) -> None:
        self._ordered.check_spent()


class BatchMaterial:
    """One batch of a stock, for one run.

    The file is read, verified and deleted here, so that a run waits for no disk. Most of it is
    needed in memory for the preparation anyway, which reads up to the last product.
    """

    def __init__(
        self, batch: TakenBatch, count: int, dealt: Sequence[int], published: Sequence[int] = ()
    ) -> None:
        """dealt, published: of the program, as in `Deployment`.

        Raises MaterialMismatch for a file that is not what these promise, or was altered.
        """
        self.label = label = batch.label
        self.corrected = label.party == label.parties - 1
        self._batch = batch
        self._process = os.getpid()
        self._streams = StreamKey(batch.key()).reserve(0, count)
        numbers = dealt if self.corrected else published
        self._coming = {number: batch.corrections(number) for number in numbers}
        batch.finish()

    def stream(self, number: int, branch: int) -> Stream:
        return self._streams.open(number, branch)

    def corrections(self, number: int) -> Dealt:
        if os.getpid() != self._process:
            raise MaskReused("this process was forked, and its parent uses the same batch")
        try:
            return self._coming.pop(number)
        except KeyError:
            raise MaterialMismatch(f"there is no material for instruction {number}") from None

    def finish(self) -> None:
        """Raises MaterialMismatch where the run left some of it unused."""
        check_none_left(self._coming)

    def close(self) -> None:
        """Gives up what has not been used."""
        self._coming.clear()
        self._batch.close()
