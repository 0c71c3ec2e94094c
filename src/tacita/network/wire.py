"""TLS over one socket that a thread reads while others write.

Python's SSLSocket does not allow that. Here the TLS engine works on memory, under a lock that is
held only while it encrypts or decrypts; the socket is read and written outside of the lock and
never blocks, so every wait has a limit and can be ended. Writers take turns (see `Link`), because
what has been encrypted has to leave in that order.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from typing import cast

RECORD_BYTES = 16 << 10  # of plaintext, the most in TLS
RECEIVE_BYTES = 256 << 10
DISCARD_BYTES = 64 << 10
KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
UNACKNOWLEDGED = 30_000  # milliseconds until data that nobody acknowledges end a connection


class Stopped(Exception):
    """This side stopped the wire while its reader waited."""


class Wire:
    """One reader thread; writers, one at a time.

    sent_bytes, received_bytes: what passed the socket, the handshake and TLS's own bytes included.
    """

    def __init__(
        self,
        connection: socket.socket,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
    ) -> None:
        """server_hostname: of the other side, when this one connects; None when it listens."""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _notice_dead_peers(connection)
        self.sent_bytes = 0  # the writer's whose turn it is
        self.received_bytes = 0  # the reader's
        self._socket = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._engine = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname is None, server_hostname
        )
        self._lock = threading.Lock()  # around the engine and its two buffers
        self._unsent = memoryview(b"")  # encrypted; the writer's whose turn it is
        self._stuck = False  # the reader has to send what is encrypted, when the socket has room
        self._received = memoryview(bytearray(RECEIVE_BYTES))
        self._more = False  # the last read filled the buffer: there may be more
        self._stopped = False
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._waiting = select.poll()
        self._waiting.register(connection, select.POLLIN)
        self._waiting.register(self._woken, select.POLLIN)

    def handshake(self, deadline: float) -> bytes:
        """The other side's certificate in DER form, verified.

        deadline: of `time.monotonic`, here and elsewhere. Raises ssl.SSLError, OSError, EOFError
        where the other side hung up, and TimeoutError.
        """
        while True:
            try:
                self._engine.do_handshake()
            except ssl.SSLWantReadError:
                self.push(deadline)
                if not self._fill(deadline, None):
                    raise EOFError from None
                continue
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self.push(None)  # the alert tells the other side why
                raise
            self.push(deadline)
            certificate = self._engine.getpeercert(True)
            assert certificate is not None  # both contexts require one
            return certificate

    # ---- writing, by the writer whose turn it is -------------------------------------------------

    def write(self, parts: Sequence[bytes | memoryview], deadline: float | None) -> bool:
        """Encrypts `parts` and pushes; everything before them has to have been pushed."""
        with self._lock:
            for part in parts:
                self._engine.write(part)
        return self.push(deadline)

    def push(self, deadline: float | None) -> bool:
        """Sends what is encrypted; whether that was all.

        With a deadline, waits for the socket and raises TimeoutError if it has not taken
        everything by then. Without one, sends what it takes now. In both cases the reader
        sends the rest when it can. Raises OSError.
        """
        if deadline is not None:
            self._stuck = False
        while True:
            if not self._unsent:
                with self._lock:
                    self._unsent = memoryview(self._outgoing.read())
                if not self._unsent:
                    self._stuck = False
                    return True
            try:
                count = self._socket.send(self._unsent)
            except BlockingIOError:
                if deadline is not None and self._await_room(deadline):
                    continue
                self._stuck = True
                self.wake()
                if deadline is not None:
                    raise TimeoutError from None
                return False
            self._unsent = self._unsent[count:]
            self.sent_bytes += count

    @property
    def unfinished(self) -> bool:
        """Whether the engine has something to send of its own accord."""
        return bool(self._outgoing.pending)

    def _await_room(self, deadline: float) -> bool:
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        return bool(writable.poll(max(0.0, deadline - time.monotonic()) * 1000))

    # ---- reading, by the reader -----------------------------------------------------------------

    def read(
        self,
        into: memoryview,
        deadline: float | None = None,
        flush: Callable[[], None] | None = None,
    ) -> int:
        """Waits for something and decrypts into `into` what is there of it; how many bytes.

        0 where the other side ended the connection. flush: called when there is something to send
        and room for it. Raises Stopped after `stop`, TimeoutError, ssl.SSLError and OSError.
        """
        while True:
            with self._lock:
                count = self._decrypt(into)
                answer = self._outgoing.pending
            if answer and flush is not None:
                flush()
            if count is not None:
                return count
            if not self._fill(deadline, flush):
                return 0

    def _decrypt(self, into: memoryview) -> int | None:
        """None where there is no whole record."""
        engine, incoming = self._engine, self._incoming
        count = 0
        try:
            # Asking first: an SSLWantReadError takes as long as decrypting a small record.
            while count < len(into) and (incoming.pending or engine.pending()):
                count += cast(int, engine.read(len(into) - count, into[count:]))
        except ssl.SSLWantReadError:
            pass  # the rest of a record has not come
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return count  # if that is not 0, the next call finds the end again
        return count or None

    def _fill(self, deadline: float | None, flush: Callable[[], None] | None) -> bool:
        """Hands the engine what the socket has; False at its end."""
        while True:
            if not self._more:
                self._await_bytes(deadline, flush)
            if self._stopped:
                raise Stopped
            try:
                count = self._socket.recv_into(self._received)
            except BlockingIOError:
                self._more = False
                continue
            self._more = count == RECEIVE_BYTES
            self.received_bytes += count
            with self._lock:
                self._incoming.write(self._received[:count])
            return count > 0

    def _await_bytes(self, deadline: float | None, flush: Callable[[], None] | None) -> None:
        while not self._stopped:
            room = select.POLLOUT if self._stuck else 0
            self._waiting.modify(self._socket, select.POLLIN | room)
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = dict(self._waiting.poll(left))
            if not ready:
                raise TimeoutError
            if self._woken.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(DISCARD_BYTES)
            events = ready.get(self._socket.fileno(), 0)
            if events & select.POLLOUT and flush is not None:
                flush()
            if events & ~select.POLLOUT:
                return

    # ---- the end --------------------------------------------------------------------------------

    def wake(self) -> None:
        """Has the reader look again at what it waits for."""
        with contextlib.suppress(OSError):  # full: it is awake already
            self._waker.send(b"\0")

    def stop(self) -> None:
        """Nothing more is written or read; the reader is woken."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self.wake()

    def linger(self, deadline: float) -> None:
        """Waits until the other side ends the connection too, and throws away what it sends.

        Closing with bytes unread would reset the connection, and our last words with it.
        """
        ending = select.poll()
        ending.register(self._socket, select.POLLIN)
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0 and ending.poll(left * 1000):
                if not self._socket.recv_into(self._received):
                    return

    def close(self) -> None:
        """Gives the socket back; nobody may use the wire any more."""
        for each in (self._socket, self._woken, self._waker):
            each.close()


def _notice_dead_peers(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = [*KEEPALIVE, ("TCP_USER_TIMEOUT", UNACKNOWLEDGED)]
    for name, value in options:
        if hasattr(socket, name):  # not every system has each of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
