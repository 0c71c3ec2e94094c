"""A slow line between processes of this machine: TCP relayed with a delay and at a rate.

    with SlowNetwork(["127.0.0.1:8442"], delay=0.025, rate=12.5e6) as network:
        connect(network.addresses[0])

Needs no privileges and no support by the system, and does not look at what it carries: TLS and
HTTPS pass through it as they are. The relay is a process of its own, so that neither its work nor
its interpreter's lock is those of who is measured. It ends when it is stopped, or when the process
that started it ends in whatever way.

What it is like: every target has a line of its own with two directions. Of bytes given to a
direction one after the other, over however many connections, each begins to be sent when the one
before it has been, takes 1/rate, and arrives `delay` later: a full token bucket of no depth. A
connection's first bytes wait one round trip more, as for TCP's handshake. Not like a real line:
there is no loss, no jitter, and no slow start; nor are headers counted (3 to 5 % of a full packet).
"""

from __future__ import annotations

import asyncio
import json
import math
import selectors
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0
WAITING = 1 << 20  # bytes of a direction that wait for their turn, beyond those under way


class SlowNetwork:
    """Ports of loopback, each of which leads to one target over a slow line."""

    def __init__(
        self,
        targets: Sequence[str],
        *,
        delay: float,
        rate: float,
        start_limit: float = START_SECONDS,
    ) -> None:
        """targets: each "host:port". delay: seconds, one way. rate: bytes a second in each
        direction; math.inf for no limit. Nothing is started.

        Raises ValueError for a delay below 0, a rate of 0 or below, and what is no host:port.
        """
        if not 0 <= delay < math.inf or not rate > 0:
            raise ValueError(f"a delay of {delay} s and a rate of {rate} bytes/s are no line's")
        self._settings = {
            "targets": [split(each) for each in targets],
            "delay": delay,
            "rate": None if rate == math.inf else rate,
        }
        self._start_limit = start_limit
        self._process: subprocess.Popen[str] | None = None
        self._ports: list[int] = []

    def __enter__(self) -> SlowNetwork:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when all ports listen. Raises RuntimeError where the relay does not come up."""
        if self._process is not None:
            raise RuntimeError("this network was started before")
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.slow_network", json.dumps(self._settings)],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for who started it, who may still need the line
        )  # fmt: skip
        assert process.stdout is not None
        watch = threading.Timer(self._start_limit, process.kill)
        watch.start()
        try:
            line = process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            self.stop()
            raise RuntimeError("the relay ended before it listened; its complaint is above")
        self._ports = json.loads(line)

    def stop(self) -> None:
        """Breaks all connections and frees the ports; again: nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()  # the relay ends at the end of its input
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._ports = []

    @property
    def ports(self) -> list[int]:
        """In the order of the targets; empty where it does not run."""
        return list(self._ports)

    @property
    def addresses(self) -> list[str]:
        """As `ports`, each as "host:port"."""
        return [f"{HOST}:{port}" for port in self._ports]


def split(address: str) -> tuple[str, int]:
    """ "host:port" in its parts. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{address!r} is no host:port")
    return host, int(port)


# ---- the relay's process -------------------------------------------------------------------------


class Line:
    """One direction of a line: when bytes arrive that are given to it now."""

    def __init__(self, delay: float, rate: float) -> None:
        self.delay = delay
        self.rate = rate
        self._free = -math.inf

    def arrival(self, now: float, size: int) -> float:
        """When the last of `size` bytes arrives. Times in seconds, of one clock."""
        self._free = max(self._free, now) + size / self.rate
        return self._free + self.delay

    @property
    def room(self) -> float:
        """Bytes of one connection that may be under way or wait."""
        return WAITING + (self.delay * self.rate if self.rate < math.inf else 64 * WAITING)


class Flow:
    """What one side of a connection sends, on its way to the other.

    ended: called when the sender's end has arrived.
    """

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        self._loop = loop
        self._under_way: deque[tuple[float, bytes | None]] = deque()  # None: the end
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.sink_blocked = False
        self.ended: Callable[[], None] = lambda: None

    def give(self, data: bytes | None) -> None:
        """Bytes that were sent just now; None where the sender will send no more."""
        size = 0 if data is None else len(data)
        self._size += size
        self._under_way.append((self._line.arrival(self._loop.time(), size), data))
        self.settle()

    def settle(self) -> None:
        """Sets the timer, and lets the sender wait where too much is under way."""
        if self._timer is None and self._under_way and self.sink is not None:
            self._timer = self._loop.call_at(self._under_way[0][0], self._deliver)
        wanted = self._size < self._line.room and not self.sink_blocked
        if wanted != self._reading and self.source is not None and not self.source.is_closing():
            self._reading = wanted
            (self.source.resume_reading if wanted else self.source.pause_reading)()

    def _deliver(self) -> None:
        self._timer = None
        sink = self.sink
        assert sink is not None
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now:
            _, data = self._under_way.popleft()
            if data is None:
                self.ended()
            else:
                self._size -= len(data)
                sink.write(data)
        self.settle()

    def drop(self) -> None:
        """Nothing more arrives."""
        if self._timer is not None:
            self._timer.cancel()
        self._under_way.clear()


class End(asyncio.Protocol):
    """One of the two sockets of a relayed connection: `out` is what it sends, `back` what it is
    sent. It closes when both have come to their end."""

    def __init__(self, out: Flow, back: Flow) -> None:
        self.out = out
        self.back = back
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None
        self._sent_all = False
        self._received_all = False
        back.ended = self._end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = self.out.source = self.back.sink = transport
        self.back.settle()

    def data_received(self, data: bytes) -> None:
        self.out.give(data)

    def eof_received(self) -> bool:
        self._sent_all = True
        self.out.give(None)
        return not self._received_all  # whether the socket stays open for the other direction

    def _end(self) -> None:
        self._received_all = True
        assert self.transport is not None
        if self._sent_all:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def pause_writing(self) -> None:
        self.back.sink_blocked = True
        self.back.settle()

    def resume_writing(self) -> None:
        self.back.sink_blocked = False
        self.back.settle()

    def connection_lost(self, error: Exception | None) -> None:
        self.back.drop()
        in_order = self._sent_all and self._received_all and error is None
        if not in_order and self.other is not None and self.other.transport is not None:
            reset(self.other.transport)


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection as a failure, not as an end in order."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Near(End):
    """The end at which a connection was accepted; makes the far one.

    tasks: that must not be forgotten before they end.
    """

    def __init__(
        self, target: tuple[str, int], lines: tuple[Line, Line], tasks: set[asyncio.Task[None]]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(Flow(lines[0], self._loop), Flow(lines[1], self._loop))
        self._target = target
        self._handshake = lines[0].delay + lines[1].delay
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        task = self._loop.create_task(self._connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        client = self.transport
        assert client is not None
        client.pause_reading()
        await asyncio.sleep(self._handshake)
        self.other = far = End(self.back, self.out)
        far.other = self
        try:
            await self._loop.create_connection(lambda: far, *self._target)
        except OSError:
            reset(client)
            return
        if client.is_closing():
            assert far.transport is not None
            reset(far.transport)
        else:
            client.resume_reading()


async def serve(settings: dict[str, object]) -> None:
    loop = asyncio.get_running_loop()
    delay = float(settings["delay"])  # type: ignore[arg-type]
    rate = math.inf if settings["rate"] is None else float(settings["rate"])  # type: ignore[arg-type]
    ports = []
    tasks: set[asyncio.Task[None]] = set()
    servers = []
    for host, port in settings["targets"]:  # type: ignore[attr-defined]
        lines = (Line(delay, rate), Line(delay, rate))

        accept = partial(Near, (host, port), lines, tasks)
        servers.append(await loop.create_server(accept, HOST, 0))
        ports.append(servers[-1].sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)  # nothing is ever written: it is the end
    await ended.wait()
    for server in servers:
        server.close()


def main() -> None:
    # Timers of epoll end on whole milliseconds, those of select do not.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    try:
        loop.run_until_complete(serve(json.loads(sys.argv[1])))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
