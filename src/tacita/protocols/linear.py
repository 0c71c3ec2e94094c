"""Linear operations: sums, differences, scalings, concatenation and reductions.

Each party applies the map to its own share; nothing is opened and nothing is dealt, so there is
nothing to leak beyond the shapes. Exact in Z_2^64. Cost: none.
"""

from __future__ import annotations

from math import prod
from typing import ClassVar

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Steps
from tacita.ring import kernels

RING = 1 << 64


class Linear(Instruction, frozen=True, tag=True):
    """An instruction that the dealer has no part in and that opens nothing."""

    concerns_dealer: ClassVar[bool] = False

    def apply(self, *values: Array) -> Array:
        raise NotImplementedError

    @property
    def sources(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def target(self) -> int:
        raise NotImplementedError

    @property
    def reads(self) -> tuple[int, ...]:
        return self.sources

    @property
    def writes(self) -> tuple[int, ...]:
        return (self.target,)

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.target, self.apply(*(machine.value(w) for w in self.sources)))

    def deal(self, dealer: Dealing) -> None:
        pass

    def evaluate(self, party: Evaluating) -> Steps:
        party.write(self.target, self.apply(*(party.share(w) for w in self.sources)))
        yield from ()  # a generator, although there is nothing to open

    def cost(self) -> Cost:
        return Cost()


class Combine(Linear, frozen=True, tag=True):
    """out = Σ coefficient·x, with NumPy's broadcasting; coefficients are public integers.

    `shape` is that of the result.
    """

    out: int
    terms: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(wire for wire, _ in self.terms)

    @property
    def target(self) -> int:
        return self.out

    def apply(self, *values: Array) -> Array:
        total: Array | None = None
        for (_, coefficient), value in zip(self.terms, values, strict=True):
            if total is None:
                if coefficient == 1:
                    total = value
                elif coefficient == -1:
                    total = np.negative(value)
                else:
                    total = np.multiply(value, np.uint64(coefficient % RING))
            elif coefficient == 1:
                total = np.add(total, value)
            elif coefficient == -1:
                total = np.subtract(total, value)
            else:
                total = np.add(total, np.multiply(value, np.uint64(coefficient % RING)))
        assert total is not None
        return total if total.shape == self.shape else np.broadcast_to(total, self.shape)


class Concatenate(Linear, frozen=True, tag=True):
    """Joins wires along an existing dimension."""

    out: int
    parts: tuple[int, ...]
    dim: int

    @property
    def sources(self) -> tuple[int, ...]:
        return self.parts

    @property
    def target(self) -> int:
        return self.out

    def apply(self, *values: Array) -> Array:
        return np.concatenate(values, axis=self.dim)


class Sum(Linear, frozen=True, tag=True):
    """Sums over `dims`; `shape` is that of the result, with or without the summed dimensions."""

    out: int
    x: int
    dims: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.x,)

    @property
    def target(self) -> int:
        return self.out

    def apply(self, *values: Array) -> Array:
        (value,) = values
        return np.sum(value, axis=self.dims, dtype=np.uint64).reshape(self.shape)


class PublicFactor(Linear, frozen=True, tag=True):
    """out = x∘c or c∘x for a public wire c and whatever bilinear map `times` says.

    Only the shares of x are private; c lies with every role.
    """

    out: int
    x: int
    public: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.x,)

    @property
    def target(self) -> int:
        return self.out

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x, self.public)

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.out, self.times(machine.value(self.x), machine.value(self.public)))

    def evaluate(self, party: Evaluating) -> Steps:
        party.write(self.out, self.times(party.share(self.x), party.public(self.public)))
        yield from ()  # a generator, although there is nothing to open

    def times(self, x: Array, public: Array) -> Array:
        raise NotImplementedError


class PublicProduct(PublicFactor, frozen=True, tag=True):
    """Elementwise with broadcasting, or a matrix product."""

    matrix: bool
    public_first: bool
    shape: tuple[int, ...]

    def times(self, x: Array, public: Array) -> Array:
        if not self.matrix:
            return np.multiply(x, public)
        out = np.zeros(self.shape, np.uint64)
        if prod(self.shape):
            if self.public_first:
                kernels.matmul_add(out, public, x)
            else:
                kernels.matmul_add(out, x, public)
        return out
