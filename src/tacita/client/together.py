"""Asking all parties at once: all answer, or the most telling failure is raised."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from tacita.errors import PeerError

Result = TypeVar("Result")

# A party that fails because another did says so; for so long the other may say it itself.
GRACE_SECONDS = 0.5


async def together(calls: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results in the order of the calls. When one fails, the others are cancelled.

    Of several failures one that is no PeerError is raised: it is the cause, and the others are
    parties who did not hear from that one.
    """
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if pending and all(isinstance(each, PeerError) for each in _failures(tasks)):
            await asyncio.wait(pending, timeout=GRACE_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    failures = _failures(tasks)
    for failure in failures:
        if not isinstance(failure, PeerError):
            raise failure
    if failures:
        raise failures[0]
    return [task.result() for task in tasks]


def _failures(tasks: Sequence[asyncio.Future[Result]]) -> list[BaseException]:
    ended = [task for task in tasks if task.done() and not task.cancelled()]
    return [error for task in ended if (error := task.exception()) is not None]
