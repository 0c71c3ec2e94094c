"""A network ready for private use: its program, its owner's weights, and where they are shared."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from tacita.compiler import archive
from tacita.compiler.planning import in_way, with_instructions
from tacita.compiler.prediction import Link, link_named
from tacita.compiler.report import Report
from tacita.errors import EncodingError, HoldersError, MissingDealerError, ShapeError, UsageError
from tacita.program.builder import Handle
from tacita.program.cost import Cost
from tacita.program.program import Program
from tacita.program.schedule import cost_of
from tacita.protocols.sign import Way
from tacita.protocols.ways import WAYS, way_of
from tacita.ring.fixed_point import Array, Precision
from tacita.runtime.choosing import AUTO
from tacita.runtime.forecast import forecast, plan
from tacita.runtime.offer import CONSULTING
from tacita.runtime.plain import run_plain
from tacita.runtime.progress import Progress
from tacita.runtime.session import Session
from tacita.runtime.worker import Worker
from tacita.torch.encoding import fixed_point_of, reals_from
from tacita.torch.fixed_precision_tensor import FixedPrecisionTensor
from tacita.torch.lowering import Lowering
from tacita.torch.lowering.scales import descaled, divisible
from tacita.torch.private_tensor import PrivateTensor
from tacita.torch.ring_tensor import RingTensor
from tacita.torch.sharing import open_session
from tacita.torch.whole import model_file
from tacita.torch.whole.drift import warn_of_drift
from tacita.torch.whole.graph import Network, without_protocol
from tacita.torch.whole.lower import Lowered, lowered
from tacita.torch.whole.progress import shown
from tacita.torch.whole.ranges import Ranges, first_batch, observed, rounded_up
from tacita.torch.whole.rewrites import rewritten
from tacita.torch.whole.tracing import traced

PRECISION = Precision(base=2, digits=16)
MARGIN = 4.0  # times the largest value that the samples show
AHEAD: tuple[Way, ...] = ("tables", "fss")  # ways that can be dealt ahead


def export(
    module: nn.Module,
    *example: torch.Tensor,
    precision: Precision = PRECISION,
    samples: torch.Tensor | Sequence[torch.Tensor] | None = None,
    margin: float = MARGIN,
    largest: float | None = None,
    public_weights: bool = False,
    checked: bool = False,
    compare: bool = True,
) -> Model:
    """A module in eval mode as one program, for inputs of the example's shapes.

    samples: the owner's sample inputs (for several inputs a sequence of tensors); how large values
        get on them, times `margin`, bounds every comparison. The bounds are public, as powers of
        two; samples themselves go nowhere.
    largest: states that no input is larger than this in size; with it, bounds follow by
        arithmetic as far as they stay useful. With neither, comparisons take the whole ring.
    public_weights: the weights are no secret, and become part of the program. What is public
        anyway: tensors of integers among parameters and buffers, such as indices, and what the
        code makes of numbers alone.
    checked: verify every bound at run time; each check discloses one bit, and costs rounds.
    compare: run a batch of the samples in the clear, in fixed point, and give a PrecisionWarning
        where the results drift from the module's; large networks are not (see drift.py).

    Raises UsageError for training mode or control flow on values, UnsupportedOperation for
    operations without a protocol (all at once, with their places), EncodingError for weights that
    have no fixed-point form.
    """
    if not isinstance(precision, Precision):
        raise UsageError(
            f"precision= is a Precision, as in Precision(base=2, digits=16), not {precision!r}"
        )
    number = isinstance(largest, int | float)
    if largest is not None and not (number and 0 < largest < float("inf")):
        raise UsageError(f"largest= is a positive number, not {largest!r}")
    network = traced(module, example)
    missing = without_protocol(network)
    network = rewritten(network)
    ranges = Ranges({})
    if missing:  # all that is wrong is told before samples are run
        lowered(network, precision, ranges, public_weights=public_weights, missing=missing)
    if samples is not None:
        ranges = observed(network, samples, margin)
    if largest is not None:
        top = rounded_up(largest)
        known = {node.name: min(top, ranges.of(node) or top) for node in network.inputs}
        ranges = replace(ranges, largest={**ranges.largest, **known})
    whole = lowered(network, precision, ranges, public_weights=public_weights, checked=checked)
    model = Model(network, whole, precision, checked=checked)
    if compare and samples is not None:
        warn_of_drift(model, first_batch(network, samples))
    return model


class Model:
    """What the owner of a network has: the program, which is public, and weights, which are not.

    public: the names of the module's tensors that the program shows to every role.
    """

    def __init__(
        self,
        network: Network | pytree.TreeSpec,
        whole: Lowered,
        precision: Precision,
        *,
        checked: bool,
        chosen: bool = False,
    ) -> None:
        """network: of a model that comes from a file, how its results are put together alone.
        chosen: somebody has said how values are compared."""
        self._network = network if isinstance(network, Network) else None
        self.structure = network.structure if isinstance(network, Network) else network
        self.program: Program = whole.program
        self.precision = precision
        self.checked = checked
        self.chosen = chosen
        self.public = whole.public
        self.nodes = whole.nodes
        self.weights = whole.weights  # ring elements, in the order of the program's ports

    def __repr__(self) -> str:
        return f"Model({self.program!r}, {self.precision})"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """The model of a file that `save` wrote: to be shared, previewed and reported on.

        Raises ProgramError, naming the file, where it is cut, altered, of another version or too
        large; the file's digest is no signature.
        """
        saved = model_file.read(path)
        precision = Precision(saved.program.base, saved.program.digits)
        whole = Lowered(saved.program, list(saved.weights), {}, saved.public)
        return cls(saved.structure, whole, precision, checked=saved.checked, chosen=saved.chosen)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes program and weights to a file that nobody else can read: the weights stand in it
        as they are. One that is there is replaced, at once or not at all.

        Raises UsageError where the module returns more than a flat tuple, list or dict of tensors.
        """
        model_file.write(
            path,
            model_file.Saved(
                self.program, self.weights, self.structure, self.public, self.checked, self.chosen
            ),
        )

    @property
    def network(self) -> Network:
        """The graph that the program was made of. Raises UsageError where it was loaded."""
        if self._network is None:
            raise UsageError(
                "a model from a file has no graph of its module: explain it where it was exported"
            )
        return self._network

    @property
    def cost(self) -> Cost:
        """Rounds and bytes of one run, exactly, before anything runs."""
        return cost_of(self.program.instructions)

    def report(self, network: str = "local", parties: int = 2) -> Report:
        """Cost and predicted time by layer, before anything runs; see runtime/forecast.py.

        network: "local", "lan", "wan", or a round trip and a bandwidth, as in "20ms,100Mbit/s".
        """
        return forecast(self.program, link_named(network), parties)

    def compared_by(
        self,
        protocol: str,
        *,
        network: str | Link = "local",
        parties: int = 2,
        ahead: bool = False,
        dealing: float = 0.0,
        ways: Sequence[Way] = WAYS,
        progress: Progress | None = None,
    ) -> Model:
        """The same network with its values compared in another way; results are the same. `share`
        and `publish` keep what is chosen here.

        protocol: a way for all of them, or "auto": for each layer the one that makes a run over
            such a `network` (as for `report`) the fastest, out of `ways`.
        parties: more than two can use "tables" alone. ahead: runs are dealt for before, which rules
            out "snn", for which the dealer is online. dealing: what a second of that, and of what
            parties prepare, counts then for "auto" beside one that somebody waits; 0: it is free.
        Raises UsageError for a protocol that there is not, or not for so many parties, or not
        ahead. Cost: nothing for one way; for "auto" that of a report for each way.
        """
        if protocol == AUTO:
            link = network if isinstance(network, Link) else link_named(network)
            program, _ = plan(
                self.program,
                link,
                parties,
                ahead=ahead,
                dealing=dealing,
                ways=ways,
                progress=progress,
            )
        else:
            program = in_way(self.program, protocol, parties, ahead=ahead)
        return self._compared(program, chosen=True)

    def _compared(self, program: Program, *, chosen: bool) -> Model:
        if program is self.program and chosen == self.chosen:
            return self
        model = copy(self)
        model.program = program
        model.chosen = chosen
        return model

    def preview(self, *inputs: torch.Tensor) -> Any:
        """What the parties would compute, in the clear: for the owner, to judge the precision."""
        values = run_plain(self.program, self.weights, self.encode(inputs))
        results = [
            reals_from(values[port.wire], self.program.wires[port.wire].scale)
            for port in self.program.outputs
        ]
        return pytree.tree_unflatten(results, self.structure)

    def encode(self, inputs: Sequence[torch.Tensor]) -> list[Array]:
        """Inputs in fixed point; errors name the input that does not fit."""
        require_shapes(self.program, inputs)
        return [
            encoded(each, self.precision, port.name)
            for each, port in zip(inputs, self.program.inputs, strict=True)
        ]

    def share(
        self,
        *holders: Worker,
        crypto_provider: Worker | None = None,
        protocol: str | None = None,
        checked: bool = False,
    ) -> SharedModel:
        """Shares the weights among holders, who keep the program: it can be run from then on.

        Each weight is opened here once, under its mask, and never again.

        protocol: how values are compared: "tables", "fss" or "snn", or "auto": `compared_by` times
            the layers and takes what is the fastest between these workers, of what can be dealt
            ahead. None: as `compared_by` has chosen before; otherwise what costs least by a rule of
            thumb, as in eager code. Inputs that are shared before need a session of the same
            protocol, which for None is the one that they have without `protocol=` as well.
        checked: the session is one of inputs that are shared with checked=True. A model that was
            exported with checked=True needs one, and gets it.
        """
        if crypto_provider is None:
            raise MissingDealerError(
                "a whole network needs correlated randomness: pass crypto_provider=…"
            )
        session = open_session(
            holders,
            crypto_provider,
            protocol=protocol or (CONSULTING if self.cost.consultations else AUTO),
            checked=checked or self.checked,
        )
        parties = len(session.holders)
        if protocol is not None:
            model = self.compared_by(protocol, network=session.link, parties=parties, ways=AHEAD)
        elif not self.chosen:
            chosen = [session.choose(each) for each in self.program.instructions]
            model = self._compared(with_instructions(self.program, chosen), chosen=False)
        else:
            self._require_pair(parties)
            model = self
        return SharedModel(model, session)

    def _require_pair(self, parties: int) -> None:
        ways = {way_of(each) for each in self.program.instructions} - {None, "tables"}
        if parties > 2 and ways:
            raise HoldersError(
                f"the model compares by {', '.join(sorted(map(str, ways)))}, which is for two "
                f"holders, not {parties}: use compared_by('tables')"
            )


def require_shapes(program: Program, inputs: Sequence[torch.Tensor]) -> None:
    wanted = [(port.name, program.wires[port.wire].shape) for port in program.inputs]
    if len(inputs) != len(wanted):
        raise ShapeError(f"the model takes {len(wanted)} inputs, not {len(inputs)}")
    for (name, shape), given in zip(wanted, inputs, strict=True):
        if not isinstance(given, torch.Tensor):
            raise UsageError(f"input '{name}' is a {type(given).__name__}: give a tensor")
        if tuple(given.shape) != shape:
            raise ShapeError(
                f"input '{name}' has shape {tuple(given.shape)}, and the model was exported for "
                f"{shape}: export it for this shape, or fill the batch up"
            )


def encoded(tensor: torch.Tensor, precision: Precision, name: str) -> Array:
    """An input as ring elements; one in fixed precision keeps those that it has."""
    try:
        if not isinstance(tensor, FixedPrecisionTensor):
            return fixed_point_of(tensor, precision)
        require_precision(tensor, precision, name)
        if tensor._handle.wire.scale != precision.scale:  # a product, or a comparison's result
            return fixed_point_of(tensor.float_precision(), precision)
        return tensor._ring()
    except EncodingError as error:
        raise EncodingError(f"input '{name}': {error}") from None


def require_precision(tensor: RingTensor, precision: Precision, name: str) -> None:
    if tensor.precision != precision:
        raise UsageError(
            f"input '{name}' has precision {tensor.precision}, the model {precision}: encode it "
            "with fix_precision(model.precision)"
        )


def require_number(runs: object, what: str) -> None:
    if not isinstance(runs, int) or isinstance(runs, bool):
        raise UsageError(f"{what} takes a number of runs, not {runs!r}")


class SharedModel:
    """A network whose weights are shared: called with private tensors, or with the caller's own.

    Runs take their material from the stock while there is some, and have it dealt as they go
    otherwise.
    """

    def __init__(self, model: Model, session: Session) -> None:
        self.program = model.program
        self.precision = model.precision
        self.session = session
        self._structure = model.structure
        self._lowering = Lowering(session, model.precision)
        self._weights = [
            session.input(values, self._shape(port.wire), model.precision.scale, None)
            for port, values in zip(self.program.weights, model.weights, strict=True)
        ]
        session.mask([h for h in self._weights if h.wire.size], "sharing a model")
        self._number = session.deploy(
            archive.encode(self.program), len(self.program.instructions), self._weights,
            os.urandom(16),
        )  # fmt: skip
        self._waiting: deque[tuple[bytes, str]] = deque()
        self._prepared: deque[bytes] = deque()
        self._taking = Lock()  # a batch goes to one of the threads that ask for a run
        self._folder: TemporaryDirectory[str] | None = None
        weakref.finalize(self, session.undeploy, self._number)

    def __repr__(self) -> str:
        return f"SharedModel({self.program!r}, holders={list(self.session.holders)})"

    @property
    def cost(self) -> Cost:
        """Rounds and bytes of one run, exactly."""
        return cost_of(self.program.instructions)

    def _shape(self, wire: int) -> tuple[int, ...]:
        return self.program.wires[wire].shape

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """The network's results as private tensors.

        inputs: private tensors of the same holders and precision, or ordinary ones, which the
        caller shares hereby.
        """
        handles = self._handles(inputs)
        batch = self._next_batch()
        wires = []
        for port in self.program.outputs:
            made = self.program.wires[port.wire]
            wires.append(self.session.new_wire(made.shape, made.scale, made.bound, bit=made.bit))
        outputs = self.session.run(self._number, handles, wires, batch)
        results = [PrivateTensor(handle, self._lowering) for handle in outputs]
        return pytree.tree_unflatten(results, self._structure)

    def _next_batch(self) -> bytes:
        """A batch for one run; empty where the stock is."""
        with self._taking:
            if not self._prepared and self._waiting:
                self._prepare(1)
            return self._prepared.popleft() if self._prepared else b""

    def _handles(self, inputs: Sequence[torch.Tensor]) -> list[Handle]:
        require_shapes(self.program, inputs)
        handles = []
        for port, given in zip(self.program.inputs, inputs, strict=True):
            wire = self.program.wires[port.wire]
            if isinstance(given, PrivateTensor):
                handles.append(self._own(given, port.name))
            else:
                values = encoded(given, self.precision, port.name)
                handles.append(self.session.input(values, wire.shape, wire.scale, wire.bound))
        return handles

    def _own(self, tensor: PrivateTensor, name: str) -> Handle:
        handle = tensor._handle
        if handle.builder is not self.session:
            ours, theirs = self.session.protocol, getattr(handle.builder, "protocol", None)
            if tensor.holders == self.session.holders and theirs != ours:
                raise HoldersError(
                    f"input '{name}' is shared with protocol={theirs!r}, the model with "
                    f"protocol={ours!r}: share both with the same"
                )
            raise HoldersError(
                f"input '{name}' is shared among {list(tensor.holders)}, the model among "
                f"{list(self.session.holders)}, or in another session: share both with the same "
                "workers"
            )
        require_precision(tensor, self.precision, name)
        if handle.wire.scale != self.precision.scale:
            handle, divisor = divisible(self._lowering, handle)
            if divisor > 1:
                (handle,) = descaled(self._lowering, [handle], "the input of a model")
            self.session.flush()
        return handle

    # ---- dealing ahead -------------------------------------------------------------------------

    def deal(
        self,
        runs: int,
        folder: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Has the dealer deal for so many runs ahead, into files: one for each party and run.

        folder: where; without one a temporary folder, which goes with this model.
        progress: called with what is done, how many pieces of it already, and of how many; without
            it there is a bar, on a terminal.
        """
        require_number(runs, "deal()")
        if runs < 1:
            raise UsageError(f"deal for 1 run or more, not {runs}")
        if folder is None:
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="tacita-stock-")
            folder = self._folder.name
        place = str(Path(folder).absolute())
        with shown() as bar:
            tell = progress or bar

            def heard(dealt: int, text: str) -> None:
                """So many batches are dealt, and the next is as far as "3/40"."""
                done, pieces = map(int, text.split("/"))
                tell("dealing ahead", dealt * pieces + done, runs * pieces)

            batches = self.session.deal_ahead(self._number, runs, place, heard)
        self._waiting.extend((batch, place) for batch in batches)

    def prepare(self, runs: int | None = None) -> None:
        """Has the parties take batches from the stock, and do what needs no input.

        runs: how many, or as many as were dealt. Prepared batches are kept in memory.
        """
        if runs is not None:
            require_number(runs, "prepare()")
        with self._taking:
            self._prepare(len(self._waiting) if runs is None else runs)

    def _prepare(self, runs: int) -> None:
        if not 0 <= runs <= len(self._waiting):
            raise UsageError(
                f"{runs} runs cannot be prepared, {len(self._waiting)} wait in the stock: call "
                "deal() first"
            )
        for _ in range(runs):
            batch, place = self._waiting.popleft()
            self.session.prepare(self._number, batch, place)
            self._prepared.append(batch)

    @property
    def stock(self) -> int:
        """How many runs have been dealt ahead and not been used."""
        return len(self._waiting) + len(self._prepared)
