"""A worker on a host of its own: a party, or the dealer, of a network of daemons.

Stands wherever `VirtualWorker` does. What is shared goes to the parties as shares, over links that
only the role with that name can answer; what is revealed comes back to this user alone.

A session of two parties that may pick how values are compared (`protocol="auto"`) picks by the ways
between the daemons, which the parties measure when the first one is opened, and remember for ten
minutes.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tacita.client.links import slowest
from tacita.compiler.prediction import LAN, LOCAL
from tacita.compiler.prediction import Link as Speed
from tacita.errors import HoldersError, PeerError, UsageError
from tacita.network.dialer import Dialer
from tacita.network.endpoint import StreamEndpoint
from tacita.network.link import Link, Stream
from tacita.runtime.choosing import AUTO
from tacita.runtime.serving import USER, stop
from tacita.runtime.session import Session
from tacita.runtime.worker import Worker
from tacita.service import reach
from tacita.service.config import ClientConfig, load_client
from tacita.service.conversations import Reaching, agreed, begin, fresh_id
from tacita.service.conversations import Session as SessionTopic


class RemoteWorker(Worker):
    """The party or dealer `id` of the network that `config` names.

    hook: accepted as PySyft's users pass it; not needed. config: path of a client.toml, or what
    `load_client` made of one. Connects when something is first shared.

    Raises ConfigError for a file that cannot be used, UsageError for an id that is not in it.
    """

    def __init__(
        self,
        hook: Any = None,
        id: str = "worker",
        *,
        config: str | os.PathLike[str] | ClientConfig,
    ) -> None:
        super().__init__(hook, id)
        self.config = config if isinstance(config, ClientConfig) else load_client(Path(config))
        network = self.config.network
        credentials = self.config.credentials
        if id == network.dealer.name:
            self._dialer = Dialer(network.dealer.address, "dealer", id, credentials)
        elif id in network.names:
            entry = network.parties[network.index_of(id)]
            self._dialer = Dialer(entry.peers, "party", id, credentials)
        else:
            raise UsageError(
                f"{id!r} is not in the network of parties {', '.join(network.names)} and dealer "
                f"{network.dealer.name}"
            )

    def open_session(
        self, holders: Sequence[Worker], dealer: Worker | None, *, protocol: str, checked: bool
    ) -> Session:
        """Raises HoldersError for another group than the network's parties and its dealer,
        PeerError where one of them cannot be reached or does not let this user in.

        "auto" between two takes up to the limit of a round longer where the parties have to measure
        the ways first; where they do not say, it goes by those of a local network.
        """
        network = self.config.network
        names = [each.id for each in holders]
        if names != list(network.names) or dealer is None or dealer.id != network.dealer.name:
            raise HoldersError(
                f"tensors of this network are held by {', '.join(network.names)}, in this order, "
                f"with crypto_provider {network.dealer.name}; not by {', '.join(names)} with "
                f"{dealer.id if dealer is not None else 'none'}"
            )
        limit = self.config.limits.round
        speed = LOCAL
        if protocol == AUTO and len(holders) == 2:
            speed = _speed_between(holders, dealer.id, limit)
        topic = SessionTopic(os.urandom(16), network.names, dealer.id, checked, protocol)
        streams: dict[str, Stream] = {}
        try:
            for worker in (*holders, dealer):
                assert isinstance(worker, RemoteWorker)
                streams[worker.id] = worker._begin(topic)
            session = RemoteSession(
                streams, network.names, dealer.id, limit, protocol, checked, speed
            )
            session.settle()  # whoever refuses says so now
            return session
        except BaseException:
            for stream in streams.values():
                with suppress(PeerError):
                    stream.close("the session did not come about")
            raise

    def link(self) -> Link:
        """The connection to this role; raises PeerError where there is none within the limit."""
        return self._dialer.link(self.config.limits.connect)

    def ways(self, limit: float) -> reach.Ways:
        """How fast this party's ways are to the parties after it and the dealer, as it says.

        Waits `limit` seconds for it; nothing where it does not say. Raises PeerError where there is
        no connection.
        """
        deadline = time.monotonic() + limit
        link = self.link()
        try:
            stream = link.open(fresh_id())
            try:
                begin(stream, Reaching(), deadline - time.monotonic())
                said = agreed(stream, self.id, deadline - time.monotonic())
                return reach.read(said, self.id)
            finally:
                stream.close()
        except PeerError:
            return {}

    def _begin(self, topic: SessionTopic) -> Stream:
        stream = self.link().open(topic.session)
        begin(stream, topic, self.config.limits.connect)
        return stream


class RemoteSession(Session):
    """See `Session`; its roles are daemons."""

    def __init__(
        self,
        streams: dict[str, Stream],
        holders: Sequence[str],
        dealer: str,
        limit: float,
        protocol: str,
        checked: bool,
        speed: Speed,
    ) -> None:
        """speed: of the ways between the roles."""
        endpoint = StreamEndpoint(USER, streams, limit)
        super().__init__(
            endpoint, holders, dealer, protocol=protocol, checked=checked, limit=limit, link=speed
        )
        weakref.finalize(self, stop, endpoint, self._names)


def _speed_between(parties: Sequence[Worker], dealer: str, limit: float) -> Speed:
    """What the parties say, within so many seconds; see client/links.py for one after the other."""
    deadline = time.monotonic() + limit
    said = {}
    for each in parties:
        assert isinstance(each, RemoteWorker)
        said[each.id] = each.ways(deadline - time.monotonic())
    return slowest(said, [each.id for each in parties], dealer) or LAN
