"""How far a private result may be from the plaintext one: a bound, not a guess.

For every value it follows the worst that roundings can do, with u = 2^-bits the unit of the fixed
point: inputs, weights and biases are rounded to the nearest (u/2 each), every truncation takes one
unit at most, and float32 adds up n products with an error of n·2^-24 of their absolute sum.
A wrong answer (shares that do not fit each other) is uniform in the ring, and off by far more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

FLOAT32 = 2.0**-24


class Follower(fx.Interpreter):
    """Values are pairs of a tensor and the bound of its error, in doubles."""

    def __init__(self, module: nn.Module, unit: float) -> None:
        super().__init__(fx.symbolic_trace(module))
        self._unit = unit

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = self.fetch_attr(target)
        if isinstance(layer, nn.Linear):
            return self._sum_of_products(layer, F.linear, *args[0])
        if isinstance(layer, nn.Conv2d):
            return self._sum_of_products(layer, layer._conv_forward, *args[0])
        if isinstance(layer, nn.ReLU):
            return self.call_function(F.relu, args, kwargs)
        raise self._unknown(type(layer).__name__)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value, error = args[0]
        rest = args[1:]
        if target in (F.relu, torch.relu):
            return F.relu(value), error  # no two values are further apart afterwards
        if getattr(target, "__name__", "").startswith(("max_pool2d", "boolean_dispatch")):
            return F.max_pool2d(value, *rest, **kwargs), F.max_pool2d(error, *rest, **kwargs)
        if target is torch.flatten:
            return value.flatten(*rest, **kwargs), error.flatten(*rest, **kwargs)
        raise self._unknown(getattr(target, "__name__", str(target)))

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if target not in ("flatten", "view", "reshape"):
            raise self._unknown(target)
        return tuple(getattr(each, target)(*args[1:], **kwargs) for each in args[0])

    def _unknown(self, what: str) -> SystemExit:
        return SystemExit(f"no bound of the error of {what} is known: measure another network")

    def _sum_of_products(self, layer: Any, sums: Any, value: Tensor, error: Tensor) -> Any:
        weight, bias = layer.weight.double(), layer.bias.double()
        half, size = self._unit / 2, weight[0].numel()
        reach = value.abs() + error
        off = (
            sums(error, weight.abs(), None)  # of the inputs
            + sums(reach, torch.full_like(weight, half), None)  # of the weights
            + half  # of the bias
            + self._unit  # of the truncation
            + size * FLOAT32 * sums(value.abs(), weight.abs(), bias.abs())  # of the plaintext
        )
        return sums(value, weight, bias), off


def tolerance(module: nn.Module, images: Tensor, bits: int) -> Tensor:
    """For each of the module's results on these images, by how much it may be off.

    module: of linear layers, convolutions with biases, ReLUs, max-pools and flattening. Raises
    SystemExit for another. Cost: that of three runs in doubles.
    """
    unit = 2.0**-bits
    with torch.no_grad():
        value = images.double()
        _, error = Follower(module, unit).run((value, torch.full_like(value, unit / 2)))
    return error
