"""One HTTP connection to the front: whose it is, and limits on what it may take to say something.

llhttp (through httptools) parses, strictly; it knows no limits, so they stand here. What it would
let pass and the standard does not, a request of HTTP/1.1 without one Host, is refused as well; and
a transfer coding that is not "chunked" before anybody works on the request, not after.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tacita.errors import CredentialError
from tacita.network.identity import principal_of
from tacita.service.front.doorkeeper import PRINCIPAL, STRANGER
from tacita.service.front.failures import failed
from tacita.service.front.limits import FrontLimits

FRAMING = 64  # bytes that a line of a head, or what stands around a chunk, has beside what counts

log = logging.getLogger("tacita.front")


def connection_with(limits: FrontLimits) -> type[asyncio.Protocol]:
    """uvicorn makes its protocols itself; a class of its own hands them our limits."""

    class LimitedConnection(Connection):
        LIMITS = limits

    return LimitedConnection


class Unacceptable(Exception):
    """Goes through the parser, which makes its own error of it."""


class Connection(HttpToolsProtocol):
    """Its principal is read from the certificate once and goes into every scope.

    A certificate that names no principal is answered 401, whatever is asked for.
    """

    LIMITS = FrontLimits()
    _head_timer: asyncio.TimerHandle | None = None
    _age_timer: asyncio.TimerHandle | None = None
    _in_head = False  # a request has begun, and its headers are not all there
    _useful = 0  # of the bytes that came last: those of a whole head, of a body, and their framing
    _unparsed = 0  # all others so far: of half a head, of trailers, of what chunks have beside them

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.LIMITS.connections:
            log.warning("%d connections are open; another is closed", self.LIMITS.connections)
            transport.abort()
            return
        self.app: Any = _introduced(self.app, transport.get_extra_info("ssl_object"))
        self._age_timer = self.loop.call_later(self.LIMITS.connection_seconds, self.shutdown)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._age_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._useful = 0
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._unparsed = max(0, self._unparsed + len(data) - self._useful)
        if self._unparsed > self.LIMITS.head_bytes:
            self.send_400_response("")
            return
        self._watch_head()

    # ---- what the parser tells -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are no part of what was asked
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        hosts = sum(name == b"host" for name, _ in self.headers)
        missing = hosts == 0 and self.parser.get_http_version() != "1.0"
        if size > self.LIMITS.head_bytes or hosts > 1 or missing or self.parser.should_upgrade():
            raise Unacceptable
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and (codings != [b"chunked"] or self.parser.get_http_version() == "1.0"):
            raise Unacceptable
        self._useful += size + FRAMING * (2 + len(self.headers))
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._useful += FRAMING

    def on_body(self, body: bytes) -> None:
        self._useful += len(body)
        super().on_body(body)

    # ---- a head's time ---------------------------------------------------------------------------

    @property
    def _head_is_due(self) -> bool:
        return self._in_head or self.cycle is None or self.cycle.response_complete

    def _watch_head(self) -> None:
        """A request whose head has begun is to be there in time; uvicorn has no such limit."""
        if not self._head_is_due:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.LIMITS.head_seconds, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._watch_head()  # its answer is due first
        elif not self.transport.is_closing():
            self.transport.close()

    # ---- refusal ---------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """In the form of all errors; what uvicorn would say is not."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            answer = failed(400, "this is no HTTP request that is understood here")
            headers = [*answer.raw_headers, (b"connection", b"close")]
            head = [b"HTTP/1.1 400 Bad Request", *(b": ".join(each) for each in headers)]
            self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
        self.transport.close()


def _introduced(app: Any, tls: ssl.SSLObject | None) -> ASGIApp:
    """`app`, told in every scope who the other end of this connection is."""
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    entry: dict[str, Any] = {}
    if certificate is not None:
        try:
            entry[PRINCIPAL] = principal_of(certificate)
        except CredentialError as error:
            entry[STRANGER] = str(error)

    async def introduce(scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(entry)
        await app(scope, receive, send)

    return introduce
