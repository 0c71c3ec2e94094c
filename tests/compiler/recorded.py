"""Programs to test with: recorded from lowerings or by hand, and run in the clear or by parties."""

from __future__ import annotations

import numpy as np

from tacita.compiler.passes import optimised
from tacita.compiler.recorder import Recorder
from tacita.program.builder import Handle
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
    sign,
    tables,
)
from tacita.protocols.extremum import tournament
from tacita.protocols.relu import relu_width
from tacita.protocols.staircase import staircase_width
from tacita.ring.fixed_point import Precision
from tacita.runtime.embedded import EmbeddedSession
from tacita.torch.lowering import arithmetic, comparison, extrema, matrices, selection
from tacita.torch.lowering.lowering import Lowering

INTEGERS = Precision(2, 0)


def network(base=2, digits=16, *, checked=False):
    """Two layers, the class, and whether it is class 3."""
    recorder, precision = Recorder(checked=checked), Precision(base, digits)
    low, one = Lowering(recorder, precision), precision.scale
    x = recorder.input("x", (4, 6), one, 16 * one)
    first = recorder.weight("first.weight", (8, 6), one, one)
    bias = recorder.weight("first.bias", (8,), one, one)
    last = recorder.weight("last.weight", (12, 8), one, one)
    recorder.place = "first"
    hidden = matrices.linear(low, x, first, bias)
    recorder.place = "relu"
    hidden = selection.relu(low, hidden)
    recorder.place = "last"
    scores = matrices.linear(low, hidden, last)
    recorder.place = ""
    index = extrema.argmax(low, scores, 1)
    outputs = [("scores", scores), ("class", index), ("third", comparison.eq(low, index, 3))]
    outputs.append(("half", arithmetic.scaled(low, scores, 0.5)))
    return optimised(recorder.program(outputs, precision))


class Hand:
    """Writes programs by hand: wires by shape, instructions by their fields."""

    def __init__(self):
        self.recorder = Recorder()

    def input(self, *shape):
        return self.recorder.input(f"in{len(self.recorder._inputs)}", shape, 1, None).wire.id

    def weight(self, *shape):
        return self.recorder.weight(f"w{len(self.recorder._weights)}", shape, 1, None).wire.id

    def constant(self, values):
        return self.recorder.constant(np.asarray(values, np.uint64), 1, None).wire.id

    def wire(self, *shape, scale=1, bound=None):
        return self.recorder.new_wire(shape, scale, bound).id

    def emit(self, kind, *fields, place=""):
        self.recorder.place = place
        self.recorder.emit(kind(*fields))

    def mask(self, *wires):
        shapes = tuple(self.recorder._wires[wire].shape for wire in wires)
        self.emit(MaskWires, wires, shapes)

    def program(self, *outputs):
        handles = [
            (f"out{number}", Handle(self.recorder, self.recorder._wires[wire]))
            for number, wire in enumerate(outputs)
        ]
        return self.recorder.program(handles, INTEGERS)


def indices(*values):
    return np.array(values, "<i8").tobytes()


def every_instruction():
    """A program that has each instruction that can stand in one, on small wires."""
    hand = Hand()
    x, w, c = hand.input(2, 3), hand.weight(4, 3), hand.constant(np.arange(8).reshape(2, 4))
    hand.mask(x)
    turned, product = hand.wire(3, 4), hand.wire(2, 4)
    hand.emit(Permute, turned, w, (1, 0), place="first")
    hand.emit(Product, product, x, turned, True, (2, 4), place="first")
    bias, total = hand.wire(2, 4), hand.wire(2, 4)
    hand.emit(PublicProduct, bias, product, c, False, False, (2, 4), place="first")
    hand.emit(Combine, total, ((product, 2), (bias, -3)), (2, 4), place="first")
    hand.mask(total)
    bounded, above, smaller = hand.wire(2, 4), hand.wire(2, 4), hand.wire(2, 4)
    hand.emit(WithinBound, bounded, total, 1 << 40, "relu", (2, 4), sign.width(64, 16))
    hand.emit(ReLU, above, bounded, 4, (2, 4), relu_width(1 << 40, 8, 4))
    hand.emit(Truncate, smaller, bounded, 10, 42, (2, 4))
    both, flat, part = hand.wire(4, 4), hand.wire(16), hand.wire(5)
    hand.emit(Concatenate, both, (above, smaller), 0)
    hand.emit(Reshape, flat, both, (16,))
    hand.emit(Slice, part, flat, 0, 1, 16, 3)
    chosen, wide = hand.wire(3, 4), hand.wire(2, 3, 4)
    hand.emit(Gather, chosen, flat, (3, 4), indices(*range(15, 3, -1)))
    hand.emit(Expand, wide, chosen, (2, 3, 4))
    hand.mask(part)
    hand.mask(flat)
    positive, nothing = hand.wire(5), hand.wire(3, 4)
    hand.emit(NonNegative, positive, part, (5,), sign.width(33, 5))
    stairs, climbs = hand.wire(2, 5), (-9, 4)
    hand.emit(
        Staircase, stairs, part, climbs, (1, 0), ((2, 3), (5, -7)), (5,),
        staircase_width(-(1 << 20), 1 << 20, climbs, 5),
    )  # fmt: skip
    ramps = hand.wire(2, 5)
    hand.emit(
        Ramps, ramps, part, climbs, (5,), staircase_width(-(1 << 20), 1 << 20, climbs, 5),
    )  # fmt: skip
    hand.emit(Zero, nothing, chosen, (3, 4), tables.plan(64, 12, order=False))
    curved, powers = hand.wire(5), hand.wire(5)
    hand.emit(Waves, curved, part, 1 << 40, ((5, -3), (0, 1 << 20)), (5,), place="functions")
    hand.emit(Exponential, powers, part, -512, 64, 10, 1, 16, 16, (5,), place="functions")
    places, hot, placed = hand.wire(3, 4), hand.wire(3, 3, 4), hand.wire(3, 3, 4)
    hand.emit(Ranks, places, chosen, (3, 4), sign.width(44, 12), place="functions")
    hand.mask(places)
    hand.emit(OneHot, hot, (placed,), places, (chosen,), 2, 3, (3, 4), place="functions")
    column, value, index = hand.wire(16, 1), hand.wire(1), hand.wire(1)
    hand.emit(Reshape, column, flat, (16, 1))
    hand.emit(Extremum, value, index, column, (16, 1), tournament(16, 1, 44))
    summed = hand.wire(2, 1, 4)
    hand.emit(Sum, summed, wide, (1,), (2, 1, 4))
    picture, filters = hand.wire(1, 2, 2, 4), hand.weight(4, 1, 1, 2)
    hand.emit(Reshape, picture, flat, (1, 2, 2, 4), place="second")
    spaced, picked = hand.wire(1, 2, 3, 5), hand.wire(1, 2, 3, 5)
    hand.emit(Pad, spaced, picture, (0, 0, 0, 1), (0, 0, 0, 0), (0, 0, 1, 0), place="second")
    hand.emit(Take, picked, spaced, 2, (2, 2, 0), place="second")
    features, edges = hand.wire(1, 4, 3, 3), hand.wire(1, 2, 2, 2)
    hand.emit(
        Convolution, features, picked, filters, (1, 2), (0, 1), (1, 2), 2, (1, 4, 3, 3),
        place="second",
    )  # fmt: skip
    kernel = hand.constant(np.arange(32).reshape(2, 4, 2, 2))
    hand.emit(
        PublicConvolution, edges, features, kernel, False, (1, 1), (0, 0), (1, 1), 1, (1, 2, 2, 2)
    )
    functions = (stairs, ramps, curved, powers)
    return hand.program(positive, *functions, nothing, value, index, summed, edges)


# ---- running programs --------------------------------------------------------------------------


class Clear:
    """A plain machine without checks of its own: what goes wrong is the program's fault."""

    def __init__(self):
        self.values = {}

    def value(self, wire):
        return self.values[wire]

    def write(self, wire, value):
        self.values[wire] = value

    def fail(self, wire, message):
        """The values stay, so that everything after it is run as well."""


def values_for(program):
    """Small values for what is bound, by wire."""
    random = np.random.default_rng(7)
    bound = {
        port.wire: random.integers(-50, 50, program.wires[port.wire].shape).astype(np.uint64)
        for port in (*program.inputs, *program.weights)
    }
    constants = {
        each.wire: each.array(program.wires[each.wire].shape) for each in program.constants
    }
    return bound, constants


def run_clear(program):
    """All wires' values; raises what the plain readings raise."""
    machine = Clear()
    bound, constants = values_for(program)
    machine.values |= bound | constants
    for instruction in program.instructions:
        instruction.plain(machine)
    return machine.values


def run_shared(program, limit=10.0):
    """The outputs as two parties and a dealer compute them, instruction by instruction."""
    bound, constants = values_for(program)
    session = EmbeddedSession(("alice", "bob"), "dealer", limit=limit)
    try:
        handles = []
        for wire in program.wires:
            # A fresh session numbers its wires from 0, as a program does.
            if wire.id in bound:
                handles.append(session.input(bound[wire.id], wire.shape, wire.scale, wire.bound))
            elif wire.id in constants:
                handles.append(session.constant(constants[wire.id], wire.scale, wire.bound))
            else:
                handles.append(Handle(session, session.new_wire(wire.shape)))
            assert handles[-1].wire.id == wire.id
        session.mask([handles[port.wire] for port in program.weights], "weights")
        for instruction in program.instructions:
            session.emit(instruction)
        return [session.reveal(handles[port.wire]) for port in program.outputs]
    finally:
        session.close()
