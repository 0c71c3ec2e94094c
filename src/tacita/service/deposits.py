"""Shares that lie with a party under a name, for sessions of others, on their owners' terms.

An owner leaves a tensor with all parties, and says who may compute with it (`borrowers`) and to
whom what was computed from it may be revealed (`audience`). A session's wires remember the terms of
the deposits behind them (`terms.py`), and each party decides on its own: a share of a wire leaves
for a user only if the owner of every deposit behind it is that user, or has named that user. A wire
that is kept as a deposit remembers as well, so nobody frees a value by passing it on.

Deposits are in memory: they are gone when the party stops. What is to outlast it is saved
(`checkpoints.py`).
"""

from __future__ import annotations

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
from tacita.service.terms import Patterns, loan_of, refusal

A_DEPOSIT = 1 << 10  # bytes of Python's objects, generously


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
    loans: Loans  # the terms of what it was computed from, its own not among them

    def __repr__(self) -> str:
        return f"Deposit({self.about.name!r})"

    @property
    def size(self) -> int:
        """Bytes, also of one without elements: what is said of it takes room as well."""
        said = len(encode(self.about)) + sum(map(len, self.loans))
        return self.share.nbytes + said + A_DEPOSIT


class Deposits:
    """All deposits at one party. room: bytes that they may have together."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._lock = Lock()
        self._by_name: dict[str, Deposit] = {}
        self._taken = 0  # bytes

    def put(self, owner: Principal, about: Description, share: Array, loans: Loans = NONE) -> None:
        """Raises AlreadyUsed for another owner's name, MaterialError where there is no room."""
        if share.shape != about.shape or share.dtype != np.uint64:
            raise UsageError(f"{about.name!r} was described as {about.shape}, not {share.shape}")
        about = msgspec.structs.replace(about, owner=str(owner))
        with self._lock:
            before = self._by_name.get(about.name)
            if before is not None and before.about.owner != about.owner:
                raise AlreadyUsed(f"{about.name!r} is another owner's: choose another name")
            deposit = Deposit(about, share, loans)
            others = self._taken - (0 if before is None else before.size)
            if others + deposit.size > self._room:
                raise MaterialError(
                    f"deposits may have {self._room} bytes here, and there are {others}: withdraw "
                    "some"
                )
            self._by_name[about.name] = deposit
            self._taken = others + deposit.size

    def withdraw(self, owner: Principal, name: str) -> None:
        with self._lock:
            deposit = self._by_name.get(name)
            if deposit is None or deposit.about.owner != str(owner):
                raise UsageError(f"{owner} has no deposit {name!r} here")
            del self._by_name[name]
            self._taken -= deposit.size

    def lent_to(self, user: Principal, name: str) -> Deposit:
        """Raises UsageError, the same for what is not there and what this user may not use."""
        with self._lock:
            deposit = self._by_name.get(name)
        if deposit is None or not (
            deposit.about.owner == str(user) or matches(user, deposit.about.borrowers)
        ):
            raise UsageError(f"nothing lies here under {name!r} that {user} may compute with")
        return deposit


class UsersShelf:
    """Implements `runtime.party.Shelf` for one session."""

    def __init__(self, deposits: Deposits, user: Principal) -> None:
        self._deposits = deposits
        self._user = user

    def lent(self, name: str) -> tuple[Array, Loans]:
        deposit = self._deposits.lent_to(self._user, name)
        about = deposit.about
        return deposit.share, deposit.loans | {loan_of(about.owner, about.audience)}

    def keep(self, name: str, share: Array, about: bytes, loans: Loans) -> None:
        described = description(about)
        if described.name != name:
            raise Refused(f"{name!r} is described as {described.name!r}")
        self._deposits.put(self._user, described, share.reshape(described.shape), loans)

    def refusal(self, loans: Loans) -> str | None:
        return refusal(self._user, loans)
