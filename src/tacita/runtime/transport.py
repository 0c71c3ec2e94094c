"""What roles send each other, and the transport that stays in memory.

Everything that would cross a network goes through an `Endpoint`: instructions, shares of inputs,
corrections, openings, results. A message is a kind, a header of bytes and arrays of ring elements;
the memory transport hands the arrays over as they are, so whoever sends one must not write to it
again. Every wait has a limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tacita.errors import PeerFailed, PeerTimeout

Array = NDArray[np.uint64]
Kind = Literal[
    # from the user's side
    "instruct", "deploy", "undeploy", "run", "ahead", "prepare", "release", "stop", "lend", "keep",
    "saved",
    # between roles
    "key", "agree", "material", "open", "common", "consult", "answer",
    # to the user's side, or to everybody
    "share", "refuse", "done", "progress", "fail",
    # between daemons
    "begin", "result", "batch", "end", "ask",
]  # fmt: skip

MOST_WAITING_BYTES = 512 << 20  # in one channel: a dealer that runs ahead waits here
ROOM_POLL = 0.002  # seconds between two looks at a full channel


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """kind: what it is for. header: msgpack, or text for `refuse` and `fail`."""

    kind: Kind
    header: bytes = b""
    arrays: tuple[Array, ...] = ()

    @property
    def payload_bytes(self) -> int:
        size = 0
        for array in self.arrays:
            size += array.nbytes
        return size


class Endpoint(Protocol):
    """One role's end of the transport."""

    name: str

    def send(self, to: str, message: Message) -> None: ...
    def receive(self, sender: str, limit: float | None) -> Message:
        """The next message from `sender`; `limit` in seconds.

        Raises PeerTimeout after `limit`, and PeerFailed where the sender said that it failed.
        """
        ...


def expected(endpoint: Endpoint, sender: str, kind: Kind, limit: float) -> Message:
    """The next message of a role, which has to be of this kind and carry ring elements."""
    message = endpoint.receive(sender, limit)
    fits = message.kind == kind
    for array in message.arrays:
        fits = fits and array.dtype == np.uint64
    if not fits:
        raise PeerFailed(f"{sender} sent a message of kind {message.kind} where {kind} was due")
    return message


class Channel:
    """Messages from one role to another, in order.

    Each counter is written by one side only, so that neither waits for the other to count.
    """

    def __init__(self, sender: str, receiver: str) -> None:
        self.sender = sender
        self.receiver = receiver
        self.sent_bytes = 0
        self._taken_bytes = 0
        self._queue: SimpleQueue[Message] = SimpleQueue()

    def put(self, message: Message, limit: float) -> None:
        size = message.payload_bytes
        if self._waiting_bytes and self._waiting_bytes + size > MOST_WAITING_BYTES:
            self._wait_for_room(size, limit)
        if size:  # what has none may come from any thread
            self.sent_bytes += size
        self._queue.put(message)

    @property
    def _waiting_bytes(self) -> int:
        return self.sent_bytes - self._taken_bytes

    def _wait_for_room(self, size: int, limit: float) -> None:
        deadline = time.monotonic() + limit
        while self._waiting_bytes and self._waiting_bytes + size > MOST_WAITING_BYTES:
            if time.monotonic() > deadline:
                raise PeerTimeout(
                    f"{self.receiver} took nothing from {self.sender} for {limit:g} s"
                )
            time.sleep(ROOM_POLL)

    def get(self, limit: float | None) -> Message:
        try:
            message = self._queue.get(timeout=limit)
        except Empty:
            raise PeerTimeout(
                f"{self.sender} sent {self.receiver} nothing for {limit:g} s"
            ) from None
        self._taken_bytes += message.payload_bytes
        return message


class MemoryNetwork:
    """The channels between the roles of one session in one process."""

    def __init__(self, names: Iterable[str], limit: float) -> None:
        self.names = tuple(names)
        self.limit = limit
        self._channels = {(a, b): Channel(a, b) for a in self.names for b in self.names if a != b}

    def endpoint(self, name: str) -> MemoryEndpoint:
        return MemoryEndpoint(self, name)

    def channel(self, sender: str, receiver: str) -> Channel:
        return self._channels[sender, receiver]


class MemoryEndpoint:
    """See `Endpoint`."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.name = name
        self._limit = network.limit
        self._out = {to: network.channel(name, to) for to in network.names if to != name}
        self._in = {sender: network.channel(sender, name) for sender in self._out}

    def send(self, to: str, message: Message) -> None:
        self._out[to].put(message, self._limit)

    def receive(self, sender: str, limit: float | None) -> Message:
        message = self._in[sender].get(limit)
        if message.kind == "fail":
            raise PeerFailed(f"{sender} stopped: {message.header.decode(errors='replace')}")
        return message
