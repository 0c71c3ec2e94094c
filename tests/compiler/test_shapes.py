"""The rule of each instruction: what it refuses, one attack at a time."""

import numpy as np
import pytest
from recorded import indices
from setting import refused

from tacita.protocols import (
    Combine,
    Concatenate,
    Convolution,
    Expand,
    Exponential,
    Extremum,
    Gather,
    NonNegative,
    OneHot,
    Pad,
    Permute,
    Product,
    PublicProduct,
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
    sign,
    tables,
)
from tacita.protocols.bracket import Bracket, bracket
from tacita.protocols.extremum import tournament
from tacita.protocols.relu import relu_width
from tacita.protocols.tables import Plan

FULL, NARROW, PLAN = sign.width(64, 6), sign.width(33, 6), tables.plan(33, 6, order=False)
ONE, NO, UNIT = (1, 1), (0, 0), (1, 1)


def convolution(h, stride=ONE, padding=NO, dilation=UNIT, groups=2, shape=(2, 6, 3, 3), x=None):
    x = h.image if x is None else x
    return h.result(
        Convolution, x, h.filters, stride, padding, dilation, groups, shape, shape=shape
    )


def extremum(h, levels, shape=(2, 3), x=None, value=True):
    x = h.y if x is None else x
    out = h.wire(shape[1]) if value else None
    h.emit(Extremum, out, None, x, shape, levels, place="layer.0")


def waves(turn=1 << 40, pairs=((5, -5),), shape=(2, 3)):
    return lambda h: h.result(Waves, h.y, turn, pairs, shape, shape=shape)


def exponential(low=-16 << 16, scale=1 << 16, segment=20, index=1, a=16, b=40, shape=(2, 3)):
    return lambda h: h.result(
        Exponential, h.y, low, scale, segment, index, a, b, shape, shape=shape
    )


def padding(low=NO, high=NO, interior=NO, shape=(2, 3)):
    return lambda h: h.result(Pad, h.x, low, high, interior, shape=shape)


def matrix(h, left, right, shape):
    return h.result(
        PublicProduct, h.input(*left), h.constant(np.ones(right)), True, False, shape, shape=shape
    )


def stairs(h, thresholds=(-4, 8), base=(1, 2), steps=((1, 2), (3, 4)), width=NARROW, shape=(2, 3)):
    return h.result(
        Staircase, h.y, thresholds, base, steps, shape, width, shape=(len(base), *shape)
    )


def one_hot(h, bits=2, classes=3, shape=(2, 3), values=(), placed=0, hot=True):
    wires = [h.wire(3, 2, 3) for _ in range(hot + placed)]
    into = (wires[0], tuple(wires[1:])) if hot else (None, tuple(wires))
    h.emit(OneHot, *into, h.y, values, bits, classes, shape, place="layer.0")


def plan(chunks, levels):
    return lambda h: h.result(Zero, h.y, (2, 3), Plan(chunks, levels))


SHAPES = {
    "sum of other shapes": (
        lambda h: h.result(Combine, ((h.x, 1), (h.w, 1)), (2, 3)),
        "do not broadcast",
    ),
    "sum of a smaller shape": (lambda h: h.result(Combine, ((h.x, 1),), (3,)), "have the shape"),
    "sum of a negative shape": (
        lambda h: h.result(Combine, ((h.constant(np.ones(1)), 1),), (-5,), shape=(1,)),
        "is declared with the shape",
    ),
    "sum of nothing": (lambda h: h.result(Combine, (), (2, 3)), "no terms"),
    "coefficient": (lambda h: h.result(Combine, ((h.x, 1 << 63),), (2, 3)), "fit in 64 bits"),
    "joint of nothing": (
        lambda h: h.emit(Concatenate, h.wire(2), (), 0, place="layer.0"),
        "joins nothing",
    ),
    "joint of other shapes": (
        lambda h: h.result(Concatenate, (h.x, h.w), 1, shape=(2, 6)),
        "do not fit in dimension 1",
    ),
    "joint of other dimensions": (
        lambda h: h.result(Concatenate, (h.x, h.flat), 0, shape=(8, 3)),
        "do not fit in dimension 0",
    ),
    "joint without the dimension": (
        lambda h: h.result(Concatenate, (h.x, h.y), 2, shape=(4, 3)),
        "there is no dimension 2",
    ),
    "joint of another length": (
        lambda h: h.result(Concatenate, (h.x, h.y), 0, shape=(5, 3)),
        "is declared with the shape",
    ),
    "sum over no dimension of it": (
        lambda h: h.result(Sum, h.x, (2,), (2,), shape=(2,)),
        "there is no dimension 2",
    ),
    "sum over a negative dimension": (
        lambda h: h.result(Sum, h.x, (-1,), (2,), shape=(2,)),
        "there is no dimension -1",
    ),
    "sum over a dimension twice": (
        lambda h: h.result(Sum, h.x, (1, 1), (2,), shape=(2,)),
        "stands twice",
    ),
    "sum of another shape": (lambda h: h.result(Sum, h.x, (1,), (3,), shape=(3,)), "has the shape"),
    "product of another shape": (
        lambda h: h.result(PublicProduct, h.x, h.c, False, False, (3, 2), shape=(3, 2)),
        "the product has the shape",
    ),
    "product of what does not broadcast": (
        lambda h: h.result(PublicProduct, h.w, h.c, False, False, (4, 3), shape=(4, 3)),
        "do not broadcast",
    ),
    "matrices that do not fit": (
        lambda h: matrix(h, (2, 3), (4, 2), (2, 2)),
        "no matrix product",
    ),
    "a vector as a matrix": (lambda h: matrix(h, (3,), (3, 2), (2,)), "no matrix product"),
    "batches that do not fit": (
        lambda h: matrix(h, (2, 2, 3), (3, 3, 2), (3, 2, 2)),
        "do not broadcast",
    ),
    "a matrix product of another shape": (
        lambda h: matrix(h, (2, 3), (3, 4), (4, 2)),
        "the product has the shape",
    ),
    "operands in the other order": (
        lambda h: h.result(
            PublicProduct, h.x, h.constant(np.ones((3, 4))), True, True, (2, 4), shape=(2, 4)
        ),
        "no matrix product",
    ),
    "private product of another shape": (
        lambda h: h.result(Product, h.y, h.y, False, (2, 3, 1), shape=(2, 3, 1)),
        "the product has the shape",
    ),
    "private product of matrices that do not fit": (
        lambda h: h.result(Product, h.y, h.w, True, (2, 4), shape=(2, 4)),
        "no matrix product",
    ),
    "reshape": (lambda h: h.result(Reshape, h.x, (5,), shape=(5,)), "does not hold the 6 elements"),
    "reshape to negative dimensions": (
        lambda h: h.result(Reshape, h.x, (-2, -3)),
        "does not hold the 6 elements",
    ),
    "permutation with a dimension twice": (
        lambda h: h.result(Permute, h.x, (0, 0), shape=(2, 2)),
        "is no order",
    ),
    "permutation of negative dimensions": (
        lambda h: h.result(Permute, h.x, (-1, 0), shape=(3, 2)),
        "is no order",
    ),
    "permutation of fewer dimensions": (
        lambda h: h.result(Permute, h.x, (0,), shape=(2,)),
        "is no order",
    ),
    "expansion": (
        lambda h: h.result(Expand, h.x, (4, 3), shape=(4, 3)),
        "do not broadcast",
    ),
    "expansion to fewer dimensions": (
        lambda h: h.result(Expand, h.x, (3,), shape=(3,)),
        "does not broadcast to",
    ),
    "slice beyond the end": (lambda h: h.result(Slice, h.x, 0, 0, 3, 1), "there is no slice"),
    "slice before the start": (lambda h: h.result(Slice, h.x, 0, -2, 2, 1), "there is no slice"),
    "slice backwards": (
        lambda h: h.result(Slice, h.x, 0, 2, 0, 1, shape=(0, 3)),
        "there is no slice",
    ),
    "slice by no step": (lambda h: h.result(Slice, h.x, 0, 0, 2, 0), "there is no slice"),
    "slice of no dimension": (lambda h: h.result(Slice, h.x, 2, 0, 1, 1), "there is no dimension"),
    "slice of another length": (
        lambda h: h.result(Slice, h.x, 1, 0, 3, 2),
        "is declared with the shape",
    ),
    "gather beyond the end": (
        lambda h: h.result(Gather, h.x, (2,), indices(0, 6), shape=(2,)),
        "an index lies outside",
    ),
    "gather before the start": (
        lambda h: h.result(Gather, h.x, (2,), indices(0, -1), shape=(2,)),
        "an index lies outside",
    ),
    "gather from nothing": (
        lambda h: h.result(Gather, h.empty, (1,), indices(0), shape=(1,)),
        "an index lies outside",
    ),
    "gather without an index": (
        lambda h: h.result(Gather, h.x, (2,), indices(0), shape=(2,)),
        "bytes of indices",
    ),
    "gather with half an index": (
        lambda h: h.result(Gather, h.x, (1,), indices(0)[:4], shape=(1,)),
        "bytes of indices",
    ),
    "gather to negative dimensions": (
        lambda h: h.result(Gather, h.x, (-1, -1), indices(0), shape=(1,)),
        "bytes of indices",
    ),
    "take beyond the end": (
        lambda h: h.result(Take, h.x, 1, (0, 3), shape=(2, 2)),
        "an index lies outside",
    ),
    "take before the start": (
        lambda h: h.result(Take, h.x, 1, (0, -1), shape=(2, 2)),
        "an index lies outside",
    ),
    "take of no dimension": (
        lambda h: h.result(Take, h.x, 2, (0,), shape=(2, 1)),
        "there is no dimension",
    ),
    "take from nothing": (
        lambda h: h.result(Take, h.empty, 0, (0,), shape=(1, 3)),
        "an index lies outside",
    ),
    "padding of a negative size": (padding(low=(-1, 0), shape=(1, 3)), "is no padding"),
    "padding below zero between": (padding(interior=(-1, 0)), "is no padding"),
    "padding of other dimensions": (padding(high=(0, 0, 0)), "is no padding"),
    "padding of another shape": (padding(high=(0, 1)), "is declared with the shape"),
    "convolution of another shape": (
        lambda h: convolution(h, shape=(2, 6, 5, 5)),
        "the convolution has the shape",
    ),
    "convolution without a stride": (lambda h: convolution(h, stride=(0, 1)), "the stride"),
    "convolution with a negative padding": (lambda h: convolution(h, padding=(-1, 0)), "padding"),
    "convolution without dilation": (lambda h: convolution(h, dilation=(1, 0)), "the dilation"),
    "convolution in no groups": (lambda h: convolution(h, groups=0), "in 0 groups"),
    "convolution in other groups": (lambda h: convolution(h, groups=4), "in 4 groups"),
    "convolution larger than the image": (
        lambda h: convolution(h, dilation=(3, 3)),
        "larger than padded images",
    ),
    "convolution with absurd padding": (
        lambda h: convolution(h, padding=(1 << 30, 1 << 30), stride=(1 << 30, 1 << 30)),
        "padded images are too large",
    ),
    "product with no elements on the left": (
        lambda h: h.result(Product, h.weight(0, 4), h.w, True, (0, 3), shape=(0, 3)),
        "has no elements",
    ),
    "product with no elements on the right": (
        lambda h: h.result(Product, h.y, h.weight(3, 0), True, (2, 0), shape=(2, 0)),
        "has no elements",
    ),
    "convolution of no images": (
        lambda h: convolution(h, x=h.weight(0, 4, 5, 5), shape=(0, 6, 3, 3)),
        "has no elements",
    ),
    "convolution with no filters": (
        lambda h: h.result(
            Convolution,
            h.image,
            h.weight(0, 2, 3, 3),
            ONE,
            NO,
            UNIT,
            2,
            (2, 0, 3, 3),
            shape=(2, 0, 3, 3),
        ),
        "has no elements",
    ),
    "truncation of no elements": (
        lambda h: h.result(Truncate, h.weight(0, 3), 2, 62, (0, 3), shape=(0, 3)),
        "has no elements",
    ),
    "maximum of no elements": (
        lambda h: extremum(h, tournament(2, 3, 64), shape=(2, 0), x=h.weight(2, 0)),
        "has no elements",
    ),
    "convolution of a matrix": (lambda h: convolution(h, x=h.y), "no images and filters"),
}

PARAMETERS = {
    "staircase without thresholds": (
        lambda h: stairs(h, (), steps=((), ())),
        "1 … 64 thresholds, not 0",
    ),
    "staircase of very many thresholds": (
        lambda h: stairs(h, tuple(range(65)), steps=((0,) * 65,) * 2),
        "1 … 64 thresholds, not 65",
    ),
    "staircase without functions": (
        lambda h: stairs(h, base=(), steps=()),
        "a staircase has 1 … 64 functions",
    ),
    "staircase of very many functions": (
        lambda h: stairs(h, base=(0,) * 65, steps=((0, 0),) * 65),
        "a staircase has 1 … 64 functions",
    ),
    "staircase with a function too many": (
        lambda h: stairs(h, steps=((1, 2),)),
        "each with a base and steps, not 2 and 1",
    ),
    "staircase with a step too few": (
        lambda h: stairs(h, steps=((1, 2), (3,))),
        "a function has 1 steps",
    ),
    "staircase with a step too many": (
        lambda h: stairs(h, steps=((1, 2), (3, 4, 5))),
        "a function has 3 steps",
    ),
    "staircase that goes down": (lambda h: stairs(h, (8, -4)), "do not ascend"),
    "staircase with equal neighbours": (lambda h: stairs(h, (8, 8)), "do not ascend"),
    "staircase with a threshold outside of the ring": (
        lambda h: stairs(h, (0, 1 << 63)),
        "the threshold 9223372036854775808 does not fit",
    ),
    "staircase with a base outside of the ring": (
        lambda h: stairs(h, base=(0, 1 << 63)),
        "the base 9223372036854775808 does not fit",
    ),
    "staircase with a step outside of the ring": (
        lambda h: stairs(h, steps=((0, 0), (0, -(1 << 63) - 1))),
        "the step -9223372036854775809 does not fit",
    ),
    "staircase with thresholds between what it compares": (
        lambda h: stairs(h, (-4, 9), width=sign.width(40, 6, drop=2)),
        "the threshold 9 is no multiple of",
    ),
    "staircase of more bits than the ring": (
        lambda h: stairs(h, width=sign.Width(66, 0, Plan((8,) * 8 + (1,), ()))),
        "width of 66",
    ),
    "staircase with a plan that ends nowhere": (
        lambda h: stairs(h, width=sign.Width(5, 0, Plan((2, 2), ()))),
        "leave 2 nodes",
    ),
    "one-hot columns of no bits": (lambda h: one_hot(h, bits=0), "an index of 0 bits"),
    "one-hot columns of an absurd size": (lambda h: one_hot(h, bits=62), "an index of 62 bits"),
    "one-hot columns of no classes": (lambda h: one_hot(h, classes=0), "0 classes"),
    "one-hot columns of more classes than bits count": (
        lambda h: one_hot(h, classes=5),
        "5 classes are not 1 … 4",
    ),
    "one-hot columns that nobody wants": (lambda h: one_hot(h, hot=False), "nor values in them"),
    "more values than wires for them": (
        lambda h: one_hot(h, values=(h.y,)),
        "1 values are put into 0 wires",
    ),
    "one-hot columns of another shape": (
        lambda h: one_hot(h, shape=(6,)),
        "it is declared for the shape",
    ),
    "values of another shape": (
        lambda h: one_hot(h, values=(h.image,), placed=1),
        "it is declared for the shape",
    ),
    "ranks of one candidate": (
        lambda h: h.result(Ranks, h.result(Slice, h.y, 0, 0, 1, 1, shape=(1, 3)), (1, 3), NARROW),
        "no order of 1 candidates",
    ),
    "ranks of more than columns": (
        lambda h: h.result(Ranks, h.image, (2, 4, 5, 5), NARROW),
        "the first of two dimensions",
    ),
    "ranks with bits left out": (
        lambda h: h.result(Ranks, h.y, (2, 3), sign.width(40, 6, drop=2)),
        "2 bits are left out",
    ),
    "staircase of another shape": (
        lambda h: stairs(h, shape=(6,)),
        "it is declared for the shape",
    ),
    "staircase of no elements": (
        lambda h: h.result(
            Staircase, h.weight(0, 3), (1,), (0,), ((1,),), (0, 3), NARROW, shape=(1, 0, 3)
        ),
        "has no elements",
    ),
    "truncation by nothing": (
        lambda h: h.result(Truncate, h.y, 0, 62, (2, 3)),
        "the divisor 0",
    ),
    "truncation by a negative number": (
        lambda h: h.result(Truncate, h.y, -2, 62, (2, 3)),
        "the divisor -2",
    ),
    "truncation by an absurd number": (
        lambda h: h.result(Truncate, h.y, 1 << 62, 62, (2, 3)),
        "the divisor",
    ),
    "truncation of 63 bits": (lambda h: h.result(Truncate, h.y, 2, 63, (2, 3)), "width of 63"),
    "truncation of one bit": (lambda h: h.result(Truncate, h.y, 2, 1, (2, 3)), "width of 1"),
    "truncation of another shape": (
        lambda h: h.result(Truncate, h.y, 2, 62, (6,), shape=(6,)),
        "it is declared for the shape",
    ),
    "waves without a turn": (waves(turn=0), "the turn 0 is not one"),
    "waves that turn backwards": (waves(turn=-1), "the turn -1 is not one"),
    "waves that turn more than once": (waves(turn=1 << 64), "the turn 1844.* is not one"),
    "no waves": (waves(pairs=()), "0 waves are not 1 … 32"),
    "33 waves": (waves(pairs=((1, 1),) * 33), "33 waves are not 1 … 32"),
    "waves that are too large": (waves(pairs=((1, 1), (0, (1 << 30) + 1))), "is larger than 1073"),
    "waves that are too small": (waves(pairs=((-(1 << 30) - 1, 0),)), "is larger than 1073"),
    "waves of another shape": (waves(shape=(3, 2)), "it is declared for the shape"),
    "waves of absurd size": (waves(pairs=((-(1 << 63), 0),)), "is larger than 1073"),
    "exponential without a scale": (exponential(scale=0), "its scale is not one"),
    "exponential of a negative scale": (exponential(scale=-5), "its scale is not one"),
    "exponential of an absurd scale": (exponential(scale=1 << 62), "its scale is not one"),
    "exponential without segments": (exponential(segment=0), "do not have up to 62 bits"),
    "exponential of absurd segments": (exponential(segment=1 << 62), "do not have up to 62 bits"),
    "exponential of 63 bits": (
        exponential(scale=1 << 61, segment=61, index=2),
        "do not have up to 62 bits",
    ),
    "exponential without an index": (exponential(index=0), "its index has not 1"),
    "exponential of too large an index": (exponential(index=6), "its index has not 1"),
    "exponential of an absurd index": (exponential(index=1 << 62), "its index has not 1"),
    "exponential of a negative index": (exponential(index=-1), "its index has not 1"),
    "exponential from nowhere": (exponential(low=-(1 << 62) - 1), "start within"),
    "exponential to nowhere": (exponential(low=1 << 62), "start within"),
    "exponential with a negative unit": (exponential(a=-1), "a or b is not"),
    "exponential with an absurd unit": (exponential(b=1 << 62), "a or b is not"),
    "exponential of too many octaves": (exponential(scale=1 << 12), "more than 60 octaves"),
    "exponential with large factors": (exponential(low=12 << 16, b=0), "factors exceed"),
    "exponential with large results": (exponential(b=60), "results exceed"),
    "exponential of another shape": (exponential(shape=(3, 2)), "it is declared for the shape"),
    "relu with a negative divisor": (
        lambda h: h.result(ReLU, h.y, -1, (2, 3), NARROW),
        "the divisor -1",
    ),
    "relu with a plan that is not done": (
        lambda h: h.result(ReLU, h.y, 1, (2, 3), sign.Width(9, 0, Plan((4, 4), ()))),
        "leave 2 nodes",
    ),
    "check with a plan that is not done": (
        lambda h: h.result(
            WithinBound, h.y, 9, "relu", (2, 3), sign.Width(64, 0, Plan((7,) * 9, ()))
        ),
        "leave 9 nodes",
    ),
    "relu of 63 bits that truncates": (
        lambda h: h.result(ReLU, h.y, 2, (2, 3), sign.width(63, 6)),
        "width of 63",
    ),
    "relu that leaves out what it does not truncate": (
        lambda h: h.result(ReLU, h.y, 2, (2, 3), relu_width(1 << 30, 6, 4)),
        "left out of the comparison",
    ),
    "relu of another shape": (
        lambda h: h.result(ReLU, h.y, 1, (3, 2), NARROW, shape=(3, 2)),
        "it is declared for the shape",
    ),
    "comparison that leaves out bits": (
        lambda h: h.result(NonNegative, h.y, (2, 3), sign.width(40, 6, drop=3)),
        "left out of a comparison",
    ),
    "comparison of 66 bits": (
        lambda h: h.result(NonNegative, h.y, (2, 3), sign.Width(66, 0, Plan((8,) * 8 + (1,), ()))),
        "width of 66",
    ),
    "width that leaves out more than it has": (
        lambda h: h.result(ReLU, h.y, 1, (2, 3), sign.Width(9, -1, Plan((8, 1), ((2,),)))),
        "cannot be left out",
    ),
    "comparison of another shape": (
        lambda h: h.result(NonNegative, h.y, (6,), NARROW, shape=(6,)),
        "it is declared for the shape",
    ),
    "check of a bound that wraps around": (
        lambda h: h.result(WithinBound, h.y, 1 << 62, "relu", (2, 3), FULL),
        "the bound",
    ),
    "check of a negative bound": (
        lambda h: h.result(WithinBound, h.y, -1, "relu", (2, 3), FULL),
        "the bound -1",
    ),
    "check at a narrow width": (
        lambda h: h.result(WithinBound, h.y, 9, "relu", (2, 3), NARROW),
        "takes 64 bits, not 33",
    ),
    "plan without chunks": (plan((), ()), "cannot have the chunks"),
    "plan with an empty chunk": (plan((4, 0), ((2,),)), "cannot have the chunks"),
    "plan with a chunk of nine bits": (plan((9,), ()), "cannot have the chunks"),
    "plan for 65 bits": (plan((8,) * 8 + (1,), ((9,),)), "cannot have 65 bits"),
    "plan that joins too few": (plan((4, 4, 4), ((2,),)), "cannot join 3 nodes"),
    "plan that joins too many": (plan((4, 4), ((3,),)), "cannot join 2 nodes"),
    "plan that joins nothing": (plan((4, 4), ((1, 1), (2,))), "cannot join 2 nodes"),
    "plan that joins none": (plan((4, 4), ((2, 0),)), "cannot join 2 nodes"),
    "plan that joins ten at once": (plan((4,) * 10, ((10,),)), "cannot join 10 nodes"),
    "plan that is not done": (plan((4, 4), ()), "leave 2 nodes"),
    "plan that goes on": (plan((4,), ((1,),)), "cannot join 1 nodes"),
    "maximum of neither": (lambda h: extremum(h, tournament(2, 3, 64), value=False), "neither"),
    "maximum of a vector": (lambda h: extremum(h, (), x=h.flat), "two dimensions"),
    "maximum of another shape": (
        lambda h: extremum(h, tournament(3, 2, 64), shape=(3, 2)),
        "it is declared for",
    ),
    "maximum without levels": (lambda h: extremum(h, ()), "leave 2 candidates"),
    "maximum of fewer": (
        lambda h: extremum(h, ((Bracket(1, 1, None),),)),
        "does not take the 2 candidates",
    ),
    "maximum that does not come on": (
        lambda h: extremum(h, ((Bracket(2, 1, None),),) * 9),
        "as many candidates as it takes",
    ),
    "maximum with an empty level": (lambda h: extremum(h, ((),)), "one or two brackets"),
    "maximum with three brackets": (
        lambda h: extremum(h, ((bracket(1, 2, 3, 64),) * 3,)),
        "one or two brackets",
    ),
    "maximum in no groups": (
        lambda h: extremum(h, ((Bracket(-1, 2, FULL), Bracket(4, 1, None)),)),
        "cannot have -1 groups",
    ),
    "maximum in groups of eleven": (
        lambda h: extremum(h, ((Bracket(1, 11, FULL),),)),
        "groups of 11",
    ),
    "maximum without a width": (lambda h: extremum(h, ((Bracket(1, 2, None),),)), "have no width"),
    "maximum of one with a width": (
        lambda h: extremum(h, ((Bracket(2, 1, FULL),),)),
        "compared with nothing",
    ),
    "maximum that leaves out bits": (
        lambda h: extremum(h, ((Bracket(1, 2, sign.width(40, 6, drop=2)),),)),
        "left out of a comparison",
    ),
    "maximum of more levels than there are streams": (
        lambda h: extremum(h, ((bracket(1, 2, 3, 64),),) * 128),
        "too many levels",
    ),
    "message that acts on a terminal": (
        lambda h: h.result(WithinBound, h.y, 9, "\x1b[2J", (2, 3), FULL),
        "cannot be printed",
    ),
}


@pytest.mark.parametrize("attack", SHAPES, ids=SHAPES)
def test_shapes(attack):
    refused(*SHAPES[attack])


@pytest.mark.parametrize("attack", PARAMETERS, ids=PARAMETERS)
def test_parameters(attack):
    refused(*PARAMETERS[attack])
