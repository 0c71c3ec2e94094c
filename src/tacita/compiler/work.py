"""How much an instruction computes, in units that do not depend on a machine.

A product counts its multiply-adds in Z_2^64 as the textbook does, once: a party takes it twice (or
once, after preparing), the dealer once. Comparisons count the elements that are compared.
"""

from __future__ import annotations

from functools import singledispatch
from math import prod

from tacita.program.instruction import Instruction
from tacita.program.program import Program
from tacita.protocols import (
    Convolution,
    Extremum,
    NonNegative,
    Product,
    PublicConvolution,
    PublicProduct,
    Ramps,
    Ranks,
    ReLU,
    Staircase,
    WithinBound,
    Zero,
)
from tacita.protocols.ranks import pair_count


@singledispatch
def multiply_adds(instruction: Instruction, program: Program) -> int:  # noqa: ARG001
    """Multiply-adds of one ring product; 0 for what multiplies no tensors. Cost: constant."""
    return 0


@multiply_adds.register
def _(instruction: Product, program: Program) -> int:
    inner = program.wires[instruction.x].shape[-1] if instruction.matrix else 1
    return prod(instruction.shape) * inner


@multiply_adds.register
def _(instruction: PublicProduct, program: Program) -> int:
    first = instruction.public if instruction.public_first else instruction.x
    inner = program.wires[first].shape[-1] if instruction.matrix else 1
    return prod(instruction.shape) * inner


@multiply_adds.register
def _(instruction: Convolution, program: Program) -> int:
    return prod(instruction.shape) * prod(program.wires[instruction.w].shape[1:])


@multiply_adds.register
def _(instruction: PublicConvolution, program: Program) -> int:
    weight = instruction.x if instruction.public_first else instruction.public
    return prod(instruction.shape) * prod(program.wires[weight].shape[1:])


@singledispatch
def comparisons(instruction: Instruction) -> int:  # noqa: ARG001
    """How many pairs of numbers an instruction compares; 0 for what compares none."""
    return 0


@comparisons.register(ReLU | NonNegative | Zero)
def _(instruction: ReLU | NonNegative | Zero) -> int:
    return prod(instruction.shape)


@comparisons.register(Staircase | Ramps)
def _(instruction: Staircase | Ramps) -> int:
    return len(instruction.thresholds) * prod(instruction.shape)


@comparisons.register
def _(instruction: WithinBound) -> int:
    return 2 * prod(instruction.shape)  # with the bound on either side


@comparisons.register
def _(instruction: Extremum) -> int:
    columns = instruction.shape[1]
    return sum(
        len(group.pairs) * group.count * columns for level in instruction.levels for group in level
    )


@comparisons.register
def _(instruction: Ranks) -> int:
    return pair_count(instruction.shape)
