"""One connection to a party's front, and HTTP/1.1 over it, one exchange after the other.

What a general client spends on a request (redirects, cookies, proxies, encodings, a task for each
limit) takes longer than a small query takes between the parties; a front needs none of it. Only
what a front says is read: an answer has a Content-Length and comes in one piece. Anything else is
refused, so nothing is left to be guessed at.

Source: RFC 9110 and RFC 9112; of the latter, sections 3 to 6 without transfer codings.
"""

from __future__ import annotations

import asyncio
import re
import select
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tacita.errors import UsageError
from tacita.network.tensors import Buffer

PIECE = 1 << 20  # bytes handed to the connection at once, and told of
HEAD_BYTES = 16 << 10  # of an answer's status line and headers

Sent = Callable[[int], None]  # so many more bytes were sent

_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_BODILESS = (204, 304)


class BadAnswer(Exception):
    """What came is no answer that a front gives; in words that follow "sent"."""


@dataclass(frozen=True, slots=True)
class Reply:
    """headers: by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: memoryview = field(repr=False)


def request_head(method: str, target: str, host: str, headers: Mapping[str, str]) -> bytes:
    """A request line and its headers. Raises UsageError for what would be read as something else:
    a target that is not all visible ASCII, which a space would end, and line breaks anywhere."""
    if not _TARGET.fullmatch(target):
        raise UsageError("a request's path is not quoted: percent-encode what is in it")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines).encode("latin-1", "replace")
    if head.count(b"\r") != len(lines) - 1 or head.count(b"\n") != len(lines) - 1:
        raise UsageError("a request's path and headers have no line breaks in them")
    return head + b"\r\n\r\n"


async def connected(
    host: str, port: int, context: ssl.SSLContext, name: str, limit: float
) -> HttpConnection:
    """To whoever proves to be `name`. Raises OSError, and ssl.SSLError among them."""
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(
        lambda: HttpConnection(loop),
        host,
        port,
        ssl=context,
        server_hostname=name,
        ssl_handshake_timeout=limit,
    )
    return protocol


class HttpConnection(asyncio.Protocol):
    """Made by `connected`. One exchange at a time; `reusable` says whether there may be another."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.since = time.monotonic()  # nothing has happened since then
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._lost = loop.create_future()
        self._readable = select.poll()
        self._spoilt = False
        self._room: asyncio.Future[None] | None = None  # where a writer waits for some
        self._answered: asyncio.Future[Reply] | None = None
        self._most = 0
        self._head = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: memoryview | None = None
        self._filled = 0

    # ---- an exchange -----------------------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        """Whether the other side has kept the connection, and quiet; it may close it any time."""
        # Closing is noticed by the event loop only when it comes round; the socket knows now.
        open_ = self._transport is not None and not self._transport.is_closing()
        return open_ and not self._spoilt and not self._readable.poll(0)

    async def exchange(
        self, head: bytes, body: Sequence[Buffer], most: int, sent: Sent | None = None
    ) -> Reply:
        """What is answered, with a body of at most `most` bytes.

        Buffers are handed on in pieces and must not change meanwhile. An answer that comes before
        all has been sent ends the sending. Raises BadAnswer, and OSError where the connection
        breaks. Where it raises, or is cancelled, the connection has ended.
        """
        assert self._transport is not None
        self._most = most
        self._answered = answered = self._loop.create_future()
        try:
            if self._lost.done():
                raise ConnectionResetError
            if len(body) == 1 and len(body[0]) <= PIECE:
                self._transport.write(head + body[0])
                if sent is not None:
                    sent(len(body[0]))
            else:
                self._transport.write(head)
                await self._send(body, answered, sent)
            reply: Reply = await answered
        except BaseException:
            self.abort()
            raise
        finally:
            self._answered = None
            if answered.done() and not answered.cancelled():
                answered.exception()  # seen, also where this was cancelled meanwhile
        self.since = time.monotonic()
        if self._spoilt:
            self.abort()
        return reply

    async def _send(
        self, body: Sequence[Buffer], answered: asyncio.Future[Reply], sent: Sent | None
    ) -> None:
        assert self._transport is not None
        for buffer in body:
            view = memoryview(buffer)
            for start in range(0, len(view), PIECE):
                if self._room is not None:
                    await asyncio.wait((self._room, answered), return_when=asyncio.FIRST_COMPLETED)
                if answered.done():
                    self._spoilt = True  # the rest of the body is owed
                    return
                piece = view[start : start + PIECE]
                self._transport.write(piece)
                if sent is not None:
                    sent(len(piece))

    def abort(self) -> None:
        """Closes without another word."""
        self._spoilt = True
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        """Once the connection has ended."""
        await asyncio.shield(self._lost)

    # ---- what the event loop tells ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def connection_lost(self, exc: Exception | None) -> None:
        self._spoilt = True
        self._fail(exc or ConnectionResetError())
        self.resume_writing()
        if not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    def data_received(self, data: bytes) -> None:
        if self._answered is None or self._answered.done():
            self._spoilt = True  # nobody asked
            return
        try:
            if self._body is None:
                self._head += data
                self._take_head()
            else:
                self._take_body(data)
        except BadAnswer as error:
            self._spoilt = True
            self._fail(error)

    # ---- parsing ---------------------------------------------------------------------------------

    def _take_head(self) -> None:
        end = self._head.find(b"\r\n\r\n")
        if end > HEAD_BYTES or (end < 0 and len(self._head) > HEAD_BYTES):
            raise BadAnswer(f"headers of more than {HEAD_BYTES} bytes")
        if end < 0:
            return
        status, *lines = bytes(self._head[:end]).split(b"\r\n")
        rest = bytes(self._head[end + 4 :])
        self._head.clear()
        matched = _STATUS.fullmatch(status)
        if matched is None:
            raise BadAnswer("what is no answer in HTTP/1.1")
        self._status = int(matched[1])
        self._headers = _fields(lines)
        # Its own memory, which is aligned for words: decoded tensors are views of it.
        self._body = np.empty(self._length(), np.uint8).data
        self._filled = 0
        self._take_body(rest)

    def _length(self) -> int:
        if self._status in _BODILESS:
            return 0
        length = self._headers.get("content-length", "")
        if "transfer-encoding" in self._headers or not _LENGTH.fullmatch(length):
            raise BadAnswer("an answer that does not say how long it is")
        if int(length) > self._most:
            raise BadAnswer(f"an answer of more than {self._most} bytes")
        return int(length)

    def _take_body(self, data: bytes) -> None:
        assert self._body is not None
        end = self._filled + len(data)
        if end > len(self._body):
            raise BadAnswer("more than it said")
        self._body[self._filled : end] = data
        self._filled = end
        if end < len(self._body):
            return
        reply, self._body = Reply(self._status, self._headers, self._body), None
        if "close" in self._headers.get("connection", "").lower():
            self._spoilt = True
        assert self._answered is not None
        self._answered.set_result(reply)

    def _fail(self, error: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)


def _fields(lines: Sequence[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        matched = _FIELD.fullmatch(line)
        if matched is None:
            raise BadAnswer("headers that are none")
        name = matched[1].decode("ascii").lower()
        value = matched[2].decode("latin-1").rstrip(" \t")
        if name in found:
            if name in ("content-length", "inference-header-content-length"):
                raise BadAnswer(f"the header {name!r} twice")
            value = f"{found[name]}, {value}"
        found[name] = value
    return found
