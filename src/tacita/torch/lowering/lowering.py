"""Where a lowered operation's instructions go, and at which precision."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tacita.program.builder import Builder, Handle
from tacita.program.instruction import Instruction
from tacita.program.wire import Wire, limited
from tacita.protocols import Combine
from tacita.ring.fixed_point import LARGEST, Array, Precision
from tacita.torch.lowering.expected import Interval

Shape = tuple[int, ...]
REMEMBERED = 64  # public numbers kept at the parties
GRADIENT_BITS = 24  # after the point, of gradients and of parameters that are trained
NUMBER = "number"  # in `derived`: the public number everywhere on a wire, and its scale


class Lowering:
    """A builder with the precision of the tensors at hand.

    precision: None for integers, whose products are exact and never truncated.
    scale: what a wire is truncated to before it is multiplied.
    widest: the largest scale that sums and public products let a wire grow to; beyond it they
        truncate first. It is never less than the scale of a product.
    finest: the scale of gradients and of parameters that are trained.
    expected: ranges of what is inside of the operation at hand, by the names of expected.py.
    """

    __slots__ = (
        "_finer", "_numbers", "builder", "expected", "finest", "precision", "scale", "widest",
    )  # fmt: skip

    def __init__(
        self, builder: Builder, precision: Precision | None, scale: int | None = None
    ) -> None:
        """scale: where it is not that of the precision."""
        self.builder = builder
        self.precision = precision
        self.scale = scale or (1 if precision is None else precision.scale)
        self.widest = max(self.scale * self.scale, 1 << 32)
        self.finest = self.scale if precision is None else finest_of(precision)
        self._numbers: dict[tuple[int, int], Handle] = {}
        self._finer: Lowering | None = None
        self.expected: Mapping[str, Interval] = {}

    @property
    def finer(self) -> Lowering:
        """The same with the digits of gradients: what runs inside of backward() uses it."""
        if self.scale >= self.finest:
            return self
        if self._finer is None:
            self._finer = Lowering(self.builder, self.precision, self.finest)
        return self._finer

    def wire(self, shape: Shape, scale: int, bound: int | None, *, bit: bool = False) -> Wire:
        """A new wire; a bound that no protocol can use is dropped."""
        return self.builder.new_wire(shape, scale, limited(bound), bit=bit)

    def emit(self, instruction: Instruction, wire: Wire, base: Handle | None = None) -> Handle:
        self.builder.emit(instruction)
        return Handle(self.builder, wire, base=base)

    def mask(self, handles: Sequence[Handle], what: str) -> None:
        """One round for those that are not masked yet, none if all are."""
        waiting = [each for each in handles if not each.masked and each.wire.size]
        if waiting:
            self.builder.mask(waiting, what)

    def constant(self, values: Array, scale: int) -> Handle:
        """A public tensor, known to every role; its bound is that of its values."""
        # Sizes are taken as unsigned: the size of -2^63 is 2^63, not a negative number.
        sizes = np.abs(values.view(np.int64)).view(np.uint64)
        bound = int(np.max(sizes, initial=np.uint64(0)))
        handle = self.builder.constant(values, scale, limited(bound))
        return self._marked(handle, bit=scale == 1 and not np.any(values > 1))

    @staticmethod
    def _marked(handle: Handle, *, bit: bool) -> Handle:
        if bit:
            handle.revise(replace(handle.wire, bit=True))
        return handle

    def number(self, value: int, scale: int = 1) -> Handle:
        """A public 0-d constant, sent once."""
        handle = self._numbers.get((value, scale))
        if handle is None:
            ring = np.array(value % (1 << 64), np.uint64)
            handle = self.builder.constant(ring, scale, limited(abs(value)))
            self._marked(handle, bit=scale == 1 and value in (0, 1))
            handle.derived = {NUMBER: (value, scale)}
            if len(self._numbers) < REMEMBERED:
                self._numbers[value, scale] = handle
        return handle

    def derived(self, handle: Handle) -> dict[Hashable, Any]:
        """What has been computed of a wire alone, such as a weight, for the next time.

        Wires never change, so it stays true; it goes when the wire does.
        """
        if handle.derived is None:
            handle.derived = {}
        return handle.derived

    def zeros(self, shape: Shape, scale: int = 1) -> Handle:
        """Public zeros; also what an operation on no elements at all results in."""
        handle = self.builder.constant(np.zeros(shape, np.uint64), scale, 0)
        return self._marked(handle, bit=True)

    def combine(
        self,
        terms: Sequence[tuple[Handle, int]],
        shape: Shape,
        scale: int,
        bound: int | None = None,
    ) -> Handle:
        """Σ coefficient·wire with broadcasting; `bound` where the caller knows a tighter one."""
        if bound is None:
            bound = 0
            for handle, coefficient in terms:
                own = handle.wire.bound
                if own is None:
                    bound = None
                    break
                bound += abs(coefficient) * own
        wire = self.wire(shape, scale, bound)
        return self.emit(
            Combine(wire.id, tuple((h.wire.id, wrapped(c)) for h, c in terms), shape), wire
        )


def finest_of(precision: Precision) -> int:
    """The scale of gradients: that of the precision, or with more digits of its base while
    there are no more than GRADIENT_BITS.

    A weight's gradient is a mean over a batch, often of size 1e-4; a step of an optimizer is that
    times a learning rate. At 16 bits most of it would be rounding.
    """
    scale = precision.scale
    while scale * precision.base <= 1 << GRADIENT_BITS:
        scale *= precision.base
    return scale


def wrapped(coefficient: int) -> int:
    """A coefficient as instructions carry it: a signed 64-bit integer."""
    if -LARGEST < coefficient < LARGEST:
        return coefficient
    return (coefficient + (1 << 63)) % (1 << 64) - (1 << 63)
