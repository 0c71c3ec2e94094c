"""Accepts links from other roles."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable

from tacita.errors import ConfigError, CredentialError, PeerFailed, PeerTimeout, TacitaError
from tacita.network import frames
from tacita.network.address import Address
from tacita.network.frames import Limits
from tacita.network.identity import expiry_of, principal_of
from tacita.network.link import Accept, Link, tls_reason
from tacita.network.tls import Credentials
from tacita.network.wire import Wire

AcceptLink = Callable[[Link], Accept | None]
Refused = Callable[[str, TacitaError], None]

BACKLOG = 128
AT_ONCE = 32
LOG = logging.getLogger(__name__)
PAUSE = 0.1  # seconds, when the system has no socket left


class Listener:
    """Listens from `start` until `close`.

    Each handshake has a thread and a limit in time; while `at_once` of them go on, further ones
    wait in the system's queue.
    """

    def __init__(
        self,
        address: Address,
        credentials: Credentials,
        accept_link: AcceptLink,
        limits: Limits | None = None,
        *,
        refused: Refused | None = None,
        at_once: int = AT_ONCE,
        kinds: frozenset[str] = frames.MESSAGE_KINDS,
    ) -> None:
        """accept_link: called for each new link before anything is received on it, in the
            handshake's thread; returns what takes the streams that the peer opens (see
            `Link.start`), or None if none are taken. An error that it raises ends the link.
        refused: told of each peer that was not let in, by its address, and why. Called in
            the handshake's thread.
        """
        self.address = address
        self._credentials = credentials
        self._accept_link = accept_link
        self._limits = limits or Limits()
        self._refused = refused
        self._kinds = kinds
        self._room = threading.BoundedSemaphore(at_once)
        self._context: ssl.SSLContext | None = None
        self._socket: socket.socket | None = None
        self._ending = threading.Event()
        self._why = ""  # what links hear that are still being made when it closes
        self._woken, self._waker = os.pipe()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._links: list[Link] = []

    def start(self) -> Address:
        """Where it listens, with the port that the system chose for 0.

        Raises CredentialError, and ConfigError where the address cannot be listened at.
        """
        self._context = self._credentials.server_context()
        host, port = self.address.host, self.address.port
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise ConfigError(f"cannot listen at {self.address}: {error.strerror}") from None
        self._socket.setblocking(False)
        self.address = Address(host, self._socket.getsockname()[1])
        self._thread = threading.Thread(
            target=self._serve,
            args=(self._socket,),
            name=f"listener at {self.address}",
            daemon=True,
        )
        self._thread.start()
        return self.address

    def renew(self) -> None:
        """Reads the credentials again, for links to come. Raises CredentialError."""
        self._context = self._credentials.server_context()

    def close(self, why: str = "the daemon stops") -> None:
        """Stops listening and closes all links that it accepted. May be repeated."""
        if self._ending.is_set():
            return
        self._why = why
        self._ending.set()
        os.write(self._waker, b"\0")
        if self._thread is not None:
            self._thread.join()
        for end in (self._woken, self._waker):
            os.close(end)
        if self._socket is not None:
            self._socket.close()
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.close(why)

    @property
    def links(self) -> list[Link]:
        """Those that are usable."""
        with self._lock:
            self._links = [link for link in self._links if link.usable]
            return list(self._links)

    def _serve(self, listening: socket.socket) -> None:
        poll = select.poll()
        poll.register(listening, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            poll.poll()
            while not self._room.acquire(timeout=PAUSE):
                if self._ending.is_set():
                    return
            if self._ending.is_set():
                return
            try:
                connection, where = listening.accept()
            except BlockingIOError:
                self._room.release()
                continue
            except OSError:  # reset in the queue, or no socket left
                self._room.release()
                self._ending.wait(PAUSE)
                continue
            peer = str(Address(where[0], where[1]))
            threading.Thread(
                target=self._welcome,
                args=(connection, peer),
                name=f"handshake with {peer}",
                daemon=True,
            ).start()

    def _welcome(self, connection: socket.socket, peer: str) -> None:
        try:
            self._shake_hands(connection, peer)
        except TacitaError as error:
            if self._refused is not None:
                self._refused(peer, error)
        except Exception:
            LOG.exception("%s could not be let in", peer)
        finally:
            self._room.release()

    def _shake_hands(self, connection: socket.socket, peer: str) -> None:
        limit = self._limits.handshake
        deadline = time.monotonic() + limit
        assert self._context is not None
        try:
            wire = Wire(connection, self._context)
        except OSError as error:
            connection.close()
            raise PeerFailed(f"{peer} is gone: {error.strerror}") from None
        try:
            certificate = wire.handshake(deadline)
            principal = principal_of(certificate)
        except BaseException as error:
            with contextlib.suppress(OSError):
                wire.stop()
                wire.linger(time.monotonic() + self._limits.farewell)  # for the alert to arrive
            wire.close()
            raise _refusal(error, peer, limit) from None
        link = Link(wire, principal, self._limits, self._kinds, expiry_of(certificate))
        link.greet(deadline)
        try:
            accept = self._accept_link(link)
        except TacitaError as error:
            link.close(str(error))
            link.start()
            raise
        except BaseException:
            link.close("this side failed")
            link.start()
            raise
        with self._lock:
            self._links = [each for each in self._links if each.usable] + [link]
        link.start(accept)
        if self._ending.is_set():
            link.close(self._why)


def _refusal(error: BaseException, peer: str, limit: float) -> BaseException:
    if isinstance(error, CredentialError):
        return CredentialError(f"{peer}: {error}")
    if isinstance(error, TimeoutError):
        return PeerTimeout(f"{peer} did not finish the TLS handshake in {limit:g} s")
    if isinstance(error, EOFError):
        return PeerFailed(f"{peer} hung up during the TLS handshake")
    if isinstance(error, ssl.SSLError):
        return PeerFailed(f"{peer}: the TLS handshake failed: {tls_reason(error)}")
    if isinstance(error, OSError):
        return PeerFailed(f"{peer} broke the connection: {error.strerror or error}")
    return error
