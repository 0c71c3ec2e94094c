"""Views: every element of the result is one element of the source, or a public zero.

A view acts on shares, on opened values and on masks alike, so a wire that has been masked keeps
its opening under any view: a weight is opened once, however often it is transposed. Roles apply
the view to the mask only when somebody asks for it. Nothing is opened or dealt; cost: none.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Preparing, Steps


class View(Unary, frozen=True, tag=True):
    """out = apply(x)."""

    aliases: ClassVar[bool] = True

    def apply(self, value: Array) -> Array:
        raise NotImplementedError

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.out, self.apply(machine.value(self.x)))

    def deal(self, dealer: Dealing) -> None:
        dealer.alias(self.out, self.x, self.apply)

    def evaluate(self, party: Evaluating) -> Steps:
        party.alias(self.out, self.x, self.apply)
        yield from ()  # a generator, although there is nothing to open

    def prepare(self, party: Preparing) -> None:
        party.alias(self.out, self.x, self.apply)

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


class Take(View, frozen=True, tag=True):
    """The slices of x at public `indices` along `dim`, some of them perhaps more than once.

    Two of these, along height and width, make the windows of a pooling: an element that several
    windows share is one element with one mask, so that one opening serves them all.
    """

    dim: int
    indices: tuple[int, ...]

    def apply(self, value: Array) -> Array:
        return np.take(value, np.array(self.indices, np.intp), axis=self.dim)


class Pad(View, frozen=True, tag=True):
    """Zeros around and between the elements: `low` before the first, `high` after the last and
    `interior` between two, each one number a dimension.

    A padded zero is known to everybody, so it needs no hiding. Its shares are 0, its mask is 0 at
    the parties and at the dealer, and its opened value, 0 + 0, is 0: what every reading of a
    masked wire relies on, x̂ = x + r, holds there as it does elsewhere. Nothing else is hidden
    by that mask, since the only value under it is this zero.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]

    def apply(self, value: Array) -> Array:
        shape, places = [], []
        each = zip(value.shape, self.low, self.high, self.interior, strict=True)
        for size, low, high, gap in each:
            span = size + max(size - 1, 0) * gap
            shape.append(low + span + high)
            places.append(slice(low, low + span, gap + 1))
        out = np.zeros(shape, np.uint64)
        out[tuple(places)] = value
        return out
