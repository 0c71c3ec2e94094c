"""HTTPS to one party, whoever answers at its address being that party or nobody.

Ordinary host-name checking of TLS, with the party's identity as the name to check: the handshake
fails, and no byte of a request is sent, where another principal of the same authority answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tacita.client.answers import error_of
from tacita.client.http_connection import (
    BadAnswer,
    HttpConnection,
    Reply,
    Sent,
    connected,
    request_head,
)
from tacita.errors import PeerError, PeerFailed, PeerTimeout, TacitaError
from tacita.network.identity import hostname_of
from tacita.network.tensors import Buffer
from tacita.service.config import Limits, PartyEntry

__all__ = ["Answer", "PartyConnection", "Sent"]

SMALL_ANSWER = 1 << 20  # bytes: JSON about models and state
KEPT_SECONDS = 30.0  # less than a front keeps connections: it is not to close one under a request
CONNECTIONS = 64
HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a request that succeeded; headers by lower-case names. Its repr has no content."""

    headers: Mapping[str, str]
    body: memoryview = field(repr=False)


class PartyConnection:
    """One party's front, over connections that are kept open. For one event loop.

    Neither proxies nor credentials of the environment count, and no redirect is followed: shares go
    to the party alone.
    """

    def __init__(
        self, entry: PartyEntry, index: int, context: ssl.SSLContext, limits: Limits
    ) -> None:
        self.name = entry.name
        self.front = entry.front
        self.index = index
        address = urlsplit(entry.front)
        self._authority = address.netloc
        self._host = address.hostname or ""
        self._port = address.port or HTTPS_PORT
        self._hostname = hostname_of("party", entry.name)
        self._context = context
        self._limits = limits
        self._places = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[HttpConnection] = []  # the one that was used last at the end
        self._closed = False

    def __repr__(self) -> str:
        return f"PartyConnection({self.name} at {self.front})"

    async def close(self) -> None:
        """Closes what is idle; what is under way is closed when it has ended."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()
        for connection in idle:
            await connection.closed()

    async def request(
        self,
        method: str,
        path: str,
        limit: float,
        *,
        headers: Mapping[str, str] | None = None,
        body: Sequence[Buffer] = (),
        most: int = SMALL_ANSWER,
        sent: Sent | None = None,
    ) -> Answer:
        """The party's answer, of at most `most` bytes, after at most `limit` seconds in all.

        sent: told how much of the body has gone. Raises the error that the party answers with,
        PeerTimeout, or PeerFailed where it cannot be reached or is somebody else.
        """
        head = self._head(method, path, headers or {}, body)
        try:
            async with asyncio.timeout(limit), self._places:
                connection = self._kept() or await self._connected(limit)
                reply = await self._exchanged(connection, head, body, most, sent)
        except TimeoutError:
            raise PeerTimeout(
                f"{self.name} at {self.front} did not answer within {limit:g} s"
            ) from None
        if 200 <= reply.status < 300:
            return Answer(reply.headers, reply.body)
        raise error_of(self.name, reply.status, bytes(reply.body))

    def _head(
        self, method: str, path: str, headers: Mapping[str, str], body: Sequence[Buffer]
    ) -> bytes:
        if len(body) or method not in ("GET", "DELETE"):
            headers = {**headers, "Content-Length": str(sum(map(len, body)))}
        return request_head(method, path, self._authority, headers)

    def _kept(self) -> HttpConnection | None:
        """One that the party keeps open, too."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and time.monotonic() - connection.since < KEPT_SECONDS:
                return connection
            connection.abort()
        return None

    async def _connected(self, limit: float) -> HttpConnection:
        limit = min(self._limits.connect, limit)
        try:
            async with asyncio.timeout(limit):
                return await connected(self._host, self._port, self._context, self._hostname, limit)
        except TimeoutError:
            raise self._silent(limit) from None
        except OSError as error:
            raise self._unreachable(error) from None

    async def _exchanged(
        self,
        connection: HttpConnection,
        head: bytes,
        body: Sequence[Buffer],
        most: int,
        sent: Sent | None,
    ) -> Reply:
        try:
            reply = await connection.exchange(head, body, most, sent)
        except BadAnswer as error:
            raise self.wrong(str(error)) from None
        except TimeoutError:
            raise
        except OSError as error:
            raise self._broken(error) from None
        if connection.reusable and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()
        return reply

    async def json(
        self, method: str, path: str, limit: float, body: object = None, sent: Sent | None = None
    ) -> Any:
        """As `request`, of JSON. Raises PeerFailed for an answer that is none."""
        content = [] if body is None else [json.dumps(body).encode()]
        headers = {"Content-Type": "application/json"} if content else {}
        answer = await self.request(method, path, limit, headers=headers, body=content, sent=sent)
        return self.parsed(answer)

    def parsed(self, answer: Answer) -> Any:
        try:
            return json.loads(bytes(answer.body))
        except (ValueError, RecursionError):
            raise PeerFailed(f"{self.name} answered with something that is not JSON") from None

    def wrong(self, what: str) -> PeerFailed:
        return PeerFailed(f"{self.name} sent {what}; is {self.front} a party's front?")

    def _silent(self, limit: float) -> PeerError:
        return PeerFailed(
            f"{self.name} at {self.front} cannot be reached: no connection after {limit:g} s; "
            "check the address in the network's file, and that nothing between filters the port"
        )

    def _unreachable(self, error: OSError) -> TacitaError:
        if isinstance(error, ssl.SSLError):
            return self._unproven(error)
        return PeerFailed(
            f"{self.name} at {self.front} cannot be reached ({_reason(error)}): check that it "
            "runs, and its address in the network's file"
        )

    def _broken(self, error: OSError) -> TacitaError:
        if isinstance(error, ssl.SSLError):
            return self._unproven(error)
        return PeerFailed(
            f"{self.name} at {self.front} broke the connection ({_reason(error)}): its log says why"
        )

    def _unproven(self, problem: ssl.SSLError) -> TacitaError:
        """With TLS 1.3, a party's refusal of our certificate comes after our handshake."""
        if isinstance(problem, ssl.SSLCertVerificationError):
            return PeerFailed(
                f"who answers at {self.front} is not proven to be {self._hostname}: "
                f"{problem.verify_message}; nothing was sent. Check the address in the network's "
                "file, and the party's certificate with `tacita doctor`"
            )
        return PeerFailed(
            f"{self.name} at {self.front} broke off the TLS handshake "
            f"({problem.reason or 'no reason given'}): check that your certificate is valid and of "
            "the authority that the party trusts, with `tacita doctor`"
        )


def _reason(error: OSError) -> str:
    """The system's words for it; those of the libraries in between may quote anything."""
    if isinstance(error, socket.gaierror):
        return error.strerror or "no such host"
    return os.strerror(error.errno) if error.errno else type(error).__name__
