"""The shapes that instructions write, from the shapes that they read: one rule for each.

A rule refuses whatever a role could not carry out: fields that contradict one another or the
shapes, indices out of range, plans that do not add up. It sees shapes and public fields alone, and
makes no array of a wire's size. An instruction without a rule cannot stand in a program.
"""

from __future__ import annotations

from functools import singledispatch
from itertools import pairwise
from math import prod
from reprlib import repr as brief

import numpy as np

from tacita.errors import ProgramError
from tacita.program.instruction import Instruction
from tacita.program.wire import RING_BITS, TRUNCATION_BITS
from tacita.protocols import (
    Combine,
    Concatenate,
    Convolution,
    Expand,
    Exponential,
    Extremum,
    Gather,
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
    Slice,
    Staircase,
    Sum,
    Take,
    Truncate,
    Waves,
    WithinBound,
    Zero,
    exponential,
    sign,
    tables,
)
from tacita.protocols.bracket import Bracket
from tacita.protocols.one_hot import MOST_BITS
from tacita.protocols.waves import LARGEST_WAVE, MOST_WAVES
from tacita.ring import kernels
from tacita.ring.randomness import BRANCHES

Shape = tuple[int, ...]

LARGEST_WIRE = 1 << 31  # elements: 16 GiB of shares
# Divisors are smaller: this one leaves nothing of any value that truncation accepts.
EVERYTHING = 1 << (TRUNCATION_BITS - 1)
MOST_CHUNKS = 64  # of a plan
LARGEST_STEP = (1 << 31) - 1  # of a convolution's stride, padding and dilation
MOST_THRESHOLDS = 64  # of a staircase: one for each bit of the ring
MOST_COLUMNS = 64  # functions of a staircase
LARGEST_COEFFICIENT = 1 << (RING_BITS - 1)


@singledispatch
def written(instruction: Instruction, *read: Shape) -> tuple[Shape, ...]:  # noqa: ARG001
    """The shapes of the wires that an instruction writes, in the order of `writes`.

    read: the shapes of what it reads, in the order of `reads`. Raises ProgramError where it could
    not be carried out. Cost: that of the instruction's own fields.
    """
    raise ProgramError(f"a {type(instruction).__name__} cannot stand in a program")


# ---- linear ------------------------------------------------------------------------------------


@written.register
def combined(instruction: Combine, *read: Shape) -> tuple[Shape, ...]:
    _need(bool(read), "it has no terms")
    for _, coefficient in instruction.terms:
        _need(
            -LARGEST_COEFFICIENT <= coefficient < LARGEST_COEFFICIENT,
            f"the coefficient {brief(coefficient)} does not fit in 64 bits",
        )
    shape: Shape = ()
    for each in dict.fromkeys(read):
        shape = _broadcast(shape, each)
    _need(
        _broadcast(shape, instruction.shape) == instruction.shape,
        f"its terms have the shape {shape}, not {brief(instruction.shape)}",
    )
    return (instruction.shape,)


@written.register
def concatenated(instruction: Concatenate, *read: Shape) -> tuple[Shape, ...]:
    _need(bool(read), "it joins nothing")
    first, dim = read[0], instruction.dim
    _need_dim(dim, first)
    for each in dict.fromkeys(read):
        _need(
            len(each) == len(first)
            and each[:dim] == first[:dim]
            and each[dim + 1 :] == first[dim + 1 :],
            f"shapes {first} and {each} do not fit in dimension {dim}",
        )
    return ((*first[:dim], sum(each[dim] for each in read), *first[dim + 1 :]),)


@written.register
def summed(instruction: Sum, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    dims = instruction.dims
    _need(len(set(dims)) == len(dims), f"a dimension stands twice in {brief(dims)}")
    for dim in dims:
        _need_dim(dim, x)
    kept = tuple(1 if i in dims else size for i, size in enumerate(x))
    left = tuple(size for i, size in enumerate(x) if i not in dims)
    _need(
        instruction.shape in (kept, left),
        f"the sum of {x} over {dims} has the shape {left} or {kept}, not "
        f"{brief(instruction.shape)}",
    )
    return (instruction.shape,)


@written.register
def public_multiplied(instruction: PublicProduct, *read: Shape) -> tuple[Shape, ...]:
    first, second = reversed(read) if instruction.public_first else read
    return (_multiplied(first, second, instruction.shape, matrix=instruction.matrix),)


@written.register
def publicly_convolved(instruction: PublicConvolution, *read: Shape) -> tuple[Shape, ...]:
    first, second = reversed(read) if instruction.public_first else read
    return (_convolved(instruction, first, second),)


# ---- views -------------------------------------------------------------------------------------


@written.register
def reshaped(instruction: Reshape, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    shape = instruction.shape
    _need(
        all(size >= 0 for size in shape) and prod(shape) == prod(x),
        f"the shape {brief(shape)} does not hold the {prod(x)} elements of {x}",
    )
    return (shape,)


@written.register
def permuted(instruction: Permute, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    dims = instruction.dims
    _need(
        len(dims) == len(x) and sorted(dims) == list(range(len(x))),
        f"{brief(dims)} is no order of the dimensions of {x}",
    )
    return (tuple(x[dim] for dim in dims),)


@written.register
def expanded(instruction: Expand, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    _need(
        _broadcast(x, instruction.shape) == instruction.shape,
        f"{x} does not broadcast to {brief(instruction.shape)}",
    )
    return (instruction.shape,)


@written.register
def sliced(instruction: Slice, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    dim = instruction.dim
    _need_dim(dim, x)
    start, stop, step = instruction.start, instruction.stop, instruction.step
    _need(
        0 <= start <= stop <= x[dim] and step >= 1,
        f"there is no slice from {brief(start)} to {brief(stop)} by {brief(step)} in dimension "
        f"{dim} of {x}",
    )
    return ((*x[:dim], len(range(start, stop, step)), *x[dim + 1 :]),)


@written.register
def gathered(instruction: Gather, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    shape, indices = instruction.shape, instruction.indices
    _need(
        all(size >= 0 for size in shape) and len(indices) == 8 * prod(shape),
        f"{len(indices)} bytes of indices are not 8 for each element of {brief(shape)}",
    )
    order = np.frombuffer(indices, "<i8")
    _need(
        not order.size or (int(order.min()) >= 0 and int(order.max()) < prod(x)),
        f"an index lies outside of the {prod(x)} elements of {x}",
    )
    return (shape,)


@written.register
def taken(instruction: Take, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    dim, indices = instruction.dim, instruction.indices
    _need_dim(dim, x)
    _need(
        not indices or (min(indices) >= 0 and max(indices) < x[dim]),
        f"an index lies outside of dimension {dim} of {x}",
    )
    return ((*x[:dim], len(indices), *x[dim + 1 :]),)


@written.register
def padded(instruction: Pad, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    sides = (instruction.low, instruction.high, instruction.interior)
    for each in sides:
        _need(
            len(each) == len(x) and min(each, default=0) >= 0,
            f"{brief(each)} is no padding of the dimensions of {x}",
        )
    return (
        tuple(
            low + size + max(size - 1, 0) * gap + high
            for size, low, high, gap in zip(x, *sides, strict=True)
        ),
    )


# ---- with a dealer's material ------------------------------------------------------------------


@written.register
def masked(instruction: MaskWires, *read: Shape) -> tuple[Shape, ...]:
    _need(bool(read), "it masks nothing")
    _need(
        instruction.shapes == read,
        f"the wires to be masked have the shapes {brief(read)}, not {brief(instruction.shapes)}",
    )
    for each in read:
        _need_elements(each)
    return ()


@written.register
def multiplied(instruction: Product, *read: Shape) -> tuple[Shape, ...]:
    x, w = read
    _need_elements(x)
    _need_elements(w)
    return (_multiplied(x, w, instruction.shape, matrix=instruction.matrix),)


@written.register
def convolved(instruction: Convolution, *read: Shape) -> tuple[Shape, ...]:
    return (_convolved(instruction, *read),)


@written.register
def truncated(instruction: Truncate, *read: Shape) -> tuple[Shape, ...]:
    _need_divisor(instruction.divisor)
    _need_bits(instruction.bits, TRUNCATION_BITS)
    return _elementwise(instruction.shape, read)


@written.register
def waved(instruction: Waves, *read: Shape) -> tuple[Shape, ...]:
    turn, waves = instruction.turn, instruction.waves
    _need(1 <= turn < 1 << RING_BITS, f"the turn {brief(turn)} is not one of 1 … 2^{RING_BITS} - 1")
    _need(1 <= len(waves) <= MOST_WAVES, f"{len(waves)} waves are not 1 … {MOST_WAVES}")
    for pair in waves:
        _need(
            max(map(abs, pair)) <= LARGEST_WAVE,
            f"the wave {brief(pair)} is larger than {LARGEST_WAVE}",
        )
    return _elementwise(instruction.shape, read)


@written.register
def raised(instruction: Exponential, *read: Shape) -> tuple[Shape, ...]:
    fields = instruction.low, instruction.segment_bits, instruction.index_bits
    why = exponential.unfit(
        exponential.Plan(*fields, instruction.a, instruction.b), instruction.scale
    )
    _need(why is None, f"an exponential cannot be taken: {why}")
    return _elementwise(instruction.shape, read)


@written.register
def rectified(instruction: ReLU, *read: Shape) -> tuple[Shape, ...]:
    divisor, width = instruction.divisor, instruction.width
    _need_divisor(divisor)
    _check_width(width, TRUNCATION_BITS if divisor > 1 or width.drop else RING_BITS)
    _need(
        width.drop == 0 or divisor in (1, 1 << width.drop),
        f"{width.drop} bits are left out of the comparison, which the divisor {divisor} does not "
        "cut off",
    )
    return _elementwise(instruction.shape, read) * len(instruction.writes)


@written.register
def compared(instruction: NonNegative, *read: Shape) -> tuple[Shape, ...]:
    _check_whole_width(instruction.width)
    return _elementwise(instruction.shape, read)


@written.register
def stepped(instruction: Staircase, *read: Shape) -> tuple[Shape, ...]:
    thresholds, base, steps = instruction.thresholds, instruction.base, instruction.steps
    _need(
        1 <= len(base) <= MOST_COLUMNS and len(steps) == len(base),
        f"a staircase has 1 … {MOST_COLUMNS} functions, each with a base and steps, not "
        f"{len(base)} and {len(steps)}",
    )
    _check_thresholds(thresholds, instruction.width)
    for value, row in zip(base, steps, strict=True):
        _need_word(value, "base")
        _need(
            len(row) == len(thresholds),
            f"a function has {len(row)} steps, not one for each of {len(thresholds)} thresholds",
        )
        for step in row:
            _need_word(step, "step")
    (shape,) = _elementwise(instruction.shape, read)
    return ((len(base), *shape),)


@written.register
def ramped(instruction: Ramps, *read: Shape) -> tuple[Shape, ...]:
    _check_whole_width(instruction.width)
    _check_thresholds(instruction.thresholds, instruction.width)
    (shape,) = _elementwise(instruction.shape, read)
    return ((len(instruction.thresholds), *shape),)


@written.register
def hot(instruction: OneHot, *read: Shape) -> tuple[Shape, ...]:
    bits, classes, shape = instruction.bits, instruction.classes, instruction.shape
    _need(1 <= bits <= MOST_BITS, f"an index of {brief(bits)} bits is not one of 1 … {MOST_BITS}")
    _need(
        1 <= classes <= 1 << bits,
        f"{brief(classes)} classes are not 1 … {1 << bits}, as many as {bits} bits count",
    )
    _need(bool(instruction.writes), "neither one-hot columns nor values in them are wanted")
    _need(
        len(instruction.placed) == len(instruction.values),
        f"{len(instruction.values)} values are put into {len(instruction.placed)} wires",
    )
    for each in read:
        _elementwise(shape, (each,))
    return ((classes, *shape),) * len(instruction.writes)


@written.register
def ranked(instruction: Ranks, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    _need(len(x) == 2, f"candidates stand along the first of two dimensions, not in {x}")
    _need(x[0] >= 2, f"there is no order of {x[0]} candidates")
    _check_whole_width(instruction.width)
    return _elementwise(instruction.shape, read)


@written.register
def tested(instruction: Zero, *read: Shape) -> tuple[Shape, ...]:
    _check_plan(instruction.plan)
    return _elementwise(instruction.shape, read)


@written.register
def verified(instruction: WithinBound, *read: Shape) -> tuple[Shape, ...]:
    _need(
        0 <= instruction.bound < 1 << (RING_BITS - 2),
        f"the bound {brief(instruction.bound)} is not one below 2^{RING_BITS - 2}",
    )
    _check_whole_width(instruction.width)
    _need(
        instruction.width.bits == RING_BITS,
        f"a check of any ring element takes {RING_BITS} bits, not {instruction.width.bits}",
    )
    return _elementwise(instruction.shape, read)


@written.register
def largest(instruction: Extremum, *read: Shape) -> tuple[Shape, ...]:
    (x,) = read
    _need(len(x) == 2, f"candidates stand along the first of two dimensions, not in {x}")
    _need_elements(x)
    _need(instruction.shape == x, f"it is declared for {brief(instruction.shape)}, not {x}")
    _need(bool(instruction.writes), "neither the value nor the index is wanted")
    left = x[0]
    _need(2 * len(instruction.levels) < BRANCHES, "it has too many levels")
    for level in instruction.levels:
        # Each bracket draws from a stream of its own, and a level has two of them.
        _need(1 <= len(level) <= 2, f"a level has one or two brackets, not {len(level)}")
        for each in level:
            _check_bracket(each)
        _need(
            sum(each.candidates for each in level) == left,
            f"a level does not take the {left} candidates that there are",
        )
        winners = sum(each.count for each in level)
        _need(winners < left, "a level leaves as many candidates as it takes")
        left = winners
    _need(left == 1, f"the levels leave {left} candidates, not one")
    return ((x[1],),) * len(instruction.writes)


# ---- parts of the rules ------------------------------------------------------------------------


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProgramError(otherwise)


def _need_dim(dim: int, shape: Shape) -> None:
    _need(0 <= dim < len(shape), f"there is no dimension {brief(dim)} in {shape}")


def _need_elements(shape: Shape) -> None:
    """Nothing is dealt for nothing: the roles would not agree on whether it comes."""
    _need(prod(shape) > 0, f"the shape {shape} has no elements")


def _need_divisor(divisor: int) -> None:
    _need(
        1 <= divisor < EVERYTHING,
        f"the divisor {brief(divisor)} is not one of 1 … 2^{TRUNCATION_BITS - 1} - 1",
    )


def _need_bits(bits: int, widest: int) -> None:
    _need(2 <= bits <= widest, f"a width of {brief(bits)} bits is not one of 2 … {widest}")


def _check_thresholds(thresholds: tuple[int, ...], width: sign.Width) -> None:
    _need(
        1 <= len(thresholds) <= MOST_THRESHOLDS,
        f"there are 1 … {MOST_THRESHOLDS} thresholds, not {len(thresholds)}",
    )
    _check_width(width, RING_BITS)
    for threshold in thresholds:
        _need_word(threshold, "threshold")
        _need(
            threshold % (1 << width.drop) == 0,
            f"the threshold {threshold} is no multiple of 2^{width.drop}, as {width.drop} bits are "
            "left out",
        )
    _need(
        all(one < other for one, other in pairwise(thresholds)),
        f"the thresholds {brief(thresholds)} do not ascend",
    )


def _need_word(value: int, what: str) -> None:
    _need(
        -LARGEST_COEFFICIENT <= value < LARGEST_COEFFICIENT,
        f"the {what} {brief(value)} does not fit in 64 bits",
    )


def _elementwise(declared: Shape, read: tuple[Shape, ...]) -> tuple[Shape, ...]:
    (x,) = read
    _need(declared == x, f"it is declared for the shape {brief(declared)}, not {x}")
    _need_elements(x)
    return (x,)


def _broadcast(first: Shape, second: Shape) -> Shape:
    """The common shape, as NumPy has it."""
    dims = max(len(first), len(second))
    padded = [(1,) * (dims - len(shape)) + shape for shape in (first, second)]
    for a, b in zip(*padded, strict=True):
        _need(a == b or 1 in (a, b), f"shapes {brief(first)} and {brief(second)} do not broadcast")
    return tuple(b if a == 1 else a for a, b in zip(*padded, strict=True))


def _multiplied(first: Shape, second: Shape, declared: Shape, *, matrix: bool) -> Shape:
    if matrix:
        _need(
            len(first) >= 2 and len(second) >= 2 and first[-1] == second[-2],
            f"{first} and {second} have no matrix product",
        )
        shape = (*_broadcast(first[:-2], second[:-2]), first[-2], second[-1])
    else:
        shape = _broadcast(first, second)
    _need(shape == declared, f"the product has the shape {shape}, not {brief(declared)}")
    return shape


def _convolved(instruction: Convolution | PublicConvolution, x: Shape, w: Shape) -> Shape:
    _need(len(x) == 4 and len(w) == 4, f"{x} and {w} are no images and filters")
    _need_elements(x)
    _need_elements(w)
    groups = instruction.groups
    _need(
        groups >= 1 and x[1] % groups == 0 and w[0] % groups == 0 and w[1] == x[1] // groups,
        f"filters {w} do not fit images {x} in {brief(groups)} groups",
    )
    for name, least in (("stride", 1), ("padding", 0), ("dilation", 1)):
        pair = getattr(instruction, name)
        _need(
            len(pair) == 2 and all(least <= each <= LARGEST_STEP for each in pair),
            f"the {name} {brief(pair)} is not two numbers from {least} on",
        )
    sizes = tuple(x[2 + i] + 2 * instruction.padding[i] for i in (0, 1))
    _need(x[0] * x[1] * prod(sizes) <= LARGEST_WIRE, "the padded images are too large")
    spans = tuple(instruction.dilation[i] * (w[2 + i] - 1) + 1 for i in (0, 1))
    _need(
        spans[0] <= sizes[0] and spans[1] <= sizes[1],
        f"filters that span {spans} are larger than padded images of {sizes}",
    )
    places = ((sizes[i] - spans[i]) // instruction.stride[i] + 1 for i in (0, 1))
    shape = (x[0], w[0], *places)
    _need(
        shape == instruction.shape,
        f"the convolution has the shape {shape}, not {brief(instruction.shape)}",
    )
    return shape


def _check_width(width: sign.Width, widest: int) -> None:
    _need_bits(width.bits, widest)
    _need(
        0 <= width.drop <= width.bits - 2,
        f"of {width.bits} bits, {brief(width.drop)} cannot be left out",
    )
    _check_plan(width.plan)  # which is one for these bits: a Width sees to that itself


def _check_whole_width(width: sign.Width) -> None:
    _check_width(width, RING_BITS)
    _need(width.drop == 0, f"{width.drop} bits are left out of a comparison that needs them")


def _check_plan(plan: sign.Plan) -> None:
    """Chunks of a size that there are tables for, and levels that join them into one."""
    if not isinstance(plan, tables.Plan):
        _need(1 <= plan.bits <= RING_BITS, f"a plan cannot have {brief(plan.bits)} bits")
        return
    nodes = len(plan.chunks)
    _need(
        1 <= nodes <= MOST_CHUNKS and all(1 <= c <= kernels.MAX_CHUNK for c in plan.chunks),
        f"a plan cannot have the chunks {brief(plan.chunks)}",
    )
    _need(plan.bits <= RING_BITS, f"a plan cannot have {plan.bits} bits")
    for fan in plan.levels:
        _need(
            len(fan) < nodes
            and all(1 <= each <= kernels.MAX_FAN for each in fan)
            and sum(fan) == nodes,
            f"a level of a plan cannot join {nodes} nodes as {brief(fan)}",
        )
        nodes = len(fan)
    _need(nodes == 1, f"the levels of a plan leave {nodes} nodes, not one")


def _check_bracket(group: Bracket) -> None:
    _need(group.count >= 1, f"a bracket cannot have {brief(group.count)} groups")
    _need(
        1 <= group.size <= kernels.MAX_FAN + 1,
        f"a bracket cannot have groups of {brief(group.size)}",
    )
    if group.width is None:
        _need(group.size == 1, f"groups of {group.size} have no width to be compared at")
    else:
        _need(group.size > 1, "a lone candidate is compared with nothing")
        _check_whole_width(group.width)
