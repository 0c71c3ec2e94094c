"""Deposits at one party: the room that they may take, and what is left when they are withdrawn."""

import os

import numpy as np
import pytest

from tacita.errors import AlreadyUsed, MaterialError, Refused, UsageError
from tacita.network.identity import Principal
from tacita.service.deposits import A_DEPOSIT, Deposits, Description, UsersShelf, encode

CAROL = Principal("client", "carol", "c" * 64)
DAVE = Principal("client", "dave", "d" * 64)
ROOM = 20 * A_DEPOSIT  # and as many without anything are a little more


def about(name, shape=(2,), borrowers=(), audience=()):
    return Description(os.urandom(16), name, shape, 1, None, 2, 16, borrowers, audience)


def put(deposits, name, shape=(2,), owner=CAROL, **options):
    deposits.put(owner, about(name, shape, **options), np.zeros(shape, np.uint64))


def put_many(deposits, count):
    for number in range(count):
        put(deposits, f"y{number}", (0,))


def test_shares_have_so_much_room_together():
    deposits = Deposits(ROOM)
    put(deposits, "a", (ROOM // 16,))
    with pytest.raises(MaterialError, match="withdraw some"):
        put(deposits, "b", (ROOM // 16,))
    put(deposits, "a", (ROOM // 16,))  # in the place of its own
    deposits.withdraw(CAROL, "a")
    put(deposits, "b", (ROOM // 16,))


def test_deposits_without_elements_take_room_as_well():
    deposits = Deposits(ROOM)
    for number in range(10):
        put(deposits, f"x{number}", (0,))
    with pytest.raises(MaterialError):
        put_many(deposits, 10)


def test_what_is_said_of_a_deposit_takes_room():
    deposits = Deposits(ROOM)
    with pytest.raises(MaterialError):
        put(deposits, "x", (0,), borrowers=tuple(f"client:{'c' * 60}{n}" for n in range(99)) * 4)


def test_room_comes_back_however_often():
    deposits = Deposits(2 * A_DEPOSIT)
    for number in range(50):
        put(deposits, f"x{number}")
        put(deposits, f"x{number}", (3,))
        deposits.withdraw(CAROL, f"x{number}")


def test_nothing_is_left_of_what_was_withdrawn():
    """But with a session to which it was lent, the terms that its wires were lent on."""
    deposits = Deposits(ROOM)
    put(deposits, "x", borrowers=("client:dave",), audience=("client:eve",))
    shelf = UsersShelf(deposits, DAVE)
    _, loans = shelf.lent("x")
    deposits.withdraw(CAROL, "x")
    assert "client:carol has not agreed" in shelf.refusal(loans)
    with pytest.raises(UsageError, match="nothing lies here"):
        shelf.lent("x")
    for held in (each for each in vars(deposits).values() if hasattr(each, "__len__")):
        assert not held
    assert deposits._taken == 0


def test_names_belong_to_their_owners():
    deposits = Deposits(ROOM)
    put(deposits, "x")
    with pytest.raises(AlreadyUsed, match="another owner"):
        put(deposits, "x", owner=DAVE)
    with pytest.raises(UsageError, match="has no deposit"):
        deposits.withdraw(DAVE, "x")
    shelf = UsersShelf(deposits, CAROL)
    with pytest.raises(Refused, match="is described as"):
        shelf.keep("y", np.zeros(2, np.uint64), encode(about("x")), frozenset())
