"""The ways to compare that an instruction may use, and the same instruction by another way.

tables.py needs no assumption beyond the streams' and takes any number of parties; fss.py and snn.py
take two. What is computed is the same, to the bit, so an instruction can be rewritten at any time
before its roles have it.
"""

from __future__ import annotations

from functools import singledispatch
from math import prod
from typing import get_args

import msgspec

from tacita.program.instruction import Instruction
from tacita.protocols import sign, tables
from tacita.protocols.check import WithinBound
from tacita.protocols.compare import NonNegative
from tacita.protocols.equal import Zero
from tacita.protocols.extremum import Extremum, tournament
from tacita.protocols.ramps import Ramps
from tacita.protocols.ranks import Ranks, pair_count
from tacita.protocols.relu import ReLU
from tacita.protocols.sign import Way
from tacita.protocols.staircase import Staircase

WAYS: tuple[Way, ...] = get_args(Way)


@singledispatch
def compared_by(instruction: Instruction, way: Way) -> Instruction:  # noqa: ARG001
    """The instruction with its comparisons made in this way; itself if it makes none."""
    return instruction


@singledispatch
def way_of(instruction: Instruction) -> Way | None:  # noqa: ARG001
    """The way in which it compares, or None where it does not."""
    return None


@compared_by.register
def _(instruction: ReLU, way: Way) -> Instruction:
    return _widened(instruction, prod(instruction.shape), way)


@compared_by.register
def _(instruction: NonNegative, way: Way) -> Instruction:
    return _widened(instruction, prod(instruction.shape), way)


@compared_by.register
def _(instruction: WithinBound, way: Way) -> Instruction:
    return _widened(instruction, 2 * prod(instruction.shape), way)


@compared_by.register
def _(instruction: Ranks, way: Way) -> Instruction:
    return _widened(instruction, pair_count(instruction.shape), way)


@compared_by.register
def _(instruction: Staircase, way: Way) -> Instruction:
    return _stepped(instruction, way)


@compared_by.register
def _(instruction: Ramps, way: Way) -> Instruction:
    return _stepped(instruction, way)


@compared_by.register
def _(instruction: Zero, way: Way) -> Instruction:
    if sign.way_of(instruction.plan) == way:
        return instruction
    plan = sign.plan(way, instruction.plan.bits, prod(instruction.shape), order=False)
    return msgspec.structs.replace(instruction, plan=plan)


@compared_by.register
def _(instruction: Extremum, way: Way) -> Instruction:
    width = _bracket_width(instruction)
    if width is None or sign.way_of(width.plan) == way:
        return instruction
    m, n = instruction.shape
    wanted = {
        "value": instruction.value is not None,
        "index": instruction.index is not None,
    }
    levels = tournament(m, n, width.bits, **wanted, way=way)
    return msgspec.structs.replace(instruction, levels=levels)


Compared = ReLU | NonNegative | WithinBound | Ranks | Staircase | Ramps


def _widened(instruction: Compared, n: int, way: Way) -> Instruction:
    width = instruction.width
    if sign.way_of(width.plan) == way:
        return instruction
    other = sign.width(width.bits, n, drop=width.drop, way=way)
    return msgspec.structs.replace(instruction, width=other)


def _stepped(instruction: Staircase | Ramps, way: Way) -> Instruction:
    """Several thresholds, which share their tables."""
    if way != "tables" or sign.way_of(instruction.width.plan) == way:
        return _widened(instruction, prod(instruction.shape), way)
    width, count = instruction.width, len(instruction.thresholds)
    plan = tables.shared_plan(width.plan.bits, prod(instruction.shape), count)
    return msgspec.structs.replace(instruction, width=sign.Width(width.bits, width.drop, plan))


def _bracket_width(instruction: Extremum) -> sign.Width | None:
    widths = (each.width for level in instruction.levels for each in level)
    return next((width for width in widths if width is not None), None)


@way_of.register
def _(instruction: Zero) -> Way | None:
    return sign.way_of(instruction.plan)


@way_of.register
def _(instruction: Extremum) -> Way | None:
    width = _bracket_width(instruction)
    return None if width is None else sign.way_of(width.plan)


def _way_of_width(instruction: Compared) -> Way | None:
    return sign.way_of(instruction.width.plan)


for _kind in get_args(Compared):
    way_of.register(_kind, _way_of_width)
