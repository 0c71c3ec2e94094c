"""One stream of a link: the messages of one session between two roles, both ways, in order."""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tacita.errors import FrameError, PeerError, PeerTimeout, SessionClosed
from tacita.network import frames
from tacita.network.frames import Assembly, FrameKind
from tacita.runtime.transport import Message

if TYPE_CHECKING:
    from tacita.network.link import Link


class Stream:
    """Made by `Link.open`, or by the link where the peer opens it.

    For one sender and one receiver thread; `close` may come from any. sent_bytes and
    received_bytes count frames whole, before TLS adds about 22 bytes to each 16 KiB.
    """

    def __init__(self, link: Link, stream_id: bytes) -> None:
        self.id = stream_id
        self.link = link
        self.sent_bytes = 0
        self.received_bytes = 0
        self.sent_messages = 0
        # of the link, under its writers' turn and in its reader
        self.next_out = 0
        self.next_in = 0
        self.assembly: Assembly | None = None
        self.counted = 0  # what this stream adds to the link's bytes; under the link's lock

        self._sending = threading.Lock()
        self._state = threading.Condition(threading.Lock())
        self._ended: PeerError | None = None
        self._window = link.peer_window
        self._outstanding = 0  # cost of what the peer has not given credit for
        self._waiting = 0  # cost of what the peer sent and we have not given credit for
        self._kept_back = 0  # part of it: consumed, and the credit not sent yet
        self._messages: SimpleQueue[tuple[Message, int] | None] = SimpleQueue()

    def __repr__(self) -> str:
        return f"<stream {self.id.hex()} with {self.link.peer}>"

    # ---- the user's side -------------------------------------------------------------------------

    def send(self, message: Message, limit: float) -> None:
        """Returns when the socket has taken the message.

        Its arrays may be written to afterwards. Raises UsageError for a message over the limits,
        PeerTimeout where the peer consumes nothing, or the network takes nothing, for `limit`
        seconds (if a part has left, the stream is closed), and PeerFailed or SessionClosed
        where the stream or the link has ended.
        """
        deadline = time.monotonic() + limit
        content = frames.encode_message(message, self.link.limits, self.link.kinds)
        self.link.check_size(message.kind, content.size)
        if not self._sending.acquire(timeout=max(0.0, limit)):
            raise self._too_slow(limit)
        try:
            self._await_window(content.cost, deadline, limit)
            self.link.send_message(self, content, deadline, limit)
            self.sent_messages += 1
        finally:
            self._sending.release()

    def receive(self, limit: float | None) -> Message:
        """The next message; its arrays are writable and nobody else's.

        Raises PeerTimeout after `limit` seconds, PeerFailed with the reason where the peer closed
        the stream or the link is gone (after what arrived before), FrameError where that was for
        what the peer sent, and SessionClosed after `close`.
        """
        try:
            item = self._messages.get(timeout=None if limit is None else max(0.0, limit))
        except Empty:
            raise PeerTimeout(f"{self.link.peer} sent nothing for {limit:g} s") from None
        if item is None:
            self._messages.put(None)  # for whoever asks next
            self.link.forget(self)
            raise self._failure()
        message, cost = item
        self._consumed(cost)
        return message

    def close(self, why: str = "") -> None:
        """Ends the stream and tells the peer; what has not been received is dropped.

        May be repeated.
        """
        if self.end(SessionClosed(f"the stream with {self.link.peer} was closed here{colon(why)}")):
            self.link.post(FrameKind.CLOSE, self, frames.encode_reason(why))
        while not self._messages.empty():
            try:
                self._messages.get_nowait()
            except Empty:
                break
        self._messages.put(None)
        self.link.forget(self)

    @property
    def why(self) -> str | None:
        """Why nothing more can be sent, None while something can."""
        return None if self._ended is None else str(self._ended)

    def check(self) -> None:
        """Raises what ended the stream, if something did."""
        if self._ended is not None:
            raise self._failure()

    # ---- the link's side -------------------------------------------------------------------------

    def end(self, error: PeerError) -> bool:
        """Whether this call ended it. What has arrived can still be received."""
        with self._state:
            if self._ended is not None:
                return False
            self._ended = error
            self._state.notify_all()
        self._messages.put(None)
        return True

    def expect(self, cost: int) -> None:
        """A message of this cost has begun to arrive. Raises FrameError if it should not have."""
        window = self.link.limits.window
        with self._state:
            if not frames.may_begin(self._waiting, cost, window):
                raise FrameError(
                    f"a message of {cost} bytes while {self._waiting} wait; the window is {window}"
                )
            self._waiting += cost
        self.link.expected(self, cost)

    def deliver(self, message: Message, cost: int) -> None:
        if self._ended is None:
            self._messages.put((message, cost))

    def credit(self, amount: int) -> None:
        """The peer gives back so much. Raises FrameError where that is more than it has."""
        with self._state:
            if not 0 < amount <= self._outstanding:
                raise FrameError(
                    f"a CREDIT of {amount} bytes, when {self._outstanding} were outstanding"
                )
            self._outstanding -= amount
            self._state.notify_all()

    # ---- flow control ----------------------------------------------------------------------------

    def _await_window(self, cost: int, deadline: float, limit: float) -> None:
        with self._state:
            while self._ended is None:
                if frames.may_begin(self._outstanding, cost, self._window):
                    self._outstanding += cost
                    return
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._too_slow(limit)
                self._state.wait(min(left, threading.TIMEOUT_MAX))
        raise self._failure()

    def _consumed(self, cost: int) -> None:
        with self._state:
            self._kept_back += cost
            credit = self._kept_back
            if credit < max(1, self.link.limits.slack):
                return
            self._kept_back = 0
            self._waiting -= credit
        self.link.given_back(self, credit)
        if self._ended is None:
            self.link.post(FrameKind.CREDIT, self, frames.encode_number(credit))

    def _too_slow(self, limit: float) -> PeerTimeout:
        return PeerTimeout(f"{self.link.peer} took nothing for {limit:g} s")

    def _failure(self) -> PeerError:
        assert self._ended is not None
        # Another one each time: an exception that is raised twice mixes its tracebacks.
        return type(self._ended)(*self._ended.args)


def colon(why: str) -> str:
    return f": {why}" if why else ""
