"""A program at a role: with its schedule, and what it is bound to for good.

A model is deployed once; every run then names it by number. Its weights are wires of the session,
masked when they were shared, so that no run opens them again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from tacita.compiler import archive
from tacita.errors import PeerFailed, ProgramError
from tacita.program.instruction import Instruction
from tacita.program.program import Port, Program
from tacita.program.readings import Array
from tacita.program.schedule import Schedule, schedule
from tacita.runtime.orders import Agreement, Deploy, encode
from tacita.runtime.store import Held, MaskStore, Store
from tacita.runtime.transport import Endpoint, Message

ONLINE = "takes the dealer online (protocol snn)"


def announced(endpoint: Endpoint, others: Sequence[str], deployment: Deployment) -> None:
    """Tells other roles which program is under which number here, with which weights."""
    for other in others:
        endpoint.send(other, Message("agree", deployment.agreement))


def agree(endpoint: Endpoint, others: Sequence[str], deployment: Deployment, limit: float) -> None:
    """Makes sure that the others have the same under this number, before any of it runs.

    Raises PeerFailed, naming the role that has something else.
    """
    for other in others:
        theirs = endpoint.receive(other, limit)
        if theirs.kind != "agree" or theirs.header != deployment.agreement:
            raise PeerFailed(f"{other} has another program under number {deployment.number}")


def require_room(program: Program, run_bytes: int) -> None:
    """Raises ProgramError for a program whose runs could take more memory than is given to them.

    Counted are all its wires, masks and corrections together, as if none was freed in between.
    """
    words = sum(math.prod(wire.shape) for wire in program.wires)
    needed = 8 * words + sum(traffic_of(each) for each in program.instructions)
    if needed > run_bytes:
        raise ProgramError(
            f"a run of this program may take {needed} bytes, and run_bytes is {run_bytes} here: "
            "use a smaller batch"
        )


def require_small(instruction: Instruction, run_bytes: int | None) -> None:
    """The same for one instruction of an eager session; raises PeerFailed."""
    if run_bytes is not None and traffic_of(instruction) > run_bytes:
        raise PeerFailed(
            f"a {type(instruction).__name__} opens or is dealt {traffic_of(instruction)} bytes, "
            f"and run_bytes is {run_bytes} here"
        )


def traffic_of(instruction: Instruction) -> int:
    cost = instruction.cost()
    dealt = cost.dealt_bytes + cost.published_bytes
    return cost.opened_bytes + dealt + cost.consulted_bytes + cost.answered_bytes


def require_pair(instructions: Iterable[Instruction], parties: int) -> None:
    """Raises ProgramError for what two parties alone can carry out, where there are more."""
    if parties == 2:
        return
    for each in instructions:
        cost = each.cost()
        if cost.published_bytes or cost.consultations:
            raise ProgramError(
                f"{type(each).__name__} is for two parties, and this session has {parties}: "
                "share with protocol='tables'"
            )


def require_offline(program: Program) -> None:
    """Raises ProgramError for a program in whose runs the dealer takes part itself."""
    for each in program.instructions:
        if each.cost().consultations:
            raise ProgramError(
                f"{type(each).__name__} {ONLINE}, which is not there when what was dealt ahead "
                "is used: use fss or tables"
            )


class Deployment:
    """What all roles know of a deployed program: public, and the same everywhere.

    digest: of the program; parties compare it before anything is opened.
    dealt: the instructions for which the dealer sends the last party something. published: those
    for which it sends every party something.
    touched: what each instruction reads and writes and no output is: freed after its last use.
    """

    def __init__(
        self,
        order: Deploy,
        *,
        checked: bool,
        run_bytes: int | None = None,
        program: Program | None = None,
        parties: int = 2,
    ) -> None:
        """Raises ProgramError for a program that is malformed, that checks bounds (which discloses
        a bit a check) in a session that was not opened for it, or that is for fewer parties.

        run_bytes: what a run may have in memory; more is a ProgramError. None: as much as it needs.
        program: the order's, where the caller has decoded it, and so validated it, already.
        """
        self.number = order.number
        self.program: Program = archive.decode(order.program) if program is None else program
        self.digest = order.program[-archive.DIGEST_BYTES :]
        self.model = order.model
        agreement = Agreement(order.number, self.digest, order.model, order.weights)
        self.agreement = encode(agreement)
        require_pair(self.program.instructions, parties)
        if run_bytes is not None:
            require_room(self.program, run_bytes)
        disclosed = sum(instruction.discloses for instruction in self.program.instructions)
        if disclosed and not checked:
            raise ProgramError(
                f"the program discloses {disclosed} bits to check its bounds, and this session "
                "was not opened with checked=True"
            )
        if len(order.weights) != len(self.program.weights):
            raise ProgramError(
                f"the program has {len(self.program.weights)} weights, and was given "
                f"{len(order.weights)}"
            )
        self.schedule: Schedule = schedule(self.program.instructions)
        self.dealt = [
            number
            for number, instruction in enumerate(self.program.instructions)
            if (cost := instruction.cost()).dealt_bytes or cost.published_bytes
        ]
        self.published = [
            number
            for number in self.dealt
            if self.program.instructions[number].cost().published_bytes
        ]
        kept = {port.wire for port in self.program.outputs}
        self.touched = [
            tuple(wire for wire in (*each.reads, *each.writes) if wire not in kept)
            for each in self.program.instructions
        ]
        self._weights = order.weights
        wires = self.program.wires
        self._constants: dict[int, Array] = {}
        for literal in self.program.constants:
            values = literal.array(wires[literal.wire].shape)
            values.setflags(write=False)
            self._constants[literal.wire] = values

    @property
    def weights(self) -> tuple[int, ...]:
        """Wires of the session."""
        return self._weights

    @property
    def size(self) -> int:
        return len(self.program.instructions)

    def bound_store(self, session: Store) -> Store:
        """A store of a run, with weights and constants in it."""
        store = Store(session.owner, first=session.first)
        for port, wire in zip(self.program.weights, self._weights, strict=True):
            held = session.held(wire)
            self._require_shape(port, held.share.shape)
            store.hold(port.wire, held)
            if wire in session.failed:
                store.failed[port.wire] = session.failed[wire]
        for wire, values in self._constants.items():
            store.hold(wire, Held(values, public=True))
        return store

    def bound_masks(self, session: MaskStore) -> MaskStore:
        """The dealer's counterpart of `bound_store`."""
        store = MaskStore()
        for port, wire in zip(self.program.weights, self._weights, strict=True):
            known = session.known(wire)
            if (mask := known.found()) is not None:
                self._require_shape(port, mask.shape)
            store.know(port.wire, known)
        return store

    def bind_inputs(self, store: Store, session: Store, inputs: Sequence[int]) -> None:
        """The inputs of a run, to be masked afresh: a wire of the session serves many runs."""
        for port, wire in zip(self.program.inputs, inputs, strict=True):
            if wire in session.failed:  # it was refused in checked mode, perhaps never made
                store.failed[port.wire] = session.failed[wire]
                store.hold_zeros(port.wire, self.program.wires[port.wire].shape)
            else:
                share = np.asarray(session.share(wire))
                self._require_shape(port, share.shape)
                store.hold(port.wire, Held(share))

    def _require_shape(self, port: Port, shape: tuple[int, ...]) -> None:
        wanted = self.program.wires[port.wire].shape
        if shape != wanted:
            raise ProgramError(f"{port.name} has shape {shape}, and the program takes {wanted}")

    def hand_out(self, store: Store, session: Store, outputs: Sequence[int]) -> None:
        """The outputs of a run, as wires of the session."""
        for port, wire in zip(self.program.outputs, outputs, strict=True):
            if port.wire in store.failed:
                session.failed[wire] = store.failed[port.wire]
            else:
                session.hold(wire, Held(np.array(store.share(port.wire))))
