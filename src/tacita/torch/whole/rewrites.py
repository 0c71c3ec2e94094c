"""Rewrites of a network's graph, by the owner, in the clear, before anything is shared.

Each takes a network and changes its graph and parameters so that it computes the same with less
private work. They rely on nothing but the graph, and each can be left out.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from tacita.torch.whole.graph import BATCH_NORM, Network, depends_on_inputs
from tacita.torch.whole.transformers import (
    with_affine_folded,
    with_linears_joined,
    with_unit_rows,
)

aten = torch.ops.aten
CONVOLUTIONS = {
    aten.conv1d.default,
    aten.conv1d.padding,
    aten.conv2d.default,
    aten.conv2d.padding,
    aten.conv3d.default,
    aten.convolution.default,
}
LINEAR = {aten.linear.default}
POOLS = {
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.adaptive_max_pool1d.default,
    aten.adaptive_max_pool2d.default,
    aten.max_pool2d_with_indices.default,
}
RELU = {aten.relu.default}


def rewritten(network: Network) -> Network:
    """All rewrites, in the order that suits them."""
    for rewrite in (
        without_copies,
        with_parameters_computed,
        with_batch_norm_folded,
        with_pools_before_relu,
        with_affine_folded,
        with_linears_joined,
        with_unit_rows,
    ):
        rewrite(network)
        network.graph.eliminate_dead_code()
    network.graph.lint()
    return network


def without_copies(network: Network) -> None:
    """Drops clone, contiguous and whatever else gives back the values it is given."""
    same = {aten.clone.default, aten.contiguous.default, aten.detach.default, aten.alias.default}
    for node in list(network.graph.nodes):
        if node.op == "call_function" and node.target in same:
            node.replace_all_uses_with(node.args[0])
            network.graph.erase_node(node)


def with_parameters_computed(network: Network) -> None:
    """What depends on parameters alone becomes a parameter: its value is the owner's to compute.

    What depends on nothing at all stays as it is, a public constant, unless a batch norm takes it.
    """
    private = depends_on_inputs(network)
    values: dict[fx.Node, Any] = {}
    secret: set[fx.Node] = set()

    def known(node: fx.Node) -> Any:
        return values[node] if node in values else network.parameters[node.name]

    for node in list(network.graph.nodes):
        if node.op != "call_function" or node in private:
            continue
        if any(n in secret or network.is_secret(n) for n in node.all_input_nodes):
            secret.add(node)
        args, kwargs = fx.map_arg((node.args, node.kwargs), known)
        with torch.no_grad():
            values[node] = node.target(*args, **kwargs)
    for node, value in values.items():
        wanted = node in secret and any(user in private for user in node.users)
        wanted = wanted or any(user.target in BATCH_NORM for user in node.users)
        if isinstance(value, torch.Tensor) and wanted:
            made = network.parameter(value, node.name)
            network.computed.update({made.name} if node in secret else ())
            node.replace_all_uses_with(made)


def with_batch_norm_folded(network: Network) -> None:
    """conv, then batch norm, becomes one conv: weights times gamma/σ, and a new bias.

    A batch norm that follows nothing to fold into becomes a product and a sum of its own, with
    parameters that the owner has computed.
    """
    for node in list(network.graph.nodes):
        if node.op != "call_function" or node.target not in BATCH_NORM:
            continue
        x, gamma, beta, mean, variance, _, eps = node.args
        means, variances = network.value(mean), network.value(variance)
        if means is None or variances is None:
            continue
        scale = (variances.double() + eps).rsqrt()
        if (factor := network.value(gamma)) is not None:
            scale = scale * factor.double()
        shift = -means.double() * scale
        if (offset := network.value(beta)) is not None:
            shift = shift + offset.double()
        folded = _into_previous(network, x, scale, shift)
        if folded is None:
            folded = _affine(network, node, x, scale, shift)
        _replace_first_result(network.graph, node, folded)


def _into_previous(
    network: Network, x: fx.Node, scale: torch.Tensor, shift: torch.Tensor
) -> fx.Node | None:
    """The layer before a batch norm, with the norm in it, if nothing else uses what it makes."""
    if x.op != "call_function" or len(x.users) > 1 or x.target not in CONVOLUTIONS | LINEAR:
        return None
    if x.target is aten.convolution.default and x.args[6]:  # transposed: channels lie elsewhere
        return None
    weight = network.value(x.args[1])
    bias = x.args[2] if len(x.args) > 2 else x.kwargs.get("bias")
    if weight is None or (bias is not None and network.value(bias) is None):
        return None
    old = network.value(bias)
    new_weight = weight.double() * scale.reshape(-1, *(1,) * (weight.dim() - 1))
    new_bias = shift if old is None else shift + old.double() * scale
    name = network.names.get(getattr(x.args[1], "name", ""), x.name)
    made = (
        network.parameter(new_weight.to(weight.dtype), f"{name} folded"),
        network.parameter(new_bias.to(weight.dtype), f"{name} folded bias"),
    )
    rest = tuple(x.args[3:])
    x.args = (x.args[0], *made, *rest)
    x.kwargs = {key: value for key, value in x.kwargs.items() if key != "bias"}
    return x


def _affine(
    network: Network, node: fx.Node, x: fx.Node, scale: torch.Tensor, shift: torch.Tensor
) -> fx.Node:
    shape = (-1, *(1,) * (x.meta["val"].dim() - 2))
    name = node.name
    factor = network.parameter(scale.float().reshape(shape), f"{name} scale")
    offset = network.parameter(shift.float().reshape(shape), f"{name} shift")
    with network.graph.inserting_before(node):
        product = network.graph.call_function(aten.mul.Tensor, (x, factor))
        total = network.graph.call_function(aten.add.Tensor, (product, offset))
    for made in (product, total):
        made.meta = {**node.meta, "val": x.meta["val"]}
    return total


def _replace_first_result(graph: fx.Graph, node: fx.Node, value: fx.Node) -> None:
    """`node` has several results, of which getitem 0 is the one that counts."""
    for user in list(node.users):
        if user.target is operator.getitem and user.args[1] == 0:
            user.replace_all_uses_with(value)
            graph.erase_node(user)
    if not node.users:
        graph.erase_node(node)


def with_pools_before_relu(network: Network) -> None:
    """max-pool(relu(x)) becomes relu(max-pool(x)): the same values, a quarter of the ReLUs."""
    for pool in list(network.graph.nodes):
        if pool.op != "call_function" or pool.target not in POOLS:
            continue
        relu = pool.args[0]
        if relu.op != "call_function" or relu.target not in RELU or len(relu.users) > 1:
            continue
        last = pool
        if len(pool.target._schema.returns) > 1:
            # Among equal values the indices would change; so they must not be asked for.
            users = list(pool.users)
            if len(users) != 1 or users[0].args[1] != 0:
                continue
            last = users[0]
        pool.args = (relu.args[0], *pool.args[1:])
        last.append(relu)  # moved, not made anew: it keeps its name
        last.replace_all_uses_with(relu)
        relu.args = (last,)
        relu.meta = {**relu.meta, "val": last.meta.get("val")}
