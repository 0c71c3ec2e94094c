"""A network as torch.export sees it: a graph of aten operations, and the values it was trained to.

What the graph computes from parameters alone, its owner computes in the clear; see rewrites.py.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch._decomp import core_aten_decompositions
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from tacita.errors import UnsupportedOperation, UsageError
from tacita.torch.aten import TABLE

DECOMPOSITIONS = 3  # times that operations are taken apart before we give up
BATCH_NORM = {torch.ops.aten._native_batch_norm_legit_no_training.default}  # see rewrites.py
# What torch.export adds to have dtypes verified; there is nothing to verify with static ones.
ASSERTIONS = {torch.ops.aten._assert_tensor_metadata.default}


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

    def is_parameter(self, value: object) -> bool:
        return isinstance(value, fx.Node) and value.name in self.parameters

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


def traced(module: nn.Module, example: Sequence[torch.Tensor]) -> Network:
    """The graph of a module in eval mode, for inputs of the example's shapes.

    Raises UsageError for a module in training mode, that changes its state, whose control flow
    depends on values, or that returns what no input has a part in; and UnsupportedOperation,
    naming all of them and where they are, for operations without a protocol.
    """
    require_eval(module)
    network = _network(_exported(module, tuple(example)))
    require_supported(network)
    return network


def require_eval(module: nn.Module) -> None:
    if not isinstance(module, nn.Module):
        raise UsageError(f"export takes an nn.Module, not a {type(module).__name__}")
    training = [name or type(module).__name__ for name, m in module.named_modules() if m.training]
    if training:
        shown = ", ".join(training[:3]) + (", …" if len(training) > 3 else "")
        raise UsageError(
            f"the module is in training mode ({shown}): call module.eval() first, so that dropout "
            "and batch norm do what they do in use"
        )


def _exported(module: nn.Module, example: tuple[torch.Tensor, ...]) -> ExportedProgram:
    for index, each in enumerate(example):
        if not isinstance(each, torch.Tensor):
            raise UsageError(
                f"example input {index} is a {type(each).__name__}: give a tensor of the shape "
                "that queries will have"
            )
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported: ExportedProgram = torch.export.export(module, example)
            return _taken_apart(exported.run_decompositions({}))
    except Exception as error:
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"torch.export cannot make one graph of {type(module).__name__}: {first[0]}. Control "
            "flow that depends on values, and shapes that do, have no fixed program: use "
            "torch.where or move them outside the module"
        ) from error


def _taken_apart(exported: ExportedProgram) -> ExportedProgram:
    """Operations without a protocol as what they are made of, where torch says it."""
    for _ in range(DECOMPOSITIONS):
        missing = {n.target for n in exported.graph.nodes if not _listed(n)}
        known = core_aten_decompositions() if missing else {}
        apart = {target: known[target] for target in missing if target in known}
        if not apart:
            break
        exported = exported.run_decompositions(apart)
    return exported


def _network(exported: ExportedProgram) -> Network:
    signature = exported.graph_signature
    state: dict[str, Any] = {**exported.state_dict, **exported.constants}
    network = Network(exported.graph, {}, {}, exported.call_spec.out_spec)
    nodes = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    for spec in signature.input_specs:
        name = spec.arg.name
        if spec.kind == InputKind.USER_INPUT:
            if nodes[name].users or isinstance(nodes[name].meta.get("val"), torch.Tensor):
                network.inputs.append(nodes[name])
        elif spec.target is not None and isinstance(state.get(spec.target), torch.Tensor):
            network.parameters[name] = state[spec.target].detach()
            network.names[name] = spec.target
    for spec in signature.output_specs:
        if spec.kind != OutputKind.USER_OUTPUT:
            what = "an input" if spec.kind == OutputKind.USER_INPUT_MUTATION else "its own state"
            raise UsageError(
                f"the module changes {what} ({spec.target}) when it runs: it has no fixed program; "
                "call eval(), or return what it is to change"
            )
    for node in list(exported.graph.nodes):
        if node.target in ASSERTIONS:
            exported.graph.erase_node(node)
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and any(not isinstance(n, int) for n in value.shape):
            raise UsageError(
                f"{place_of(node) or node.name} has a shape that is not fixed: export for the "
                "shapes of one batch"
            )
    _require_results(network)
    return network


def _require_results(network: Network) -> None:
    """What is returned has to be shares of something: no weight, and nothing that is no tensor."""
    (output,) = (node for node in network.graph.nodes if node.op == "output")
    private = depends_on_inputs(network)
    for index, value in enumerate(output.args[0]):
        if not isinstance(value, fx.Node):
            raise UsageError(
                f"result {index} of the module is a {type(value).__name__}: return tensors alone"
            )
        if value not in private:
            name = network.names.get(value.name, value.name)
            raise UsageError(
                f"result {index} of the module ({name}) depends on no input, so there is nothing "
                "to compute: leave it out"
            )


# ---- operations that there is a protocol for -----------------------------------------------------


def _listed(node: fx.Node) -> bool:
    known = node.target is operator.getitem or node.target in TABLE or node.target in ASSERTIONS
    return node.op != "call_function" or known


def supported(node: fx.Node, private: set[fx.Node]) -> bool:
    """Whether there is a protocol for it, or a rewrite that does away with it.

    private: the nodes that depend on inputs; what the others compute, their owner does.
    """
    if node.op == "call_function" and draws_randomness(node):
        return False  # it would be the same in every run
    if node not in private or _listed(node):
        return True
    return node.target in BATCH_NORM and private.isdisjoint(
        each for each in node.args[1:5] if isinstance(each, fx.Node)
    )


def draws_randomness(node: fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def depends_on_inputs(network: Network) -> set[fx.Node]:
    """The nodes whose value depends on what the caller puts in."""
    found = set(network.inputs)
    for node in network.graph.nodes:
        if any(each in found for each in node.all_input_nodes):
            found.add(node)
    return found


def require_supported(network: Network) -> None:
    private = depends_on_inputs(network)
    missing = [n for n in network.graph.nodes if not supported(n, private)]
    if missing:
        lines = [f"  {n.target}{_where(n)}" for n in missing]
        listed = sorted({str(op).removeprefix("aten.").split(".")[0] for op in TABLE})
        raise UnsupportedOperation(
            "operations without a protocol:\n"
            + "\n".join(lines)
            + "\nThere is one for: "
            + ", ".join(listed)
        )


def place_of(node: fx.Node) -> str:
    """The path of the module that an operation comes from, as named_modules() has it."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path: str = list(stack.values())[-1][0]
    return path


def _where(node: fx.Node) -> str:
    """— in layer1.0 (net.py, line 12)."""
    place = place_of(node)
    text = f" — in module {place}" if place else ""
    line = _source_line(node.meta.get("stack_trace") or "")
    return f"{text} ({line})" if line else text


def _source_line(trace: str) -> str:
    """The innermost line of a stack trace that is the user's own, not torch's."""
    lines = [line.strip() for line in trace.splitlines() if line.strip().startswith("File ")]
    own = [line for line in lines if "/torch/nn/" not in line.replace("\\", "/")]
    if not (own or lines):
        return ""
    file, number, *_ = (own or lines)[-1].removeprefix("File ").split(", ")
    return f"{file.strip(chr(34))}, {number}"
