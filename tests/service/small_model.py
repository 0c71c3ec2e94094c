"""A model with few rounds, for tests that ask many queries of it."""

from dataclasses import dataclass

import numpy as np
import torch

from tacita import export
from tacita.compiler import archive
from tacita.runtime.plain import run_plain


@dataclass
class Small:
    """A model as its owner has it; `inputs` and `expected` are those of one query."""

    model: object

    @property
    def program(self):
        return archive.encode(self.model.program)

    @property
    def weights(self):
        pairs = zip(self.model.program.weights, self.model.weights, strict=True)
        return [(port.name, values) for port, values in pairs]

    def inputs(self, images):
        (port,) = self.model.program.inputs
        (values,) = self.model.encode([images])
        return [(port.name, values, self.model.precision.scale)]

    def images(self):
        (port,) = self.model.program.inputs
        return torch.rand(self.model.program.wires[port.wire].shape)

    def require_right(self, result, images):
        """Truncation is off by one unit at each layer; what follows multiplies that by its weights.

        So the bound is that of the sums of absolute weights, at the scale of the results.
        """
        (port,) = self.model.program.outputs
        expected = run_plain(self.model.program, self.model.weights, self.model.encode([images]))
        error, scale = 0, self.model.precision.scale
        for values in self.model.weights:
            if values.ndim == 2:
                rows = np.abs(values.astype(np.int64)).sum(axis=1).max() / scale
                error = rows * error + 1
        apart = np.abs((result - expected[port.wire]).astype(np.int64)).max()
        assert apart <= error * scale, "the result is wrong"


def small(seed=1):
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    return Small(export(network.eval(), torch.rand(1, 4), largest=1.0))
