"""A program at a role: with its schedule, and what it is bound to for good.

A model is deployed once; every run then names it by number. Its weights are wires of the session,
masked when they were shared, so that no run opens them again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tacita.compiler import archive
from tacita.errors import PeerFailed
from tacita.program.program import Program
from tacita.program.readings import Array
from tacita.program.schedule import Schedule, schedule
from tacita.runtime.orders import Agreement, encode
from tacita.runtime.store import Held, MaskStore, Store
from tacita.runtime.transport import Endpoint, Message


def agree(
    endpoint: Endpoint, others: Sequence[str], number: int, deployment: Deployment, limit: float
) -> None:
    """Makes sure that all roles have the same program under a number, before any of it runs.

    Raises PeerFailed, naming the role that has another.
    """
    mine = encode(Agreement(number, deployment.digest, deployment.model))
    for other in others:
        endpoint.send(other, Message("agree", mine))
    for other in others:
        theirs = endpoint.receive(other, limit)
        if theirs.kind != "agree" or theirs.header != mine:
            raise PeerFailed(f"{other} has another program under number {number}")


class Deployment:
    """What all roles know of a deployed program: public, and the same everywhere.

    digest: of the program; parties compare it before anything is opened.
    dealt: the instructions that the dealer has corrections for.
    kept: the wires that no instruction frees.
    """

    def __init__(self, data: bytes, weights: Sequence[int], model: bytes) -> None:
        self.program: Program = archive.decode(data)
        self.digest = data[-archive.DIGEST_BYTES :]
        self.model = model
        self.schedule: Schedule = schedule(self.program.instructions)
        self.dealt = [
            number
            for number, instruction in enumerate(self.program.instructions)
            if instruction.cost().dealt_bytes
        ]
        self.kept = {port.wire for port in self.program.outputs}
        self._weights = tuple(weights)
        wires = self.program.wires
        self._constants: dict[int, Array] = {}
        for literal in self.program.constants:
            values = literal.array(wires[literal.wire].shape)
            values.setflags(write=False)
            self._constants[literal.wire] = values

    @property
    def size(self) -> int:
        return len(self.program.instructions)

    def bound_store(self, session: Store) -> Store:
        """A store of a run, with weights and constants in it."""
        store = Store(session.owner, first=session.first)
        for port, wire in zip(self.program.weights, self._weights, strict=True):
            store.hold(port.wire, session.held(wire))
            if wire in session.failed:
                store.failed[port.wire] = session.failed[wire]
        for wire, values in self._constants.items():
            store.hold(wire, Held(values, public=True))
        return store

    def bound_masks(self, session: MaskStore) -> MaskStore:
        """The dealer's counterpart of `bound_store`."""
        store = MaskStore()
        for port, wire in zip(self.program.weights, self._weights, strict=True):
            store.know(port.wire, session.known(wire))
        return store

    def bind_inputs(self, store: Store, session: Store, inputs: Sequence[int]) -> None:
        """The inputs of a run, to be masked afresh: a wire of the session serves many runs."""
        for port, wire in zip(self.program.inputs, inputs, strict=True):
            if wire in session.failed:  # it was refused in checked mode, perhaps never made
                store.failed[port.wire] = session.failed[wire]
                store.hold_zeros(port.wire, self.program.wires[port.wire].shape)
            else:
                store.hold(port.wire, Held(np.asarray(session.share(wire))))

    def hand_out(self, store: Store, session: Store, outputs: Sequence[int]) -> None:
        """The outputs of a run, as wires of the session."""
        for port, wire in zip(self.program.outputs, outputs, strict=True):
            if port.wire in store.failed:
                session.failed[wire] = store.failed[port.wire]
            else:
                session.hold(wire, Held(np.array(store.share(port.wire))))
