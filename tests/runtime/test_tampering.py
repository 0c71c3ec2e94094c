"""One message that is not as it should be: one error, which names what is wrong and no value."""

import msgspec
import numpy as np
import pytest
from flows import add, compare, enter, multiply, read, tamper, within, works

from tacita.errors import PeerError, PeerFailed
from tacita.runtime.embedded import EmbeddedSession
from tacita.runtime.orders import Dealt, Turn, decode_dealt, decode_turn, encode
from tacita.runtime.serving import USER
from tacita.runtime.transport import Channel, Message

SECRET = 7_305_190_826_441


def with_header(message, header):
    return Message(message.kind, encode(header), message.arrays)


def only(kind, change):
    """Changes messages of one kind, the first of them."""
    changed = []

    def apply(message):
        if message.kind != kind or changed:
            return [message]
        changed.append(message)
        return change(message)

    return apply


def numbered(message, by):
    header = decode_dealt(message.header)
    return [with_header(message, Dealt(header.number + by, header.counts))]


def recounted(message, counts, arrays):
    header = decode_dealt(message.header)
    return [Message("material", encode(Dealt(header.number, counts)), arrays)]


EXTRA = np.zeros(2, np.uint64)
MATERIAL = {
    "missing array": lambda m: recounted(m, {0: 0}, ()),
    "one array too many": lambda m: recounted(m, {0: 2}, (*m.arrays, EXTRA)),
    "an array that is not counted": lambda m: recounted(m, {0: 1}, (*m.arrays, EXTRA)),
    "an array that is counted and not there": lambda m: recounted(m, {0: 2}, m.arrays),
    "too short": lambda m: recounted(m, {0: 1}, (m.arrays[0][:-1],)),
    "too long": lambda m: recounted(m, {0: 1}, (np.append(m.arrays[0], m.arrays[0]),)),
    "of another branch": lambda m: recounted(m, {1: 1}, m.arrays),
    "of an order before": lambda m: numbered(m, -1),
    "of a later order": lambda m: numbered(m, 1),
    "of a much later order": lambda m: numbered(m, 1 << 40),
    "no header": lambda m: [Message("material", b"", m.arrays)],
    "a header that is text": lambda m: [Message("material", b"\xa3abc", m.arrays)],
    "a header of another shape": lambda m: [with_header(m, Turn(0, 0))],
}


@pytest.mark.parametrize("change", MATERIAL.values(), ids=MATERIAL)
def test_changed_material_is_refused(open_session, change):
    session = open_session(limit=10.0)
    tamper(session, "dealer", "bob", only("material", change))
    x = enter(session, [SECRET, 1])
    out = multiply(session, x, x)
    with within(5), pytest.raises(PeerFailed, match="bob stopped: ") as caught:
        session.reveal(out)
    assert str(SECRET) not in str(caught.value)
    assert not session.usable


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing array", "no array of shape"),
        ("one array too many", "left 1 dealt arrays unused"),
        ("an array that is not counted", "incomplete"),
        ("too short", "no array of shape"),
        ("of a later order", "out of turn"),
    ],
)
def test_the_error_on_material_says_what_is_wrong(open_session, name, message):
    session = open_session()
    tamper(session, "dealer", "bob", only("material", MATERIAL[name]))
    x = enter(session, [SECRET, 1])
    with pytest.raises(PeerFailed, match=f"MaterialMismatch: .*{message}"):
        session.reveal(multiply(session, x, x))


@pytest.mark.parametrize("party", ["alice", "bob"])
@pytest.mark.parametrize(
    "name", ["missing array", "one array too many", "too short", "too long", "of another branch"]
)
def test_a_key_of_another_size_is_refused(open_session, party, name):
    """Keys of point functions, which every party is sent. Any word may be part of one."""
    session = open_session(limit=10.0, protocol="fss")
    x = enter(session, [SECRET, 1])
    session.settle()
    tamper(session, "dealer", party, only("material", MATERIAL[name]))
    with within(5), pytest.raises(PeerFailed, match=f"{party} stopped: "):
        session.reveal(compare(session, x))


def test_material_that_does_not_come_is_a_timeout(open_session):
    session = open_session(limit=0.3)
    tamper(session, "dealer", "bob", only("material", lambda _: []))
    x = enter(session, [1, 2])
    with within(3), pytest.raises(PeerError, match=r"nothing for 0\.3 s"):
        session.reveal(multiply(session, x, x))


def test_lost_material_is_noticed_when_the_next_comes(open_session):
    session = open_session(limit=10.0)
    tamper(session, "dealer", "bob", only("material", lambda _: []))
    x = enter(session, [1, 2])
    first = multiply(session, x, x)
    multiply(session, x, x)
    with within(5), pytest.raises(PeerFailed, match="out of turn"):
        session.reveal(first)


def test_material_that_comes_twice_is_used_once(open_session):
    session = open_session()
    tamper(session, "dealer", "bob", only("material", lambda m: [m, m]))
    x = enter(session, [3, 4])
    assert read(session, multiply(session, x, x)) == [9, 16]
    with within(5), pytest.raises(PeerFailed, match="out of turn"):
        read(session, multiply(session, x, x))


def test_altered_corrections_alter_the_result_and_nothing_else(open_session):
    # Nothing authenticates a semi-honest dealer's material. What this shows is that corrections
    # are what is used: the result moves by just as much.
    session = open_session()

    def shifted(message):
        return [Message("material", message.header, (message.arrays[0] + np.uint64(5),))]

    x = enter(session, [3, 4])
    tamper(session, "dealer", "bob", only("material", shifted))
    assert read(session, multiply(session, x, x)) == [14, 21]
    assert works(session)


def turned(message, order=0, turn=0):
    header = decode_turn(message.header)
    return [with_header(message, Turn(header.number + order, header.round + turn))]


OPENINGS = {
    "of another shape": lambda m: [Message("open", m.header, (m.arrays[0][:-1],))],
    "of more dimensions": lambda m: [Message("open", m.header, (m.arrays[0][None],))],
    "one array too few": lambda m: [Message("open", m.header, ())],
    "one array too many": lambda m: [Message("open", m.header, (*m.arrays, EXTRA))],
    "of another order": lambda m: turned(m, order=1),
    "of an order before": lambda m: turned(m, order=-1),
    "of another round": lambda m: turned(m, turn=1),
    "no header": lambda m: [Message("open", b"", m.arrays)],
}


@pytest.mark.parametrize("change", OPENINGS.values(), ids=OPENINGS)
@pytest.mark.parametrize("pair", [("alice", "bob"), ("bob", "carol")], ids="-".join)
def test_a_changed_opening_is_refused(open_session, pair, change):
    session = open_session(3, limit=10.0)
    tamper(session, *pair, only("open", change))
    x = enter(session, [SECRET, 1])
    with within(5), pytest.raises(PeerFailed, match=f"{pair[1]} stopped: ") as caught:
        session.reveal(multiply(session, x, x))
    assert str(SECRET) not in str(caught.value)


def test_an_opening_that_is_sent_again_is_refused(open_session):
    session = open_session(limit=10.0)
    tamper(session, "alice", "bob", only("open", lambda m: [m, m]))
    out = compare(session, enter(session, [1, 2]))
    # Taken by its place and not by what it says it is, it would be the next round's.
    with within(5), pytest.raises(PeerFailed, match=r"alice opened .* instead of"):
        session.reveal(out)


def test_a_lost_opening_is_a_timeout(open_session):
    session = open_session(limit=0.3)
    tamper(session, "alice", "bob", only("open", lambda _: []))
    session.mask([enter(session, [1, 2])], "test")
    with within(3), pytest.raises(PeerError, match=r"nothing for 0\.3 s"):
        session.settle()


def test_a_lost_opening_is_noticed_when_the_next_comes(open_session):
    session = open_session(limit=10.0)
    tamper(session, "alice", "bob", only("open", lambda _: []))
    with within(5), pytest.raises(PeerFailed, match=r"alice opened .* instead of"):
        session.reveal(compare(session, enter(session, [1, 2])))


@pytest.mark.parametrize("size", [0, 15, 16, 47, 49])
def test_a_key_of_another_length_is_refused(monkeypatch, size):
    put = Channel.put

    def shortened(channel, message, limit):
        if message.kind == "key" and channel.receiver == "alice":
            message = Message("key", bytes(size))
        put(channel, message, limit)

    monkeypatch.setattr(Channel, "put", shortened)
    session = EmbeddedSession(["alice", "bob"], "dealer", limit=5.0)
    x = enter(session, [1])
    with pytest.raises(PeerFailed, match="alice stopped: PeerFailed: dealer sent a key of"):
        session.reveal(x)
    session.close()


ORDERS = {
    "empty": b"",
    "cut": encode([0, [{"type": "Reveal"}]])[:-3],
    "garbage": bytes(range(250, 256)),
    "an unknown instruction": encode([0, [{"type": "Execute", "x": 1}]]),
    "a base class": encode([0, [{"type": "Linear"}]]),
    "no instruction": encode([0]),
    "a field missing": encode([0, [{"type": "Reveal"}]]),
    "a field of another type": encode([0, [{"type": "Reveal", "x": "1"}]]),
    "a number that is none": encode(["0", [{"type": "Reveal", "x": 1}]]),
    "trailing bytes": encode([0, [{"type": "Forget"}]]) + b"\x00",
    "a width beside its plan": encode(
        [
            0,
            [
                {
                    "type": "NonNegative",
                    "out": 1,
                    "x": 0,
                    "shape": [1],
                    "width": {"bits": 9, "drop": 0, "plan": {"chunks": [3], "levels": []}},
                }
            ],
        ]
    ),
}


@pytest.mark.parametrize("header", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("role", ["alice", "dealer"])
def test_an_order_that_does_not_decode_ends_the_session(open_session, role, header):
    session = open_session()
    session._endpoint.send(role, Message("instruct", header))
    with within(5), pytest.raises(PeerFailed, match=f"{role} stopped: (Decode|Validation)Error"):
        session.settle()


@pytest.mark.parametrize("header", ORDERS.values(), ids=ORDERS)
def test_orders_are_refused_by_the_decoder_itself(header):
    from tacita.runtime.orders import decode_order

    with pytest.raises(msgspec.DecodeError):
        decode_order(header)


def test_an_order_that_is_sent_again_draws_nothing_twice(open_session):
    session = open_session()
    tamper(session, USER, "alice", lambda m: [m, m] if b"MaskWires" in m.header else [m])
    x = enter(session, [1, 2])
    session.flush()
    session.reveal(multiply(session, x, x))  # the order holds the reveal; it is honoured once
    with within(5), pytest.raises(PeerFailed, match="alice stopped: MaskReused"):
        session.settle()


def test_an_order_that_is_sent_again_writes_nothing_twice(open_session):
    session = open_session()
    tamper(session, USER, "alice", lambda m: [m, m] if b"Input" in m.header else [m])
    enter(session, [1, 2])
    with within(5), pytest.raises(PeerFailed, match=r"alice stopped: .*was written before"):
        session.settle()


def test_shares_that_the_user_does_not_ask_for_are_not_sent(open_session):
    session = open_session()
    x = enter(session, [1, 2])
    assert read(session, add(session, x, x)) == [2, 4]
    session.settle()
    for holder in session.holders:
        # One share of sixteen bytes from each party, and nothing else.
        assert session.network.channel(holder, USER).sent_bytes == 16
