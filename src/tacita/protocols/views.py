"""Views: every element of the result is one element of the source.

A view acts on shares, on opened values and on masks alike, so a wire that has been masked keeps
its opening under any view: a weight is opened once, however often it is transposed. Roles apply
the view to the mask only when somebody asks for it. Nothing is opened or dealt; cost: none.
"""

from __future__ import annotations

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Steps


class View(Unary, frozen=True, tag=True):
    """out = apply(x)."""

    def apply(self, value: Array) -> Array:
        raise NotImplementedError

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.out, self.apply(machine.value(self.x)))

    def deal(self, dealer: Dealing) -> None:
        dealer.alias(self.out, self.x, self.apply)

    def evaluate(self, party: Evaluating) -> Steps:
        party.alias(self.out, self.x, self.apply)
        yield from ()  # a generator, although there is nothing to open

    def cost(self) -> Cost:
        return Cost()


class Reshape(View, frozen=True, tag=True):
    shape: tuple[int, ...]

    def apply(self, value: Array) -> Array:
        return value.reshape(self.shape)


class Permute(View, frozen=True, tag=True):
    dims: tuple[int, ...]

    def apply(self, value: Array) -> Array:
        return value.transpose(self.dims)


class Expand(View, frozen=True, tag=True):
    """Broadcasting: the copies carry one mask, and one value."""

    shape: tuple[int, ...]

    def apply(self, value: Array) -> Array:
        return np.broadcast_to(value, self.shape)


class Slice(View, frozen=True, tag=True):
    """x[..., start:stop:step, ...] along `dim`."""

    dim: int
    start: int
    stop: int
    step: int

    def apply(self, value: Array) -> Array:
        return value[(slice(None),) * self.dim + (slice(self.start, self.stop, self.step),)]


class Gather(View, frozen=True, tag=True):
    """out.flat[i] = x.flat[indices[i]] for public indices: flips, rolls, fancy indexing, …

    `indices` are little-endian int64, one for each element of `shape`.
    """

    shape: tuple[int, ...]
    indices: bytes

    def apply(self, value: Array) -> Array:
        order = np.frombuffer(self.indices, "<i8")
        gathered: Array = value.reshape(-1)[order].reshape(self.shape)
        return gathered
