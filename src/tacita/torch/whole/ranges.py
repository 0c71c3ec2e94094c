"""How large values get: bounds for every node of a network, which make comparisons narrow.

Two sources. The owner's sample data, run through the network in the clear (`observed`): the
largest value seen, times a margin. And arithmetic: |w·x + b| <= Σ|w|·bound(x) + |b|, from a
declared range of the inputs (`of_linear`). Bounds are public; they are rounded up to powers of
two, so that they say no more about weights and samples than a number of bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, isfinite, log2
from typing import Any

import torch
from torch import fx

from tacita.errors import EncodingError, ShapeError, UsageError
from tacita.torch.lowering.expected import Interval
from tacita.torch.lowering.hidden import HIDDEN
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.whole.graph import Network
from tacita.torch.whole.inner import Observer, Watch

VIEW, RESHAPE = torch.ops.aten.view.default, torch.ops.aten.reshape.default


@dataclass(frozen=True)
class Ranges:
    """largest: of each node's result, in reals, by the node's name; a power of two.
    inner: of what is inside of an operation, by the node's name; see inner.py.
    """

    largest: dict[str, float]
    inner: dict[str, dict[str, Interval]] = field(default_factory=dict)

    def of(self, node: fx.Node) -> float | None:
        return self.largest.get(node.name)


def rounded_up(value: float) -> float:
    """The next power of two, at least 2^-20."""
    return float(2.0 ** ceil(log2(max(value, 2.0**-20))))


def run(
    network: Network, inputs: Sequence[torch.Tensor], watch: Watch | None = None
) -> dict[str, Any]:
    """Every node's value for these inputs, in the clear; `watch` is shown what each is given."""
    values: dict[fx.Node, Any] = {}
    given = dict(zip(network.inputs, inputs, strict=True))

    def known(node: fx.Node) -> Any:
        return values[node]

    with torch.no_grad():
        for node in network.graph.nodes:
            if node.op == "placeholder":
                values[node] = given.get(node, network.parameters.get(node.name))
            elif node.op == "call_function":
                args, kwargs = fx.map_arg((node.args, node.kwargs), known)
                if watch is not None:
                    watch(node, args, kwargs)
                # Copies that made a view possible may have been rewritten away.
                target = RESHAPE if node.target is VIEW else node.target
                values[node] = target(*args, **kwargs)
    return {node.name: value for node, value in values.items()}


def observed(
    network: Network, samples: Sequence[torch.Tensor] | torch.Tensor, margin: float
) -> Ranges:
    """What the samples show, times `margin`.

    samples: for each input a tensor whose first dimension counts samples; they are taken in
    batches of the size that the network was exported for.
    """
    if not isinstance(margin, int | float) or not isfinite(margin) or margin < 1:
        raise UsageError(f"margin= of a calibration is a number of 1 or more, not {margin!r}")
    largest: dict[str, float] = {}
    observer = Observer()
    for inputs in batches(network, samples):
        for name, value in run(network, inputs, observer).items():
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
                # Minus infinity hides a score, for which a number stands in.
                top = float(value.masked_fill(value == -inf, HIDDEN).abs().max())
                if not isfinite(top):
                    raise EncodingError(f"calibration: {name} is not finite for one of the samples")
                largest[name] = max(largest.get(name, 0.0), top)
    bounds = {name: rounded_up(top * margin) for name, top in largest.items()}
    return Ranges(bounds, observer.widened(margin))


def batches(
    network: Network, samples: Sequence[torch.Tensor] | torch.Tensor
) -> Iterator[list[torch.Tensor]]:
    """The samples in batches of the network's size; the last is filled up with the first ones."""
    tensors = _tensors(samples)
    if len(tensors) != len(network.inputs):
        raise UsageError(
            f"calibration takes samples for {len(network.inputs)} inputs, not {len(tensors)}"
        )
    batch, count = _sizes(network, tensors)
    # Samples may be bytes or doubles; the network's arithmetic is that of its example.
    dtypes = [node.meta["val"].dtype for node in network.inputs]
    for start in range(0, count, batch):
        index = torch.arange(start, start + batch) % count
        yield [tensor[index].to(dtype) for tensor, dtype in zip(tensors, dtypes, strict=True)]


def first_batch(
    network: Network, samples: Sequence[torch.Tensor] | torch.Tensor
) -> list[torch.Tensor]:
    return next(batches(network, samples))


def _tensors(samples: object) -> tuple[torch.Tensor, ...]:
    several = samples if isinstance(samples, list | tuple) else (samples,)
    for each in several:
        if not isinstance(each, torch.Tensor) or isinstance(each, RingTensor):
            raise UsageError(
                f"samples= takes an ordinary tensor for each input, not a {type(each).__name__}"
            )
    return tuple(several)


def _sizes(network: Network, samples: Sequence[torch.Tensor]) -> tuple[int, int]:
    """How many samples a batch has, and how many there are; the same for all inputs."""
    found = set()
    for tensor, node in zip(samples, network.inputs, strict=True):
        shape, given = tuple(node.meta["val"].shape), tuple(tensor.shape)
        if not shape or not shape[0]:
            raise UsageError(
                f"input '{node.name}' of shape {shape} has no batch to fill with samples: state "
                "how large inputs get with largest= instead"
            )
        if not given or given[1:] != shape[1:] or not given[0]:
            raise ShapeError(
                f"calibration samples for input '{node.name}' have shape {given}; they take "
                f"({', '.join(['any number', *map(str, shape[1:])])})"
            )
        found.add((shape[0], given[0]))
    if len(found) > 1:
        raise ShapeError(
            "calibration samples belong together, one of each input: give as many for every input, "
            "and export for one batch size"
        )
    return found.pop()
