"""A masked index as a one-hot column, and values put in its place: no round, nothing opened.

Shapes: x any; each value the shape of x; every wire that is written [classes, *shape]. Range: with
    B = 2^bits and classes <= B, x counts modulo B: an x of [classes, B) makes a column of zeros,
    and any other one that of x mod B.
Computes: hot[j] = [x = j] and placed[j] = v·[x = j], for any number of masked values v. With x̂ the
    opening of x under r, [x = j] = [r mod B = x̂ - j mod B]: the one-hot column of r mod B, B words
    that are dealt, read backwards from the public place x̂. With v̂ the opening of v under ρ,
    v·[x = j] = v̂·[x = j] - ρ·[x = j]: zeros but for ρ at the place of r are dealt too.
Cost: no round (x and values are masked already, see mask.py); dealt: 8·B bytes an element, and as
    much again for each value.
Error: none; exact for all of the ring.
Opened: nothing beyond the masked wires, which are uniform; what is dealt is shared additively, and
    any n - 1 shares are uniform, whatever r and ρ are.
Leaks: shapes, bits and classes. Threat model: semi-honest, any n-1 parties, or the dealer alone.
Source: one-time truth tables (Ishai, Kushilevitz, Meldgaard, Orlandi, Paskin-Cherniavsky, TCC
    2013), for the table of equality; that a masked value joins in the same table is ours.
"""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from tacita.errors import ProgramError
from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Steps
from tacita.protocols.pieces import pieces
from tacita.protocols.truncate import flat

MOST_BITS = 17  # of an index: a megabyte dealt for each


class OneHot(Instruction, frozen=True, tag=True):
    """hot[j] = [x = j mod 2^bits] for j < classes, and placed[i][j] = values[i]·[x = j mod 2^bits].

    x and values are masked, of `shape`. hot: None where nobody wants it.
    """

    hot: int | None
    placed: tuple[int, ...]
    x: int
    values: tuple[int, ...]
    bits: int
    classes: int
    shape: tuple[int, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x, *self.values)

    @property
    def writes(self) -> tuple[int, ...]:
        return self.placed if self.hot is None else (self.hot, *self.placed)

    @property
    def result(self) -> tuple[int, ...]:
        """The shape of each wire that is written."""
        return (self.classes, *self.shape)

    @property
    def _entries(self) -> int:
        """B. Whoever sends an instruction may have sent any number: a power of two of it might not
        fit in memory."""
        if not 1 <= self.bits <= MOST_BITS:
            raise ProgramError(f"an index has 1 … {MOST_BITS} bits")
        return 1 << self.bits

    def plain(self, machine: PlainMachine) -> None:
        places = flat(machine.value(self.x)) & np.uint64(self._entries - 1)
        hot = np.equal(_column(self.classes), places).astype(np.uint64)
        if self.hot is not None:
            machine.write(self.hot, hot.reshape(self.result))
        for out, value in zip(self.placed, self.values, strict=True):
            machine.write(out, (hot * flat(machine.value(value))).reshape(self.result))

    def deal(self, dealer: Dealing) -> None:
        entries, tables = self._entries, 1 + len(self.values)
        places = flat(dealer.mask_of(self.x)) & np.uint64(entries - 1)
        masks = [flat(dealer.mask_of(value)) for value in self.values]
        for piece in pieces(places.size, tables * entries):
            # Every entry is compared: none is looked up at a place that depends on a mask.
            hot = np.equal(_column(entries), places[piece])
            fill = partial(_corrected, hot, [mask[piece] for mask in masks])
            dealer.deal((tables, *hot.shape), fill)

    def evaluate(self, party: Evaluating) -> Steps:
        entries, tables, classes = self._entries, 1 + len(self.values), self.classes
        opened = flat(party.masked(self.x).opened)
        values = [flat(party.masked(value).opened) for value in self.values]
        wanted = self.hot is not None
        out = np.empty((wanted + len(values), classes, opened.size), np.uint64)
        for piece in pieces(opened.size, tables * entries):
            public = opened[piece]
            dealt = party.dealt((tables, entries, public.size))
            places = (public - _column(classes)) & np.uint64(entries - 1)
            places = places.view(np.int64)
            hot = np.take_along_axis(dealt[0], places, axis=0)
            if wanted:
                out[0, :, piece] = hot
            for into, value, table in zip(out[wanted:], values, dealt[1:], strict=True):
                below = np.take_along_axis(table, places, axis=0)
                into[:, piece] = hot * value[piece] - below
        for wire, share in zip(self.writes, out, strict=True):
            party.write(wire, share.reshape(self.result))
        yield from ()  # a generator, although there is nothing to open

    def cost(self) -> Cost:
        words = self._entries * (1 + len(self.values))
        return Cost(dealt_bytes=8 * words * prod(self.shape))


def _column(count: int) -> Array:
    return np.arange(count, dtype=np.uint64)[:, None]


def _corrected(hot: NDArray[np.bool_], masks: list[Array], into: Array) -> None:
    """`into`, the sum of the other shares, as what it lacks of the tables."""
    np.subtract(hot, into[0], out=into[0])
    for table, mask in zip(into[1:], masks, strict=True):
        np.subtract(hot * mask, table, out=table)


def bits_of(classes: int) -> int:
    """The bits of an index that has so many values."""
    return max(1, (classes - 1).bit_length())
