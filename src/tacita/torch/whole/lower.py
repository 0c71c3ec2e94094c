"""From a network's graph to a program: every node through the same table as eager tensors."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import torch
from torch import fx

from tacita.compiler.passes import optimised
from tacita.compiler.recorder import Recorder
from tacita.compiler.validation import validate
from tacita.errors import TacitaError, UnsupportedOperation, UsageError
from tacita.program.builder import Handle
from tacita.program.program import Program
from tacita.protocols import WithinBound
from tacita.ring.fixed_point import LARGEST, Array, Precision, signed
from tacita.torch.aten import TABLE
from tacita.torch.encoding import fixed_point_of, integers_of, is_integer
from tacita.torch.lowering import Lowering
from tacita.torch.lowering.scales import presentable
from tacita.torch.whole.graph import Network, depends_on_inputs, place_of, places, refused
from tacita.torch.whole.ranges import Ranges
from tacita.torch.whole.rewrites import CONVOLUTIONS, LINEAR

LEAST = 256  # units of the precision: what roundings alone may add up to, also where all is zero


@dataclass(frozen=True, repr=False)
class Lowered:
    """program: without values. weights: what its owner encoded, in the order of its ports.
    nodes: the wire of each node that resulted in one, by the node's name.
    public: the names of what the module holds that the program shows to every role.
    """

    program: Program
    weights: list[Array]
    nodes: dict[str, int]
    public: tuple[str, ...]


def lowered(
    network: Network,
    precision: Precision,
    ranges: Ranges,
    *,
    public_weights: bool = False,
    checked: bool = False,
    missing: Mapping[fx.Node, str] | None = None,
) -> Lowered:
    """The program of a network at a precision, with the bounds that are known.

    public_weights: the weights become constants of the program, which every role sees.
    missing: nodes that are known to have no protocol, with advice; see graph.without_protocol.

    Raises UnsupportedOperation for those and for all that refuse what they are given, at once.
    """
    lowerer = _Lowerer(network, precision, ranges, public_weights, checked)
    lowerer.refused.update(missing or {})
    return lowerer.lowered()


class _Lowerer:
    def __init__(
        self,
        network: Network,
        precision: Precision,
        ranges: Ranges,
        public_weights: bool,
        checked: bool,
    ) -> None:
        self._network = network
        self._precision = precision
        self._ranges = ranges
        self._public_weights = public_weights
        self._recorder = Recorder(checked=checked)
        self._low = Lowering(self._recorder, precision)
        self._values: dict[fx.Node, Any] = {}
        self._weights: list[Array] = []
        self._encoded: dict[str, Array] = {}
        self._public: list[str] = []
        self.refused: dict[fx.Node, str] = {}  # what has no protocol, and why or what instead

    def lowered(self) -> Lowered:
        try:
            outputs = self._outputs()
        except Exception:
            if not self.refused:
                raise
            # What goes wrong after a refusal may do so for a stand-in's sake.
        if self.refused:
            order = {node: place for place, node in enumerate(self._network.graph.nodes)}
            known = sorted(self.refused, key=lambda node: order.get(node, -1))
            raise refused({node: self.refused[node] for node in known})
        program = optimised(_with_checks_placed(self._recorder.program(outputs, self._precision)))
        validate(program)
        return Lowered(program, self._weights, self._wires(), tuple(self._public))

    def _outputs(self) -> list[tuple[str, Handle]]:
        """Every node lowered, in order; what the network returns, by name."""
        private = depends_on_inputs(self._network)
        place = places(self._network.graph)
        for node in self._network.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = self._placeholder(node)
            elif node.op == "call_function":
                self._recorder.place = place[node]
                with located(node):
                    self._values[node] = self._called(node, private=node in private)
        results = self._network.results
        return [
            (f"output {index}" if len(results) > 1 else "output", self._output(node))
            for index, node in enumerate(results)
        ]

    def _placeholder(self, node: fx.Node) -> Any:
        value = self._network.value(node)
        if value is None:
            return self._input(node)
        if not node.users:
            return None
        name = self._network.names[node.name]
        if self._public_weights or not self._network.is_secret(node):
            self._public.append(name)
            return value
        shape = tuple(value.shape)
        if is_integer(value):
            self._weights.append(integers_of(value))
            bit = value.dtype is torch.bool
            return self._recorder.weight(name, shape, 1, 1 if bit else None, bit=bit)
        with located(node, name):
            encoded = fixed_point_of(value, self._precision)
        self._weights.append(encoded)
        self._encoded[node.name] = encoded
        return self._recorder.weight(name, shape, self._low.scale, None)

    def _input(self, node: fx.Node) -> Handle:
        example = node.meta["val"]
        if not example.is_floating_point():
            raise UsageError(
                f"input '{node.name}' is of dtype {example.dtype}: whole networks take fixed-point "
                "inputs; give floats"
            )
        bound = self._bound(node, self._low.scale)
        return self._recorder.input(node.name, tuple(example.shape), self._low.scale, bound)

    def _called(self, node: fx.Node, *, private: bool) -> Any:
        """A node's result, or where it has no protocol a stand-in, to find what else has none."""
        if node not in self.refused:
            try:
                return self._call(node, private=private)
            except UnsupportedOperation as error:
                self.refused[node] = str(error)
        return fx.node.map_aggregate(node.meta.get("val"), self._stand_in)

    def _stand_in(self, example: Any) -> Any:
        """A wire that nothing computes, in the place of a tensor."""
        if not isinstance(example, torch.Tensor):
            return example
        scale = self._low.scale if example.is_floating_point() else 1
        bit = example.dtype is torch.bool
        wire = self._recorder.new_wire(tuple(example.shape), scale, 1 if bit else None, bit=bit)
        return Handle(self._recorder, wire)

    def _call(self, node: fx.Node, *, private: bool) -> Any:
        def known(each: fx.Node) -> Any:
            return self._values[each]

        args: Any
        args, kwargs = fx.map_arg((node.args, node.kwargs), known)
        target: Any = node.target
        if target is operator.getitem:
            return args[0][args[1]]
        if not private and not _holds_handle((args, kwargs)):
            return target(*args, **kwargs)
        if not private:
            raise UsageError(
                f"{target} makes a number of the weights, and the program would show it to every "
                "role: compute it outside the module, or export with public_weights=True"
            )
        self._low.expected = self._ranges.inner.get(node.name, {})
        try:
            result = TABLE[target].lower(self._low, *args, **kwargs)
        except (TypeError, AttributeError) as error:
            if self._network.computed.isdisjoint(each.name for each in node.all_input_nodes):
                raise
            raise UsageError(
                f"{target} takes indices or a shape that were computed from the weights, and the "
                "program would show them to every role: compute them outside the module, or "
                "export with public_weights=True"
            ) from error
        finally:
            self._low.expected = {}
        if isinstance(result, Handle):
            self._tighten(node, args, result)
        return result

    def _tighten(self, node: fx.Node, args: Any, result: Handle) -> None:
        if not result.public:
            for bound in (self._bound(node, result.wire.scale), self._linear(node, args, result)):
                own = result.wire.bound
                if bound is not None and (own is None or bound < own):
                    result.revise(replace(result.wire, bound=bound))

    def _bound(self, node: fx.Node, scale: int) -> int | None:
        """What the ranges say of a node, in units of its wire, with room for roundings."""
        largest = self._ranges.of(node)
        if largest is None:
            return None
        bound = int(max(largest, LEAST / self._low.scale) * scale)
        return bound if bound < LARGEST else None

    def _linear(self, node: fx.Node, args: Any, result: Handle) -> int | None:
        """|w·x + b| <= Σ|w|·bound(x) + |b|, of the largest output, as the next power of two."""
        if node.target not in CONVOLUTIONS | LINEAR or self._public_weights:
            return None
        if node.target is torch.ops.aten.convolution.default and args[6]:
            return None
        x = args[0]
        weight = self._encoding(node, 1)
        offset = self._encoding(node, 2)
        if not isinstance(x, Handle) or x.wire.bound is None or weight is None or not weight.size:
            return None
        # In floating point, and rounded up: a sum of n terms is off by less than n·2^-53 of itself.
        sizes = np.abs(signed(weight)).reshape(len(weight), -1).sum(axis=1, dtype=np.float64)
        # What the wire is truncated to, if it is: the quotient, or the integer above it.
        reach = sizes * float(-(-x.wire.bound * self._low.scale // x.wire.scale))
        if offset is not None:
            reach = reach + np.abs(signed(offset)).astype(np.float64) * self._low.scale
        largest = float(np.max(reach)) * (1 + 2.0**-20)
        scale = self._low.scale**2
        if result.wire.scale != scale:
            return None
        return (1 << (int(largest) + 1).bit_length()) - 1

    def _encoding(self, node: fx.Node, place: int) -> Array | None:
        """The encoded parameter that a node takes as its argument at a place, if it does."""
        argument = node.args[place] if len(node.args) > place else None
        return self._encoded.get(argument.name) if isinstance(argument, fx.Node) else None

    def _output(self, node: fx.Node) -> Handle:
        value = self._values[node]
        if not isinstance(value, Handle):
            raise UsageError(f"the network returns {node.name}, which has no protocol")
        return presentable(self._low, value)

    def _wires(self) -> dict[str, int]:
        return {
            node.name: value.wire.id
            for node, value in self._values.items()
            if isinstance(value, Handle)
        }


def _with_checks_placed(program: Program) -> Program:
    """Checks of bounds say in which layer they are, and the bound in reals."""

    def placed(check: WithinBound, place: str) -> WithinBound:
        what = f"{place}: {check.what}" if place else check.what
        return msgspec.structs.replace(check, what=what, scale=program.wires[check.x].scale)

    both = zip(program.instructions, program.places, strict=True)
    return replace(
        program,
        instructions=tuple(
            placed(each, place) if isinstance(each, WithinBound) else each for each, place in both
        ),
    )


def _holds_handle(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_handle, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_handle, value))
    return isinstance(value, Handle)


class located:  # noqa: N801 - reads as a word: with located(node)
    """Adds to an error where in the network it happened."""

    def __init__(self, node: fx.Node, name: str | None = None) -> None:
        self._where = name or place_of(node) or node.name

    def __enter__(self) -> None:
        """Nothing to do yet."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TacitaError):
            raise type(error)(f"{self._where}: {error}") from None
