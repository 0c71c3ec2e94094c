"""Shares that lie with a party under a name, for sessions of others, on their owners' terms.

An owner leaves a tensor with all parties, and says who may compute with it (`borrowers`) and to
whom what was computed from it may be revealed (`audience`). A session's wires remember the deposits
behind them (`runtime/restrictions.py`), and each party decides on its own: a share of a wire leaves
for a user only if the owner of every deposit behind it is that user, or has named that user. A wire
that is kept as a deposit remembers as well, so nobody frees a value by passing it on.

Deposits are in memory: they are gone when the party stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Annotated

import msgspec
import numpy as np

from tacita.errors import AlreadyUsed, MaterialError, Refused, UsageError
from tacita.network.identity import Principal
from tacita.program.readings import Array
from tacita.runtime.restrictions import NONE, Loans
from tacita.service.policy import check_pattern, matches

MOST_KNOWN = 1 << 20  # deposits whose terms are remembered, also when they are gone

Pattern = Annotated[str, msgspec.Meta(max_length=200)]
Patterns = Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=100)]


class Description(msgspec.Struct, frozen=True, array_like=True):
    """What is public of a deposit, and the same at every party.

    id: random, of this deposit. owner: filled in by the party, from the certificate. scale, bound:
    of the ring elements. base, digits: of the fixed precision; base 0 is for integers.
    """

    id: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    shape: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=0, le=1 << 40)], ...], msgspec.Meta(max_length=16)
    ]
    scale: Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]
    bound: Annotated[int, msgspec.Meta(ge=0)] | None
    base: Annotated[int, msgspec.Meta(ge=0, le=1 << 16)]
    digits: Annotated[int, msgspec.Meta(ge=0, le=62)]
    borrowers: Patterns
    audience: Patterns
    owner: str = ""


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Description).decode


def description(data: bytes) -> Description:
    """Raises UsageError for what is none, or has a pattern that means nobody."""
    try:
        about = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UsageError("this is no description of a deposit") from None
    for pattern in (*about.borrowers, *about.audience):
        check_pattern(pattern)
    return about


@dataclass(frozen=True, repr=False)
class Deposit:
    about: Description
    share: Array
    loans: Loans  # the deposits behind it, itself not among them

    def __repr__(self) -> str:
        return f"Deposit({self.about.name!r})"


@dataclass(frozen=True)
class Terms:
    owner: str
    audience: tuple[str, ...]


class Deposits:
    """All deposits at one party. room: bytes that they may have together."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._lock = Lock()
        self._by_name: dict[str, Deposit] = {}
        self._terms: dict[bytes, Terms] = {}

    def put(self, owner: Principal, about: Description, share: Array, loans: Loans = NONE) -> None:
        """Raises AlreadyUsed for another owner's name, MaterialError where there is no room."""
        if share.shape != about.shape or share.dtype != np.uint64:
            raise UsageError(f"{about.name!r} was described as {about.shape}, not {share.shape}")
        about = msgspec.structs.replace(about, owner=str(owner))
        with self._lock:
            before = self._by_name.get(about.name)
            if before is not None and before.about.owner != about.owner:
                raise AlreadyUsed(f"{about.name!r} is another owner's: choose another name")
            if about.id in self._terms:
                raise AlreadyUsed(f"the deposit {about.name!r} has the id of an earlier one")
            others = sum(d.share.nbytes for d in self._by_name.values() if d is not before)
            if others + share.nbytes > self._room or len(self._terms) >= MOST_KNOWN:
                raise MaterialError(
                    f"deposits may have {self._room} bytes here, and there are {others}: withdraw "
                    "some"
                )
            self._terms[about.id] = Terms(about.owner, about.audience)
            self._by_name[about.name] = Deposit(about, share, loans)

    def withdraw(self, owner: Principal, name: str) -> None:
        with self._lock:
            deposit = self._by_name.get(name)
            if deposit is None or deposit.about.owner != str(owner):
                raise UsageError(f"{owner} has no deposit {name!r} here")
            del self._by_name[name]

    def lent_to(self, user: Principal, name: str) -> Deposit:
        """Raises UsageError, the same for what is not there and what this user may not use."""
        with self._lock:
            deposit = self._by_name.get(name)
        if deposit is None or not (
            deposit.about.owner == str(user) or matches(user, deposit.about.borrowers)
        ):
            raise UsageError(f"nothing lies here under {name!r} that {user} may compute with")
        return deposit

    def refusal(self, user: Principal, loans: Loans) -> str | None:
        """Why a value that depends on these deposits is not for this user."""
        with self._lock:
            behind: Sequence[Terms] = [self._terms[loan] for loan in loans]
        for terms in behind:
            if terms.owner != str(user) and not matches(user, terms.audience):
                return f"{terms.owner} has not agreed that {user} sees what is computed from theirs"
        return None


class UsersShelf:
    """Implements `runtime.party.Shelf` for one session."""

    def __init__(self, deposits: Deposits, user: Principal) -> None:
        self._deposits = deposits
        self._user = user

    def lent(self, name: str) -> tuple[Array, Loans]:
        deposit = self._deposits.lent_to(self._user, name)
        return deposit.share, deposit.loans | {deposit.about.id}

    def keep(self, name: str, share: Array, about: bytes, loans: Loans) -> None:
        described = description(about)
        if described.name != name:
            raise Refused(f"{name!r} is described as {described.name!r}")
        self._deposits.put(self._user, described, share.reshape(described.shape), loans)

    def refusal(self, loans: Loans) -> str | None:
        return self._deposits.refusal(self._user, loans)
