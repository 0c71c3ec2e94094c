"""A computing party: holds shares, runs the `evaluate` reading, opens masked values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tacita.errors import (
    BoundExceeded,
    MaskReused,
    MaterialError,
    MaterialMismatch,
    PeerFailed,
    TacitaError,
    UsageError,
)
from tacita.program.instruction import Instruction
from tacita.program.readings import Array
from tacita.protocols import Constant, Reveal
from tacita.protocols.boundary import Arrival
from tacita.ring.randomness import KEY_BYTES, StreamKey
from tacita.runtime import material
from tacita.runtime.budget import Budget
from tacita.runtime.common import RunCommon, SessionCommon, agreed_key
from tacita.runtime.consulting import Desk
from tacita.runtime.dealer import SECRET_BYTES, folder_of
from tacita.runtime.deployment import Deployment, agree, announced, require_pair, require_small
from tacita.runtime.execution import Execution, failure_of, pass_over
from tacita.runtime.material import BatchMaterial, LiveMaterial, RunMaterial
from tacita.runtime.orders import (
    WITHHELD,
    Answer,
    Deploy,
    Keep,
    Lend,
    Order,
    Prepare,
    Run,
    Undeploy,
    decode_dealt,
    encode,
)
from tacita.runtime.reading import Preparation, Prepared, begin
from tacita.runtime.restrictions import Loans, Restrictions, exposed
from tacita.runtime.rounds import Rounds
from tacita.runtime.saving import Saving, Vault
from tacita.runtime.stock import Label, take
from tacita.runtime.store import Held, Store, Written
from tacita.runtime.transcript import Transcript, drawn_for, drawn_for_run
from tacita.runtime.transport import Endpoint, Kind, Message, expected


class Shelf(Protocol):
    """Where shares lie that outlast a session; the default has none."""

    def lent(self, name: str) -> tuple[Array, Loans]:
        """A share, and the loans it depends on. Raises TacitaError."""
        ...

    def keep(self, name: str, share: Array, about: bytes, loans: Loans) -> None: ...

    def refusal(self, loans: Loans) -> str | None:
        """Why what depends on these loans is not revealed to the session's user; None if it is."""
        ...


class NoShelf:
    """See `Shelf`."""

    def lent(self, name: str) -> tuple[Array, Loans]:
        raise UsageError(f"nothing lies here under {name!r}")

    def keep(self, name: str, share: Array, about: bytes, loans: Loans) -> None:
        raise UsageError("nothing is kept here beyond the session")

    def refusal(self, loans: Loans) -> str | None:
        return None


class Party:
    """The state of one party in one session, and how it carries out an order.

    peers: the other parties' names. index: its place among the `len(peers) + 1` parties.
    dealer: None where nothing is ever dealt. desk: the name of its end for consultations, where the
        session has one.
    run_bytes: what one instruction, or one run of a program, may have in memory; None: anything.
    budget: what the session may take as a whole; None: anything.
    shelf: where what is lent to the session lies. vault: where it saves and loads.
    revealing: told of every share, by its shape, before it leaves; what it raises keeps it here.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        peers: Sequence[str],
        *,
        index: int,
        dealer: str | None,
        user: str,
        limit: float,
        checked: bool = False,
        revealing: Callable[[tuple[int, ...]], None] = lambda _: None,
        shelf: Shelf | None = None,
        vault: Vault | None = None,
        run_bytes: int | None = None,
        budget: Budget | None = None,
        desk: str | None = None,
    ) -> None:
        self.budget = budget
        self._endpoint = endpoint
        self._revealing = revealing
        self._run_bytes = run_bytes
        self._shelf = shelf or NoShelf()
        self._restrictions = Restrictions()
        # Where others' values may be lent, the user is not trusted with what parties are told.
        self._transcript = Transcript() if shelf is not None else None
        self._checked = checked
        self._peers = tuple(peers)
        self._index = index
        self._dealer = dealer
        self._user = user
        self._limit = limit
        self._store = Store(endpoint.name, first=index == 0, budget=budget, written=Written())
        self._desk = None if desk is None else Desk(endpoint, desk, limit)
        self._exposed = exposed(checked=checked, consulting=desk is not None)
        self._saving = None if vault is None else self._saving_in(vault)
        self._secret = b""
        self._common = SessionCommon(
            lambda: agreed_key(endpoint, self._peers, first=index == 0, limit=limit)
        )
        self._live = self._live_material(None)
        self._deployments: dict[int, Deployment] = {}
        self._prepared: dict[bytes, tuple[BatchMaterial, Prepared]] = {}
        self._taken: set[bytes] = set()  # every batch of this session, whatever lies in a folder
        self.rounds = 0
        self.consultations = 0
        self.carried = 0

    def _live_material(self, key: StreamKey | None) -> LiveMaterial:
        # The last party takes the dealer's corrections.
        corrected = self._dealer is not None and self._index == len(self._peers)
        return LiveMaterial(key, self._fetch, corrected=corrected)

    def start(self) -> None:
        """Takes the key of this party's streams and the secret of its stock, from the dealer."""
        if self._dealer is None:
            return
        given = self._receive(self._dealer, "key").header
        if len(given) != KEY_BYTES + SECRET_BYTES:
            raise PeerFailed(f"{self._dealer} sent a key of {len(given)} bytes")
        self._live = self._live_material(StreamKey(given[:KEY_BYTES]))
        self._secret = given[KEY_BYTES:]

    # ---- orders ------------------------------------------------------------------------------

    def carry_out(self, order: Order, arrays: Sequence[Array]) -> None:
        """One order: its rounds, and what it hands to the user.

        arrays: beside the order, one for each of its inputs and constants, in turn.
        """
        if len(arrays) != order.arrivals:
            raise PeerFailed(
                f"order {order.number} came with {len(arrays)} arrays, not {order.arrivals}"
            )
        given = iter(arrays)
        store = self._store
        if (told := drawn_for(order)) is not None:
            self._live.bind(told)
        for number, instruction in enumerate(order.instructions, start=order.number):
            if self.budget is not None:
                self.budget.admit(instruction)
            require_small(instruction, self._run_bytes)
            require_pair([instruction], len(self._peers) + 1)
            if isinstance(instruction, Arrival):
                share = next(given)
                public = isinstance(instruction, Constant)
                store.hold(instruction.out, Held(share.reshape(instruction.shape), public=public))
            elif isinstance(instruction, Reveal):
                self._reveal(number, instruction.x)
            elif instruction.discloses and self._transcript is not None and not self._checked:
                # The user would learn, bit by bit, what others have lent it.
                raise PeerFailed("the user asks to check bounds in a session not opened for it")
            elif (failure := failure_of(instruction, store)) is not None:
                pass_over(instruction, number, store, self._live, self._rounds(number), failure)
            else:
                self._run_alone(number, instruction)
            self._carry_restrictions(instruction.reads, instruction.writes)
            self.carried += 1
        self._forget(order.forget)

    def _carry_restrictions(self, reads: Sequence[int], writes: Sequence[int]) -> None:
        self._restrictions.carry(reads, writes)
        if self.budget is not None and self._restrictions.lent:
            for wire in writes:
                self.budget.lent(wire, len(self._restrictions.behind([wire])))

    def _run_alone(self, number: int, instruction: Instruction) -> None:
        steps, corrections = begin(
            instruction, number, self._store, self._live, common=self._common
        )
        exchange = self._rounds(number)
        try:
            openings = next(steps)
            while True:
                openings = steps.send(exchange(openings))
        except StopIteration:
            pass
        self._count_rounds(exchange)
        if corrections is not None:
            corrections.check_spent()

    def deploy(self, order: Deploy) -> None:
        if self.budget is not None:
            self.budget.deploy(order.number, len(order.program))
        deployment = Deployment(
            order,
            checked=self._checked,
            run_bytes=self._run_bytes,
            parties=len(self._peers) + 1,
        )
        announced(self._endpoint, self._peers, deployment)
        others = [*self._peers, *([self._dealer] if self._dealer is not None else [])]
        agree(self._endpoint, others, deployment, self._limit)
        self._deployments[order.number] = deployment

    def undeploy(self, order: Undeploy) -> None:
        """Forgets a program, and the batches that were prepared for it."""
        deployment = self._deployments.pop(order.number, None)
        if self.budget is not None:
            self.budget.undeploy(order.number)
        for batch, (source, _) in list(self._prepared.items()):
            if deployment is not None and source.label.model == deployment.model:
                del self._prepared[batch]
                source.close()

    def prepare(self, order: Prepare) -> None:
        """Takes a batch and does what needs no input yet, or tells the user why it cannot."""
        deployment = self._deployment(order.deployment)
        try:
            self._prepared[order.batch] = self._take(deployment, order)
        except MaterialError as error:
            refusal = encode(Answer(order.number, f"{self._endpoint.name}: {error}"))
            self._endpoint.send(self._user, Message("refuse", refusal))
        else:
            self._endpoint.send(self._user, Message("done", encode(Answer(order.number))))

    def release(self, order: Prepare) -> None:
        """Gives up a batch that another party cannot use; its file is spent."""
        prepared = self._prepared.pop(order.batch, None)
        if prepared is not None:
            prepared[0].close()

    def _deployment(self, number: int) -> Deployment:
        try:
            return self._deployments[number]
        except KeyError:
            raise PeerFailed(
                f"{self._endpoint.name} has no program {number}: it was not deployed, or no longer"
            ) from None

    def _take(self, deployment: Deployment, order: Prepare) -> tuple[BatchMaterial, Prepared]:
        label = Label(
            program=deployment.digest,
            model=deployment.model,
            batch=order.batch,
            party=self._index,
            parties=len(self._peers) + 1,
        )
        if order.batch in self._taken:
            raise MaskReused(f"batch {order.batch.hex()} was taken before: its file is a copy")
        folder = folder_of(Path(order.folder), self._endpoint.name)
        taken = take(folder, label, self._secret)
        self._taken.add(order.batch)
        try:
            batch = BatchMaterial(taken, deployment.size, deployment.dealt, deployment.published)
            preparation = Preparation(batch, deployment.bound_store(self._store))
            return batch, preparation.go_through(deployment.program.instructions)
        except BaseException:
            taken.close()
            raise

    def end(self) -> None:
        """Gives up what was prepared and not used."""
        for source, _ in self._prepared.values():
            source.close()
        self._prepared.clear()

    def run(self, order: Run) -> None:
        """One run of a deployed program."""
        deployment = self._deployment(order.deployment)
        store = deployment.bound_store(self._store)
        deployment.bind_inputs(store, self._store, order.inputs)
        prepared: Prepared | None = None
        source: RunMaterial | BatchMaterial
        if order.batch:
            if order.batch not in self._prepared:
                raise MaterialMismatch(f"batch {order.batch.hex()} was not prepared, or is used up")
            source, prepared = self._prepared.pop(order.batch)
        else:
            self._live.bind(drawn_for_run(order, deployment.agreement))
            source = RunMaterial(self._live, order.number, deployment)
        rounds = self._rounds(order.number, order.batch, first=order.number)
        common = RunCommon(self._common, order.number, deployment.size)
        Execution(deployment, store, source, prepared, rounds, self._count_carried, common).run()
        self._count_rounds(rounds)
        source.finish()
        deployment.hand_out(store, self._store, order.outputs)
        self._carry_restrictions((*order.inputs, *deployment.weights), order.outputs)
        self._forget(order.forget)

    def _rounds(self, number: int, batch: bytes = b"", first: int = 0) -> Rounds:
        told = b"" if self._transcript is None else self._transcript.digest
        return Rounds(
            self._endpoint,
            self._peers,
            number,
            batch,
            self._limit,
            told,
            desk=self._desk,
            first=first,
        )

    def _count_rounds(self, rounds: Rounds) -> None:
        self.rounds += rounds.count
        self.consultations += rounds.consultations

    def heard(self, kind: Kind, header: bytes) -> None:
        """What the user's side asks for next, before it is carried out."""
        if self._transcript is not None:
            self._transcript.add(kind, header)

    def _compare_orders(self) -> None:
        """Makes sure that all parties were told the same, before anything lent could leave.

        Raises PeerFailed where one was not.
        """
        if self._transcript is None or not self._restrictions.lent:
            return
        mine = self._transcript.digest
        for peer in self._peers:
            self._endpoint.send(peer, Message("agree", mine))
        for peer in self._peers:
            if self._receive(peer, "agree").header != mine:
                raise PeerFailed(f"{peer} was given other orders than {self._endpoint.name}")

    def _count_carried(self) -> None:
        self.carried += 1

    def _forget(self, wires: Sequence[int]) -> None:
        for wire in wires:
            self._store.forget(wire)
            self._restrictions.forget(wire)

    # ---- what outlasts the session -------------------------------------------------------------

    def lend(self, order: Lend) -> None:
        if self._exposed is not None:
            raise UsageError(f"{self._exposed.why}: borrow in one {self._exposed.instead}")
        share, loans = self._shelf.lent(order.name)
        self._store.hold(order.wire, Held(share))
        self._restrictions.lend(order.wire, loans)
        if self.budget is not None:
            self.budget.lent(order.wire, len(loans))
        self.carried += 1

    def keep(self, order: Keep) -> None:
        """Tells the user when it is kept, or why not."""
        self._compare_orders()
        try:
            if order.wire in self._store.failed:
                raise BoundExceeded(self._store.failed[order.wire])
            share = np.array(self._store.share(order.wire))
            loans = self._restrictions.behind([order.wire])
            self._shelf.keep(order.name, share, order.about, loans)
        except TacitaError as error:
            answer = encode(Answer(order.number, f"{self._endpoint.name}: {error}"))
            self._endpoint.send(self._user, Message("refuse", answer))
        else:
            self._endpoint.send(self._user, Message("done", encode(Answer(order.number))))
        self.carried += 1

    def _saving_in(self, vault: Vault) -> Saving:
        return Saving(
            vault,
            self._endpoint,
            self._peers,
            self._store,
            self._restrictions,
            limit=self._limit,
            exposed=self._exposed,
            same_orders=self._compare_orders,
        )

    def about_saved(self, header: bytes) -> None:
        """Saves, finds, loads or removes what outlasts the session and the party; see `saving`."""
        if self._saving is None:
            raise UsageError("nothing is saved here")
        self._endpoint.send(self._user, self._saving.answer(header))
        self.carried += 1

    # ---- what goes to the user -----------------------------------------------------------------

    def _reveal(self, number: int, wire: int) -> None:
        self._compare_orders()
        why = self._shelf.refusal(self._restrictions.behind([wire]))
        if why is not None:
            refusal = encode(Answer(number, WITHHELD + why))
            self._endpoint.send(self._user, Message("refuse", refusal))
        elif wire in self._store.failed:
            refusal = encode(Answer(number, self._store.failed[wire]))
            self._endpoint.send(self._user, Message("refuse", refusal))
        else:
            share = np.ascontiguousarray(self._store.share(wire))
            self._revealing(share.shape)
            self._endpoint.send(self._user, Message("share", encode(Answer(number)), (share,)))

    # ---- what comes from the others ------------------------------------------------------------

    def _fetch(self) -> tuple[int, material.Dealt]:
        """What the dealer sent next: for which instruction, and by branch."""
        assert self._dealer is not None
        message = self._receive(self._dealer, "material")
        header = decode_dealt(message.header)
        if sum(header.counts.values()) != len(message.arrays):
            raise MaterialMismatch(
                f"the dealer's material for instruction {header.number} is incomplete"
            )
        arrays = iter(message.arrays)
        return header.number, {
            branch: deque(next(arrays) for _ in range(count))
            for branch, count in header.counts.items()
        }

    def _receive(self, sender: str, kind: Kind) -> Message:
        return expected(self._endpoint, sender, kind, self._limit)
