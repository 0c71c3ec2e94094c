"""A network as torch.export sees it: a graph of aten operations, and the values it was trained to.

What the graph computes from parameters alone, its owner computes in the clear; see rewrites.py.
"""

from __future__ import annotations

import logging
import operator
import os
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from textwrap import fill
from typing import Any

import torch
from torch import fx, nn
from torch._decomp import core_aten_decompositions
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from tacita.errors import UnsupportedOperation, UsageError
from tacita.torch.aten import TABLE
from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.unsupported import instead_of, names_of, needs_values, sees_values, user_name

DECOMPOSITIONS = 3  # times that operations are taken apart before we give up
BATCH_NORM = {torch.ops.aten._native_batch_norm_legit_no_training.default}  # see rewrites.py
# What torch.export adds to have dtypes verified; there is nothing to verify with static ones.
ASSERTIONS = {torch.ops.aten._assert_tensor_metadata.default}
# How torch says that a module's Python asks for values that a graph has none of.
DATA_DEPENDENT = (
    GuardOnDataDependentSymNode,
    DataDependentOutputException,
    DynamicOutputShapeException,
)
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


def traced(module: nn.Module, example: Sequence[torch.Tensor]) -> Network:
    """The graph of a module in eval mode, for inputs of the example's shapes.

    Operations without a protocol may be in it: see `without_protocol`.

    Raises UsageError for a module in training mode, in fixed precision already, that raises an
    error itself, that changes its state, whose control flow depends on values, or that returns
    what no input has a part in; PrivateValueError where it makes a number of what is private.
    """
    require_float(module)
    require_eval(module)
    return _network(_exported(module, tuple(example)))


def require_float(module: nn.Module) -> None:
    if not isinstance(module, nn.Module):
        raise UsageError(f"export takes an nn.Module, not a {type(module).__name__}")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(tensor, RingTensor):
            fixed = isinstance(tensor, FixedPrecisionTensor)
            kind, undo = (
                ("in fixed precision", "float_precision()") if fixed else ("shared", "decrypt()")
            )
            raise UsageError(
                f"the module is {kind} already ({name}), rounded to the precision it was given: "
                f"export the float module, precision= is export's; {undo} undoes it, but for the "
                "rounding"
            )


def require_eval(module: nn.Module) -> None:
    training = [name or type(module).__name__ for name, m in module.named_modules() if m.training]
    if training:
        shown = ", ".join(training[:3]) + (", …" if len(training) > 3 else "")
        raise UsageError(
            f"the module is in training mode ({shown}): call module.eval() first, so that dropout "
            "and batch norm do what they do in use"
        )


def _exported(module: nn.Module, example: tuple[torch.Tensor, ...]) -> ExportedProgram:
    for index, each in enumerate(example):
        if not isinstance(each, torch.Tensor) or isinstance(each, RingTensor):
            raise UsageError(
                f"example input {index} is a {type(each).__name__}: give an ordinary tensor of "
                "the shape that queries will have"
            )
    name = type(module).__name__
    try:
        with torch.no_grad(), warnings.catch_warnings(), _torch_quiet():
            warnings.simplefilter("ignore")
            exported: ExportedProgram = torch.export.export(module, example)
            return _taken_apart(exported.run_decompositions({}))
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no more is known"])[0].rstrip(".")
        if _data_dependent(error):
            raise UsageError(
                f"torch.export cannot make one graph of {name}: {first}. Control flow that "
                "depends on values, and shapes or numbers that do, have no fixed program: use "
                "torch.where or move them outside the module"
            ) from error
        shapes = ", ".join(str(tuple(each.shape)) for each in example) or "none"
        raise UsageError(
            f"{name} itself fails for example inputs of shapes {shapes}: "
            f"{type(error).__name__}: {first}"
        ) from error


def _data_dependent(error: BaseException) -> bool:
    # Of torch._dynamo no more than the name: to import it takes seconds.
    told = type(error).__module__ == "torch._dynamo.exc" and "data-dependent" in str(error).lower()
    return told or isinstance(error, DATA_DEPENDENT)


@contextmanager
def _torch_quiet() -> Iterator[None]:
    """Holds back what torch.export logs and writes to stderr, such as whole graphs: an error that
    it raises is told in one line, and without one it may be of interest.
    """
    thread = threading.get_ident()
    held: list[tuple[logging.Handler, logging.LogRecord]] = []

    def holding(handler: logging.Handler) -> Any:
        def hold(record: logging.LogRecord) -> bool:
            ours = record.thread == thread
            held.extend([(handler, record)] if ours else [])
            return not ours

        return hold

    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "torch"]
    handlers = {each for name in names for each in logging.getLogger(name).handlers}
    filters = [(each, holding(each)) for each in (*handlers, *logging.root.handlers)]
    for handler, hold in filters:
        handler.addFilter(hold)
    try:
        with redirect_stderr(StringIO()) as said:
            yield
    finally:
        for handler, hold in filters:
            handler.removeFilter(hold)
    sys.stderr.write(said.getvalue())
    for handler, record in held:
        handler.handle(record)


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
    _require_no_numbers(network)
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


def _require_no_numbers(network: Network) -> None:
    """item() and the like on what depends on inputs; with it also go shapes that follow from it."""
    private = depends_on_inputs(network)
    for node in network.graph.nodes:
        if node in private and node.op == "call_function" and needs_values(node.target):
            raise sees_values(f"{user_name(node.target)}{_where(node)}")


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
        f"  {user_name(node.target)}{_where(node)}" + (f": {advice}" if advice else "")
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


def _where(node: fx.Node) -> str:
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
