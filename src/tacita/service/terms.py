"""On what terms somebody left values with the parties: whose they are, and who may see results.

A wire remembers terms, not names of what was lent (`runtime/restrictions.py`): its loans are the
encoded terms themselves. So terms need no register, hold for as long as any wire depends on them,
whatever becomes of what they were given for, and are written beside shares that outlast the daemon.
Equal terms of several deposits are one loan: what is computed over many days remembers no more than
the different terms that it came under.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import msgspec

from tacita.errors import MaterialMismatch
from tacita.network.identity import Principal
from tacita.runtime.restrictions import Loans
from tacita.service.policy import matches

Pattern = Annotated[str, msgspec.Meta(max_length=200)]
Patterns = Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=100)]


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """owner: "role:name" of whose it is. audience: patterns of whom its owner lets see results."""

    owner: Annotated[str, msgspec.Meta(max_length=200)]
    audience: Patterns


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Terms)


def loan_of(owner: str, audience: Patterns) -> bytes:
    """The terms as a loan, the same for the same people in whatever order they are named."""
    return _encode(Terms(owner, tuple(sorted(set(audience)))))


@lru_cache(maxsize=1024)
def terms_of(loan: bytes) -> Terms:
    """Raises MaterialMismatch for what are no terms."""
    try:
        return _decoder.decode(loan)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MaterialMismatch(
            "the terms of what was saved cannot be read; save it anew, under another name"
        ) from None


def refusal(user: Principal, loans: Loans) -> str | None:
    """Why a value that came under these terms is not for this user; None if all owners agree."""
    for loan in sorted(loans):
        terms = terms_of(loan)
        if terms.owner != str(user) and not matches(user, terms.audience):
            return f"{terms.owner} has not agreed that {user} sees what is computed from theirs"
    return None
