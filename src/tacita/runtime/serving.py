"""A role's thread: it follows the user's side until it is told to stop, or fails."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import get_args

from tacita.errors import PeerError, PeerFailed, PeerTimeout, TacitaError
from tacita.ring import kernels
from tacita.runtime.dealer import Dealer
from tacita.runtime.orders import (
    check_size,
    decode_ahead,
    decode_deploy,
    decode_keep,
    decode_lend,
    decode_order,
    decode_prepare,
    decode_run,
    decode_undeploy,
)
from tacita.runtime.party import Party
from tacita.runtime.transport import Endpoint, Kind, Message

USER = "the user's side"
CLOSED = "the session was closed"
ALL: frozenset[Kind] = frozenset(get_args(Kind))
# What names files is for a user's side that shares them.
WITHOUT_STOCK: frozenset[Kind] = ALL - {"ahead", "prepare", "release"}


def stop(endpoint: Endpoint, names: Sequence[str]) -> None:
    """Tells the roles to end."""
    for name in names:
        try:
            endpoint.send(name, Message("stop"))
        except PeerError:
            continue  # it has stopped reading, or is gone, and ends at its own limit


def serve(
    role: Party | Dealer,
    endpoint: Endpoint,
    names: Sequence[str],
    kinds: frozenset[Kind] = ALL,
) -> None:
    """A role's thread: carries out orders until it is told to stop, or fails.

    kinds: of orders; another is a failure.
    """
    kernels.pool_arrays()
    try:
        if isinstance(role, Dealer):
            role.failing = lambda error: announce(endpoint, (), account_of(error))
        role.start()
        while True:
            message = next_order(role, endpoint)
            if message.kind == "stop":
                # Whoever still waits for a result, or an answer, need not wait out the limit.
                endpoint.send(USER, Message("fail", CLOSED.encode()))
                if isinstance(role, Dealer):
                    role.give_up(CLOSED)
                return
            if message.kind == "done":
                endpoint.send(USER, message)
            elif message.kind not in kinds:
                raise PeerFailed(f"{USER} may not ask for {message.kind!r} in this session")
            else:
                check_size(message.header, trusted=role.budget is None)
                if isinstance(role, Party):
                    role.heard(message.kind, message.header)
                follow(role, message)
    except Exception as error:
        why = account_of(error)
        if isinstance(role, Dealer):
            role.give_up(why)  # first: who waits for an answer reads nothing else
        announce(endpoint, names, why)
    finally:
        role.end()


def next_order(role: Party | Dealer, endpoint: Endpoint) -> Message:
    """Waits for the user's side as long as the session may last. Raises Refused after that."""
    budget = role.budget
    if budget is None:
        return endpoint.receive(USER, None)
    try:
        return endpoint.receive(USER, budget.seconds_left())
    except PeerTimeout:
        raise budget.overtime() from None


def follow(role: Party | Dealer, message: Message) -> None:
    """Has a role carry out what the user's side asks of it."""
    match message.kind:
        case "instruct":
            role.carry_out(decode_order(message.header), message.arrays)
        case "run":
            role.run(decode_run(message.header))
        case "deploy":
            role.deploy(decode_deploy(message.header))
        case "undeploy":
            role.undeploy(decode_undeploy(message.header))
        case "release" if isinstance(role, Party):
            role.release(decode_prepare(message.header))
        case "ahead" if isinstance(role, Dealer):
            role.deal_ahead(decode_ahead(message.header))
        case "lend" if isinstance(role, Party):
            role.lend(decode_lend(message.header))
        case "keep" if isinstance(role, Party):
            role.keep(decode_keep(message.header))
        case "saved" if isinstance(role, Party):
            role.about_saved(message.header)
        case "prepare" if isinstance(role, Party):
            role.prepare(decode_prepare(message.header))
        case _:
            raise PeerFailed(f"{USER} asked for {message.kind!r}, which is not for this role")


def account_of(error: Exception) -> str:
    """What other roles may read of it."""
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, TacitaError):
        # Foreign errors may quote values; where it happened is all that leaves this role.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} in {frame.name}, {frame.filename}:{frame.lineno}"
    return text


def announce(endpoint: Endpoint, names: Sequence[str], why: str) -> str:
    """Tells everybody that this role has stopped, so that nobody waits for it; returns why."""
    for other in (*names, USER):
        if other != endpoint.name:
            try:
                endpoint.send(other, Message("fail", why.encode()))
            except PeerError:
                continue  # it has stopped reading, or is gone, and ends at its own limit
    return why
