"""A network as a graph of aten operations, with the values it was trained to; and what of it has no
protocol, told by place, source line and what to use instead.

What the graph computes from parameters alone, its owner computes in the clear; see rewrites.py.
"""

from __future__ import annotations

import operator
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import fill

import torch
from torch import fx
from torch.utils import _pytree as pytree

from tacita.errors import UnsupportedOperation
from tacita.torch.aten import TABLE
from tacita.torch.unsupported import instead_of, names_of, user_name

ATTENTION = torch.ops.aten.scaled_dot_product_attention.default  # random only where it drops out
BATCH_NORM = {torch.ops.aten._native_batch_norm_legit_no_training.default}  # see rewrites.py
# What torch.export adds to have dtypes verified; there is nothing to verify with static ones.
ASSERTIONS = {torch.ops.aten._assert_tensor_metadata.default}
_TORCH = os.path.join(os.path.dirname(torch.__file__), "")
_LINE = 88  # columns of what is listed in errors


@dataclass
class Network:
    """graph: functional aten operations, with static shapes.
    parameters: the value of each placeholder that the module holds, by the placeholder's name.
    names: what the module calls them.
    structure: how the module puts its results together (a tensor, a tuple, a dict, …).
    inputs: the placeholders that the caller fills, in order.
    computed: the names of parameters that the owner computed from weights, which are as secret.
    """

    graph: fx.Graph
    parameters: dict[str, torch.Tensor]
    names: dict[str, str]
    structure: pytree.TreeSpec
    inputs: list[fx.Node] = field(default_factory=list)
    computed: set[str] = field(default_factory=set)

    @property
    def results(self) -> list[fx.Node]:
        """The nodes that the network returns."""
        (output,) = (node for node in self.graph.nodes if node.op == "output")
        found: list[fx.Node] = []
        fx.map_arg(output.args, found.append)
        return found

    def is_secret(self, node: fx.Node) -> bool:
        """Is this a weight, or a parameter computed from one? Integers and booleans that the module
        holds as they are (positions, masks, counts) are part of the program, and public."""
        value = self.parameters.get(node.name)
        if value is None:
            return False
        return value.is_floating_point() or node.name in self.computed

    def value(self, node: object) -> torch.Tensor | None:
        """The value of a parameter; None for anything else."""
        return self.parameters.get(node.name) if isinstance(node, fx.Node) else None

    def parameter(self, value: torch.Tensor, name: str) -> fx.Node:
        """A new placeholder with a value of the owner's, behind those that there are."""
        *_, last = (node for node in self.graph.nodes if node.op == "placeholder")
        with self.graph.inserting_after(last):
            node = self.graph.placeholder(f"computed_{len(self.parameters)}")
        node.meta["val"] = value
        self.parameters[node.name] = value.detach()
        self.names[node.name] = name
        return node


# ---- operations that there is a protocol for -----------------------------------------------------


def listed(node: fx.Node) -> bool:
    known = node.target is operator.getitem or node.target in TABLE or node.target in ASSERTIONS
    return node.op != "call_function" or known


def supported(node: fx.Node, private: set[fx.Node]) -> bool:
    """Whether there is a protocol for it, or a rewrite that does away with it.

    private: the nodes that depend on inputs; what the others compute, their owner does.
    """
    if node.op == "call_function" and draws_randomness(node):
        return False  # it would be the same in every run
    if node not in private or listed(node):
        return True
    return node.target in BATCH_NORM and private.isdisjoint(
        each for each in node.args[1:5] if isinstance(each, fx.Node)
    )


def draws_randomness(node: fx.Node) -> bool:
    if node.target is ATTENTION:
        return bool(node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p"))
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def depends_on_inputs(network: Network) -> set[fx.Node]:
    """The nodes whose value depends on what the caller puts in."""
    found = set(network.inputs)
    for node in network.graph.nodes:
        if any(each in found for each in node.all_input_nodes):
            found.add(node)
    return found


def without_protocol(network: Network) -> dict[fx.Node, str]:
    """The nodes that no entry of the table and no rewrite is for, and what to use instead."""
    private = depends_on_inputs(network)
    missing = [n for n in network.graph.nodes if not supported(n, private)]
    advice = {node: instead_of(node.target) for node in missing}
    return {node: f"use {instead}" if instead else "" for node, instead in advice.items()}


def refused(nodes: Mapping[fx.Node, str]) -> UnsupportedOperation:
    """One error for all nodes of a network that have no protocol, given what to say of each.

    The same about the same place is said once, and how often.
    """
    lines = Counter(
        f"  {user_name(node.target)}{where(node)}" + (f": {advice}" if advice else "")
        for node, advice in nodes.items()
    )
    said = [line + (f" ({count} times)" if count > 1 else "") for line, count in lines.items()]
    if not all(node.target in TABLE for node in nodes):
        there_is = ", ".join(names_of(TABLE))
        said.append(fill(f"There is one for: {there_is}", _LINE, break_on_hyphens=False))
    return UnsupportedOperation("\n".join(["operations without a protocol:", *said]))


def place_of(node: fx.Node) -> str:
    """The path of the module that an operation comes from, as named_modules() has it."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path: str = list(stack.values())[-1][0]
    return path


def places(graph: fx.Graph) -> dict[fx.Node, str]:
    """What the layer is called that each operation belongs to: the path of its module; its own name
    where the network itself does it, with () if there is a module of that name.
    """
    found = {node: place_of(node) for node in graph.nodes if node.op == "call_function"}
    modules = set(found.values())
    return {
        node: path or (f"{node.name}()" if node.name in modules else node.name)
        for node, path in found.items()
    }


def where(node: fx.Node) -> str:
    """— in module layer1.0 (net.py, line 12), or (Sigmoid) where no line is the user's own."""
    place = place_of(node)
    line = _source_line(node.meta.get("stack_trace") or "") or _class_of(node)
    text = f" — in module {place}" if place else ""
    return f"{text} ({line})" if line else text


def _class_of(node: fx.Node) -> str:
    """The class of the module that an operation comes from."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    kind = list(stack.values())[-1][1]
    return str(kind if isinstance(kind, str) else kind.__name__).rsplit(".", 1)[-1]


def _source_line(trace: str) -> str:
    """The innermost line of a stack trace that is the user's own, not torch's."""
    lines = [line.strip() for line in trace.splitlines() if line.strip().startswith("File ")]
    own = [line for line in lines if _TORCH not in line]
    if not own:
        return ""
    file, number, *_ = own[-1].removeprefix("File ").split(", ")
    return f"{file.strip(chr(34))}, {number}"
