"""Products of two private wires, elementwise or as matrices.

Shapes: as NumPy's multiply (broadcasting) or matmul (batched); ring Z_2^64, exact.
Cost: no round, since both wires are masked (mask.py); dealt: 8 bytes an element of the RESULT.
    Two ring products a party, one at the dealer. Where w was masked before the program runs, as a
    weight is, P_i = [r_x∘r_w]_i - [r_x]_i∘ŵ can be prepared, and one product is left for later.
Computes: with x̂ = x + r_x and ŵ = w + r_w public between the parties,
        x∘w = x̂∘w - r_x∘ŵ + r_x∘r_w,
    so party i takes z_i = x̂∘w_i - [r_x]_i∘ŵ + [r_x∘r_w]_i for freshly dealt shares of r_x∘r_w.
Opened: nothing beyond the two masked wires.
Leaks: shapes. Threat model: semi-honest, any n-1 parties, or the dealer alone.
Source: Beaver 1991; masked wires as in TurboSpeedz (eprint 2019/080). A weight's ŵ is opened once
    and serves every query.
"""

from __future__ import annotations

from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Preparing, Steps
from tacita.ring import kernels


class Bilinear(Instruction, frozen=True, tag=True):
    """out = x∘w, for whatever bilinear map `add` says."""

    out: int
    x: int
    w: int

    @property
    def result(self) -> tuple[int, ...]:
        """The shape of out."""
        raise NotImplementedError

    def add(self, out: Array, a: Array, b: Array, *, negate: bool = False) -> None:
        """out += a∘b, or out -= a∘b."""
        raise NotImplementedError

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x, self.w)

    @property
    def writes(self) -> tuple[int, ...]:
        return (self.out,)

    def plain(self, machine: PlainMachine) -> None:
        out = np.zeros(self.result, np.uint64)
        self.add(out, machine.value(self.x), machine.value(self.w))
        machine.write(self.out, out)

    def deal(self, dealer: Dealing) -> None:
        r_x, r_w = dealer.mask_of(self.x), dealer.mask_of(self.w)

        def fill(into: Array) -> None:
            np.negative(into, out=into)
            self.add(into, r_x, r_w)

        dealer.deal(self.result, fill)

    def evaluate(self, party: Evaluating) -> Steps:
        x = party.masked(self.x)
        out = party.prepared(self.out)
        if out is not None:
            self.add(out, x.opened, party.share(self.w))
        else:
            # What is dealt comes last: the dealer may still be at work on it.
            out = np.zeros(self.result, np.uint64)
            self.add(out, x.opened, party.share(self.w))
            self.add(out, x.mask_share, party.masked(self.w).opened, negate=True)
            np.add(out, party.dealt(self.result), out=out)
        party.write(self.out, out)
        yield from ()  # a generator, although there is nothing to open

    def prepare(self, party: Preparing) -> None:
        r_x, opened = party.mask_share(self.x), party.opened(self.w)
        if r_x is not None and opened is not None:
            out = party.dealt(self.result)
            self.add(out, r_x, opened, negate=True)
            party.keep(self.out, out)

    def cost(self) -> Cost:
        return Cost(dealt_bytes=8 * prod(self.result))


class Product(Bilinear, frozen=True, tag=True):
    """out = x∘w; `shape` is that of the result."""

    matrix: bool
    shape: tuple[int, ...]

    @property
    def result(self) -> tuple[int, ...]:
        return self.shape

    def add(self, out: Array, a: Array, b: Array, *, negate: bool = False) -> None:
        if not out.size:
            return
        if self.matrix:
            kernels.matmul_add(out, a, b, negate=negate)
        else:
            a, b = (np.asarray(np.broadcast_to(v, self.shape), order="C") for v in (a, b))
            kernels.product_add(out, a, b, negate=negate)
