"""The dealer: runs the `deal` reading and sends corrections to the last party.

To every party it sends what an instruction publishes. It shares a key with each party and knows
every mask; it receives orders, which are public, and nothing else, no share and no opened value:
but for what the parties of an `assist` send it, whose protocol says why that tells it nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tacita.errors import MaterialError, PeerFailed, ProgramError, UsageError
from tacita.program.instruction import Instruction
from tacita.program.readings import Array
from tacita.ring.randomness import Stream, StreamKey, fresh_key
from tacita.runtime.assisting import Assistant
from tacita.runtime.budget import Budget
from tacita.runtime.dealing import DealingOrder, Handout, deal_batch, deal_run
from tacita.runtime.deployment import (
    ONLINE,
    Deployment,
    announced,
    require_pair,
    require_small,
    traffic_of,
)
from tacita.runtime.orders import Ahead, Answer, Dealt, Deploy, Order, Run, Undeploy, encode
from tacita.runtime.stock import Label, StockWriter
from tacita.runtime.store import MaskStore
from tacita.runtime.transcript import drawn_for, drawn_for_run
from tacita.runtime.transport import Endpoint, Kind, Message

SECRET_BYTES = 32
BATCH_BYTES = 16
ASK_LIMIT = 120.0


class Dealer:
    """The state of the dealer of one session, and how it carries out an order.

    desk: its end for consultations, which reaches the parties; None: it takes part in nothing.
    limit: seconds that one party may come later than another with what it asks.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        parties: Sequence[str],
        user: str,
        *,
        checked: bool = False,
        run_bytes: int | None = None,
        budget: Budget | None = None,
        desk: Endpoint | None = None,
        limit: float = ASK_LIMIT,
    ) -> None:
        self.budget = budget
        self._endpoint = endpoint
        self._parties = tuple(parties)
        self._user = user
        self._checked = checked
        self._run_bytes = run_bytes
        self._keys: list[StreamKey] = []
        self._secrets: list[bytes] = []
        self._store = MaskStore()
        self._deployments: dict[int, Deployment] = {}
        self._assistant = (
            None if desk is None else Assistant(desk, self._parties, limit, self._assistant_failed)
        )
        # Tells the user's side of an error in answering; returns what the parties may be told.
        self.failing: Callable[[Exception], str] = str
        self.carried = 0

    def _assistant_failed(self, error: Exception) -> str:
        return self.failing(error)

    def start(self) -> None:
        """Sends each party a fresh key for its streams, and a secret that seals its stock."""
        for party in self._parties:
            key, secret = fresh_key(), os.urandom(SECRET_BYTES)
            self._keys.append(StreamKey(key))
            self._secrets.append(secret)
            self._endpoint.send(party, Message("key", key + secret))

    def carry_out(self, order: Order, arrays: Sequence[Array]) -> None:
        """One order; `arrays` is empty: shares and constants go to the parties alone."""
        if (told := drawn_for(order)) is not None:
            self._bind(told)
        for number, instruction in enumerate(order.instructions, start=order.number):
            self._wait_for_room()
            if self.budget is not None and instruction.concerns_dealer:
                self.budget.admit(instruction)
            require_small(instruction, self._run_bytes)
            require_pair([instruction], len(self._parties))
            if instruction.concerns_dealer:
                dealing = DealingOrder(self._store, self._streams, number)
                instruction.deal(dealing)
                self._hand_out(number, instruction, dealing.handout)
            self.carried += 1
        self._forget(order.forget)

    def deploy(self, order: Deploy) -> None:
        if self.budget is not None:
            self.budget.deploy(order.number, len(order.program))
        # The parties compare; the dealer, which is often far ahead of them, does not wait.
        deployment = Deployment(
            order,
            checked=self._checked,
            run_bytes=self._run_bytes,
            parties=len(self._parties),
        )
        announced(self._endpoint, self._parties, deployment)
        self._deployments[order.number] = deployment

    def give_up(self, why: str) -> None:
        """No party need wait for an answer of the dealer's any more."""
        if self._assistant is not None:
            self._assistant.give_up(why)

    def end(self) -> None:
        """Waits for the thread that answers the parties, if there is one."""
        if self._assistant is not None:
            self._assistant.end()

    def run(self, order: Run) -> None:
        """Deals for a run as it goes; a run out of the stock does not concern the dealer."""
        if not order.batch:
            deployment = self._deployment(order.deployment)
            instructions = deployment.program.instructions
            first = order.number
            self._wait_for_room()
            self._bind(drawn_for_run(order, deployment.agreement))
            ranges = [key.reserve(first, deployment.size) for key in self._keys]

            def write(number: int, handout: Handout) -> None:
                self._hand_out(first + number, instructions[number], handout)
                self.carried += 1

            deal_run(
                deployment,
                self._store,
                lambda number, branch: [each.open(first + number, branch) for each in ranges],
                write,
            )
        self._forget(order.forget)

    def undeploy(self, order: Undeploy) -> None:
        self._deployments.pop(order.number, None)
        if self.budget is not None:
            self.budget.undeploy(order.number)

    def deal_ahead(self, order: Ahead) -> None:
        """Deals batches into the parties' folders, and tells the user's side which, or why not."""
        deployment = self._deployment(order.deployment)
        for _ in range(order.count):
            batch = os.urandom(BATCH_BYTES)
            kind: Kind = "done"
            text = batch.hex()
            try:
                self._deal_batch(deployment, batch, Path(order.folder), order.number)
            except (MaterialError, UsageError) as error:
                kind, text = "refuse", str(error)
            except OSError as error:
                kind, text = "refuse", f"{order.folder}: {error.strerror}"
            self._endpoint.send(self._user, Message(kind, encode(Answer(order.number, text))))
            if kind == "refuse":
                return

    def _deployment(self, number: int) -> Deployment:
        try:
            return self._deployments[number]
        except KeyError:
            raise PeerFailed(f"the dealer has no program {number}") from None

    def _deal_batch(self, deployment: Deployment, batch: bytes, folder: Path, number: int) -> None:
        keys = [fresh_key() for _ in self._parties]
        writers: list[StockWriter] = []
        done = 0
        with ExitStack() as stack:  # on an error no file is left
            for party, (name, key, secret) in enumerate(
                zip(self._parties, keys, self._secrets, strict=True)
            ):
                label = Label(
                    program=deployment.digest,
                    model=deployment.model,
                    batch=batch,
                    party=party,
                    parties=len(self._parties),
                )
                place = folder_of(folder, name)
                place.mkdir(parents=True, exist_ok=True, mode=0o700)
                if place.stat().st_mode & 0o022:
                    raise MaterialError(
                        f"{place} can be written by others, who could put spent material back: "
                        "chmod go-w it, or choose another folder"
                    )
                writers.append(stack.enter_context(StockWriter(place, label, secret, key)))

            def write(instruction: int, handout: Handout) -> None:
                nonlocal done
                for writer in writers[:-1]:
                    if handout.others:
                        writer.add(instruction, handout.others)
                writers[-1].add(instruction, handout.last)
                done += 1
                self.carried += 1
                progress = Answer(number, f"{done}/{len(deployment.dealt)}")
                self._endpoint.send(self._user, Message("progress", encode(progress)))

            deal_batch(deployment, self._store, keys, write)

    def _bind(self, told: bytes) -> None:
        for key in self._keys:
            key.bind(told)

    def _streams(self, number: int, branch: int) -> list[Stream]:
        return [key.open(number, branch) for key in self._keys]

    def _hand_out(self, number: int, instruction: Instruction, handout: Handout) -> None:
        """Sends the parties what an instruction has dealt them, and awaits what they will ask."""
        if handout.assists:
            if self._assistant is None:
                raise ProgramError(
                    f"{type(instruction).__name__} {ONLINE}, and this session was not opened "
                    "with protocol='snn'"
                )
            self._assistant.expect(number, handout.assists, traffic_of(instruction))
        for party in self._parties[:-1]:
            if handout.others:
                self._endpoint.send(party, material(number, handout.others))
        if handout.last:
            self._endpoint.send(self._parties[-1], material(number, handout.last))

    def _wait_for_room(self) -> None:
        if self._assistant is not None:
            self._assistant.wait_for_room()

    def _forget(self, wires: Sequence[int]) -> None:
        for wire in wires:
            self._store.forget(wire)
            if self.budget is not None:
                self.budget.forget(wire)


def material(number: int, dealt: dict[int, list[Array]]) -> Message:
    """What a party is sent for one instruction, by branch."""
    counts = {branch: len(arrays) for branch, arrays in dealt.items()}
    arrays = tuple(array for arrays in dealt.values() for array in arrays)
    return Message("material", encode(Dealt(number, counts)), arrays)


def folder_of(stock: Path, party: str) -> Path:
    """Where a party's batches lie within a stock."""
    if party in ("", ".", "..") or "/" in party or "\\" in party or "\0" in party:
        raise UsageError(f"a party named {party!r} has no folder in a stock: choose another name")
    return stock / party
