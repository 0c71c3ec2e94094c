"""One connection between two roles, which carries the streams of many sessions.

A message leaves in the thread that sends it: writers take turns, a piece each. Frames that are
short and may come about in the reader (CREDIT, CLOSE, PONG) are queued; they leave with the next
piece, or at once where it is nobody's turn. So the reader never waits to send: what both sides send
is always read, and neither can keep the other from reading.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import ssl
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata

from tacita.errors import FrameError, PeerError, PeerFailed, PeerTimeout, TacitaError, UsageError
from tacita.network import frames
from tacita.network.frames import Assembly, Content, Frame, FrameKind, Hello, Limits
from tacita.network.identity import Principal
from tacita.network.stream import Stream, colon
from tacita.network.turns import Turns
from tacita.network.wire import RECORD_BYTES, Stopped, Wire
from tacita.ring import kernels

__all__ = ["Accept", "Link", "Stream"]

Accept = Callable[[Stream], None]

MOST_QUEUED = 1 << 14  # short frames that wait because the peer does not read
LONGEST_WAIT = 3600.0  # seconds for which the reader waits before it looks at its clock
LARGE_PART = 4 << 10  # smaller ones are copied together: a TLS record each would cost more
ALREADY_USED = "this stream id was used before"
LOG = logging.getLogger(__name__)


class Link:
    """Made by `Listener` and `Dialer`, with `greet` and then `start`.

    peer: whom the other side's certificate names. peer_version: its version of tacita.
    late_frames: how many came for streams that had ended; they are dropped.
    """

    def __init__(
        self,
        wire: Wire,
        peer: Principal,
        limits: Limits | None = None,
        kinds: frozenset[str] = frames.MESSAGE_KINDS,
        expires: datetime | None = None,
    ) -> None:
        """kinds: those of the messages that may be sent and received.

        expires: when the peer's certificate does, and the link with it; None for never.
        """
        self.peer = peer
        self.limits = limits or Limits()
        self.kinds = kinds
        self.peer_version = ""
        self.peer_window = 0
        self.late_frames = 0
        self._peer_message = 0
        self._wire = wire
        self._until = math.inf  # of time.monotonic
        if expires is not None:
            self._until = time.monotonic() + (expires - datetime.now(UTC)).total_seconds()
        self._turns = Turns()
        self._queued: deque[tuple[FrameKind, Stream | None, bytes]] = deque()
        self._next_out = 0  # of the frames of the link itself; the writer's turn
        self._next_in = 0  # the reader's
        self._record = memoryview(bytearray(RECORD_BYTES))
        self._start = self._end = 0  # what is decrypted and not looked at, in _record
        self._lock = threading.Lock()  # around what follows
        self._streams: dict[bytes, Stream] = {}
        self._closed: OrderedDict[bytes, None] = OrderedDict()  # ids, oldest first
        self._pings: dict[bytes, threading.Event] = {}
        self._waiting = 0  # cost of what waits in all streams
        self._error: PeerError | None = None

    def __repr__(self) -> str:
        return f"<link with {self.peer}{colon(self.why or '')}>"

    # ---- the user's side -------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        return self._error is None

    @property
    def why(self) -> str | None:
        """Why the link has ended, None while it has not."""
        return None if self._error is None else str(self._error)

    @property
    def sent_bytes(self) -> int:
        """All that this side sent, framing and TLS included; stays when the link has ended."""
        return self._wire.sent_bytes

    @property
    def received_bytes(self) -> int:
        """All that came from the peer, as `sent_bytes`."""
        return self._wire.received_bytes

    def open(self, stream_id: bytes) -> Stream:
        """Begins the stream with this id, 16 bytes, not all zero, never used on this link.

        Raises UsageError for another id, or too many streams; PeerFailed where the link is gone.
        """
        if len(stream_id) != len(frames.LINK_STREAM) or stream_id == frames.LINK_STREAM:
            raise UsageError(f"{stream_id.hex()!r} is no stream id: 16 bytes, not all zero")
        stream = Stream(self, stream_id)
        with self._lock:
            self._check()
            if stream_id in self._streams or stream_id in self._closed:
                raise UsageError(f"stream {stream_id.hex()}: {ALREADY_USED}; take a fresh one")
            if len(self._streams) >= self.limits.streams:
                raise UsageError(
                    f"{len(self._streams)} streams with {self.peer} are open; the limit is "
                    f"{self.limits.streams}"
                )
            self._streams[stream_id] = stream
        self.post(FrameKind.OPEN, stream, b"")
        return stream

    def close(self, why: str = "") -> None:
        """Ends the link and all its streams; tells the peer why. May be repeated."""
        self._fail(PeerFailed(f"the link with {self.peer} was closed here{colon(why)}"), why)

    def round_trip(self, limit: float) -> float:
        """Seconds for a PING and its PONG. Raises PeerTimeout and PeerFailed."""
        nonce, came = os.urandom(8), threading.Event()
        with self._lock:
            self._check()
            self._pings[nonce] = came
        began = time.perf_counter()
        try:
            self.post(FrameKind.PING, None, nonce)
            if not came.wait(limit):
                raise PeerTimeout(f"{self.peer} did not answer for {limit:g} s")
        finally:
            self._pings.pop(nonce, None)
        self._check()
        return time.perf_counter() - began

    # ---- beginning and end -----------------------------------------------------------------------

    def greet(self, deadline: float) -> None:
        """Exchanges HELLO frames. Where it raises, the link has ended.

        Raises FrameError where the peer speaks another version of the format, PeerTimeout at the
        deadline (of `time.monotonic`), PeerFailed where it hangs up or refuses our certificate.
        """
        own = Hello(_version(), self.limits.window, self.limits.message)
        try:
            self.post(FrameKind.HELLO, None, frames.encode_hello(own))
            start = self._bytes(frames.HEADER_BYTES, deadline)
            if start[frames.VERSION_AT] != frames.VERSION:
                raise FrameError(
                    f"format version {start[frames.VERSION_AT]}; this is tacita {own.tacita} with "
                    f"format version {frames.VERSION}: the same release has to run at both ends"
                )
            frame = frames.decode_header(start)
            if frame.kind is FrameKind.BYE:
                self._take_frame(frame, deadline)  # raises
            if frame.kind is not FrameKind.HELLO or frame.sequence:
                raise FrameError(f"a {frame.kind.name} frame before its HELLO")
            hello = frames.decode_hello(bytes(self._bytes(frame.size, deadline)))
        except Exception as error:
            failure = self._failure_of(error)
            self._fail(failure, str(error) if isinstance(error, FrameError) else None)
            self._finish()
            self._check()
        self._next_in = 1
        self.peer_version = hello.tacita
        self.peer_window = hello.window
        self._peer_message = hello.message

    def start(self, accept: Accept | None = None) -> None:
        """From now on frames are read.

        accept: takes the streams that the peer opens, in the reader thread; it must not block.
        Without it, such streams are closed. So they are with an error that it raises.
        """
        threading.Thread(
            target=self._serve, args=(accept,), name=f"link with {self.peer}", daemon=True
        ).start()

    def _serve(self, accept: Accept | None) -> None:
        kernels.pool_arrays()  # for what is received
        try:
            while True:
                frame = frames.decode_header(self._bytes(frames.HEADER_BYTES))
                self._check_certificate()
                if frame.kind is FrameKind.DATA:
                    self._take_piece(frame)
                elif frame.kind is FrameKind.OPEN:
                    self._take_open(frame, accept)
                else:
                    self._take_frame(frame)
        except Exception as error:
            if not isinstance(error, (TacitaError, OSError, EOFError, Stopped)):
                LOG.exception("reading from %s failed", self.peer)
            self._fail(
                self._failure_of(error), str(error) if isinstance(error, FrameError) else None
            )
        self._finish()

    def _failure_of(self, error: Exception) -> PeerError:
        """What streams and callers are told, with the peer's name in it."""
        peer = self.peer
        if isinstance(error, FrameError):
            return FrameError(f"{peer} sent {error}")
        if isinstance(error, PeerError):
            return error
        if isinstance(error, TimeoutError):
            return PeerTimeout(f"{peer} sent no HELLO in time")
        if isinstance(error, EOFError):
            return PeerFailed(f"{peer} ended the connection without a word")
        if isinstance(error, ssl.SSLError):
            return PeerFailed(f"{peer}: TLS failed: {tls_reason(error)}")
        if isinstance(error, OSError):
            return PeerFailed(f"the connection to {peer} broke: {error.strerror or error}")
        return PeerFailed(f"reading from {peer} failed: {type(error).__name__}")

    def _fail(self, error: PeerError, farewell: str | None) -> None:
        """Ends the link once. farewell: what the peer is told, None where it cannot be."""
        with self._lock:
            if self._error is not None:
                return
            self._error = error
            streams, pings = list(self._streams.values()), list(self._pings.values())
        for stream in streams:
            stream.end(error)
        for ping in pings:
            ping.set()
        # Those who wait for their turn find the link ended, so ours comes soon.
        if farewell is not None and self._turns.take(self.limits.farewell):
            try:
                until = time.monotonic() + self.limits.farewell
                with contextlib.suppress(OSError):
                    self._wire.push(until)
                    reason = frames.encode_reason(farewell)
                    self._wire.write([self._encoded(FrameKind.BYE, None, reason)], until)
            finally:
                self._turns.release()
        self._wire.stop()

    def _finish(self) -> None:
        """Gives the socket back; only the reader may, when the link has ended."""
        self._wire.linger(time.monotonic() + self.limits.farewell)
        while not self._turns.take(threading.TIMEOUT_MAX):
            pass
        try:
            self._wire.close()
        finally:
            self._turns.release()

    def _check(self) -> None:
        if self._error is not None:
            raise type(self._error)(*self._error.args)

    # ---- sending ---------------------------------------------------------------------------------

    def check_size(self, kind: str, size: int) -> None:
        if size > self._peer_message:
            raise UsageError(
                f"a {kind!r} message has {size} bytes; {self.peer} takes {self._peer_message}"
            )

    def send_message(self, stream: Stream, content: Content, deadline: float, limit: float) -> None:
        """All pieces of a message; for `Stream.send`, which has room in the window for it."""
        begun = False
        try:
            for flags, size, parts in frames.pieces(content):
                if not self._turns.take(deadline - time.monotonic()):
                    raise TimeoutError
                try:
                    stream.check()
                    self._check()
                    self._wire.push(deadline)
                    queued = self._encoded_queue()
                    start = frames.header(FrameKind.DATA, flags, stream.id, stream.next_out, size)
                    stream.next_out += 1
                    stream.sent_bytes += len(start) + size
                    begun = True
                    self._wire.write(joined([*queued, start, *parts]), deadline)
                finally:
                    self._turns.release()
                self._flush_if_due()
        except TimeoutError:
            late = PeerTimeout(f"{self.peer} took nothing for {limit:g} s")
            if begun:
                stream.close(str(late))
            raise late from None
        except OSError as error:
            self._fail(self._failure_of(error), None)
            self._check()

    def post(self, kind: FrameKind, stream: Stream | None, payload: bytes) -> None:
        """Queues a short frame, and sends it now if nobody is writing. Never waits."""
        if self._error is not None:
            return
        self._queued.append((kind, stream, payload))
        if len(self._queued) > MOST_QUEUED:
            self._fail(PeerFailed(f"{self.peer} does not read what it is sent"), None)
        self._flush()

    def _flush_if_due(self) -> None:
        # What was queued, or left by the engine, while it was our turn had nobody else to send it.
        if self._queued or self._wire.unfinished:
            self._flush()

    def _flush(self) -> None:
        while self._turns.take(0):
            try:
                if self._error is not None or not self._wire.push(None):
                    return  # the reader goes on where the socket has no room
                if queued := self._encoded_queue():
                    self._wire.write([b"".join(queued)], None)
            except OSError as error:
                broken = self._failure_of(error)
                break
            finally:
                self._turns.release()
            if not self._queued and not self._wire.unfinished:
                return
        else:
            return  # whoever has the turn looks at the queue afterwards
        self._fail(broken, None)

    def _encoded_queue(self) -> list[bytes]:
        encoded = []
        while self._queued:
            encoded.append(self._encoded(*self._queued.popleft()))
        return encoded

    def _encoded(self, kind: FrameKind, stream: Stream | None, payload: bytes) -> bytes:
        if stream is None:
            start = frames.header(kind, 0, frames.LINK_STREAM, self._next_out, len(payload))
            self._next_out += 1
        else:
            start = frames.header(kind, 0, stream.id, stream.next_out, len(payload))
            stream.next_out += 1
            stream.sent_bytes += len(start) + len(payload)
        return start + payload

    # ---- streams and their bytes -----------------------------------------------------------------

    def forget(self, stream: Stream) -> None:
        """The stream has ended and nobody will receive from it."""
        with self._lock:
            if self._streams.get(stream.id) is stream:
                del self._streams[stream.id]
                self._waiting -= stream.counted
                self._remember(stream.id)

    def _remember(self, stream_id: bytes) -> None:
        self._closed[stream_id] = None
        while len(self._closed) > self.limits.remembered:
            self._closed.popitem(last=False)

    def expected(self, stream: Stream, cost: int) -> None:
        """A message has begun to arrive; ends its stream where too much waits on this link."""
        with self._lock:
            if self._streams.get(stream.id) is not stream:
                return
            if self._waiting + cost <= self.limits.link:
                stream.counted += cost
                self._waiting += cost
                return
            why = f"{self._waiting} bytes wait on this link; its limit is {self.limits.link}"
        self._refuse(stream, PeerFailed(f"the stream with {self.peer} was closed here: {why}"), why)

    def given_back(self, stream: Stream, credit: int) -> None:
        with self._lock:
            if self._streams.get(stream.id) is stream:
                stream.counted -= credit
                self._waiting -= credit

    def _refuse(self, stream: Stream, error: PeerError, why: str) -> None:
        if stream.end(error):
            self.post(FrameKind.CLOSE, stream, frames.encode_reason(why))

    # ---- receiving, in the reader ----------------------------------------------------------------

    def _take_frame(self, frame: Frame, deadline: float | None = None) -> None:
        payload = bytes(self._bytes(frame.size, deadline))
        kind = frame.kind
        if kind in frames.OF_LINK:
            self._check_sequence(frame, self._next_in)
            self._next_in += 1
            if kind is FrameKind.PING:
                self.post(FrameKind.PONG, None, payload)
            elif kind is FrameKind.PONG:
                if (ping := self._pings.get(payload)) is not None:
                    ping.set()
            elif kind is FrameKind.BYE:
                reason = frames.decode_reason(payload)
                raise PeerFailed(f"{self.peer} closed the link{colon(reason)}")
            else:
                raise FrameError("a second HELLO")
        elif (stream := self._stream_of(frame)) is not None:
            if kind is FrameKind.CREDIT:
                stream.credit(frames.decode_number(payload))
            else:
                reason = frames.decode_reason(payload)
                stream.end(PeerFailed(f"{self.peer} closed the stream{colon(reason)}"))

    def _take_open(self, frame: Frame, accept: Accept | None) -> None:
        fresh = Stream(self, frame.stream)
        fresh.next_in, fresh.received_bytes = 1, frames.HEADER_BYTES
        with self._lock:
            known = self._streams.get(frame.stream)
            used = frame.stream in self._closed
            full = len(self._streams) >= self.limits.streams
            if not (known or used):
                if accept is None or full:
                    self._remember(frame.stream)
                else:
                    self._streams[frame.stream] = fresh
        if known or used:
            error = FrameError(f"{self.peer} opened stream {frame.stream.hex()} a second time")
            self.late_frames += 1
            if known:
                self._refuse(known, error, ALREADY_USED)
            return
        self._check_sequence(frame, 0)
        if accept is None or full:
            why = f"{self.limits.streams} streams are open" if full else "no streams are taken here"
            self._refuse(fresh, PeerFailed(why), why)
            return
        try:
            accept(fresh)
        except TacitaError as error:
            fresh.close(str(error))
        except Exception:
            LOG.exception("a stream that %s opened could not be taken", self.peer)
            fresh.close("it could not be taken; the log of this side says why")

    def _take_piece(self, frame: Frame) -> None:
        left = frame.size
        stream = self._stream_of(frame)
        if stream is not None:
            assembly = stream.assembly
            if (assembly is None) != bool(frame.flags & frames.FIRST):
                told = "a first piece within a message" if assembly else "a piece of no message"
                raise FrameError(told)
            if assembly is None:
                assembly = stream.assembly = Assembly(self.limits, self.kinds)
            while left and stream.why is None:
                count = self._some(assembly.room(left))
                left -= count
                if assembly.took(count):
                    stream.expect(assembly.cost)
            if not left and frame.flags & frames.LAST:
                stream.assembly = None
                stream.deliver(assembly.finish(), assembly.cost)
        while left:
            left -= len(self._bytes(min(left, RECORD_BYTES)))

    def _stream_of(self, frame: Frame) -> Stream | None:
        """None where the stream has ended: what comes late is dropped."""
        with self._lock:
            stream = self._streams.get(frame.stream)
            known = stream is not None or frame.stream in self._closed
        if stream is None or stream.why is not None:
            if not known:
                raise FrameError(
                    f"a {frame.kind.name} frame of stream {frame.stream.hex()}, which was never "
                    "opened"
                )
            self.late_frames += 1
            return None
        self._check_sequence(frame, stream.next_in)
        stream.next_in += 1
        stream.received_bytes += frames.HEADER_BYTES + frame.size
        return stream

    def _check_sequence(self, frame: Frame, expected: int) -> None:
        if frame.sequence != expected:
            raise FrameError(
                f"a {frame.kind.name} frame of stream {frame.stream.hex()} with the sequence "
                f"number {frame.sequence}; {expected} was due"
            )

    def _bytes(self, count: int, deadline: float | None = None) -> memoryview:
        """The next `count` bytes, at most a record's; valid until the next call."""
        if self._end - self._start < count:
            held = self._end - self._start
            self._record[:held] = bytes(self._record[self._start : self._end])
            self._start, self._end = 0, held
            while self._end < count:
                self._end += self._read(self._record[self._end :], deadline)
        found = self._record[self._start : self._start + count]
        self._start += count
        return found

    def _some(self, into: memoryview) -> int:
        """At least one of the next bytes; many go there without a copy."""
        held = self._end - self._start
        if not held:
            if len(into) >= RECORD_BYTES:
                return self._read(into)
            self._start, self._end = 0, self._read(self._record)
            held = self._end
        count = min(held, len(into))
        into[:count] = self._record[self._start : self._start + count]
        self._start += count
        return count

    def _read(self, into: memoryview, deadline: float | None = None) -> int:
        wanted = math.inf if deadline is None else deadline
        while True:
            # No longer at once than an hour: what waits counts in 32 bits of milliseconds.
            until = min(wanted, self._until, time.monotonic() + LONGEST_WAIT)
            try:
                count = self._wire.read(into, until, self._flush)
            except TimeoutError:
                self._check_certificate()
                if time.monotonic() >= wanted:
                    raise
                continue
            if not count:
                raise EOFError
            return count

    def _check_certificate(self) -> None:
        """Ends the link once the peer's certificate has expired."""
        if time.monotonic() >= self._until:
            why = f"the certificate of {self.peer} has expired"
            self._fail(PeerFailed(f"{why}: it has to connect with another"), why)
            self._check()


def joined(parts: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """Neighbours that are short as one."""
    result: list[bytes | memoryview] = []
    short: list[bytes | memoryview] = []
    for part in parts:
        if len(part) < LARGE_PART:
            short.append(part)
            continue
        if short:
            result.append(b"".join(short))
            short = []
        result.append(part)
    if short:
        result.append(b"".join(short))
    return result


def tls_reason(error: ssl.SSLError) -> str:
    """What OpenSSL says, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate does not hold: {error.verify_message}"
    return (error.reason or "unknown").lower().replace("_", " ")


def _version() -> str:
    try:
        return metadata.version("tacita")
    except metadata.PackageNotFoundError:
        return "unknown"
