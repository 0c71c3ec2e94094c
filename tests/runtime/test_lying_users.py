"""Users who lie: they tell the dealer other things than the parties, or all roles what means
another thing to each. What the dealer then hands out must have nothing to do with masks in use."""

import time

import numpy as np
import pytest
from flows import enter, ring

from tacita.errors import PeerFailed, ProgramError
from tacita.protocols import Input, MaskWires, NonNegative, OneHot, Permute, sign
from tacita.ring.randomness import StreamKey, fresh_key
from tacita.runtime.dealer import Dealer
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.orders import Order, encode
from tacita.runtime.reading import Reading
from tacita.runtime.store import WINDOW, Held, Known, MaskStore, Store, Written
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


# ---- one number, two meanings --------------------------------------------------------------------

ROLES = ("alice", "bob", "dan")
TWICE = {
    "an input over an input": [
        (ROLES[:2], Input(900, SHAPE)),
        (ROLES[:2], Input(900, SHAPE)),
    ],
    # The dealer would have the second mask for the view, whose openings have the first.
    "an input over what a view is of": [
        (ROLES[:2], Input(900, SHAPE)),
        (ROLES, MaskWires((900,), (SHAPE,))),
        (ROLES, Permute(901, 900, (1, 0))),
        (ROLES[:2], Input(900, SHAPE)),
    ],
    "a view over a view": [
        (ROLES[:2], Input(900, SHAPE)),
        (ROLES, Permute(901, 900, (1, 0))),
        (ROLES, Permute(901, 900, (1, 0))),
    ],
}


@pytest.mark.parametrize("orders", TWICE.values(), ids=TWICE)
def test_a_wire_is_written_once(session, orders):
    for names, instruction in orders:
        number = session._next_number(1)
        arrays = [ring(np.zeros(SHAPE, int))] if isinstance(instruction, Input) else []
        for name in names:
            given = arrays if name != "dan" else []
            tell(session, (name,), Order(number, (instruction,)), *given)
    with pytest.raises(PeerFailed, match=r"wire 90[01] was written before"):
        session.settle()


def test_not_even_when_it_was_forgotten(session):
    first = session._next_number(2)
    zeros = ring(np.zeros(SHAPE, int))
    tell(session, ROLES[:2], Order(first, (Input(900, SHAPE),), (900,)), zeros)
    tell(session, ROLES[:2], Order(first + 1, (Input(900, SHAPE),)), zeros)
    with pytest.raises(PeerFailed, match="wire 900 was written before"):
        session.settle()


def test_a_wire_is_masked_once(session):
    first = session._next_number(3)
    tell(session, ROLES[:2], Order(first, (Input(900, SHAPE),)), ring(np.zeros(SHAPE, int)))
    for number in (first + 1, first + 2):
        tell(session, ROLES, Order(number, (MaskWires((900,), (SHAPE,)),)))
    with pytest.raises(PeerFailed, match="wire 900 is masked already"):
        session.settle()


def test_numbers_far_below_the_largest_count_as_written():
    written = Written()
    for wire in range(0, 8 * WINDOW, 2):
        written.add(wire)
    assert len(written._numbers) <= 2 * WINDOW
    for wire in (0, 1, 2 * WINDOW + 1, 8 * WINDOW - 2):
        with pytest.raises(ProgramError, match=f"wire {wire} was written before"):
            written.add(wire)
    written.add(8 * WINDOW - 3)  # soon after its neighbours
    written.add(1 << 62)


def test_a_wire_in_the_place_of_one_that_was_never_made_counts_as_written():
    store = Store("alice", first=True, written=Written())
    store.hold_zeros(5, (2,))
    store.hold_zeros(5, (2,))
    with pytest.raises(ProgramError, match="wire 5 was written before"):
        store.hold(5, Held(np.zeros(2, np.uint64)))


def test_the_dealer_knows_one_mask_of_a_wire():
    store = MaskStore()
    store.mask_with(1, ring([1]))
    store.know(2, Known(base=store.known(1), view=np.negative))
    for wire in (1, 2):
        with pytest.raises(ProgramError, match="masked already"):
            store.mask_with(wire, ring([3]))
        with pytest.raises(ProgramError, match="written before"):
            store.know(wire, Known())
