"""Bodies of requests, received within limits, and binary answers, sent within one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tacita.errors import BodyTooLarge, BodyTooSlow, UsageError
from tacita.network.tensors import Buffer

PIECE = 1 << 20  # bytes handed to the connection at once; it copies them


class ClientGone(Exception):
    """The client closed its connection; there is nobody to answer."""


async def read_body(request: Request, limit: int, seconds: float) -> memoryview:
    """The whole body, at most `limit` bytes. One that declares its length is received in place.

    Raises BodyTooLarge (as soon as it is known), BodyTooSlow, ClientGone, UsageError.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, limit)
    except TimeoutError:
        raise BodyTooSlow(f"the body was not there after {seconds:g} s") from None


async def _read(request: Request, limit: int) -> memoryview:
    declared = request.headers.get("content-length")
    if declared is None:
        return await _read_undeclared(request.receive, limit)
    if not (declared.isascii() and declared.isdigit()):
        raise UsageError("Content-Length is not a number of bytes")
    if len(declared) > 18 or int(declared) > limit:
        raise BodyTooLarge(f"the body has {declared[:30]} bytes; at most {limit} are taken")
    # Fresh pages are touched only when something arrives, so a declared length costs nothing.
    body = np.empty(int(declared), np.uint8).data
    start = 0
    async for piece in _pieces(request.receive):
        if start + len(piece) > len(body):
            raise UsageError("the body is longer than its Content-Length")
        body[start : start + len(piece)] = piece
        start += len(piece)
    if start != len(body):
        raise UsageError(f"the body has {start} bytes and its Content-Length is {len(body)}")
    return body


async def _read_undeclared(receive: Receive, limit: int) -> memoryview:
    pieces: list[bytes] = []
    size = 0
    async for piece in _pieces(receive):
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(f"the body has more than {limit} bytes")
        pieces.append(piece)
    return memoryview(b"".join(pieces))


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


class BinaryAnswer(Response):
    """Buffers, sent one behind the other. A client that does not take them loses its connection."""

    def __init__(
        self, headers: Mapping[str, str], buffers: Iterable[Buffer], seconds: float
    ) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.items()
        ]
        self._buffers = tuple(memoryview(each) for each in buffers)
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.timeout(self._seconds):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            last = len(self._buffers) - 1
            for index, buffer in enumerate(self._buffers):
                for start in range(0, max(len(buffer), 1), PIECE):
                    more = index < last or start + PIECE < len(buffer)
                    piece = buffer[start : start + PIECE]
                    await send({"type": "http.response.body", "body": piece, "more_body": more})
