"""What the tests of this folder share: groups that compute, and agreement with plain torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import tacita
from tacita.ring.fixed_point import Precision, encode
from tacita.runtime.plain import PlainRun
from tacita.torch.encoding import array_of, integers_of, is_integer
from tacita.torch.lowering import Lowering
from tacita.torch.private_tensor import PrivateTensor

PRECISION = Precision(10, 3)


@dataclass
class Group:
    """Whoever computes: `holders` workers and a dealer, or nobody (0: in the clear)."""

    holders: list[tacita.VirtualWorker]
    dealer: tacita.VirtualWorker | None
    run: PlainRun | None = None
    protocol: str = "auto"

    def share(self, tensor, precision=PRECISION, *, bound=None, checked=False):
        """A private tensor: integers if the tensor is of integers, else fixed point."""
        if self.run is not None:
            if is_integer(tensor):
                values, scale, precision = integers_of(tensor), 1, None
            else:
                values, scale = encode(array_of(tensor), precision), precision.scale
            ring = None if bound is None else int(bound * scale + 0.5)
            run = PlainRun(checked=True) if checked else self.run
            handle = run.input(values, tuple(tensor.shape), scale, ring)
            return PrivateTensor(handle, Lowering(run, precision))
        encoded = tensor if is_integer(tensor) else tensor.fix_precision(precision)
        return encoded.share(
            *self.holders,
            crypto_provider=self.dealer,
            protocol=self.protocol,
            bound=bound,
            checked=checked,
        )

    def fixed(self, tensor, precision=PRECISION):
        """An integer tensor shared in fixed point."""
        return self.share(tensor.to(torch.float64), precision)


def reals(tensor):
    """What a private tensor holds, as float32 or int64."""
    return tensor.decrypt()


def unrounded(private):
    """What a private tensor holds with all the digits that were computed, as float64.

    `get` gives those of the precision only.
    """
    if private.precision is None:
        return private.decrypt()
    ring = private._lowering.builder.reveal(private._handle).astype(np.uint64).view(np.int64)
    return torch.from_numpy(np.asarray(ring.astype(np.float64) / private._handle.wire.scale))


def stored(tensor, precision=PRECISION):
    """The reals that encoding makes of a tensor, exactly."""
    return torch.round(tensor.double() * precision.scale) / precision.scale


def close(private, expected, units=0, precision=PRECISION):
    """Asserts that a private tensor holds `expected`, but for `units` units of the precision.

    Apart from truncations (one unit each) everything is exact; what is left is the rounding of
    the decoded value to float32.
    """
    got = unrounded(private)
    expected = torch.as_tensor(expected)
    assert tuple(private.shape) == tuple(got.shape) == tuple(expected.shape)
    expected = expected.double()
    slack = units / precision.scale * (1 + 1e-6) + expected.abs() * 2.0**-22 + 1e-9
    assert ((got.double() - expected).abs() <= slack).all(), (got, expected)
