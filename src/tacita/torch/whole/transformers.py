"""Rewrites that transformers profit from; see rewrites.py for what a rewrite is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from tacita.torch.whole.graph import Network

aten = torch.ops.aten
LINEAR = aten.linear.default
LAYER_NORM = aten.layer_norm.default
# Linear layers of one input that are computed as one; beyond, a product is large enough as it is.
MOST_JOINED = 1 << 22  # elements of all weights together
SMALLEST = 2.0**-40  # of what is added to a variance, where that is less
LARGEST_EPSILON = 1e-6  # of a length, below which a row is as good as 0


def with_affine_folded(network: Network) -> None:
    """linear(norm(x)·gamma + beta) becomes linear(norm(x)) with other weights and another bias.

    Whatever else uses the norm's result gets the product and the sum as operations of their own, so
    that the linear layers need not wait for them.
    """
    for node in list(network.graph.nodes):
        if node.op != "call_function" or node.target is not LAYER_NORM:
            continue
        gamma, beta = (_argument(node, place) for place in (2, 3))
        scale, shift = network.value(gamma), network.value(beta)
        if scale is None or (beta is not None and shift is None):
            continue
        behind = {user: _layers(network, user, node) for user in node.users}
        layers = [layer for found in behind.values() for layer in found]
        if not layers or len(_argument(node, 1)) > 1:
            continue
        for layer in layers:
            _fold(network, layer, scale, shift)
        node.args = (*node.args[:2], None, None, *node.args[4:])
        others = [user for user, found in behind.items() if not found]
        if others:
            _affine(network, node, others, gamma, beta)


def _layers(network: Network, user: fx.Node, x: fx.Node) -> list[fx.Node]:
    """The linear layers that a user of x is, or hands x on to with its last dimension in place."""
    if _is_layer(network, user, x):
        return [user]
    if not _is(user, aten.transpose.int):
        return []
    last = x.meta["val"].dim() - 1
    moved = {dim % (last + 1) for dim in user.args[1:]}
    if last in moved or not all(_is_layer(network, each, user) for each in user.users):
        return []
    return list(user.users)


def _fold(network: Network, layer: fx.Node, scale: Tensor, shift: Tensor | None) -> None:
    weight, bias = _weight(network, layer), network.value(_argument(layer, 2))
    name = _name(network, layer)
    folded = weight.double() * scale.double()
    made = [network.parameter(folded.to(weight.dtype), f"{name} folded")]
    if shift is not None:
        moved = weight.double() @ shift.double()
        if bias is not None:
            moved = moved + bias.double()
        made.append(network.parameter(moved.to(weight.dtype), f"{name} folded bias"))
    elif bias is not None:
        made.append(_argument(layer, 2))
    layer.args = (layer.args[0], *made)
    layer.kwargs = {}


def _affine(
    network: Network, node: fx.Node, users: list[fx.Node], gamma: fx.Node, beta: Any
) -> None:
    """norm·gamma + beta for those who need it, right behind the norm."""
    made = node
    for target, parameter in ((aten.mul.Tensor, gamma), (aten.add.Tensor, beta)):
        if parameter is None:
            continue
        with network.graph.inserting_after(made):
            before, made = made, network.graph.call_function(target, (made, parameter))
        made.meta = dict(before.meta)
    for user in users:
        user.replace_input_with(node, made)


def with_linears_joined(network: Network) -> None:
    """Linear layers of one input become one, whose result is cut: one product instead of three."""
    for node in list(network.graph.nodes):
        layers = [user for user in node.users if _is_layer(network, user, node)]
        if len(layers) < 2 or sum(_weight(network, each).numel() for each in layers) > MOST_JOINED:
            continue
        _join(network, node, layers)


def _join(network: Network, x: fx.Node, layers: list[fx.Node]) -> None:
    weights = [_weight(network, layer) for layer in layers]
    sizes = [len(weight) for weight in weights]
    biases = [network.value(_argument(layer, 2)) for layer in layers]
    dtype = layers[0].meta["val"].dtype
    name = " and ".join(_name(network, layer) for layer in layers)
    made = [network.parameter(torch.cat(weights), name)]
    if any(bias is not None for bias in biases):
        filled = [
            torch.zeros(size, dtype=dtype) if bias is None else bias
            for size, bias in zip(sizes, biases, strict=True)
        ]
        made.append(network.parameter(torch.cat(filled), f"bias of {name}"))
    first = layers[0]
    with network.graph.inserting_before(first):
        joined = network.graph.call_function(LINEAR, (x, *made))
        shape = (*first.meta["val"].shape[:-1], sum(sizes))
        joined.meta = {**first.meta, "val": first.meta["val"].new_empty(shape)}
        start = 0
        for layer, size in zip(layers, sizes, strict=True):
            part = network.graph.call_function(
                aten.slice.Tensor, (joined, len(shape) - 1, start, start + size)
            )
            part.meta = dict(layer.meta)
            start += size
            layer.replace_all_uses_with(part)
    for layer in layers:
        network.graph.erase_node(layer)


def with_unit_rows(network: Network) -> None:
    """x / max(|x|, eps) over the last dimension, as `F.normalize` has it, becomes an rms_norm:
    an inverse root is all that it takes. Rows of about the length of eps come out somewhat shorter.
    """
    for node in list(network.graph.nodes):
        if node.op != "call_function" or node.target is not aten.div.Tensor:
            continue
        x, clamped = node.args[0], _through(node.args[1], {aten.expand.default})
        if not (isinstance(x, fx.Node) and _is(clamped, aten.clamp_min.default)):
            continue
        norm, eps = clamped.args
        if not _is(norm, aten.linalg_vector_norm.default) or norm.args[0] is not x:
            continue
        order, dims = _argument(norm, 1), _argument(norm, 2)
        shape = x.meta["val"].shape
        last = dims is not None and [dim % len(shape) for dim in dims] == [len(shape) - 1]
        if order != 2 or not last or not _argument(norm, 3):
            continue
        if not isinstance(eps, int | float) or not 0 <= eps <= LARGEST_EPSILON:
            continue
        size = shape[-1]
        with network.graph.inserting_before(node):
            made = network.graph.call_function(
                aten.rms_norm.default, (x, [size], None, max(eps * eps / size, SMALLEST))
            )
            unit = network.graph.call_function(aten.mul.Tensor, (made, size**-0.5))
        for each in (made, unit):
            each.meta = dict(node.meta)
        node.replace_all_uses_with(unit)
        network.graph.erase_node(node)


# ---- reading the graph ---------------------------------------------------------------------------


def _argument(node: fx.Node, place: int) -> Any:
    return node.args[place] if len(node.args) > place else None


def _is(node: Any, target: Any) -> bool:
    return isinstance(node, fx.Node) and node.target is target


def _through(node: Any, targets: set[Any]) -> Any:
    while isinstance(node, fx.Node) and node.target in targets:
        node = node.args[0]
    return node


def _is_layer(network: Network, node: fx.Node, x: fx.Node) -> bool:
    """A linear layer of x, with parameters of the owner's."""
    if node.op != "call_function" or node.target is not LINEAR or node.kwargs:
        return False
    bias = _argument(node, 2)
    return (
        node.args[0] is x
        and network.value(node.args[1]) is not None
        and (bias is None or network.value(bias) is not None)
    )


def _weight(network: Network, layer: fx.Node) -> Tensor:
    weight = network.value(_argument(layer, 1))
    assert weight is not None
    return weight


def _name(network: Network, layer: fx.Node) -> str:
    """What the module calls the layer's weight."""
    return network.names[_argument(layer, 1).name]
