"""Instructions that no protocol has: one that publishes, one by way of the dealer, and one in words
that the parties draw alike; and how they get into orders and programs, which know them not.

All three leave the value of their wire, but for what their names say.
"""

from __future__ import annotations

import os
from math import prod
from types import SimpleNamespace

import msgspec
import numpy as np

from tacita.compiler import archive
from tacita.compiler.shapes import written
from tacita.program.cost import Cost
from tacita.program.instruction import Unary
from tacita.program.program import Port, Program
from tacita.program.readings import subtract_from
from tacita.program.wire import Wire
from tacita.protocols import AnyInstruction
from tacita.runtime import serving
from tacita.runtime.orders import Order


class PlusSeven(Unary, frozen=True, tag=True):
    """x + 7: seeds of all parties, corrections, and the sum of the seeds published, in a branch."""

    shape: tuple[int, ...]

    def deal(self, dealer):
        branch = dealer.branch(3)
        seeds = branch.seeds(self.shape)
        branch.deal(self.shape, subtract_from(np.full(self.shape, 7, np.uint64)))

        def fill(into):
            np.add.reduce(seeds, axis=0, out=into)

        branch.publish(self.shape, fill)
        dealer.publish((0, 2), lambda into: into.fill(1))

    def evaluate(self, party):
        branch = party.branch(3)
        seed, seven = branch.seed(self.shape), branch.dealt(self.shape)
        published = branch.published(self.shape)
        assert party.published((0, 2)).shape == (0, 2)
        share = party.share(self.x) + seven - seed
        party.write(self.out, share + published if party.first else share)
        return
        yield []

    def plain(self, machine):
        machine.write(self.out, machine.value(self.x) + np.uint64(7))

    def cost(self):
        return Cost(dealt_bytes=8 * prod(self.shape), published_bytes=8 * prod(self.shape))


class TimesThree(Unary, frozen=True, tag=True):
    """3x: the dealer is sent x + c + Σ seeds, with c the parties' own, and answers 3(x + c).

    In the same round a zero is opened, so that openings and answers travel together.
    """

    shape: tuple[int, ...]
    branch: int = 2

    def deal(self, dealer):
        dealer.mask(self.shape)
        branch = dealer.branch(self.branch)
        seeds = branch.seeds(self.shape)

        def reply(words):
            return np.uint64(3) * (np.add.reduce(words, axis=0) - np.add.reduce(seeds, axis=0))

        branch.assist(self.shape, reply)

    def evaluate(self, party):
        mask = party.mask(self.shape)
        branch = party.branch(self.branch)
        alike = branch.common(self.shape)
        words = party.share(self.x) + branch.seed(self.shape)
        if party.first:
            words = words + alike
        zero = np.zeros(self.shape, np.uint64)
        answer, _ = yield [branch.consult(words, self.shape), mask.hide(zero)]
        share = answer - np.uint64(3) * alike if party.first else zero
        party.write(self.out, share)

    def plain(self, machine):
        machine.write(self.out, np.uint64(3) * machine.value(self.x))

    def cost(self):
        size = 8 * prod(self.shape)
        return Cost(
            rounds=1,
            opened_bytes=size,
            consultations=1,
            consulted_bytes=size,
            answered_bytes=size,
        )


class Rerandomised(Unary, frozen=True, tag=True):
    """x in other shares: c more for one party, c less for the others, from two branches."""

    concerns_dealer = False

    shape: tuple[int, ...]

    def deal(self, dealer):
        return

    def evaluate(self, party):
        late = party.branch(5).common(self.shape)  # before the instruction itself
        alike = party.common(self.shape) + late
        share = party.share(self.x)
        party.write(self.out, share + alike if party.first else share - alike)
        return
        yield []

    def plain(self, machine):
        machine.write(self.out, machine.value(self.x))

    def cost(self):
        return Cost()


ALL = AnyInstruction | PlusSeven | TimesThree | Rerandomised


@written.register
def as_read(instruction: PlusSeven | TimesThree | Rerandomised, *read):
    return read


class AnyOrder(msgspec.Struct, frozen=True, array_like=True):
    number: int
    instructions: tuple[ALL, ...]
    forget: tuple[int, ...] = ()


def admit(monkeypatch):
    """Roles of this process take orders with these instructions."""
    decode = msgspec.msgpack.Decoder(AnyOrder).decode

    def decode_order(header):
        order = decode(header)
        return Order(order.number, order.instructions, order.forget)

    monkeypatch.setattr(serving, "decode_order", decode_order)


def admit_programs(monkeypatch):
    """encoded(program): bytes that the roles of this process take for it."""
    programs, decode = {}, archive.decode
    monkeypatch.setattr(
        archive, "decode", lambda data: programs[data] if data in programs else decode(data)
    )

    def encoded(program):
        data = os.urandom(64)
        programs[data] = program
        return data

    return encoded


def chain(*kinds, shape=(3,), beside=()):
    """A program of these kinds, one after the other; those of `beside` read the input as well."""
    instructions = [kind(number + 1, number, shape) for number, kind in enumerate(kinds)]
    end = len(kinds)
    instructions += [kind(end + 1 + i, 0, shape) for i, kind in enumerate(beside)]
    outputs = [end, *range(end + 1, end + 1 + len(beside))]
    return Program(
        wires=tuple(Wire(number, shape) for number in range(len(instructions) + 1)),
        inputs=(Port("x", 0),),
        weights=(),
        constants=(),
        outputs=tuple(Port(f"y{wire}", wire) for wire in outputs),
        instructions=tuple(instructions),
        places=("",) * len(instructions),
        base=10,
        digits=0,
    )


def expected(program, x):
    """What the outputs are for an input, in the clear."""
    values = {0: np.asarray(x).astype(np.uint64)}
    machine = SimpleNamespace(value=values.__getitem__, write=values.__setitem__)
    for each in program.instructions:
        each.plain(machine)
    return [values[port.wire].astype(np.int64).tolist() for port in program.outputs]
