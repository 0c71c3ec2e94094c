"""Serves the front under uvicorn: TLS 1.3, clients' certificates required, limits on everything."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from typing import Any

import uvicorn

from tacita.errors import ConfigError, PeerTimeout
from tacita.network.address import Address
from tacita.network.tls import Credentials
from tacita.service.front.app import make_app
from tacita.service.front.connection import connection_with
from tacita.service.front.engine import Engine
from tacita.service.front.limits import FrontLimits

BACKLOG = 128
START_SECONDS = 30.0
CLOSE_SECONDS = 2.0  # for the other side's part of closing TLS
SPARE_SECONDS = 5.0  # of `stop`, beyond the limit on shutting down

log = logging.getLogger("tacita.front")


class Front:
    """A party's HTTPS front, in a thread of its own.

    engine: what answers. address: port 0 takes a free one, see `port`. version: of Tacita.
    """

    def __init__(
        self,
        engine: Engine,
        address: Address,
        credentials: Credentials,
        limits: FrontLimits,
        version: str,
    ) -> None:
        self.port = address.port
        self._address = address
        self._limits = limits
        self._app = make_app(engine, limits, version)
        config = uvicorn.Config(
            self._app,
            http=connection_with(limits),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive_seconds,  # type: ignore[arg-type]
            timeout_graceful_shutdown=limits.shutdown_seconds,  # type: ignore[arg-type]
        )
        config.load()
        self._server = _Server(config, credentials.server_context(), limits)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Returns once it listens. Raises ConfigError, naming the address, where it cannot."""
        listening = _listen(self._address)
        self.port = listening.getsockname()[1]
        self._thread = threading.Thread(
            target=self._serve, args=(listening,), name="front", daemon=True
        )
        self._thread.start()
        if not self._server.listens.wait(START_SECONDS):
            raise PeerTimeout(f"the front at {self._address} did not start in {START_SECONDS:g} s")
        if not self._server.started:
            raise ConfigError(f"the front at {self._address} could not start; see the log")

    def stop(self) -> None:
        """Takes no more connections, lets requests end within the limit, and closes.

        Raises PeerTimeout where it took longer nevertheless.
        """
        self._server.should_exit = True
        if self._thread is None:
            return
        limit = self._limits.shutdown_seconds + SPARE_SECONDS
        self._thread.join(limit)
        if self._thread.is_alive():
            raise PeerTimeout(f"the front at {self._address} still runs after {limit:g} s")

    def _serve(self, listening: socket.socket) -> None:
        try:
            self._server.run(sockets=[listening])
        except Exception:
            log.exception("the front at %s stopped", self._address)
        finally:
            listening.close()
            self._app.state.handlers.close()
            self._server.listens.set()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # asyncio turns off the waiting of small writes (TCP_NODELAY) only where TCP is named as such;
    # with it, each answer would wait for the client's delayed acknowledgement, some 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address.host, address.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {address}: {error.strerror or error}; "
            "stop what does, or configure another address"
        ) from None
    return listening


class _Server(uvicorn.Server):
    """uvicorn's server, with limits on handshakes, which its own start does not pass on."""

    def __init__(
        self, config: uvicorn.Config, context: ssl.SSLContext, limits: FrontLimits
    ) -> None:
        super().__init__(config)
        self.listens = threading.Event()
        self._context = context
        self._limits = limits

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._protocol,
                sock=each,
                ssl=self._context,
                backlog=BACKLOG,
                ssl_handshake_timeout=self._limits.handshake_seconds,
                ssl_shutdown_timeout=CLOSE_SECONDS,
            )
            for each in sockets or ()
        ]
        self.started = True
        self.listens.set()

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol
