"""Threads for an engine's blocking methods: as many as the limit says, and nobody queues."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tacita.errors import Busy, NotReady

Result = TypeVar("Result")


class Workers:
    """`at_once` threads for one kind of work, named in errors as `what`."""

    def __init__(self, what: str, at_once: int) -> None:
        self._what = what
        self._at_once = at_once
        self._free = threading.BoundedSemaphore(at_once)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=f"front-{what}")

    async def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises. It is carried out to its end, whoever stops waiting.

        Raises Busy where all threads are taken, and NotReady after `close`.
        """
        if not self._free.acquire(blocking=False):
            raise Busy(f"{self._at_once} {self._what} are being worked on; try again")
        try:
            future = self._threads.submit(work)
        except RuntimeError:
            self._free.release()
            raise NotReady("this party is shutting down") from None
        # The thread frees its place itself: whoever waits here may be cancelled long before.
        future.add_done_callback(lambda _: self._free.release())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Takes no more work; what is being done goes on."""
        self._threads.shutdown(wait=False, cancel_futures=True)
