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

import numpy as np

from tacita.program.readings import Array
from tacita.protocols.linear import PublicFactor
from tacita.protocols.product import Bilinear
from tacita.ring import kernels

Pair = tuple[int, int]


class Convolution(Bilinear, frozen=True, tag=True):
    """out = x∗w; `shape` is that of the result."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    shape: tuple[int, int, int, int]

    @property
    def result(self) -> tuple[int, ...]:
        return self.shape

    def add(self, out: Array, a: Array, b: Array, *, negate: bool = False) -> None:
        add_convolution(self, out, a, b, negate=negate)


class PublicConvolution(PublicFactor, frozen=True, tag=True):
    """out = x∗c, or c∗x if the public wire c comes first; local.

    Only the shares of x are private; c lies with every role.
    """

    public_first: bool
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    shape: tuple[int, int, int, int]

    def times(self, x: Array, public: Array) -> Array:
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
