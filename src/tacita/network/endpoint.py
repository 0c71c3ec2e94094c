"""A role's end of the transport, over one stream to each other role."""

from __future__ import annotations

from collections.abc import Mapping

from tacita.errors import PeerFailed
from tacita.network.stream import Stream
from tacita.runtime.transport import Message


class StreamEndpoint:
    """See `tacita.runtime.transport.Endpoint`.

    streams: to each other role by its name in the session. limit: seconds for each send.
    """

    def __init__(self, name: str, streams: Mapping[str, Stream], limit: float) -> None:
        self.name = name
        self._streams = dict(streams)
        self._limit = limit

    def send(self, to: str, message: Message) -> None:
        self._streams[to].send(message, self._limit)

    def receive(self, sender: str, limit: float | None) -> Message:
        message = self._streams[sender].receive(limit)
        if message.kind == "fail":
            raise PeerFailed(f"{sender} stopped: {message.header.decode(errors='replace')}")
        return message
