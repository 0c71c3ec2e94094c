"""The dealer: runs the `deal` reading and sends corrections to the last party.

It shares a key with each party and knows every mask; it receives orders, which are public, and
nothing else: no share, no opened value.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tacita.errors import MaterialError, PeerFailed, UsageError
from tacita.program.readings import Array
from tacita.ring.randomness import Stream, StreamKey, fresh_key
from tacita.runtime.budget import Budget
from tacita.runtime.dealing import DealingOrder, deal_batch, deal_run
from tacita.runtime.deployment import Deployment, announced, require_small
from tacita.runtime.orders import Ahead, Answer, Dealt, Deploy, Order, Run, Undeploy, encode
from tacita.runtime.stock import Label, StockWriter
from tacita.runtime.store import MaskStore
from tacita.runtime.transport import Endpoint, Kind, Message

SECRET_BYTES = 32
BATCH_BYTES = 16


class Dealer:
    """The state of the dealer of one session, and how it carries out an order."""

    def __init__(
        self,
        endpoint: Endpoint,
        parties: Sequence[str],
        user: str,
        *,
        checked: bool = False,
        run_bytes: int | None = None,
        budget: Budget | None = None,
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
        self.carried = 0

    def start(self) -> None:
        """Sends each party a fresh key for its streams, and a secret that seals its stock."""
        for party in self._parties:
            key, secret = fresh_key(), os.urandom(SECRET_BYTES)
            self._keys.append(StreamKey(key))
            self._secrets.append(secret)
            self._endpoint.send(party, Message("key", key + secret))

    def carry_out(self, order: Order, arrays: Sequence[Array]) -> None:
        """One order; `arrays` is empty: shares and constants go to the parties alone."""
        for number, instruction in enumerate(order.instructions, start=order.number):
            if self.budget is not None and instruction.concerns_dealer:
                self.budget.admit(instruction)
            require_small(instruction, self._run_bytes)
            if instruction.concerns_dealer:
                dealing = DealingOrder(self._store, self._streams, number)
                instruction.deal(dealing)
                if dealing.dealt:
                    self._send(number, dealing.dealt)
            self.carried += 1
        self._forget(order.forget)

    def deploy(self, order: Deploy) -> None:
        if self.budget is not None:
            self.budget.deploy(order.number, len(order.program))
        # The parties compare; the dealer, which is often far ahead of them, does not wait.
        deployment = Deployment(order, checked=self._checked, run_bytes=self._run_bytes)
        announced(self._endpoint, self._parties, deployment)
        self._deployments[order.number] = deployment

    def end(self) -> None:
        """The dealer holds nothing that has to be given up."""

    def run(self, order: Run) -> None:
        """Deals for a run as it goes; a run out of the stock does not concern the dealer."""
        if not order.batch:
            deployment = self._deployment(order.deployment)
            first = order.number
            ranges = [key.reserve(first, deployment.size) for key in self._keys]

            def write(number: int, dealt: dict[int, list[Array]]) -> None:
                self._send(first + number, dealt)
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
                writer = stack.enter_context(StockWriter(place, label, secret, key))

            def write(instruction: int, dealt: dict[int, list[Array]]) -> None:
                nonlocal done
                writer.add(instruction, dealt)
                done += 1
                self.carried += 1
                progress = Answer(number, f"{done}/{len(deployment.dealt)}")
                self._endpoint.send(self._user, Message("progress", encode(progress)))

            deal_batch(deployment, self._store, keys, write)

    def _streams(self, number: int, branch: int) -> list[Stream]:
        return [key.open(number, branch) for key in self._keys]

    def _send(self, number: int, dealt: dict[int, list[Array]]) -> None:
        counts = {branch: len(arrays) for branch, arrays in dealt.items()}
        corrections = tuple(array for arrays in dealt.values() for array in arrays)
        header = encode(Dealt(number, counts))
        self._endpoint.send(self._parties[-1], Message("material", header, corrections))

    def _forget(self, wires: Sequence[int]) -> None:
        for wire in wires:
            self._store.forget(wire)
            if self.budget is not None:
                self.budget.forget(wire)


def folder_of(stock: Path, party: str) -> Path:
    """Where a party's batches lie within a stock."""
    if party in ("", ".", "..") or "/" in party or "\\" in party or "\0" in party:
        raise UsageError(f"a party named {party!r} has no folder in a stock: choose another name")
    return stock / party
