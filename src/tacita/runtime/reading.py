"""A party in the midst of an instruction: what `evaluate` and `prepare` are written against."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from tacita.errors import MaskReused, MaterialMismatch, TacitaError
from tacita.program.instruction import Instruction
from tacita.program.readings import Array, BitMask, Consultation, Mask, Masked, Steps, View
from tacita.ring.planes import Layout
from tacita.ring.randomness import OneTime, Stream
from tacita.runtime.common import Common, Streams
from tacita.runtime.material import Corrections, Material
from tacita.runtime.store import Held, Store


class Draws:
    """The randomness of one instruction, or of a branch of it, whose stream it opens.

    Many instructions draw nothing, or had it drawn when they were prepared: a stream opens when it
    is first needed. common: where words come from that all parties draw alike, if any do.
    """

    __slots__ = (
        "_branch",
        "_common",
        "_common_stream",
        "_common_streams",
        "_consulted",
        "_corrections",
        "_material",
        "_number",
        "_opened",
        "_stem",
        "_stream",
    )

    def __init__(
        self,
        material: Material,
        number: int,
        corrections: Corrections,
        common: Common | None = None,
        branch: int = 0,
        stem: Draws | None = None,
    ) -> None:
        """stem: those of the instruction itself, of which these are a branch."""
        self._material = material
        self._number = number
        self._corrections = corrections
        self._common = common
        self._branch = branch
        self._stem = self if stem is None else stem
        self._opened = False
        self._consulted = False
        self._stream: Stream | None = None
        self._common_stream: Stream | None = None
        self._common_streams: Streams | None = None

    def _open(self) -> None:
        self._opened = True  # at the first attempt: one that is refused is not made again
        self._stream = self._material.stream(self._number, self._branch)

    def branch(self, number: int) -> Draws:
        if not self._opened:
            self._open()  # branches ascend, and this one may be drawn from later
        return Draws(
            self._material, self._number, self._corrections, self._common, number, self._stem
        )

    def own(self, shape: tuple[int, ...]) -> Array:
        if not self._opened:
            self._open()
        if self._stream is None:
            raise MaterialMismatch(f"instruction {self._number} needs a dealer and there is none")
        return self._stream.draw(shape)

    def dealt(self, shape: tuple[int, ...]) -> Array:
        if self._material.corrected:
            return self._corrections.take(self._branch, shape)
        return self.own(shape)

    def published(self, shape: tuple[int, ...]) -> Array:
        if 0 in shape:
            return np.empty(shape, np.uint64)  # nothing was sent
        return self._corrections.take(self._branch, shape)

    def common(self, shape: tuple[int, ...]) -> Array:
        if self._common_stream is None:
            self._common_stream = self._stem.take_common(self._branch)
        return self._common_stream.draw(shape)

    def take_common(self, branch: int) -> Stream:
        """For the instruction's branches as well."""
        if self._common_streams is None:
            if self._common is None:
                raise MaterialMismatch(
                    f"instruction {self._number} needs what the parties draw alike, and there is "
                    "nobody to agree on it with"
                )
            self._common_streams = self._common.streams(self._number)
        return self._common_streams.take(branch)

    def consult(self) -> tuple[int, int]:
        """The place at which the dealer is asked: the instruction and its branch, once."""
        place = self._number, self._branch
        if self._consulted:
            raise MaskReused(f"the dealer is asked once in instruction {place[0]}.{place[1]}")
        self._consulted = True
        return place


class Prepared(OneTime):
    """What a party has done for a run before its inputs are there; each part is taken once.

    drawn: the instructions whose randomness it took; their streams do not open again. A fork of the
        process cannot use it: its masks would hide a value in either process.
    """

    __slots__ = ("_kept", "_masks", "_process", "drawn")

    def __init__(self) -> None:
        self.drawn: set[int] = set()
        self._process = os.getpid()
        self._kept: dict[int, Array] = {}
        self._masks: dict[int, list[Mask]] = {}

    def keep(self, wire: int, value: Array) -> None:
        self._kept[wire] = value

    def keep_masks(self, number: int, masks: list[Mask]) -> None:
        self._masks[number] = masks

    def take(self, wire: int) -> Array | None:
        self._require_same_process()
        return self._kept.pop(wire, None)

    def take_masks(self, number: int) -> list[Mask] | None:
        self._require_same_process()
        return self._masks.pop(number, None)

    def _require_same_process(self) -> None:
        if os.getpid() != self._process:
            raise MaskReused("this process was forked, and its parent uses what was prepared")


class Reading:
    """Implements `program.readings.Evaluating` for one instruction."""

    __slots__ = ("_draws", "_number", "_prepared", "_store", "first")

    def __init__(
        self, store: Store, number: int, draws: Draws | None, prepared: Prepared | None
    ) -> None:
        self.first = store.first
        self._store = store
        self._number = number
        self._draws = draws
        self._prepared = prepared

    @property
    def _randomness(self) -> Draws:
        if self._draws is None:
            raise MaskReused(f"the randomness of instruction {self._number} was used to prepare it")
        return self._draws

    def branch(self, number: int) -> Reading:
        return Reading(self._store, self._number, self._randomness.branch(number), None)

    def share(self, wire: int) -> Array:
        return self._store.share(wire)

    def public(self, wire: int) -> Array:
        held = self._store.held(wire)
        if not held.public:
            raise TacitaError(f"wire {wire} is private")
        return held.share

    def write(self, wire: int, share: Array) -> None:
        self._store.hold(wire, Held(share))

    def masked(self, wire: int) -> Masked:
        masked = self._store.held(wire).mask()
        if masked is None:
            raise TacitaError(f"wire {wire} has not been masked")
        return masked

    def write_masked(self, wire: int, masked: Masked) -> None:
        self._store.mask(wire, masked)

    def alias(self, wire: int, base: int, view: View) -> None:
        source = self._store.held(base)
        held = Held(view(source.share), base=source, view=view, public=source.public)
        self._store.hold(wire, held)

    def mask(self, shape: tuple[int, ...]) -> Mask:
        return Mask(self._randomness.own(shape))

    def mask_bits(self, layout: Layout, planes: int) -> BitMask:
        return BitMask(self._randomness.own(layout.shape(planes)))

    def dealt(self, shape: tuple[int, ...]) -> Array:
        return self._randomness.dealt(shape)

    def dealt_bits(self, layout: Layout, planes: int) -> Array:
        return self._randomness.dealt(layout.shape(planes))

    def seed(self, shape: tuple[int, ...]) -> Array:
        return self._randomness.own(shape)

    def published(self, shape: tuple[int, ...]) -> Array:
        return self._randomness.published(shape)

    def common(self, shape: tuple[int, ...]) -> Array:
        return self._randomness.common(shape)

    def consult(self, words: Array, shape: tuple[int, ...]) -> Consultation:
        return Consultation(self._randomness.consult(), words, shape)

    def prepared(self, wire: int) -> Array | None:
        return None if self._prepared is None else self._prepared.take(wire)

    def prepared_masks(self) -> list[Mask] | None:
        return None if self._prepared is None else self._prepared.take_masks(self._number)

    def fail(self, wire: int, message: str) -> None:
        self._store.failed[wire] = message


def begin(
    instruction: Instruction,
    number: int,
    store: Store,
    material: Material,
    prepared: Prepared | None = None,
    *,
    common: Common | None = None,
    corrections: Corrections | None = None,
) -> tuple[Steps, Corrections | None]:
    """The generator of an instruction's evaluation, and what the dealer sent that it is to use up.

    corrections: that, where it does not come from the material.
    """
    if prepared is not None and number in prepared.drawn:
        return instruction.evaluate(Reading(store, number, None, prepared)), None
    if corrections is None:
        corrections = Corrections(material, number)
    draws = Draws(material, number, corrections, common)
    return instruction.evaluate(Reading(store, number, draws, prepared)), corrections


class Preparation:
    """Implements `program.readings.Preparing`, for all instructions of a program in turn.

    before: the opened values of wires that were masked before the run, as weights are.
    """

    def __init__(self, material: Material, before: Store) -> None:
        self.prepared = Prepared()
        self._material = material
        self._before = before
        self._shares: dict[int, Array] = {}
        self._views: dict[int, tuple[int, View]] = {}
        self._number = 0
        self._corrections: Corrections | None = None
        self._draws: Draws | None = None

    def go_through(self, instructions: Sequence[Instruction]) -> Prepared:
        for number, instruction in enumerate(instructions):
            self._begin(number)
            instruction.prepare(self)
            self._end()
        return self.prepared

    def _begin(self, number: int) -> None:
        self._number = number
        self._draws = self._corrections = None

    def _end(self) -> None:
        if self._corrections is not None:
            self._corrections.check_spent()

    def _drawing(self) -> Draws:
        if self._draws is None:
            self._corrections = Corrections(self._material, self._number)
            self._draws = Draws(self._material, self._number, self._corrections)
            self.prepared.drawn.add(self._number)
        return self._draws

    def draw_masks(self, wires: Sequence[int], shapes: Sequence[tuple[int, ...]]) -> None:
        draws = self._drawing()
        masks = [Mask(draws.own(shape)) for shape in shapes]
        self._shares.update((w, mask.share) for w, mask in zip(wires, masks, strict=True))
        self.prepared.keep_masks(self._number, masks)

    def alias(self, out: int, base: int, view: View) -> None:
        self._views[out] = (base, view)

    def mask_share(self, wire: int) -> Array | None:
        share = self._shares.get(wire)
        if share is None and wire in self._views:
            base, view = self._views[wire]
            share = self.mask_share(base)
            if share is not None:
                share = self._shares[wire] = view(share)
        return share

    def opened(self, wire: int) -> Array | None:
        if wire in self._views:
            base, view = self._views[wire]
            opened = self.opened(base)
            return None if opened is None else view(opened)
        masked = self._before.masked_before(wire)
        return None if masked is None else masked.opened

    def dealt(self, shape: tuple[int, ...]) -> Array:
        return self._drawing().dealt(shape)

    def keep(self, wire: int, value: Array) -> None:
        self.prepared.keep(wire, value)
