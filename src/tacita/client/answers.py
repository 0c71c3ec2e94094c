"""From a party's refusal, as HTTP has it, to the error of the tree that it stands for."""

from __future__ import annotations

import json

from tacita.errors import (
    AlreadyUsed,
    BoundExceeded,
    CredentialError,
    NotReady,
    PeerFailed,
    PeerTimeout,
    ProgramError,
    RateExceeded,
    Refused,
    ShapeError,
    StockEmpty,
    TacitaError,
    UnknownModel,
    UsageError,
)

LONGEST_MESSAGE = 1000  # characters that are quoted of what a party says
KIND = "kind"  # next to "error" in the JSON: the name of the error, where a party gives it

# What a party may say that an error is, besides what its status says.
KINDS: dict[str, type[TacitaError]] = {
    each.__name__: each
    for each in (
        AlreadyUsed,
        BoundExceeded,
        NotReady,
        PeerFailed,
        PeerTimeout,
        ProgramError,
        RateExceeded,
        Refused,
        ShapeError,
        StockEmpty,
        UnknownModel,
        UsageError,
    )
}
STATUSES: dict[int, type[TacitaError]] = {
    400: UsageError,
    401: CredentialError,
    403: Refused,
    404: UnknownModel,
    408: PeerTimeout,
    409: AlreadyUsed,
    413: UsageError,
    422: BoundExceeded,
    429: RateExceeded,
    503: NotReady,
    504: PeerTimeout,
}


def error_of(party: str, status: int, body: bytes) -> TacitaError:
    """What a party's answer that is no success means; the message names the party."""
    said, kind = _said(body)
    error = KINDS.get(kind) or STATUSES.get(status, PeerFailed)
    return error(f"{party} answered {status}: {said or 'and gives no reason'}")


def _said(body: bytes) -> tuple[str, str]:
    """Message and kind in a body; empty where it has none."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(fields, dict):
        return "", ""
    message, kind = fields.get("error"), fields.get(KIND)
    text = message[:LONGEST_MESSAGE] if isinstance(message, str) else ""
    # It goes to terminals: nothing in it may steer one.
    plain = "".join(each if each.isprintable() else " " for each in text)
    return plain, kind if isinstance(kind, str) else ""
