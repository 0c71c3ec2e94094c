"""A daemon's links to the others of its network, and the streams it opens on them.

Of two parties the one of lower index dials; every party dials the dealer. So each pair has one
link, whoever starts first, and a link that was lost is dialed again by the same side.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Condition, Event, Thread
from typing import Any

from tacita.errors import (
    PeerError,
    PeerTimeout,
    RateExceeded,
    Refused,
    SessionClosed,
    TacitaError,
)
from tacita.network import frames
from tacita.network.address import Address
from tacita.network.dialer import Dialer
from tacita.network.identity import Principal, Role
from tacita.network.link import Link, Stream
from tacita.network.listener import Listener
from tacita.network.tls import Credentials
from tacita.service.config import Limits
from tacita.service.daemon_metrics import USERS
from tacita.service.traffic import LinkCounts, Traffic

LINKS_OF_A_USER = 32
STREAMS_OF_A_USER = 16  # eager sessions and questions, at once
REDIAL = 1.0  # seconds between two looks at links that should be there

Accept = Callable[[Stream], None]


class Neighbours:
    """accept: is handed every stream that others open, in a thread of its own.

    dialed: role and address of everybody whom this daemon dials. welcome: whether a principal that
    connects may. joined: is told of every link to a party or the dealer that comes about.
    refused: is told of who was not let in, and why. failed: is told what went wrong where nobody
    waits for it. limits: those of a daemon.
    """

    def __init__(
        self,
        credentials: Credentials,
        listen: Address,
        dialed: dict[str, tuple[Role, Address]],
        *,
        accept: Accept,
        welcome: Callable[[Principal], bool],
        joined: Callable[[str], None] = lambda _: None,
        refused: Callable[[str, TacitaError], None] = lambda _peer, _error: None,
        failed: Callable[[str, Exception], None] = lambda _peer, _error: None,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits = limits or Limits()
        self._failed = failed
        self._accept = accept
        self._welcome = welcome
        self._joined = joined
        self._changed = Condition()
        self._accepted: dict[str, Link] = {}
        self._users: Counter[str] = Counter()  # the conversations of each user
        self._at_work = 0  # threads that this has begun
        self._known: dict[str, Link] = {}
        self._counted: dict[str, Link] = {}  # of those whom we dial, the last that is counted
        self._traffic = Traffic()
        self._ended = Event()
        self._address = listen
        of_links = frames.Limits(handshake=limits.handshake, streams=limits.streams)
        self._dialers = {
            name: Dialer(address, role, name, credentials, self._serve, of_links)
            for name, (role, address) in dialed.items()
        }
        self._listener = Listener(
            listen,
            credentials,
            self._accept_link,
            of_links,
            refused=refused,
            at_once=limits.handshakes_at_once,
        )

    def start(self) -> None:
        self._address = self._listener.start()
        self._begin("tacita links", self._keep_links)
        self._begin("tacita tests", self._keep_testing)

    @property
    def port(self) -> int:
        return self._address.port

    def open(self, name: str, stream_id: bytes, limit: float) -> Stream:
        """A stream to a neighbour; raises PeerFailed where there is no link within `limit`."""
        return self.link(name, limit).open(stream_id)

    def link(self, name: str, limit: float) -> Link:
        if name in self._dialers:
            return self._dialed(name, limit)
        deadline = time.monotonic() + limit
        with self._changed:
            self._changed.wait_for(
                lambda: self._connected(name) or self._ended.is_set(),
                max(0.0, deadline - time.monotonic()),
            )
            if not self._connected(name):
                raise PeerTimeout(f"{name} is not connected, and did not connect in {limit:g} s")
            return self._accepted[name]

    def _dialed(self, name: str, limit: float) -> Link:
        link = self._dialers[name].link(limit)
        with self._changed:
            fresh = self._counted.get(name) is not link
            self._counted[name] = link
        if fresh:
            self._traffic.add(name, link)
        return link

    def counts(self, name: str) -> LinkCounts:
        """What all links with a neighbour have carried, or those with USERS."""
        return self._traffic.total(name)

    def connected(self, name: str) -> bool:
        if name in self._dialers:
            link = self._known.get(name)
            return link is not None and link.usable
        with self._changed:
            return self._connected(name)

    def _connected(self, name: str) -> bool:
        link = self._accepted.get(name)
        return link is not None and link.usable

    def _accept_link(self, link: Link) -> Accept:
        if not self._welcome(link.peer):
            raise Refused(f"{link.peer} has no business here")
        if link.peer.role != "party":
            links = self._listener.links
            own = sum(str(each.peer) == str(link.peer) and each.usable for each in links)
            if len(links) >= self._limits.links or own > LINKS_OF_A_USER:
                raise RateExceeded(f"{len(links)} connections are open here: try again later")
        daemon = link.peer.role in ("party", "dealer")
        self._traffic.add(link.peer.name if daemon else USERS, link)
        if daemon:
            with self._changed:
                before = self._accepted.get(link.peer.name)
                self._accepted[link.peer.name] = link
                self._changed.notify_all()
            if before is not None:
                before.close("connected again")
            self._begin("tacita joined", self._joined, link.peer.name)
        return self._serve

    def _serve(self, stream: Stream) -> None:
        """Hands a stream that was opened here to a thread; a user has few of them at once."""
        peer = stream.link.peer
        if peer.role in ("party", "dealer"):
            self._begin("tacita stream", self._accept, stream)
            return
        if not self._welcome(peer):  # the policy may have changed since the link was made
            raise Refused(f"{peer} has no business here any more")
        who = str(peer)
        with self._changed:
            if self._users[who] >= STREAMS_OF_A_USER:
                raise RateExceeded(f"{peer} has {STREAMS_OF_A_USER} conversations here already")
            self._users[who] += 1
        try:
            self._begin("tacita stream", self._converse, stream)
        except BaseException:
            self._leave(stream)
            raise

    def _converse(self, stream: Stream) -> None:
        try:
            self._accept(stream)
        finally:
            self._leave(stream)

    def _leave(self, stream: Stream) -> None:
        with self._changed:
            self._users[str(stream.link.peer)] -= 1

    def _begin(self, name: str, work: Callable[..., None], *args: Any) -> None:
        """In a thread that `wait` waits for. Raises SessionClosed after `close`."""
        with self._changed:
            if self._ended.is_set():
                raise SessionClosed("this daemon is shutting down")
            self._at_work += 1
        thread = Thread(target=self._at, args=(work, *args), name=name, daemon=True)
        try:
            thread.start()
        except BaseException:
            self._done()
            raise

    def _at(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        finally:
            self._done()

    def _done(self) -> None:
        with self._changed:
            self._at_work -= 1
            self._changed.notify_all()

    def _keep_links(self) -> None:
        """Dials whom we dial before somebody needs it, since they may be the ones who do."""
        while not self._ended.is_set():
            for name in self._dialers:
                try:
                    link = self._dialed(name, REDIAL)
                except TacitaError:
                    continue
                except Exception as error:  # the next dialing may do
                    self._failed(name, error)
                    continue
                if self._known.get(name) is not link:
                    self._known[name] = link
                    try:
                        self._joined(name)
                    except Exception as error:  # it went away again, say
                        self._failed(name, error)
            self._ended.wait(REDIAL)

    def _keep_testing(self) -> None:
        """Ends links to neighbours whose process or machine hangs: to TCP they are well."""
        while not self._ended.wait(self._limits.idle):
            with self._changed:
                links = [*self._accepted.values(), *self._known.values()]
            for link in links:
                if not link.usable:
                    continue
                try:
                    link.round_trip(self._limits.idle)
                except PeerTimeout as error:
                    link.close(str(error))
                except PeerError:
                    continue  # it ended by itself

    def close(self) -> None:
        """Ends all links, and with them what goes on over them; `wait` waits for the last of it."""
        with self._changed:
            self._ended.set()
            self._changed.notify_all()
        self._listener.close()
        for dialer in self._dialers.values():
            dialer.close()
        with self._changed:
            accepted = list(self._accepted.values())
        for link in accepted:
            link.close("the daemon is shutting down")

    def wait(self, limit: float) -> bool:
        """After `close`: whether all conversations have come to their end within `limit` seconds.

        What they have on a disk is as it stays then.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._at_work, max(0.0, limit))
