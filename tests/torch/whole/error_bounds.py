"""How far a program's results may be from others: derived instruction by instruction, not guessed.

Errors are in units of each wire's scale. What adds to them: an encoded input, weight or constant
is within a unit of the real number (half of one, but for BatchNorm folded in float32), and a
truncation rounds to one of the two integers next to the quotient. Everything else passes errors
on: a product |x|, |w| with errors e, f is off by (|x| + e)(|w| + f) - |x||w| at most, a sum by
the sum, a maximum by the largest, and max(x, 0) by no more than x.
"""

from __future__ import annotations

import copy

import msgspec
import numpy as np
import torch
from torch.utils import _pytree as pytree

from tacita.protocols import (
    Combine,
    Concatenate,
    Convolution,
    Extremum,
    MaskWires,
    Product,
    PublicConvolution,
    PublicProduct,
    ReLU,
    Sum,
    Truncate,
)
from tacita.runtime.plain import PlainRun, run_plain

BILINEAR = (Product, Convolution, PublicProduct, PublicConvolution)
FLOAT32 = 2.0**-22  # of a value: a reference, and a decoded result, rounded to float32


def sizes(values):
    return np.abs(values.view(np.int64)).view(np.uint64)


def applied(instruction, operands):
    """The plain reading of one instruction on other arrays than the program's."""
    run = PlainRun()
    for wire, values in operands.items():
        run.write(wire, values)
    instruction.plain(run)
    return run.value(instruction.writes[0])


def divided(error, divisor):
    """A quotient is off by error/divisor, rounded up, and one more where it is rounded."""
    return error // np.uint64(divisor) + (error % np.uint64(divisor) > 0) + np.uint64(1)


def after(instruction, values, errors):
    """What an instruction makes of its operands' errors: the error of the first wire it writes."""
    own = {wire: errors[wire] for wire in instruction.reads}
    if isinstance(instruction, BILINEAR):
        exact = {wire: sizes(values[wire]) for wire in own}
        reach = applied(instruction, {wire: exact[wire] + own[wire] for wire in own})
        return reach - applied(instruction, exact)
    if isinstance(instruction, Combine):
        terms = tuple((wire, abs(by)) for wire, by in instruction.terms)
        return applied(msgspec.structs.replace(instruction, terms=terms), own)
    if isinstance(instruction, Concatenate | Sum) or instruction.aliases:
        return applied(instruction, own)
    if isinstance(instruction, Truncate | ReLU):
        error = own[instruction.x].reshape(instruction.shape)
        return error if instruction.divisor == 1 else divided(error, instruction.divisor)
    if isinstance(instruction, Extremum) and instruction.value is not None:
        return own[instruction.x].max(axis=0)
    raise NotImplementedError(f"no bound is known for {type(instruction).__name__}")


def output_errors(model, inputs, *, encoded):
    """For each output of a model, how far its values may be off, in reals.

    encoded: whether the other results come from real numbers, or from the same ring elements.
    """
    program = model.program
    values = run_plain(program, model.weights, model.encode(inputs))
    errors = {}
    bound = (*program.inputs, *program.weights, *program.constants)
    for wire in (each.wire for each in bound):
        about = program.wires[wire]
        off = np.uint64(encoded and about.scale > 1)
        errors[wire] = np.full(about.shape, off)
    for instruction in program.instructions:
        if not isinstance(instruction, MaskWires):
            errors[instruction.writes[0]] = after(instruction, values, errors)
    return [
        torch.from_numpy(errors[port.wire].astype(np.float64)) / program.wires[port.wire].scale
        for port in program.outputs
    ]


def revealed(results):
    """The values of private results, in the structure that they came in."""
    return pytree.tree_map(lambda each: each.decrypt(), results)


def agree(model, got, expected, inputs, *, encoded):
    """Asserts that results are as close to expected ones as the program's roundings let them be."""
    got, expected = pytree.tree_leaves(got), pytree.tree_leaves(expected)
    errors = output_errors(model, inputs, encoded=encoded)
    for one, other, error in zip(got, expected, errors, strict=True):
        assert one.shape == other.shape
        one, other = one.double(), other.detach().double()
        assert ((one - other).abs() <= error + FLOAT32 * other.abs()).all(), (one, other, error)


def agree_with_preview(model, got, *inputs):
    """Private results against the owner's preview: only truncations may differ, by a unit each."""
    agree(model, revealed(got), model.preview(*inputs), inputs, encoded=False)


def agree_with_module(model, got, module, *inputs):
    """Results in the clear against the module itself, in float64."""
    with torch.no_grad():
        expected = copy.deepcopy(module).double()(*(each.double() for each in inputs))
    agree(model, got, expected, inputs, encoded=True)
