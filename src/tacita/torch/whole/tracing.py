"""From a module to a graph: torch.export, and all that can be wrong with a module before that."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
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

from tacita.errors import UsageError
from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.unsupported import needs_values, sees_values, user_name
from tacita.torch.whole.graph import (
    ASSERTIONS,
    Network,
    depends_on_inputs,
    listed,
    place_of,
    where,
)

DECOMPOSITIONS = 3  # times that operations are taken apart before we give up
# How torch says that a module's Python asks for values that a graph has none of.
DATA_DEPENDENT = (
    GuardOnDataDependentSymNode,
    DataDependentOutputException,
    DynamicOutputShapeException,
)


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
        missing = {n.target for n in exported.graph.nodes if not listed(n)}
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
            raise sees_values(f"{user_name(node.target)}{where(node)}")


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
