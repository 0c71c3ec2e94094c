"""The one place where errors become HTTP statuses and the bodies that go with them.

Messages of errors in the tree have no values in them and go to the client. Of any other error, and
of those that concern this party's own files and material, the client gets an id; the log has that
id with the error's kind and place, but not its message, which might quote data.
"""

from __future__ import annotations

import json
import logging
import math
import os
from traceback import extract_tb

from starlette.responses import Response

from tacita.errors import (
    AlreadyUsed,
    BodyTooLarge,
    BodyTooSlow,
    BoundExceeded,
    Busy,
    ConfigError,
    CredentialError,
    DataError,
    NotReady,
    PeerError,
    PeerTimeout,
    RateExceeded,
    Refused,
    StockEmpty,
    TacitaError,
    Unauthenticated,
    UnknownModel,
    UsageError,
)

LONGEST_MESSAGE = 1000
RETRY_SECONDS = 1.0

log = logging.getLogger("tacita.front")


STATUSES: tuple[tuple[type[TacitaError], int], ...] = (
    (Unauthenticated, 401),
    (RateExceeded, 429),
    (Refused, 403),
    (UnknownModel, 404),
    (BodyTooSlow, 408),
    (AlreadyUsed, 409),
    (BodyTooLarge, 413),
    (ConfigError, 500),
    (CredentialError, 500),
    (DataError, 500),
    (UsageError, 400),
    (BoundExceeded, 422),
    (NotReady, 503),
    (StockEmpty, 503),
    (PeerTimeout, 504),
    (PeerError, 503),
)


def status_of(error: BaseException) -> int:
    """The first entry that fits; 500 for what is foreign or an inner matter of this party."""
    for kind, status in STATUSES:
        if isinstance(error, kind):
            return status
    return 500


def answer_to(error: BaseException) -> Response:
    """The answer to a request that ended with `error`; see the statuses above."""
    status = status_of(error)
    if status == 500:
        name = os.urandom(6).hex()
        log.error("request failed, id %s: %s", name, _traced(error))
        return failed(500, f"this party failed; its log has the reason under {name}")
    headers = {}
    if status == 429 or isinstance(error, Busy):
        seconds = getattr(error, "retry_after", RETRY_SECONDS)
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    return failed(status, str(error)[:LONGEST_MESSAGE], headers, type(error).__name__)


def failed(
    status: int, message: str, headers: dict[str, str] | None = None, kind: str = ""
) -> Response:
    """kind: the name of the error in `errors.py`, since several share a status."""
    said = {"error": message, "kind": kind} if kind else {"error": message}
    body = json.dumps(said, ensure_ascii=False)
    return Response(body.encode(errors="replace"), status, headers, "application/json")


def _traced(error: BaseException) -> str:
    """Kinds and places of an error and its causes; the message of one of ours."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < 5:
        places = [
            f"{frame.name} ({frame.filename}:{frame.lineno})"
            for frame in extract_tb(cause.__traceback__)[-4:]
        ]
        message = f": {cause}" if isinstance(cause, TacitaError) else ""
        parts.append(f"{type(cause).__name__}{message} in {' > '.join(places)}")
        cause = cause.__cause__ or cause.__context__
    return "; caused by ".join(parts)
