"""A role's end of the transport, over one stream to each other role."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from tacita.errors import PeerError, PeerFailed
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
        try:
            self._streams[to].send(message, self._limit)
        except PeerFailed as error:
            raise self._last_word(to) or error from None

    def receive(self, sender: str, limit: float | None) -> Message:
        message = self._streams[sender].receive(limit)
        if message.kind == "fail":
            raise stopped(sender, message)
        return message

    def _last_word(self, name: str) -> PeerFailed | None:
        """Why a role has stopped, if it said so before its stream ended and nobody has read it."""
        with suppress(PeerError):
            while True:
                message = self._streams[name].receive(0)
                if message.kind == "fail":
                    return stopped(name, message)
        return None


def stopped(name: str, message: Message) -> PeerFailed:
    return PeerFailed(f"{name} stopped: {message.header.decode(errors='replace')}")
