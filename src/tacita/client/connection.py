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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from tacita.client.answers import error_of
from tacita.errors import PeerError, PeerFailed, PeerTimeout, TacitaError
from tacita.network.identity import hostname_of
from tacita.network.tensors import Buffer
from tacita.service.config import Limits, PartyEntry

PIECE = 1 << 20  # bytes handed over at once, and told of
SMALL_ANSWER = 1 << 20  # bytes: JSON about models and state
KEPT_SECONDS = 30.0  # less than a front keeps connections: it is not to close one under a request
CONNECTIONS = 64

Sent = Callable[[int], None]  # so many more bytes were sent


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a request that succeeded. Its repr has no content."""

    headers: Mapping[str, str]
    body: memoryview = field(repr=False)


class PartyConnection:
    """One party's front, over connections that are kept open. For one event loop."""

    def __init__(
        self, entry: PartyEntry, index: int, context: ssl.SSLContext, limits: Limits
    ) -> None:
        self.name = entry.name
        self.front = entry.front
        self.index = index
        self._hostname = hostname_of("party", entry.name)
        self._limits = limits
        self._http = httpx.AsyncClient(
            base_url=entry.front,
            verify=context,
            # Neither proxies nor credentials of the environment: shares go to the party alone.
            trust_env=False,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=KEPT_SECONDS,
            ),
        )

    def __repr__(self) -> str:
        return f"PartyConnection({self.name} at {self.front})"

    async def close(self) -> None:
        await self._http.aclose()

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
        # Reads and writes have the whole limit; how long all may take is decided here.
        timeout = httpx.Timeout(limit, connect=min(self._limits.connect, limit))
        content = _pieces(body, sent) if len(body) else None
        try:
            async with (
                asyncio.timeout(limit),
                self._http.stream(
                    method,
                    path,
                    headers=headers,
                    content=content,
                    timeout=timeout,
                    extensions={"sni_hostname": self._hostname},
                ) as response,
            ):
                received = await self._received(response, most)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._late(error, limit) from None
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        except OSError as error:
            raise self._unreachable(error) from None
        if response.is_success:
            return Answer(response.headers, received)
        raise error_of(self.name, response.status_code, bytes(received))

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

    async def _received(self, response: httpx.Response, most: int) -> memoryview:
        declared = response.headers.get("content-length", "")
        if not declared.isdigit() or int(declared) > most:
            pieces = []
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > most:
                    raise self.wrong(f"an answer of more than {most} bytes")
                pieces.append(piece)
            return memoryview(b"".join(pieces))
        # Its own memory, which is aligned for words: decoded tensors are views of it.
        whole = np.empty(int(declared), np.uint8).data
        start = 0
        async for piece in response.aiter_raw():
            if start + len(piece) > len(whole):
                raise self.wrong("more than it said")
            whole[start : start + len(piece)] = piece
            start += len(piece)
        return whole[:start]

    def wrong(self, what: str) -> PeerFailed:
        return PeerFailed(f"{self.name} sent {what}; is {self.front} a party's front?")

    def _late(self, error: Exception, limit: float) -> PeerError:
        if isinstance(error, httpx.ConnectTimeout):
            return PeerFailed(
                f"{self.name} at {self.front} cannot be reached: no connection after "
                f"{min(self._limits.connect, limit):g} s; check the address in the network's file, "
                "and that nothing between filters the port"
            )
        return PeerTimeout(f"{self.name} at {self.front} did not answer within {limit:g} s")

    def _unreachable(self, error: Exception) -> TacitaError:
        problem = _tls_problem(error)
        if problem is None:
            kind = type(error).__name__
            if isinstance(error, httpx.ConnectError | OSError):
                return PeerFailed(
                    f"{self.name} at {self.front} cannot be reached ({_reason(error)}): check that "
                    "it runs, and its address in the network's file"
                )
            return PeerFailed(
                f"{self.name} at {self.front} broke the connection ({kind}): its log says why"
            )
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


def _tls_problem(error: BaseException) -> ssl.SSLError | None:
    """The error of the TLS library that others were raised from, if there is one."""
    cause: BaseException | None = error
    seen = 0
    while cause is not None and seen < 10:
        if isinstance(cause, ssl.SSLError):
            return cause
        cause = cause.__cause__ or cause.__context__
        seen += 1
    return None


def _reason(error: BaseException) -> str:
    """The system's words for it; those of the libraries in between may quote anything."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return cause.strerror or "no such host"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


async def _pieces(body: Sequence[Buffer], sent: Sent | None) -> AsyncIterator[bytes]:
    for buffer in body:
        view = memoryview(buffer)
        for start in range(0, len(view), PIECE):
            # bytes: memory that a library keeps a view of must not be an array that is reused
            piece = bytes(view[start : start + PIECE])
            yield piece
            if sent is not None:
                sent(len(piece))
