"""What roles send each other, and the transport that stays in memory.

Everything that would cross a network goes through an `Endpoint`: instructions, shares of inputs,
corrections, openings, results. A message is a kind, a header of bytes and arrays of ring elements;
the memory transport hands the arrays over as they are, so whoever sends one must not write to it
again. Every wait has a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Condition
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tacita.errors import PeerFailed, PeerTimeout

Array = NDArray[np.uint64]
Kind = Literal["instruct", "key", "material", "open", "share", "refuse", "done", "fail", "stop"]

MOST_WAITING_BYTES = 512 << 20  # in one channel: a dealer that runs ahead waits here


@dataclass(frozen=True, slots=True)
class Message:
    """kind: what it is for. header: msgpack, or text for `refuse` and `fail`."""

    kind: Kind
    header: bytes = b""
    arrays: tuple[Array, ...] = ()

    @property
    def payload_bytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


class Endpoint(Protocol):
    """One role's end of the transport."""

    name: str

    def send(self, to: str, message: Message) -> None: ...
    def receive(self, sender: str, limit: float | None) -> Message:
        """The next message from `sender`; `limit` in seconds.

        Raises PeerTimeout after `limit`, and PeerFailed where the sender said that it failed.
        """
        ...


class Channel:
    """Messages from one role to another, in order."""

    def __init__(self, sender: str, receiver: str) -> None:
        self.sender = sender
        self.receiver = receiver
        self.sent_bytes = 0
        self.sent_messages = 0
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._changed = Condition()

    def put(self, message: Message, limit: float) -> None:
        size = message.payload_bytes
        with self._changed:
            if self._waiting_bytes and self._waiting_bytes + size > MOST_WAITING_BYTES:
                if not self._changed.wait_for(
                    lambda: self._waiting_bytes + size <= MOST_WAITING_BYTES
                    or not self._waiting_bytes,
                    limit,
                ):
                    raise PeerTimeout(
                        f"{self.receiver} took nothing from {self.sender} for {limit:g} s"
                    )
            self._waiting.append(message)
            self._waiting_bytes += size
            self.sent_bytes += size
            self.sent_messages += 1
            self._changed.notify()

    def get(self, limit: float | None) -> Message:
        with self._changed:
            if not self._waiting and not self._changed.wait_for(lambda: self._waiting, limit):
                raise PeerTimeout(f"{self.sender} sent {self.receiver} nothing for {limit:g} s")
            message = self._waiting.popleft()
            self._waiting_bytes -= message.payload_bytes
            if self._waiting_bytes + message.payload_bytes > MOST_WAITING_BYTES // 2:
                self._changed.notify_all()
            return message


class MemoryNetwork:
    """The channels between the roles of one session in one process."""

    def __init__(self, names: Iterable[str], limit: float) -> None:
        self.names = tuple(names)
        self.limit = limit
        self._channels = {
            (a, b): Channel(a, b) for a in self.names for b in self.names if a != b
        }

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


