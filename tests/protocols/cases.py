"""Cases of every instruction, which the tests of readings and of costs run alike.

A case is an instruction and ring values for it. `play` runs it on any builder: in the clear on
`PlainRun`, or on the parties of a `Session`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import ceil, exp
from typing import Any

import numpy as np

from tacita.program.builder import Handle
from tacita.program.instruction import Instruction
from tacita.program.wire import Wire
from tacita.protocols import (
    Combine,
    Concatenate,
    Constant,
    Convolution,
    Expand,
    Exponential,
    Extremum,
    Forget,
    Gather,
    Input,
    MaskWires,
    NonNegative,
    OneHot,
    Pad,
    Permute,
    Product,
    PublicConvolution,
    PublicProduct,
    Ramps,
    Ranks,
    ReLU,
    Reshape,
    Reveal,
    Slice,
    Staircase,
    Sum,
    Take,
    Truncate,
    Waves,
    WithinBound,
    Zero,
    exponential,
    one_hot,
    ranks,
    sign,
    tables,
    waves,
    ways,
)
from tacita.protocols.extremum import tournament
from tacita.protocols.relu import relu_width
from tacita.protocols.staircase import staircase_width

Ring = np.ndarray  # of uint64
Ids = list[int]
LEAST, MOST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True)
class Case:
    """One instruction on given values.

    build(reads, writes): the instruction; reads are the private inputs, then the public ones.
    shapes: of the outputs. masked: whether the private inputs have to be masked.
    units: how much larger than in the clear an output may be. either: how far off either way.
    view: the output is a view of the first input. fails: the outputs are refused.
    squared: what is compared is the outputs' squares, so that their masks are seen to be right.
    act: issues the instruction where that is not `builder.emit`; gives the outputs.
    protocol: of the session, for comparisons; all but the first take two parties.
    """

    kind: type[Instruction]
    name: str
    build: Callable[[Ids, Ids], Instruction]
    shapes: tuple[tuple[int, ...], ...]
    private: tuple[Ring, ...] = ()
    public: tuple[Ring, ...] = ()
    masked: bool = False
    units: int = 0
    either: int = 0
    view: bool = False
    fails: bool = False
    squared: bool = False
    act: Callable[[Any, list[Handle]], list[Handle]] | None = None
    protocol: ways.Way = "tables"

    @property
    def id(self) -> str:
        return f"{self.kind.__name__}-{self.name}"


@dataclass(frozen=True)
class Played:
    """The instruction that ran, handles on its outputs, and what was measured meanwhile."""

    instruction: Instruction
    outputs: list[Handle]
    traffic: Any


def play(builder: Any, case: Case, during: Callable[[], Any] = nullcontext) -> Played:
    """Runs a case; `during` is a context in which nothing but its instruction runs."""
    private = [builder.input(value, value.shape, 1, None) for value in case.private]
    public = [builder.constant(value, 1, None) for value in case.public]
    if case.masked:
        builder.mask(private, case.name)
    reads = [*private, *public]
    base = private[0] if case.view else None
    writes = [Handle(builder, Wire(builder.new_id(), shape), base=base) for shape in case.shapes]
    instruction = case.build([h.wire.id for h in reads], [h.wire.id for h in writes])
    with during() as traffic:
        if case.act is None:
            builder.emit(instruction)
        else:
            writes = case.act(builder, reads)
    if case.kind is MaskWires:
        for handle in private:
            handle.mark_masked()
        writes = private
    if case.squared:
        writes = [square(builder, handle) for handle in writes]
    return Played(instruction, writes, traffic)


def square(builder: Any, handle: Handle) -> Handle:
    builder.mask([handle], "square")
    out = Handle(builder, Wire(builder.new_id(), handle.wire.shape))
    builder.emit(Product(out.wire.id, handle.wire.id, handle.wire.id, False, handle.wire.shape))
    return out


def ring(values: Any) -> Ring:
    """Signed integers as ring elements."""
    return np.asarray(values, np.int64).view(np.uint64)


def spread(shape: tuple[int, ...], least: int, most: int, seed: int = 1) -> Ring:
    """Random ring elements of [least, most], beginning with the ends, 0 and ±1."""
    generator = np.random.default_rng(seed)
    values = generator.integers(least, most, size=shape, dtype=np.int64, endpoint=True)
    special = [v for v in (most, least, 0, -1, 1, most - 1, least + 1) if least <= v <= most]
    flat = values.reshape(-1)
    flat[: len(special)] = special[: flat.size]
    return ring(values)


def mask_wires() -> list[Case]:
    def case(name: str, *shapes: tuple[int, ...]) -> Case:
        return Case(
            MaskWires,
            name,
            lambda reads, _: MaskWires(tuple(reads), shapes),
            (),
            tuple(spread(shape, LEAST, MOST, seed) for seed, shape in enumerate(shapes)),
            squared=True,
        )

    return [
        case("scalar", ()),
        case("empty", (0, 3)),
        case("one", (1,)),
        case("several", (513,), (2, 3, 5), (1,), ()),
    ]


def products() -> list[Case]:
    def case(name: str, x: tuple[int, ...], w: tuple[int, ...], *, matrix: bool = False) -> Case:
        values = spread(x, LEAST, MOST, 1), spread(w, LEAST, MOST, 2)
        shape = (values[0] @ values[1] if matrix else values[0] * values[1]).shape
        return Case(
            Product,
            name,
            lambda reads, writes: Product(*writes, *reads, matrix, shape),
            (shape,),
            values,
            masked=True,
        )

    return [
        case("scalars", (), ()),
        case("empty", (0,), (0,)),
        case("one", (1,), (1,)),
        case("odd", (513,), (513,)),
        case("outer", (3, 1), (1, 4)),
        case("broadcast", (2, 3, 4), (4,)),
        case("by-scalar", (5,), ()),
        case("matrix", (3, 17), (17, 5), matrix=True),
        case("matrix-one", (1, 1), (1, 1), matrix=True),
        case("matrix-batched", (2, 3, 4), (2, 4, 5), matrix=True),
        case("matrix-batch-broadcast", (2, 1, 3, 4), (5, 4, 2), matrix=True),
        case("matrix-one-weight", (6, 3, 4), (4, 2), matrix=True),
        case("matrix-no-rows", (0, 4), (4, 5), matrix=True),
        case("matrix-no-inner", (3, 0), (0, 5), matrix=True),
        case("matrix-odd", (13, 65), (65, 33), matrix=True),
        Case(
            Product,
            "by-itself",
            lambda reads, writes: Product(*writes, *reads, *reads, False, (70,)),
            ((70,),),
            (spread((70,), LEAST, MOST),),
            masked=True,
        ),
    ]


@dataclass(frozen=True)
class Window:
    """How a convolution goes over its input."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def result(self, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[int, int, int, int]:
        sizes = zip(x[2:], w[2:], self.stride, self.padding, self.dilation, strict=True)
        height, width = (
            (size + 2 * pad - gap * (taps - 1) - 1) // step + 1
            for size, taps, step, pad, gap in sizes
        )
        return x[0], w[0], height, width

    @property
    def fields(self) -> tuple[Any, ...]:
        return self.stride, self.padding, self.dilation, self.groups


Shape = tuple[int, ...]
CONVOLUTIONS: dict[str, tuple[Shape, Shape, Window]] = {
    "one": ((1, 1, 1, 1), (1, 1, 1, 1), Window()),
    "square": ((2, 3, 7, 7), (4, 3, 3, 3), Window()),
    "padded": ((2, 3, 5, 6), (4, 3, 3, 3), Window(padding=(1, 1))),
    "strided": ((1, 2, 9, 7), (3, 2, 3, 2), Window(stride=(2, 3), padding=(1, 0))),
    "dilated": ((1, 2, 9, 9), (2, 2, 3, 3), Window(padding=(2, 1), dilation=(2, 3))),
    "grouped": ((2, 4, 5, 5), (6, 2, 3, 3), Window(padding=(1, 1), groups=2)),
    "depthwise": ((2, 5, 6, 6), (5, 1, 3, 3), Window(stride=(2, 2), padding=(1, 1), groups=5)),
    "multiplied": ((1, 3, 4, 4), (6, 1, 2, 2), Window(groups=3)),
    "pointwise": ((3, 5, 4, 3), (7, 5, 1, 1), Window()),
    "row": ((2, 3, 1, 17), (4, 3, 1, 5), Window(padding=(0, 2), stride=(1, 2))),
    "more-padding-than-image": ((1, 1, 2, 2), (1, 1, 5, 5), Window(padding=(3, 3))),
    "no-images": ((0, 3, 5, 5), (4, 3, 3, 3), Window()),
    "no-channels": ((2, 0, 3, 3), (4, 0, 3, 3), Window()),
}


def convolutions() -> list[Case]:
    def case(name: str, x: Shape, w: Shape, window: Window) -> Case:
        shape = window.result(x, w)
        return Case(
            Convolution,
            name,
            lambda reads, writes: Convolution(*writes, *reads, *window.fields, shape),
            (shape,),
            (spread(x, LEAST, MOST, 1), spread(w, LEAST, MOST, 2)),
            masked=True,
        )

    return [case(name, *each) for name, each in CONVOLUTIONS.items()]


def public_convolutions() -> list[Case]:
    def case(name: str, x: Shape, w: Shape, window: Window, *, first: bool) -> Case:
        shape = window.result(x, w)
        values, weights = spread(x, LEAST, MOST, 1), spread(w, LEAST, MOST, 2)
        private, public = (weights, values) if first else (values, weights)
        return Case(
            PublicConvolution,
            f"{name}{'-public-first' if first else ''}",
            lambda reads, writes: PublicConvolution(*writes, *reads, first, *window.fields, shape),
            (shape,),
            (private,),
            (public,),
        )

    return [
        case(name, *each, first=first)
        for name, each in CONVOLUTIONS.items()
        for first in (False, True)
    ]


def truncations() -> list[Case]:
    def case(
        name: str, divisor: int, bits: int, shape: tuple[int, ...], *, exact: bool = False
    ) -> Case:
        most = (1 << (bits - 1)) - 1
        x = spread(shape, -most, most)
        if exact:
            # Multiples of the divisor are truncated without the unit's error.
            x = ring(x.view(np.int64) // divisor * divisor)
            x = np.where(x.view(np.int64) < -most, ring(0), x)
        return Case(
            Truncate,
            name,
            lambda reads, writes: Truncate(*writes, *reads, divisor, bits, shape),
            (shape,),
            (x,),
            masked=True,
            units=0 if exact else 1,
        )

    return [
        case("scalar", 1000, 40, ()),
        case("empty", 1000, 62, (0,)),
        case("one", 4096, 62, (1,)),
        case("by-1", 1, 62, (513,), exact=True),
        case("by-2", 2, 62, (513,)),
        case("by-3", 3, 62, (3, 171)),
        case("by-1000", 1000, 62, (513,)),
        case("by-4096", 1 << 12, 62, (513,)),
        case("narrow", 1 << 12, 33, (70,)),
        case("narrow-by-3", 3, 20, (70,)),
        case("narrowest", 7, 2, (7,)),
        case("divisor-above-bound", 1000, 5, (70,)),
        case("huge-divisor", (1 << 60) + 1, 62, (70,)),
        case("multiples-of-1000", 1000, 62, (513,), exact=True),
        case("multiples-of-4096", 1 << 12, 62, (513,), exact=True),
    ]


def wave_sums() -> list[Case]:
    def case(name: str, shape: tuple[int, ...], turn: int, pairs: waves.Pairs) -> Case:
        # In the clear, and of the parties, the sum is off by no more than the error.
        either = ceil(2 * waves.error(pairs) * 2**waves.WAVE_BITS)
        return Case(
            Waves,
            name,
            lambda reads, writes: Waves(*writes, *reads, turn, tuple(pairs), shape),
            (shape,),
            (spread(shape, LEAST, MOST),),
            masked=True,
            either=either,
        )

    most = waves.LARGEST_WAVE
    seven = tuple(((-1) ** j * (1 << (20 - j)), 77_777 * j) for j in range(7))
    return [
        case("scalar", (), 1 << 40, seven),
        case("empty", (0, 3), 1 << 40, seven),
        case("one", (1,), 1, ((1, 0),)),
        case("shape", (2, 3, 5), 3 << 50, seven),
        case("seven", (513,), (1 << 64) - 1, seven),
        case("nothing", (65,), 1 << 33, ((0, 0),)),
        case("largest", (65,), 12345678901234567, ((most, -most), (-most, most))),
        case("most", (70,), 1 << 44, ((3 << 10, -5),) * waves.MOST_WAVES),
        case("in-pieces", (20_000,), 1 << 42, seven),
    ]


def exponentials() -> list[Case]:
    def case(name: str, shape: tuple[int, ...], low: int, high: int, scale: int, bits: int) -> Case:
        plan = exponential.plan(low, high, scale, bits)
        fields = plan.low, scale, plan.segment_bits, plan.index_bits, plan.a, plan.b, shape
        absolute, relative = exponential.error(plan.segment_bits, scale, plan.a, plan.b)
        off = (absolute + relative * exp(high / scale)) * plan.unit
        return Case(
            Exponential,
            name,
            lambda reads, writes: Exponential(*writes, *reads, *fields),
            (shape,),
            (spread(shape, low, high),),
            masked=True,
            either=ceil(2 * off),  # once in the clear, once of the parties
        )

    one = 1 << 16
    return [
        case("scalar", (), -12 * one, 0, one, 16),
        case("empty", (0, 3), -12 * one, 0, one, 16),
        case("one", (1,), -12 * one, 0, one, 16),
        case("shape", (2, 3, 5), -12 * one, 0, one, 16),
        case("below", (513,), -12 * one, 0, one, 16),
        case("around", (513,), -9 * one, 9 * one, one, 12),
        case("above", (513,), 0, 16 * one, one, 10),
        case("one-number", (7,), 5 * one, 5 * one, one, 20),
        case("decimal", (65,), -12_000, 3_000, 1000, 14),
        case("unscaled", (65,), -9, 9, 1, 12),
        case("large-scale", (65,), -12 << 40, 3 << 40, 1 << 40, 14),
        case("finest", (65,), -one, one, one, 26),
        case("in-pieces", (150_000,), -12 * one, 0, one, 16),
    ]


def plan_cases(bits: int, n: int, *, order: bool) -> list[tuple[str, tables.Plan]]:
    """Plans that the planner makes, and both of its ways whatever it would choose."""
    plans = [("planned", tables.plan(bits, n, order=order)), ("two-level", tables.two_level(bits))]
    return [*plans, ("one-level", tables.one_level(bits))]


def comparisons() -> list[Case]:
    def case(name: str, shape: tuple[int, ...], width: sign.Width, x: Ring | None = None) -> Case:
        most = (1 << (width.bits - 1)) - 1
        least = LEAST if width.bits == 64 else -most
        # What is left out of the comparison has to be zero for the bit to be the sign of x.
        values = spread(shape, least, most) if x is None else x
        values = values >> np.uint64(width.drop) << np.uint64(width.drop)
        return Case(
            NonNegative,
            name,
            lambda reads, writes: NonNegative(*writes, *reads, shape, width),
            (shape,),
            (values,),
            masked=True,
        )

    every = [
        case(f"{bits}-bits-{name}", (513,), sign.Width(bits, 0, plan))
        for bits in (64, 62, 33, 10, 3)
        for name, plan in plan_cases(bits - 1, 513, order=True)
    ]
    custom = tables.Plan(chunks=(1, 2, 3, 1), levels=((3, 1), (1, 1), (2,)))
    return [
        *every,
        case("scalar", (), sign.width(64, 1)),
        case("empty", (0, 2), sign.width(64, 0)),
        case("one", (1,), sign.width(64, 1)),
        case("narrowest", (7,), sign.width(2, 7)),
        case("shape", (2, 3, 5), sign.width(64, 30)),
        case("drop-12", (513,), sign.width(33, 513, drop=12)),
        case("drop-all-but-one", (70,), sign.width(20, 70, drop=18)),
        case("three-levels", (70,), sign.Width(8, 0, custom)),
        case("around-zero", (7,), sign.width(64, 7), ring([-3, -2, -1, 0, 1, 2, 3])),
        case("all-negative", (65,), sign.width(62, 65), ring(-np.arange(1, 66))),
        case("many", (20_000,), sign.width(33, 20_000)),
    ]


def staircases() -> list[Case]:
    def case(
        name: str,
        shape: tuple[int, ...],
        thresholds: tuple[int, ...],
        least: int,
        most: int,
        *,
        columns: int = 2,
        width: sign.Width | None = None,
    ) -> Case:
        n = int(np.prod(shape))
        width = width or staircase_width(least, most, thresholds, n)
        values = spread(shape, least, most).view(np.int64)
        near = [t + d for t in thresholds for d in (-1, 0, 1) if least <= t + d <= most]
        values.reshape(-1)[: len(near)] = near[: values.size]
        # What is left out of the comparison has to be zero for the bit to be exact.
        values = ring(values >> width.drop << width.drop)
        count = len(thresholds)
        numbers = spread((columns, count + 1), LEAST, MOST, seed=count).view(np.int64).tolist()
        base, steps = tuple(row[0] for row in numbers), tuple(tuple(row[1:]) for row in numbers)
        return Case(
            Staircase,
            name,
            lambda reads, writes: Staircase(*writes, *reads, thresholds, base, steps, shape, width),
            ((columns, *shape),),
            (values,),
            masked=True,
        )

    octaves = tuple(4**i for i in range(4, 16))
    most = (1 << 32) - 1
    custom = tables.Plan(chunks=(1, 2, 3, 1), levels=((3, 1), (1, 1), (2,)))
    return [
        case("scalar", (), (0,), -5, 5),
        case("empty", (0, 3), octaves, 0, most),
        case("one", (1,), octaves, 0, most),
        case("shape", (2, 3, 5), octaves, 0, most),
        case("octaves", (513,), octaves, 0, most, columns=3),
        case("octaves-dropped", (513,), octaves, 0, most,
             width=staircase_width(0, most, octaves, 513, drop=6)),
        case("one-level", (70,), octaves, 0, most, width=sign.Width(33, 0, tables.one_level(32))),
        case("two-level", (70,), octaves, 0, most, width=sign.Width(33, 0, tables.two_level(32))),
        case("negative", (70,), (-1000, -999, -7, 3), -2000, 1000),
        case("neighbours", (65,), (-1, 0, 1, 2), -4, 4),
        case("one-column", (65,), (-1, 0, 1, 2), -4, 4, columns=1),
        case("many-columns", (65,), (-1, 0, 1, 2), -4, 4, columns=9),
        case("three-levels", (70,), (-3, 5, 17), -60, 60, width=sign.Width(8, 0, custom)),
        case("whole-ring", (70,), (-5, 0, 1 << 40), LEAST // 2, MOST // 2,
             width=sign.width(64, 70)),
        case("outside", (70,), (-(1 << 20), 1 << 20), -5, 5),
        case("most", (65,), tuple(range(-32, 32)), -40, 40),
        case("many", (20_000,), octaves, 0, most, columns=1),
    ]  # fmt: skip


def ramps() -> list[Case]:
    def case(
        name: str, shape: tuple[int, ...], thresholds: tuple[int, ...], least: int, most: int
    ) -> Case:
        n = int(np.prod(shape))
        values = spread(shape, least, most).view(np.int64)
        near = [t + d for t in thresholds for d in (-1, 0, 1) if least <= t + d <= most]
        values.reshape(-1)[: len(near)] = near[: values.size]
        width = staircase_width(least, most, thresholds, n)
        return Case(
            Ramps,
            name,
            lambda reads, writes: Ramps(*writes, *reads, thresholds, shape, width),
            ((len(thresholds), *shape),),
            (ring(values),),
            masked=True,
        )

    wide = 1 << 62
    return [
        case("scalar", (), (0,), -5, 5),
        case("empty", (0, 3), (-1, 1), -5, 5),
        case("one", (1,), (-1, 1), -5, 5),
        case("shape", (2, 3, 5), (-(8 << 16), 8 << 16), -(1 << 31), (1 << 31) - 1),
        case("many", (20_000,), (-(8 << 16), 8 << 16), -(1 << 31), (1 << 31) - 1),
        case("whole-ring", (70,), (-(8 << 16), 0, 8 << 16), -wide, wide - 1),
        case("neighbours", (65,), (-1, 0, 1, 2), -4, 4),
        case("outside", (70,), (-(1 << 20), 1 << 20), -5, 5),
    ]


def one_hots() -> list[Case]:
    def case(
        name: str,
        shape: tuple[int, ...],
        classes: int,
        *,
        bits: int | None = None,
        hot: bool = True,
        values: int = 0,
        x: Ring | None = None,
    ) -> Case:
        many = one_hot.bits_of(classes) if bits is None else bits

        def build(reads: Ids, writes: Ids) -> OneHot:
            wanted, placed = (writes[0], writes[1:]) if hot else (None, writes)
            return OneHot(wanted, tuple(placed), reads[0], tuple(reads[1:]), many, classes, shape)

        return Case(
            OneHot,
            name,
            build,
            ((classes, *shape),) * (hot + values),
            (
                spread(shape, 0, classes - 1) if x is None else x,
                *(spread(shape, LEAST, MOST, seed) for seed in range(values)),
            ),
            masked=True,
        )

    return [
        case("scalar", (), 3),
        case("empty", (0, 3), 5, values=1),
        case("one", (1,), 1),
        case("two", (513,), 2),
        case("shape", (2, 3, 5), 10),
        case("power-of-two", (513,), 16),
        case("value", (513,), 10, values=1, hot=False),
        case("several-values", (2, 65), 10, values=3),
        case("more-bits", (70,), 10, bits=9, values=1),
        case("outside", (7,), 10, x=ring([-1, -6, -7, 10, 15, 16, 25])),
        case("whole-ring", (70,), 16, x=spread((70,), LEAST, MOST)),
        case("large", (3,), 40_000),
        case("in-pieces", (20_000,), 17, values=1),
    ]


def rankings() -> list[Case]:
    def case(
        name: str,
        n: int,
        m: int,
        *,
        reach: int = (1 << 62) - 1,
        bits: int = 64,
        x: Ring | None = None,
    ) -> Case:
        return Case(
            Ranks,
            name,
            lambda reads, writes: ranks.ranks(*writes, *reads, (n, m), bits),
            ((n, m),),
            (spread((n, m), -reach, reach, seed=n) if x is None else x,),
            masked=True,
        )

    return [
        *(case(f"{n}x{m}", n, m) for n, m in [(2, 1), (2, 513), (3, 70), (10, 128), (41, 3)]),
        *(case(f"{n}-ties", n, 65, reach=2) for n in (2, 3, 13)),
        case("all-equal", 13, 3, x=ring(np.full((13, 3), -7))),
        case("ascending", 13, 1, x=ring(np.arange(13)[:, None])),
        case("descending", 13, 1, x=ring(np.arange(13, 0, -1)[:, None])),
        case("narrow", 10, 65, reach=(1 << 31) - 1, bits=33),
        case("narrow-many", 50, 7, reach=3, bits=4),
        case("no-column", 3, 0),
    ]


def zeros() -> list[Case]:
    def case(name: str, shape: tuple[int, ...], plan: tables.Plan, x: Ring | None = None) -> Case:
        most = (1 << (plan.bits - 1)) - 1
        if x is None:
            x = np.where(
                np.random.default_rng(3).random(shape) < 0.5,
                ring(0),
                spread(shape, LEAST if plan.bits == 64 else -most, most),
            )
        return Case(
            Zero,
            name,
            lambda reads, writes: Zero(*writes, *reads, shape, plan),
            (shape,),
            (x,),
            masked=True,
        )

    every = [
        case(f"{bits}-bits-{name}", (513,), plan)
        for bits in (64, 62, 33, 4, 2)
        for name, plan in plan_cases(bits, 513, order=False)
    ]
    bits_alone = ring([0] + [1 << i for i in range(63)] + [LEAST])
    return [
        *every,
        case("scalar", (), tables.plan(64, 1, order=False)),
        case("empty", (0,), tables.plan(64, 0, order=False)),
        case("one", (1,), tables.plan(64, 1, order=False)),
        case("every-bit", (65,), tables.one_level(64), bits_alone),
        case("every-bit-two-level", (65,), tables.two_level(64), bits_alone),
    ]


def relus() -> list[Case]:
    def case(
        name: str,
        shape: tuple[int, ...],
        divisor: int,
        bound: int | None,
        *,
        width: sign.Width | None = None,
    ) -> Case:
        n = int(np.prod(shape))
        width = width or relu_width(bound, n, divisor)
        if bound is not None:
            most = bound
        elif divisor == 1:
            most = MOST
        else:
            most = (1 << (width.bits - 1)) - 1 - divisor
        return Case(
            ReLU,
            name,
            lambda reads, writes: ReLU(*writes, *reads, divisor, shape, width),
            (shape,),
            (spread(shape, -most, most),),
            masked=True,
            units=0 if divisor == 1 else 1,
        )

    around = spread((2049,), -1024, 1024)
    # Without truncation, a width may drop bits: then the sign of -2^12 < x < 0 is not settled.
    wide = spread((513,), -(1 << 30), 1 << 30).view(np.int64)
    settled = np.where((wide < 0) & (wide > -(1 << 12)), -(1 << 12), wide).view(np.uint64)
    coarse = relu_width(1 << 30, 513, 1 << 12)
    return [
        *(
            Case(
                ReLU,
                f"bit-by-{divisor}",
                lambda reads, writes, divisor=divisor: ReLU(
                    writes[0], *reads, divisor, (513,), relu_width(1 << 30, 513, divisor), writes[1]
                ),
                ((513,), (513,)),
                # Multiples of the divisor, which truncation takes down exactly.
                (np.multiply(spread((513,), -1024, 1024), np.uint64(divisor)),),
                masked=True,
            )
            for divisor in (1, 1000, 4096)
        ),
        Case(
            ReLU,
            "coarse",
            lambda reads, writes: ReLU(*writes, *reads, 1, (513,), coarse),
            ((513,),),
            (settled,),
            masked=True,
        ),
        case("scalar", (), 1000, None),
        case("empty", (0,), 4096, None),
        case("one", (1,), 4096, None),
        *(
            case(f"by-{divisor}-bound-{bound}", (513,), divisor, bound)
            for divisor in (1, 3, 1000, 4096)
            for bound in (None, (1 << 32) - 1, 1000, 0)
        ),
        case("shape", (2, 3, 5), 1000, 1 << 40),
        case("two-level", (70,), 1 << 12, None, width=sign.Width(62, 12, tables.two_level(49))),
        case("two-level-by-1", (70,), 1, None, width=sign.Width(64, 0, tables.two_level(63))),
        Case(
            ReLU,
            "around-zero",
            lambda reads, writes: ReLU(
                *writes, *reads, 1024, (2049,), relu_width(1024, 2049, 1024)
            ),
            ((2049,),),
            (np.sort(around.view(np.int64)).view(np.uint64),),
            masked=True,
            units=1,
        ),
    ]


def extrema() -> list[Case]:
    def case(
        name: str,
        m: int,
        n: int,
        *,
        value: bool = True,
        index: bool = True,
        reach: int = (1 << 62) - 1,
        bits: int = 64,
        x: Ring | None = None,
    ) -> Case:
        levels = tournament(m, n, bits)

        def build(reads: Ids, writes: Ids) -> Extremum:
            named = iter(writes)
            return Extremum(
                next(named) if value else None,
                next(named) if index else None,
                *reads,
                (m, n),
                levels,
            )

        x = spread((m, n), -reach, reach, seed=m) if x is None else x
        return Case(Extremum, name, build, ((n,),) * (value + index), (x,), masked=True)

    sizes = [(1, 3), (2, 5), (3, 70), (10, 128), (11, 7), (13, 7), (41, 3), (50, 9), (2, 513)]
    asked = [("both", True, True), ("value", True, False), ("index", False, True)]
    return [
        *(
            case(f"{m}x{n}-{name}", m, n, value=value, index=index)
            for m, n in sizes
            for name, value, index in asked
        ),
        *(case(f"{m}-ties", m, 65, reach=2) for m in (2, 3, 10, 13, 50)),
        *(case(f"{m}-all-equal", m, 3, x=ring(np.full((m, 3), -7))) for m in (2, 3, 13)),
        case("first-wins", 13, 1, x=ring(np.arange(13, 0, -1)[:, None])),
        case("last-wins", 13, 1, x=ring(np.arange(13)[:, None])),
        case("narrow", 10, 65, reach=(1 << 31) - 1, bits=33),
        case("narrow-many", 50, 7, reach=3, bits=4),
        case("one-column", 10, 1),
        case("no-column", 3, 0),
        case("no-column-many", 13, 0),
        *(case(f"{m}-in-pairs", m, 2_000, index=False) for m in (4, 9)),
    ]


def bounds() -> list[Case]:
    def case(
        name: str, bound: int, x: Ring, *, fails: bool = False, plan: tables.Plan | None = None
    ) -> Case:
        width = sign.width(64, 2 * x.size) if plan is None else sign.Width(64, 0, plan)
        return Case(
            WithinBound,
            name,
            lambda reads, writes: WithinBound(*writes, *reads, bound, "test", x.shape, width),
            (x.shape,),
            (x,),
            masked=True,
            view=True,
            fails=fails,
            squared=True,
        )

    def one_outside(n: int, outside: int) -> Ring:
        x = spread((n,), -5, 5)
        x[n // 2 :][:1] = ring([outside])
        return x

    inside = spread((513,), -(1 << 41), 1 << 41)
    return [
        case("scalar", 7, ring(-7)),
        case("empty", 7, ring(np.zeros((0,)))),
        case("one", 0, ring([0])),
        case("ends", 3, ring([-3, 3, 0])),
        case("seven", 100, spread((7,), -100, 100)),
        case("nine-levels-of-and", 1 << 41, inside),
        case("two-level", 1 << 41, inside, plan=tables.two_level(63)),
        case("widest", (1 << 62) - 1, spread((3, 5), 1 - (1 << 62), (1 << 62) - 1)),
        *(
            case(f"{n}-holds-{outside}", 5, one_outside(n, outside), fails=True)
            for n in (1, 2, 7, 70, 513)
            for outside in (6, -6)
        ),
        case("highest", 5, one_outside(9, MOST), fails=True),
        case("lowest", 5, one_outside(9, LEAST), fails=True),
        case("last-of-many", 5, ring([0] * 512 + [6]), fails=True),
    ]


def combinations() -> list[Case]:
    def case(
        name: str, coefficients: tuple[int, ...], *shapes: tuple[int, ...], public: int = 0
    ) -> Case:
        values = [spread(shape, LEAST, MOST, i) for i, shape in enumerate(shapes)]
        shape = np.broadcast_shapes(*shapes)
        private = len(values) - public
        return Case(
            Combine,
            name,
            lambda reads, writes: Combine(
                *writes, tuple(zip(reads, coefficients, strict=True)), shape
            ),
            (shape,),
            tuple(values[:private]),
            tuple(values[private:]),
        )

    return [
        case("sum", (1, 1), (513,), (513,)),
        case("difference", (1, -1), (3, 1), (4,)),
        case("negated", (-1,), (7,)),
        case("copied", (1,), ()),
        case("scaled", (-3, 1000, 1), (7,), (), (2, 7)),
        case("ends-of-the-ring", (MOST, LEAST, (1 << 64) - 1), (5,), (5,), (5,)),
        case("zero", (0, 0), (5,), (1,)),
        case("empty", (1, 1), (0,), (1,)),
        case("with-public", (1, -2), (2, 3), (3,), public=1),
        case("public-first-term", (2, 1), (3,), (2, 3), public=2),
    ]


def concatenations() -> list[Case]:
    def case(name: str, dim: int, *shapes: tuple[int, ...]) -> Case:
        values = tuple(spread(shape, LEAST, MOST, i) for i, shape in enumerate(shapes))
        return Case(
            Concatenate,
            name,
            lambda reads, writes: Concatenate(*writes, tuple(reads), dim),
            (np.concatenate(values, axis=dim).shape,),
            values,
        )

    return [
        case("rows", 0, (2, 3), (1, 3), (4, 3)),
        case("columns", 1, (2, 3), (2, 1)),
        case("one", 0, (5,)),
        case("with-empty", 0, (0, 2), (3, 2)),
    ]


def sums() -> list[Case]:
    def case(name: str, x: tuple[int, ...], dims: tuple[int, ...], shape: tuple[int, ...]) -> Case:
        return Case(
            Sum,
            name,
            lambda reads, writes: Sum(*writes, *reads, dims, shape),
            (shape,),
            (spread(x, LEAST, MOST),),
        )

    return [
        case("all", (3, 171), (0, 1), ()),
        case("rows", (3, 5, 7), (0,), (5, 7)),
        case("kept", (3, 5, 7), (1, 2), (3, 1, 1)),
        case("none", (3, 5), (), (3, 5)),
        case("of-nothing", (0, 5), (0,), (5,)),
        case("scalar", (), (), ()),
    ]


def public_products() -> list[Case]:
    def case(
        name: str,
        x: tuple[int, ...],
        public: tuple[int, ...],
        *,
        matrix: bool = False,
        first: bool = False,
    ) -> Case:
        values, constant = spread(x, LEAST, MOST, 1), spread(public, LEAST, MOST, 2)
        if matrix:
            shape = (constant @ values if first else values @ constant).shape
        else:
            shape = (values * constant).shape
        return Case(
            PublicProduct,
            name,
            lambda reads, writes: PublicProduct(*writes, *reads, matrix, first, shape),
            (shape,),
            (values,),
            (constant,),
        )

    return [
        case("scalars", (), ()),
        case("empty", (0, 3), (3,)),
        case("odd", (513,), (513,)),
        case("outer", (3, 1), (4,)),
        case("matrix", (3, 17), (17, 5), matrix=True),
        case("matrix-public-first", (17, 5), (3, 17), matrix=True, first=True),
        case("matrix-batched", (2, 3, 4), (4, 5), matrix=True),
        case("matrix-empty", (0, 4), (4, 5), matrix=True),
    ]


def views() -> list[Case]:
    def case(
        kind: type[Instruction],
        name: str,
        x: tuple[int, ...],
        shape: tuple[int, ...],
        *fields: Any,
        masked: bool = True,
    ) -> Case:
        return Case(
            kind,
            name + ("" if masked else "-unmasked"),
            lambda reads, writes: kind(*writes, *reads, *fields),
            (shape,),
            (spread(x, LEAST, MOST),),
            masked=masked,
            view=True,
            squared=True,
        )

    def gather(name: str, x: tuple[int, ...], indices: Any) -> Case:
        order = np.asarray(indices, "<i8")
        return case(Gather, name, x, order.shape, order.shape, order.tobytes())

    return [
        case(Reshape, "flat", (2, 3), (6,), (6,)),
        case(Reshape, "unmasked", (2, 3), (3, 1, 2), (3, 1, 2), masked=False),
        case(Reshape, "scalar", (1, 1), (), ()),
        case(Reshape, "empty", (0, 3), (3, 0), (3, 0)),
        case(Permute, "transposed", (2, 3), (3, 2), (1, 0)),
        case(Permute, "cube", (2, 3, 5), (5, 2, 3), (2, 0, 1)),
        case(Permute, "unmasked", (2, 3, 5), (3, 5, 2), (1, 2, 0), masked=False),
        case(Expand, "rows", (1, 3), (4, 3), (4, 3)),
        case(Expand, "scalar", (), (2, 2), (2, 2)),
        case(Expand, "unmasked", (3,), (2, 3), (2, 3), masked=False),
        case(Slice, "middle", (5, 7), (5, 3), 1, 2, 5, 1),
        case(Slice, "stepped", (9,), (3,), 0, 1, 8, 3),
        case(Slice, "nothing", (9, 2), (0, 2), 0, 4, 4, 1),
        case(Slice, "unmasked", (9,), (4,), 0, 5, 9, 1, masked=False),
        gather("flipped", (7,), np.arange(7)[::-1]),
        gather("repeated", (2, 3), [[0, 0, 5], [5, 1, 1], [2, 2, 2]]),
        gather("nothing", (4,), np.zeros((0, 2))),
        case(Take, "windows", (2, 5), (2, 6), 1, (0, 1, 2, 2, 3, 4)),
        case(Take, "flipped", (3, 2, 2), (3, 2, 2), 0, (2, 1, 0)),
        case(Take, "nothing", (3, 2), (3, 0), 1, ()),
        case(Take, "unmasked", (7,), (2,), 0, (6, 0), masked=False),
        case(Pad, "around", (2, 3), (4, 6), (1, 2), (1, 1), (0, 0)),
        case(Pad, "between", (2, 3), (3, 8), (0, 1), (0, 0), (1, 2)),
        case(Pad, "one-element", (1,), (3,), (0,), (2,), (5,)),
        case(Pad, "of-nothing", (0, 2), (0, 5), (0, 1), (0, 1), (3, 1)),
        case(Pad, "unmasked", (2, 3), (3, 6), (1, 0), (0, 1), (0, 1), masked=False),
    ]


def boundaries() -> list[Case]:
    shapes = {"scalar": (), "empty": (0, 2), "odd": (513,), "shape": (2, 3, 5)}
    cases = []
    for name, shape in shapes.items():
        x = spread(shape, LEAST, MOST)

        def enter(builder: Any, _: list[Handle], x: Ring = x) -> list[Handle]:
            return [builder.input(x, x.shape, 1, None)]

        def state(builder: Any, _: list[Handle], x: Ring = x) -> list[Handle]:
            return [builder.constant(x, 1, None)]

        def reveal(builder: Any, handles: list[Handle]) -> list[Handle]:
            builder.reveal(handles[0])
            return handles

        def forget(builder: Any, handles: list[Handle]) -> list[Handle]:
            builder.emit(Forget())
            return handles

        cases += [
            Case(Input, name, lambda *_, s=shape: Input(0, s), (), act=enter),
            Case(Constant, name, lambda *_, s=shape: Constant(0, s), (), act=state),
            Case(Reveal, name, lambda reads, _: Reveal(*reads), (), (x,), act=reveal),
            Case(Forget, name, lambda *_: Forget(), (), (x,), act=forget),
        ]
    return cases


CASES: tuple[Case, ...] = (
    *mask_wires(),
    *products(),
    *convolutions(),
    *truncations(),
    *wave_sums(),
    *exponentials(),
    *comparisons(),
    *zeros(),
    *staircases(),
    *ramps(),
    *one_hots(),
    *rankings(),
    *relus(),
    *extrema(),
    *bounds(),
    *combinations(),
    *concatenations(),
    *sums(),
    *public_products(),
    *public_convolutions(),
    *views(),
    *boundaries(),
)


def by_other_ways() -> list[Case]:
    """Every case that compares, by the ways that it was not planned for."""
    found = []
    for case in CASES:
        reads = list(range(len(case.private) + len(case.public)))
        writes = list(range(10, 10 + len(case.shapes)))
        planned = None if case.act else ways.way_of(case.build(reads, writes))
        for way in ways.WAYS if planned is not None else ():
            if way != planned:
                build = by_way(case, way)
                found.append(replace(case, name=f"{case.name}-{way}", build=build, protocol=way))
    return found


def by_way(case: Case, way: ways.Way) -> Callable[[Ids, Ids], Instruction]:
    return lambda reads, writes: ways.compared_by(case.build(reads, writes), way)


BY_OTHER_WAYS = tuple(by_other_ways())
