"""Two-dimensional convolutions: of two private wires, or of a private and a public one.

Shapes: out [N, O, OH, OW], x [N, C, H, W], w [O, C / groups, KH, KW]; ring Z_2^64, exact. Stride,
    padding (zeros on both sides) and dilation are (height, width); cross-correlation, as in torch.
Cost: no round, since both wires are masked (mask.py); dealt: 8 bytes an element of the RESULT.
    Two convolutions a party, one at the dealer; one of a party's two can be prepared, as in
    product.py.
Computes: a convolution is bilinear, so with x̂ = x + r_x and ŵ = w + r_w it is shared as a matrix
    product is: z_i = x̂∗w_i - [r_x]_i∗ŵ + [r_x∗r_w]_i. Zeros that pad x pad x̂ and r_x alike.
    Unrolling x into a matrix would change neither what is dealt nor what is opened; it would only
    copy x once for each tap.
Opened: nothing beyond the two masked wires. Leaks: shapes.
Threat model: semi-honest, any n-1 parties, or the dealer alone.
Source: convolution triples as in CrypTen (Knott et al., NeurIPS 2021), on masked wires as in
    TurboSpeedz (eprint 2019/080).
"""

from __future__ import annotations

from math import prod

import numpy as np

from tacita.program.cost import Cost
from tacita.program.instruction import Instruction
from tacita.program.readings import Array, Dealing, Evaluating, PlainMachine, Preparing, Steps
from tacita.protocols.linear import Linear
from tacita.ring import kernels

Pair = tuple[int, int]


class Convolution(Instruction, frozen=True, tag=True):
    """out = x∗w; `shape` is that of the result."""

    out: int
    x: int
    w: int
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    shape: tuple[int, int, int, int]

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x, self.w)

    @property
    def writes(self) -> tuple[int, ...]:
        return (self.out,)

    def plain(self, machine: PlainMachine) -> None:
        out = np.zeros(self.shape, np.uint64)
        self._add(out, machine.value(self.x), machine.value(self.w))
        machine.write(self.out, out)

    def deal(self, dealer: Dealing) -> None:
        r_x, r_w = dealer.mask_of(self.x), dealer.mask_of(self.w)

        def fill(into: Array) -> None:
            np.negative(into, out=into)
            self._add(into, r_x, r_w)

        dealer.deal(self.shape, fill)

    def evaluate(self, party: Evaluating) -> Steps:
        x = party.masked(self.x)
        out = party.prepared(self.out)
        if out is not None:
            self._add(out, x.opened, party.share(self.w))
        else:
            # What is dealt comes last: the dealer may still be at work on it.
            out = np.zeros(self.shape, np.uint64)
            self._add(out, x.opened, party.share(self.w))
            self._add(out, x.mask_share, party.masked(self.w).opened, negate=True)
            np.add(out, party.dealt(self.shape), out=out)
        party.write(self.out, out)
        yield from ()  # a generator, although there is nothing to open

    def prepare(self, party: Preparing) -> None:
        r_x, opened = party.mask_share(self.x), party.opened(self.w)
        if r_x is not None and opened is not None:
            out = party.dealt(self.shape)
            self._add(out, r_x, opened, negate=True)
            party.keep(self.out, out)

    def cost(self) -> Cost:
        return Cost(dealt_bytes=8 * prod(self.shape))

    def _add(self, out: Array, a: Array, b: Array, *, negate: bool = False) -> None:
        add_convolution(self, out, a, b, negate=negate)


class PublicConvolution(Linear, frozen=True, tag=True):
    """out = x∗c, or c∗x if the public wire c comes first; local.

    Only the shares of x are private; c lies with every role.
    """

    out: int
    x: int
    public: int
    public_first: bool
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    shape: tuple[int, int, int, int]

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.x,)

    @property
    def target(self) -> int:
        return self.out

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.x, self.public)

    def plain(self, machine: PlainMachine) -> None:
        machine.write(self.out, self._convolved(machine.value(self.x), machine.value(self.public)))

    def evaluate(self, party: Evaluating) -> Steps:
        party.write(self.out, self._convolved(party.share(self.x), party.public(self.public)))
        yield from ()  # a generator, although there is nothing to open

    def _convolved(self, x: Array, public: Array) -> Array:
        out = np.zeros(self.shape, np.uint64)
        add_convolution(self, out, *((public, x) if self.public_first else (x, public)))
        return out


def add_convolution(
    of: Convolution | PublicConvolution, out: Array, x: Array, w: Array, *, negate: bool = False
) -> None:
    if not out.size or not w.size:
        return
    kernels.convolve_add(
        out,
        x,
        w,
        stride=of.stride,
        padding=of.padding,
        dilation=of.dilation,
        groups=of.groups,
        negate=negate,
    )
