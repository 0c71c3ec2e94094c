"""A user who tells the dealer other things than the parties: what the dealer then hands out must
have nothing to do with the masks that the parties have in use."""

import time

import numpy as np
import pytest
from flows import enter, ring

from tacita.protocols import Input, MaskWires, NonNegative, OneHot, sign
from tacita.ring.randomness import StreamKey, fresh_key
from tacita.runtime.dealer import Dealer
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.orders import Order, encode
from tacita.runtime.reading import Reading
from tacita.runtime.transport import Message

LIMIT = 30  # seconds
WORDS = 64
SHAPE = (4, WORDS)  # more words than point functions draw before their key


@pytest.fixture
def session():
    opened = EmbeddedSession(["alice", "bob"], "dan", limit=LIMIT)
    yield opened
    opened.close()


@pytest.fixture
def masks(monkeypatch):
    """The words that each party masked with, by its name, in order."""
    drawn = {"alice": [], "bob": []}
    real = Reading.mask

    def mask(self, shape):
        made = real(self, shape)
        drawn[self._store.owner].append(made.share.copy())
        return made

    monkeypatch.setattr(Reading, "mask", mask)
    return drawn


@pytest.fixture
def handed(monkeypatch):
    """All arrays that the dealer has handed to the last party, in order."""
    arrays = []
    real = Dealer._hand_out

    def hand_out(self, number, instruction, handout):
        arrays.extend(array.ravel() for dealt in handout.last.values() for array in dealt)
        return real(self, number, instruction, handout)

    monkeypatch.setattr(Dealer, "_hand_out", hand_out)
    return arrays


def tell(session, names, order, *arrays):
    for name in names:
        session._endpoint.send(name, Message("instruct", encode(order), arrays))


def told_differently(session, masks, handed, instruction):
    """Has the parties mask a wire under the number under which the dealer deals `instruction`;
    returns what it dealt, and both parties' masks."""
    first = session._next_number(2)
    dealt = len(handed)
    tell(session, ("dan",), Order(first, (MaskWires((700,), ((WORDS,),)),)))
    tell(session, ("alice", "bob"), Order(first, (Input(900, SHAPE),)), ring(np.zeros(SHAPE, int)))
    tell(session, ("alice", "bob"), Order(first + 1, (MaskWires((900,), (SHAPE,)),)))
    tell(session, ("dan",), Order(first + 1, (instruction,)))
    until = time.monotonic() + LIMIT
    while len(handed) == dealt or not all(masks.values()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return np.concatenate(handed[dealt:]), {name: each[-1].ravel() for name, each in masks.items()}


def look_up():
    """What the dealer deals for it: entries of 0 or 1, minus a word of each other party's."""
    return OneHot(701, (), 700, (), 2, 1, (WORDS,))


def compare():
    """What the dealer publishes for it: a key which is both parties' words under XOR."""
    return NonNegative(701, 700, (WORDS,), sign.width(8, WORDS, way="fss"))


def unmasked(dealt, masks):
    """How many words of a mask, or of both under XOR, can be read off what was dealt, to a unit."""
    readable = np.concatenate([dealt, -dealt, np.uint64(1) - dealt])
    used = np.concatenate([masks["alice"], masks["alice"] ^ masks["bob"]])
    return int(np.isin(used, readable).sum())


@pytest.mark.parametrize("instruction", [look_up, compare])
def test_what_is_dealt_says_nothing_of_a_mask(session, masks, handed, instruction):
    enter(session, [1])
    dealt, drawn = told_differently(session, masks, handed, instruction())
    assert dealt.size
    assert unmasked(dealt, drawn) == 0


@pytest.mark.parametrize("instruction", [look_up, compare])
def test_streams_that_are_bound_to_nothing_would_give_masks_away(
    session, masks, handed, instruction, monkeypatch
):
    """The test above could fail."""
    monkeypatch.setattr(StreamKey, "bind", lambda *_: None)
    dealt, drawn = told_differently(session, masks, handed, instruction())
    assert unmasked(dealt, drawn) > 0


def test_streams_agree_as_long_as_both_ends_were_told_the_same():
    root = fresh_key()
    one, other = StreamKey(root), StreamKey(root)
    draws = []
    for number, (mine, theirs) in enumerate([(b"a", b"a"), (b"b", b"c"), (b"d", b"d")]):
        one.bind(mine)
        other.bind(theirs)
        draws.append((one.open(number).draw((4,)), other.open(number).draw((4,))))
    assert [np.array_equal(*each) for each in draws] == [True, False, False]


def test_a_range_is_bound_like_a_stream():
    root = fresh_key()
    ranges = []
    for told in (b"a", b"b"):
        key = StreamKey(root)
        key.bind(told)
        ranges.append(key.reserve(0, 2))
    one, other = (each.open(1).draw((4,)) for each in ranges)
    assert not np.array_equal(one, other)
