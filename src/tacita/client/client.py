"""`AsyncClient` for ordinary code: the same verbs, each of which returns when it is done."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

from tacita.client.async_client import AT_ONCE, AsyncClient, Input, PartyStatus, Result
from tacita.client.published import PublishedModel
from tacita.compiler.prediction import Link
from tacita.errors import SessionClosed
from tacita.network.identity import Principal
from tacita.program.program import Program
from tacita.runtime.progress import Progress
from tacita.service.config import ClientConfig
from tacita.torch.whole.model import Model

CLOSE_SECONDS = 10.0

Found = TypeVar("Found")


class Client:
    """An owner or a client of a network; which of them, its certificate says.

        with tacita.Client("client.toml") as client:
            scores = client.predict("mnist", images)

    Verbs, limits and errors are those of `AsyncClient`. Any number of threads may use one; its
    connections are kept until it is closed.
    """

    def __init__(self, config: str | os.PathLike[str] | ClientConfig) -> None:
        """config: of client.toml, or its path. Raises ConfigError and CredentialError."""
        self._client = AsyncClient(config)
        self._loop = asyncio.new_event_loop()
        # The thread knows the loop and not the client, so that one that is forgotten can go.
        self._thread = Thread(target=_serve, args=(self._loop,), name="tacita client", daemon=True)
        self._thread.start()
        self._finish = weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def __repr__(self) -> str:
        return f"Client({self.principal}, parties={list(self.config.network.names)})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def config(self) -> ClientConfig:
        return self._client.config

    @property
    def principal(self) -> Principal:
        """Whom the certificate names."""
        return self._client.principal

    def close(self) -> None:
        """Closes all connections; what other threads wait for here fails with SessionClosed."""
        if not self._finish.alive:
            return
        try:
            self._run(_end(self._client))
        finally:
            self._finish()
            self._thread.join(CLOSE_SECONDS)

    def publish(
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

        audience: who may query it, as "role:name" or "role:*"; each party's policy decides besides.
        protocol: how values are compared: "tables", "fss", or "auto" for the fastest, layer by
            layer, out of the stock; see `Model.compared_by`. None: "auto", unless it was chosen
            for the model before. More than two parties can use "tables" alone.
        network: between the parties, for "auto": "lan", "wan" or as in "20ms,100Mbit/s". None: as
            the parties measure it, if they let this owner know; "lan" where they do not.
        progress: told of what is measured, and of the bytes that were sent; called in a thread of
            the client's.
        `compared` of what is returned says how it compares, and why.
        """
        return self._run(
            self._client.publish(
                model,
                name,
                audience=audience,
                protocol=protocol,
                network=network,
                progress=progress,
            )
        )

    def predict(
        self, name: str, *inputs: Input, progress: Progress | None = None, at_once: int = AT_ONCE
    ) -> Result:
        """A model's outputs for inputs that nobody else sees; one tensor, or a tuple of several.

        inputs: tensors or arrays, of the model's shapes or, where all of its inputs and outputs
            have rows, of any number of rows.
        progress: told of the queries that are done; called in a thread of the client's.
        at_once: how many queries are under way at the same time, at most.
        Returns float32. Raises ShapeError and EncodingError before anything is sent.
        """
        return self._run(self._client.predict(name, *inputs, progress=progress, at_once=at_once))

    def models(self) -> list[PublishedModel]:
        """Those that all parties serve, and this principal may see."""
        return self._run(self._client.models())

    def model(self, name: str) -> PublishedModel:
        """What all parties say of a model. Raises UnknownModel; PeerFailed where they differ."""
        return self._run(self._client.model(name))

    def program(self, name: str) -> Program:
        """The program that the parties run. Raises PeerFailed where they do not have the same."""
        return self._run(self._client.program(name))

    def deal(self, name: str, runs: int, progress: Progress | None = None) -> int:
        """Has the dealer deal for so many more runs, ahead of queries; the stock afterwards."""
        return self._run(self._client.deal(name, runs, progress))

    def remove(self, name: str) -> None:
        """Takes a model of one's own from all parties, with its stock."""
        self._run(self._client.remove(name))

    def status(self) -> list[PartyStatus]:
        """Of every party, in order; one that cannot be asked is there with its error."""
        return self._run(self._client.status())

    # ---- the loop ------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, Found]) -> Found:
        if not self._finish.alive or not self._thread.is_alive():
            work.close()
            raise SessionClosed("this client was closed; make another")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise SessionClosed("this client was closed meanwhile") from None
        except BaseException:
            future.cancel()  # Ctrl-C, or an error, after which there is nothing to cancel
            raise


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _end(client: AsyncClient) -> None:
    """Ends what is under way, so that nobody waits for it forever."""
    own = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not own]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await client.close()
