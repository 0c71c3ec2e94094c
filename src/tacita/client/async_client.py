"""Publishing and querying models at a network of parties, for code that runs in an event loop.

An input is split into shares here, and each party is sent one of them, over a connection that is
proven to lead to that party. Results come back as shares and are added up here. Nothing else of
inputs or results leaves this process.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray

from tacita.client.batching import Batches, batches, joined
from tacita.client.comparing import compared
from tacita.client.connection import Answer, PartyConnection, Sent
from tacita.client.published import (
    HEAD_ROOM,
    PublishedModel,
    agreed_model,
    names_in,
    require_same,
)
from tacita.client.together import together
from tacita.compiler import archive
from tacita.compiler.prediction import Link
from tacita.errors import (
    PeerFailed,
    ShapeError,
    TacitaError,
    UnknownModel,
    UsageError,
)
from tacita.network.identity import Principal
from tacita.network.tensors import (
    QUERY_BYTES,
    Tensor,
    TensorLimits,
    decode_response,
    encode_request,
)
from tacita.program.program import Program
from tacita.ring.fixed_point import Array
from tacita.ring.randomness import SharingSource
from tacita.runtime.progress import Progress, silent
from tacita.service.config import ClientConfig, load_client
from tacita.service.policy import check_pattern
from tacita.torch.encoding import reals_from
from tacita.torch.whole.model import Model

AT_ONCE = 4  # queries: enough that parties need not wait for this side
DEALT_AT_ONCE = 4  # runs that the leader is asked for in one request
NAME_LENGTH = 100
SMALL = 1 << 16  # ring elements: splitting fewer takes less time than a thread to do it
RESULT_LIMITS = TensorLimits(head_bytes=HEAD_ROOM)

Input = torch.Tensor | NDArray[Any]
Result = torch.Tensor | tuple[torch.Tensor, ...]
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class PartyStatus:
    """What a party says of itself, or why it does not. seconds: from question to answer."""

    name: str
    front: str
    seconds: float
    details: dict[str, Any] | None = None
    error: TacitaError | None = field(default=None, repr=False)


class AsyncClient:
    """An owner or a client of a network; which of them, its certificate says.

        async with AsyncClient("client.toml") as client:
            scores = await client.predict("mnist", images)

    All verbs ask all parties at once, and have a limit from the [limits] of the configuration.
    They raise Refused, RateExceeded, UnknownModel, NotReady, StockEmpty, PeerTimeout or PeerFailed,
    which name the party. One that fails leaves the client usable. For one event loop; any number of
    tasks.
    """

    def __init__(self, config: str | os.PathLike[str] | ClientConfig) -> None:
        """config: of client.toml, or its path. Nothing is sent.

        Raises ConfigError and CredentialError.
        """
        if not isinstance(config, ClientConfig):
            config = load_client(Path(config))
        self.config = config
        self.principal: Principal = config.credentials.check()
        context = config.credentials.client_context()
        self._parties = [
            PartyConnection(entry, index, context, config.limits)
            for index, entry in enumerate(config.network.parties)
        ]
        self._names = config.network.names
        self._known: dict[str, PublishedModel] = {}
        self._sharing = SharingSource()
        self._sharing_lock = Lock()  # threads split large inputs

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.principal}, parties={list(self._names)})"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        for party in self._parties:
            await party.close()

    @property
    def parties(self) -> tuple[PartyConnection, ...]:
        """In the network's order; for measuring them one by one."""
        return tuple(self._parties)

    # ---- what there is -------------------------------------------------------------------------

    async def models(self) -> list[PublishedModel]:
        """Those that all parties serve, and this principal may see, by name.

        Raises PeerFailed where the parties describe one of them differently.
        """
        limit = self.config.limits.round
        indexes = await self._ask(
            lambda party: party.json("POST", "/v2/repository/index", limit, {"ready": False})
        )
        listed = [
            set(names_in(party.name, index))
            for party, index in zip(self._parties, indexes, strict=True)
        ]
        return [await self.model(name) for name in sorted(set.intersection(*listed))]

    async def model(self, name: str) -> PublishedModel:
        """What all parties say of a model. Raises UnknownModel; PeerFailed where they differ."""
        limit = self.config.limits.round
        answers = await self._ask(lambda party: party.json("GET", _path(name), limit))
        model = agreed_model(name, self._names, answers)
        self._known[name] = model
        return model

    async def program(self, name: str) -> Program:
        """The program of a model: what the parties compute. It has no weight in it.

        Raises PeerFailed, naming the parties, where they do not have the same.
        """
        limits = self.config.limits
        model = await self.model(name)
        answers = await self._ask(
            lambda party: party.request(
                "GET", f"{_path(name)}/program", limits.query, most=limits.program_bytes
            )
        )
        encoded = [bytes(answer.body) for answer in answers]
        require_same(f"programs of {name!r}", dict(zip(self._names, encoded, strict=True)))
        program = archive.decode(encoded[0])
        if encoded[0][-archive.DIGEST_BYTES :].hex() != model.digest:
            raise PeerFailed(
                f"the parties sent a program of {name!r} that is not the one they announced: it "
                "was published anew meanwhile, or they are at fault; try again"
            )
        return program

    async def status(self) -> list[PartyStatus]:
        """Of every party, in order; one that cannot be asked is there with its error."""
        return list(await asyncio.gather(*map(self._status, self._parties)))

    async def _status(self, party: PartyConnection) -> PartyStatus:
        began = time.monotonic()
        try:
            details = await party.json("GET", "/v2/status", self.config.limits.round)
            if not isinstance(details, dict):
                raise party.wrong("a status that is no table")
        except TacitaError as error:
            return PartyStatus(party.name, party.front, time.monotonic() - began, error=error)
        return PartyStatus(party.name, party.front, time.monotonic() - began, details)

    # ---- publishing ----------------------------------------------------------------------------

    async def publish(
        self,
        model: Model,
        name: str,
        *,
        audience: Sequence[str] = ("client:*",),
        protocol: str | None = None,
        network: str | Link | None = None,
        progress: Progress | None = None,
    ) -> PublishedModel:
        """Shares a model's weights among the parties, who serve it under `name` from then on.

        A model of this name that the same owner has published is replaced.

        audience: who may query it, as "role:name" or "role:*"; each party's policy decides besides.
        protocol: how values are compared: "tables", "fss", or "auto" for the fastest, layer by
            layer, out of the stock; see `Model.compared_by`. None: "auto", unless it was chosen
            for the model before. More than two parties can use "tables" alone.
        network: between the parties, for "auto": "lan", "wan" or as in "20ms,100Mbit/s". None: as
            the parties measure it, if they let this owner know; "lan" where they do not.
        name: letters, digits, '-', '_' and '.', the first a letter or digit; 100 at most.
        progress: told of what is measured, and of the bytes that were sent.
        `compared` of what is returned says how it compares, and why. For "auto" the speed of this
        machine stands in for that of the parties' machines.
        Cost: the weights' size once for each party, as 64-bit words. "auto" has the parties measure
        their links, and times the layers here, as much work as a few runs; the first time on a
        machine that takes some seconds more.
        """
        if not isinstance(model, Model):
            raise UsageError(f"publish() takes a tacita.Model, not a {type(model).__name__}")
        _check_name(name)
        for each in audience:
            check_pattern(each)
        tell = progress or silent
        model, how = await compared(
            model, protocol, network, self._parties, self.config.limits.query, tell
        )
        limit = self.config.limits.publish
        model_id = os.urandom(QUERY_BYTES)
        ports = model.program.weights
        scales = [model.program.wires[port.wire].scale for port in ports]
        shares = await asyncio.to_thread(self._split, model.weights)
        program = archive.encode(model.program)
        requests = []
        for index in range(len(self._parties)):
            tensors = [
                Tensor(port.name, share[index].shape, share[index], scale, index, len(shares[0]))
                for port, share, scale in zip(ports, shares, scales, strict=True)
            ]
            parameters = {"audience": ",".join(audience)}
            requests.append(encode_request(model_id, tensors, parameters, {"program": program}))
        sent = _counter(tell, f"sending {name}", sum(len(b) for _, body in requests for b in body))

        async def put(party: PartyConnection) -> object:
            headers, body = requests[party.index]
            path = f"/v2/repository/models/{quote(name, safe='')}"
            answer = await party.request("PUT", path, limit, headers=headers, body=body, sent=sent)
            return party.parsed(answer)

        self._known.pop(name, None)
        published = agreed_model(name, self._names, await self._ask(put))
        if published.id != model_id.hex():
            raise PeerFailed(f"the parties took {name!r} under another id than it was sent with")
        self._known[name] = published
        return replace(published, compared=how)

    async def deal(self, name: str, runs: int, progress: Progress | None = None) -> int:
        """Has the dealer deal for so many more runs, ahead of queries; the stock afterwards."""
        if not isinstance(runs, int) or isinstance(runs, bool) or runs < 1:
            raise UsageError(f"deal() takes a number of runs, 1 or more, not {runs!r}")
        leader = self._parties[0]
        tell = progress or silent
        stock = done = 0
        tell(f"dealing for {name}", 0, runs)
        while done < runs:
            count = min(DEALT_AT_ONCE, runs - done)
            limit = self.config.limits.deal * count
            answer = await leader.json("POST", f"{_path(name)}/stock", limit, {"runs": count})
            level = answer.get("stock") if isinstance(answer, dict) else None
            if not isinstance(level, int):
                raise leader.wrong("no level of its stock")
            stock = level
            done += count
            tell(f"dealing for {name}", done, runs)
        return stock

    async def remove(self, name: str) -> None:
        """Takes a model of one's own from all parties, with its stock.

        Parties that do not have it are content. Raises UnknownModel where none has it.
        """
        limit = self.config.limits.publish
        path = f"/v2/repository/models/{quote(name, safe='')}"
        self._known.pop(name, None)

        async def gone(party: PartyConnection) -> UnknownModel | None:
            try:
                await party.request("DELETE", path, limit)
            except UnknownModel as error:
                return error
            return None

        unknown = [error for error in await self._ask(gone) if error is not None]
        if len(unknown) == len(self._parties):
            raise unknown[0]

    # ---- queries -------------------------------------------------------------------------------

    async def predict(
        self,
        name: str,
        *inputs: Input,
        progress: Progress | None = None,
        at_once: int = AT_ONCE,
    ) -> Result:
        """A model's outputs for inputs that nobody else sees; one tensor, or a tuple of several.

        inputs: tensors or arrays, one for each of the model's. Any number of rows, if all inputs
            and outputs of the model have rows in their first dimension: they become queries of the
            size that the model was exported for, the last filled up with zeros.
        at_once: how many of those queries are under way at the same time, at most.
        progress: told of the queries that are done.
        Returns float32. Raises ShapeError and EncodingError before anything is sent.
        """
        if at_once < 1:
            raise UsageError(f"at_once= is 1 or more, not {at_once}")
        known = self._known.get(name)
        model = known or await self.model(name)
        try:
            return await self._predicted(model, inputs, progress or silent, at_once)
        except UsageError:
            # What was known of the model may be out of date: then, and only then, once again.
            if known is None or (await self.model(name)).id == known.id:
                raise
            model = self._known[name]
        return await self._predicted(model, inputs, progress or silent, at_once)

    async def _predicted(
        self, model: PublishedModel, inputs: Sequence[Input], progress: Progress, at_once: int
    ) -> Result:
        work = batches(model, inputs)
        results: list[list[torch.Tensor]] = [[] for _ in range(work.count)]
        waiting = iter(range(work.count))
        done = 0
        progress("queries", 0, work.count)

        async def keep_asking() -> None:
            nonlocal done
            for number in waiting:
                results[number] = await self._query(model, work, number)
                done += 1
                progress("queries", done, work.count)

        await together([keep_asking() for _ in range(min(at_once, work.count))])
        outputs = joined(results, work.rows)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    async def _query(self, model: PublishedModel, work: Batches, number: int) -> list[torch.Tensor]:
        """The outputs of one query, under an id of its own."""
        query = os.urandom(QUERY_BYTES)
        values = work.of(number)
        if sum(each.size for each in values) < SMALL:
            shares = self._split(values)
        else:
            shares = await asyncio.to_thread(self._split, values)
        path = f"{_path(model.name)}/infer"

        async def infer(party: PartyConnection) -> tuple[Array, ...]:
            tensors = [
                Tensor(field.name, field.shape, share[party.index], field.scale, party.index,
                       len(self._parties))
                for field, share in zip(model.inputs, shares, strict=True)
            ]  # fmt: skip
            headers, body = encode_request(query, tensors)
            limit, most = self.config.limits.query, model.answer_bytes
            answer = await party.request("POST", path, limit, headers=headers, body=body, most=most)
            return self._result_shares(party, model, query, answer)

        answers = await self._ask(infer)
        return [
            reals_from(_sum(shares), field.scale)
            for field, shares in zip(model.outputs, zip(*answers, strict=True), strict=True)
        ]

    def _result_shares(
        self, party: PartyConnection, model: PublishedModel, query: bytes, answer: Answer
    ) -> tuple[Array, ...]:
        """One party's shares, in the order of the model's outputs. Raises PeerFailed."""
        try:
            decoded = decode_response(answer.headers, answer.body, RESULT_LIMITS)
        except UsageError as error:
            raise PeerFailed(f"{party.name} sent no result that can be read: {error}") from None
        if decoded.query != query:
            raise PeerFailed(f"{party.name} sent the result of another query")
        given = {tensor.name: tensor for tensor in decoded.tensors}
        if set(given) != {field.name for field in model.outputs}:
            raise PeerFailed(
                f"{party.name} sent the outputs {sorted(given)} of {model.name!r}, which has "
                f"{[field.name for field in model.outputs]}"
            )
        for field_ in model.outputs:
            tensor = given[field_.name]
            if tensor.shape != field_.shape or tensor.scale != field_.scale:
                raise ShapeError(
                    f"{party.name} sent output '{field_.name}' of shape {tensor.shape} and scale "
                    f"{tensor.scale}; announced are {field_.shape} and {field_.scale}"
                )
            if (tensor.share, tensor.parties) != (party.index, len(self._parties)):
                raise PeerFailed(
                    f"{party.name} sent share {tensor.share} of {tensor.parties}, and it has share "
                    f"{party.index} of {len(self._parties)}"
                )
        return tuple(given[field_.name].values for field_ in model.outputs)

    # ---- all parties ---------------------------------------------------------------------------

    async def _ask(
        self, question: Callable[[PartyConnection], Coroutine[Any, Any, Found]]
    ) -> list[Found]:
        return await together([question(party) for party in self._parties])

    def _split(self, values: Sequence[Array]) -> list[list[Array]]:
        """For each array its shares, of which any but one are uniform."""
        with self._sharing_lock:
            return [self._sharing.split(each, len(self._parties)) for each in values]


def _path(name: str) -> str:
    return f"/v2/models/{quote(name, safe='')}"


def _sum(shares: Sequence[Array]) -> Array:
    total = shares[0].copy()
    for share in shares[1:]:
        np.add(total, share, out=total)
    return total


def _check_name(name: str) -> None:
    """A path with '..' in it would be another one by the time it arrives."""
    good = isinstance(name, str) and 0 < len(name) <= NAME_LENGTH and name[0].isalnum()
    if not good or not all(each.isalnum() or each in "-_." for each in name):
        raise UsageError(
            "a model's name has letters, digits, '-', '_' and '.', begins with a letter or digit, "
            f"and has {NAME_LENGTH} characters at most, not {name!r}"
        )


def _counter(progress: Progress, what: str, total: int) -> Sent:
    done = 0

    def sent(size: int) -> None:
        nonlocal done
        done += size
        progress(what, done, total)

    progress(what, 0, total)
    return sent
