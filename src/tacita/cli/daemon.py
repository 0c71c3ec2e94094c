"""What running a party and running the dealer have in common: logs, signals, and a clean end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Annotated, Any, Protocol

import typer

from tacita.cli.complaint import OURS
from tacita.errors import ConfigError, TacitaError
from tacita.network.address import Address
from tacita.service.logs import Forwarding, Level, Log

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
COLLECT_AFTER = (20_000, 20, 20)  # objects, and collections of the younger generation
METRICS_SECONDS = 10.0  # for one who reads metrics to send its request


UntilEof = Annotated[
    bool,
    typer.Option("--until-eof", hidden=True, help="End as well when standard input is closed."),
]


class Rendering(Protocol):
    def render(self) -> bytes: ...


@contextmanager
def failing() -> Iterator[None]:
    """One clear line and exit code 1 where a daemon cannot run, whoever's fault it is."""
    try:
        yield
    except TacitaError as error:
        typer.echo(f"tacita: {error}", err=True)
        raise typer.Exit(OURS) from None


def listen_to_libraries(log: Log, level: Level) -> None:
    """Has what others say through `logging`, and threads that fail, appear in the daemon's log."""
    root = logging.getLogger()
    root.addHandler(Forwarding(log))
    root.setLevel(logging.INFO if level == "debug" else logging.WARNING)

    def failed(thread: threading.ExceptHookArgs) -> None:
        # Python's own would print the error's message, which may quote values.
        name = thread.thread.name if thread.thread is not None else "a thread"
        log.error("a thread failed", thread=name, error=thread.exc_value)

    threading.excepthook = failed


def collect_seldom() -> None:
    """Has Python look for reference cycles less often, and not among what is there to stay.

    A query makes thousands of small objects that go by themselves; by default, looking through
    them takes a tenth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class Ending:
    """The first SIGTERM or SIGINT; a second one ends the process at once."""

    def __init__(
        self,
        second: signal.Handlers | Callable[[int, FrameType | None], Any] = signal.SIG_DFL,
        *,
        until_eof: bool = False,
    ) -> None:
        """To be made in the main thread.

        second: what a second signal does; for who has processes of its own to end.
        until_eof: whether the end of standard input counts as the first signal: a process that is
            killed cannot send one, but the system closes its end of a pipe.
        """
        self._asked = threading.Event()
        self._second = second
        for each in SIGNALS:
            signal.signal(each, self._ask)
        if until_eof:
            threading.Thread(target=self._read_to_end, name="until eof", daemon=True).start()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def wait(self, limit: float | None = None) -> bool:
        """Whether it has come."""
        return self._asked.wait(limit)

    def _read_to_end(self) -> None:
        # Not sys.stdin: its lock would be held when the interpreter shuts down.
        try:
            while os.read(0, 1024):
                pass
        except OSError:
            pass  # there is no standard input: as good as its end
        self._asked.set()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, self._second)
        self._asked.set()


@contextmanager
def serving_metrics(address: Address | None, metrics: Rendering) -> Iterator[None]:
    """Metrics in the clear for whoever asks at an address; nothing where there is none.

    Raises ConfigError, naming the address, where it cannot be listened on.
    """
    if address is None:
        yield
        return

    class Handler(BaseHTTPRequestHandler):
        timeout = METRICS_SECONDS

        def do_GET(self) -> None:
            text = metrics.render() if self.path == "/metrics" else b""
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Type", METRICS_TYPE)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *arguments: object) -> None:
            """Who reads metrics is of no interest."""

    try:
        server = ThreadingHTTPServer((address.host, address.port), Handler)
    except OSError as error:
        raise ConfigError(
            f"metrics: cannot listen on {address}: {error.strerror or error}; "
            "stop what does, or configure another address"
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
