"""The outermost layer of the front: who asks, how much at once, and what an error is answered with.

Pure ASGI. A server puts the verified principal into the scope under PRINCIPAL, or, under STRANGER,
why the certificate names none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tacita.errors import RateExceeded, Unauthenticated
from tacita.network.identity import Principal
from tacita.service.front.bodies import ClientGone
from tacita.service.front.failures import answer_to
from tacita.service.front.limits import FrontLimits

PRINCIPAL = "tacita.principal"
STRANGER = "tacita.stranger"

# A client that is still sending when it is refused would lose the answer if the connection just
# closed under it; so much of its body is thrown away first, for so long.
LINGER_BYTES = 16 << 20
LINGER_SECONDS = 2.0

log = logging.getLogger("tacita.front")


class Doorkeeper:
    """An ASGI application in front of another."""

    def __init__(self, app: ASGIApp, limits: FrontLimits) -> None:
        self._app = app
        self._limits = limits
        self._inside: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            with self._admitted(_principal(scope)):
                await self._app(scope, exchange.receive, exchange.send)
        except ClientGone:
            return
        except Exception as error:
            if exchange.started:
                log.warning("an answer could not be sent: %s", type(error).__name__)
                return
            await exchange.fail(answer_to(error))

    @contextmanager
    def _admitted(self, principal: Principal) -> Iterator[None]:
        who = principal.fingerprint
        if self._inside[who] >= self._limits.requests_each:
            raise RateExceeded(
                f"{principal} has {self._limits.requests_each} requests here already; "
                "wait for their answers"
            )
        self._inside[who] += 1
        try:
            yield
        finally:
            self._inside[who] -= 1
            if not self._inside[who]:
                del self._inside[who]


def _principal(scope: Scope) -> Principal:
    principal = scope.get(PRINCIPAL)
    if isinstance(principal, Principal):
        return principal
    why = scope.get(STRANGER, "the connection has no certificate")
    raise Unauthenticated(f"connect with a certificate of this network: {why}")


class _Exchange:
    """One request and its answer; knows how far both have come."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._all_read = False

    async def receive(self) -> Message:
        message = await self._receive()
        if not message.get("more_body", False):
            self._all_read = True
        return message

    async def send(self, message: Message) -> None:
        self.started = True
        await self._send(message)

    async def fail(self, answer: Response) -> None:
        if self._all_read or not self._has_body():
            await answer(self._scope, self._receive, self._send)
            return
        head = [*answer.raw_headers, (b"connection", b"close")]
        await self._send(
            {"type": "http.response.start", "status": answer.status_code, "headers": head}
        )
        await self._send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await self._discard()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _has_body(self) -> bool:
        headers = Headers(scope=self._scope)
        return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    async def _discard(self) -> None:
        size = 0
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while size < LINGER_BYTES and not self._all_read:
                    size += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return
