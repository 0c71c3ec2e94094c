"""Protocols on tiny rings, as scenes that `enumeration` goes through: see there for why they do.

A scene's values are columns of N numbers, one for each element; arrays have several, and planes of
bits too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from tacita.program.instruction import Instruction
from tacita.protocols import MaskWires, NonNegative, Staircase, Zero, sign
from tacita.ring import kernels

LEAST_ELEMENTS = 512  # a plane of fewer would be padded

Secret = tuple[int, ...]


@dataclass(frozen=True)
class Grain:
    """How tiny values stand in Z_2^64: `bits` bits, `shift` places up."""

    bits: int
    shift: int = 0

    def place(self, values: np.ndarray) -> np.ndarray:
        return values << np.uint64(self.shift)

    def see(self, values: np.ndarray) -> np.ndarray:
        """What is seen of ring elements, as tiny values."""
        dust = values & np.uint64((1 << self.shift) - 1)
        assert not dust.any(), "a value lies between the grains"
        return (values >> np.uint64(self.shift)) & np.uint64((1 << self.bits) - 1)


def low(bits: int) -> Grain:
    return Grain(bits)


def top(bits: int, of: int | None = None) -> Grain:
    """`bits` bits at the lower end of the top `of`."""
    return Grain(bits, 64 - (bits if of is None else of))


@dataclass(frozen=True)
class Scene:
    """A protocol on a tiny ring.

    inputs: shapes of the input wires 0, 1, …, for N elements. program: what runs on them.
    grain: of the inputs. masks, deals: of the ring draws for masks (one for each `mask` call) and
    for dealt values (one for each column), where they differ from what is listed last.
    result: what the outputs hold for a secret, mod 2^result_bits; None where that is not checked.
    learned: what everybody is meant to learn of a secret.
    modulus: of digits, where the dealer deals them and is told some; seeds are cut to such digits.
    commons: in how many parts words are cut that the parties draw alike, draw by draw.
    """

    grain: Grain
    inputs: Callable[[int], list[tuple[int, ...]]]
    program: Callable[[int], list[Instruction]]
    masks: Sequence[Grain] = ()
    deals: Sequence[Grain] = (low(1),)
    outputs: tuple[int, ...] = ()
    result: Callable[[Secret], Sequence[int] | None] = lambda _: None
    result_bits: int = 64
    learned: Callable[[Secret], Hashable] = lambda _: None
    modulus: int | None = None
    commons: Sequence[int] = ()

    @property
    def columns(self) -> int:
        """Private values in a secret."""
        return sum(prod(shape) for shape in self.inputs(LEAST_ELEMENTS)) // LEAST_ELEMENTS

    def secrets(self) -> Iterator[Secret]:
        return product(range(1 << self.grain.bits), repeat=self.columns)


def arrange(columns: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Columns of N values as an array whose first or last dimension runs over the elements."""
    n = columns[0].size if columns else 0
    leading = len(shape) > 1 and shape[0] == n
    return np.stack(columns, axis=1 if leading else 0).reshape(shape)


def columns_of(array: np.ndarray, n: int) -> list[np.ndarray]:
    """The other way round."""
    if array.ndim > 1 and array.shape[0] == n:
        return list(array.reshape(n, -1).T)
    return list(array.reshape(-1, n))


def bits_of(planes: np.ndarray, n: int) -> list[np.ndarray]:
    """The bits of planes, as columns of N."""
    layout_n = planes.shape[0] * planes.shape[2] * 64
    return [
        column
        for plane in range(planes.shape[1])
        for column in kernels.unpack_bits(
            np.ascontiguousarray(planes[:, plane : plane + 1]), layout_n
        ).reshape(-1, n)
    ]


# ---- what most scenes are made of --------------------------------------------------------------


def one_wire(n: int) -> list[tuple[int, ...]]:
    return [(n,)]


def masked(n: int, *instructions: Instruction) -> list[Instruction]:
    return [MaskWires((0,), ((n,),)), *instructions]


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def width(bits: int, plan: sign.Plan) -> sign.Width:
    """The comparison of values that are embedded in the top `bits` bits."""
    return sign.Width(64, 64 - bits, plan)


def comparison(bits: int, plan: sign.Plan) -> Scene:
    return Scene(
        top(bits),
        one_wire,
        lambda n: masked(n, NonNegative(1, 0, (n,), width(bits, plan))),
        outputs=(1,),
        result=lambda secret: [signed(secret[0], bits) >= 0],
    )


def equality(bits: int, plan: sign.Plan) -> Scene:
    # The low bits are compared, so the tiny ring is that of the low bits.
    return Scene(
        low(bits),
        one_wire,
        lambda n: masked(n, Zero(1, 0, (n,), plan)),
        outputs=(1,),
        result=lambda secret: [secret[0] == 0],
    )


def staircase(bits: int, thresholds: tuple[int, ...], plan: sign.Plan, columns: int) -> Scene:
    """Functions of two steps and more, of values that are embedded in the top bits."""
    unit, half = 64 - bits, 1 << (bits - 1)
    base = tuple(range(3, 3 + columns))
    steps = tuple(tuple(5 + m - 2 * j for j in range(len(thresholds))) for m in range(columns))

    def result(secret):
        x = signed(secret[0], bits)
        if not all(-half <= x - t < half for t in thresholds):
            return None  # a difference outside the width
        return [
            first + sum(step for t, step in zip(thresholds, row, strict=True) if x >= t)
            for first, row in zip(base, steps, strict=True)
        ]

    def program(n):
        placed = tuple(t << unit for t in thresholds)
        return masked(n, Staircase(1, 0, placed, base, steps, (n,), width(bits, plan)))

    return Scene(top(bits), one_wire, program, outputs=(1,), result=result)
