"""A module of the zoo as portable steps, batch norm folded into the convolutions before it.

Peers are given the folded network: ours is folded too, and a private batch norm would be work that
nobody has to do.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

from bench.peers.portable import Portable


def portable(module: nn.Module, images: Tensor) -> Portable:
    """Raises NotImplementedError for what has no step."""
    folded = fuse(module.eval())
    steps: list[dict[str, Any]] = []
    weights: dict[str, Any] = {}
    output = ""
    same: dict[str, str] = {}  # names of values that are others unchanged
    for node in folded.graph.nodes:
        if node.op == "output":
            (last,) = node.args
            output = same.get(last.name, last.name)
        elif node.op in ("call_module", "call_function", "call_method"):
            inputs = [same.get(n.name, n.name) for n in node.all_input_nodes]
            layer = folded.get_submodule(node.target) if node.op == "call_module" else None
            if isinstance(layer, nn.Identity):
                same[node.name] = inputs[0]
                continue
            made = _step(node, layer, weights)
            made |= {"out": node.name} | dict(zip(("x", "y"), inputs, strict=False))
            steps.append(made)
    steps = [{"x": "x"} | step for step in steps]
    with torch.no_grad():
        expected = module(images)
    return Portable(steps, weights, output, images.numpy(), expected.numpy())


def _step(node: fx.Node, layer: nn.Module | None, weights: dict[str, Any]) -> dict[str, Any]:
    args, options = node.args, dict(node.kwargs)
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or set(layer.dilation) != {1} or layer.padding_mode != "zeros":
            raise NotImplementedError(f"{node.target}: a convolution of this kind has no step")
        made = {"stride": list(layer.stride), "padding": list(layer.padding)}
        return {"kind": "convolution"} | made | _held(node, layer, weights)
    if isinstance(layer, nn.Linear):
        return {"kind": "linear"} | _held(node, layer, weights)
    if isinstance(layer, nn.MaxPool2d):
        return _pool(layer.kernel_size, layer.stride, layer.padding)
    if node.target is F.max_pool2d:
        kernel = args[1] if len(args) > 1 else options["kernel_size"]
        return _pool(kernel, options.get("stride") or kernel, options.get("padding", 0))
    if node.target is F.relu:
        return {"kind": "relu"}
    if node.target in (operator.add, torch.add):
        return {"kind": "add"}
    if node.target is F.adaptive_avg_pool2d and args[1] in (1, (1, 1)):
        return {"kind": "mean"}
    if node.target in ("flatten", torch.flatten) and args[1:] == (1,):
        return {"kind": "flatten"}
    every, other = slice(None), slice(None, None, 2)
    if node.target is operator.getitem and args[1] == (every, every, other, other):
        return {"kind": "subsample"}
    if node.target is F.pad and len(args[1]) == 6 and not any(args[1][:4]):  # type: ignore[arg-type,index]
        return {"kind": "channels", "before": args[1][4], "after": args[1][5]}  # type: ignore[index]
    raise NotImplementedError(f"{node.name}: {node.target} has no step")


def _held(node: fx.Node, layer: Any, weights: dict[str, Any]) -> dict[str, Any]:
    names: dict[str, Any] = {"weight": f"{node.name} weight", "bias": None}
    weights[names["weight"]] = layer.weight.detach().numpy()
    if layer.bias is not None:
        names["bias"] = f"{node.name} bias"
        weights[names["bias"]] = layer.bias.detach().numpy()
    return names


def _pool(kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    pairs = (value if isinstance(value, tuple) else (value, value) for value in (kernel, stride))
    sides, steps = (list(pair) for pair in pairs)
    edges = list(padding) if isinstance(padding, tuple) else [padding, padding]
    return {"kind": "max_pool", "kernel": sides, "stride": steps, "padding": edges}
