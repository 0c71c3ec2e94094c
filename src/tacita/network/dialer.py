"""Keeps one link to another role: dials it, and dials again when it has gone."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time

from tacita.errors import PeerError, PeerFailed, PeerTimeout, SessionClosed
from tacita.network import frames
from tacita.network.address import Address
from tacita.network.frames import Limits
from tacita.network.identity import Role, expiry_of, hostname_of, principal_of
from tacita.network.link import Accept, Link, tls_reason
from tacita.network.tls import Credentials
from tacita.network.wire import Wire

FIRST_PAUSE = 0.05  # seconds after a first failure; doubled with each
LONGEST_PAUSE = 5.0


class Unreachable(Exception):
    """Nobody answered there; worth another try."""


class Dialer:
    """One link to the role `role`:`name` at `address`."""

    def __init__(
        self,
        address: Address,
        role: Role,
        name: str,
        credentials: Credentials,
        accept: Accept | None = None,
        limits: Limits | None = None,
        *,
        kinds: frozenset[str] = frames.MESSAGE_KINDS,
    ) -> None:
        """accept: takes the streams that the other side opens; see `Link.start`."""
        self.address = address
        self.peer = f"{role}:{name}"
        self._hostname = hostname_of(role, name)
        self._credentials = credentials
        self._accept = accept
        self._limits = limits or Limits()
        self._kinds = kinds
        self._state = threading.Condition(threading.Lock())
        self._link: Link | None = None
        self._dialing = False
        self._closed = False
        self._why = ""  # what a link hears that is still being made when this closes
        self._failures = 0
        self._not_before = 0.0

    def link(self, limit: float) -> Link:
        """A usable link: the one there is, or a new one.

        Where nobody answers, tries again until `limit` seconds are over, with longer and longer
        pauses; callers in other threads wait for the same attempt. Raises PeerFailed where nobody
        answered, or at once where somebody did who is not the one wanted or does not
        want us; PeerTimeout, FrameError for another version; CredentialError for our own files;
        SessionClosed after `close`.
        """
        deadline = time.monotonic() + limit
        failure: PeerError = PeerTimeout(f"{self.peer} at {self.address}: no link in {limit:g} s")
        while self._wait_to_dial(deadline, failure):
            try:
                return self._made(self._dial(deadline))
            except Unreachable as error:
                failure = PeerFailed(f"{self.peer} at {self.address} cannot be reached: {error}")
            finally:
                self._dialed()
        with self._state:
            assert self._link is not None
            return self._link

    def close(self, why: str = "the daemon stops") -> None:
        """Closes the link; `link` raises SessionClosed from now on. May be repeated."""
        with self._state:
            self._closed, self._why = True, why
            link, self._link = self._link, None
            self._state.notify_all()
        if link is not None:
            link.close(why)

    def _wait_to_dial(self, deadline: float, failure: PeerError) -> bool:
        """True when it is this thread's part to dial, False where there is a link."""
        with self._state:
            while True:
                if self._closed:
                    raise SessionClosed(f"the dialer of {self.peer} was closed here")
                if self._link is not None and self._link.usable:
                    return False
                now = time.monotonic()
                if not self._dialing and now >= self._not_before:
                    self._dialing = True
                    return True
                if now >= deadline:
                    raise failure
                left = deadline - now
                if not self._dialing:
                    left = min(left, self._not_before - now)
                self._state.wait(min(left, threading.TIMEOUT_MAX))

    def _made(self, link: Link) -> Link:
        with self._state:
            if not self._closed:
                self._link = link
                self._failures, self._not_before = 0, 0.0
                return link
        link.close(self._why)
        raise SessionClosed(f"the dialer of {self.peer} was closed here")

    def _dialed(self) -> None:
        with self._state:
            self._dialing = False
            if self._link is None or not self._link.usable:
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 16))
                self._failures += 1
                # Not all those who lost the same peer come back at the same moment.
                self._not_before = time.monotonic() + pause * random.uniform(0.5, 1)
            self._state.notify_all()

    def _dial(self, deadline: float) -> Link:
        deadline = min(deadline, time.monotonic() + self._limits.handshake)
        context = self._credentials.client_context()
        try:
            connection = socket.create_connection(
                (self.address.host, self.address.port), max(0.001, deadline - time.monotonic())
            )
        except OSError as error:
            raise Unreachable(error.strerror or str(error)) from None
        wire = Wire(connection, context, server_hostname=self._hostname)
        try:
            certificate = wire.handshake(deadline)
            principal = principal_of(certificate)
        except BaseException as error:
            wire.close()
            where = f"{self.peer} at {self.address}"
            if isinstance(error, TimeoutError):
                raise PeerTimeout(f"{where} did not finish the TLS handshake in time") from None
            if isinstance(error, ssl.SSLError):
                raise PeerFailed(
                    f"{where}: the TLS handshake failed: {tls_reason(error)}"
                ) from None
            if isinstance(error, (OSError, EOFError)):
                raise Unreachable("it hung up during the TLS handshake") from None
            raise
        link = Link(wire, principal, self._limits, self._kinds, expiry_of(certificate))
        link.greet(deadline)
        link.start(self._accept)
        return link
