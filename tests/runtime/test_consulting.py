"""What the dealer publishes, what the parties draw alike, and what they ask the dealer."""

import threading
from itertools import pairwise

import numpy as np
import pytest
from flows import check, enter, output, read, tamper, wait_until, within, works
from made_up import (
    PlusSeven,
    Rerandomised,
    TimesThree,
    admit,
    admit_programs,
    chain,
    expected,
)

from tacita.errors import (
    BoundExceeded,
    MaskReused,
    MaterialMismatch,
    PeerError,
    PeerFailed,
    ProgramError,
)
from tacita.program.wire import Wire
from tacita.ring.randomness import StreamKey, fresh_key
from tacita.runtime import assisting, transport
from tacita.runtime.common import RunCommon, SessionCommon
from tacita.runtime.consulting import desk_of
from tacita.runtime.dealing import DealingOrder
from tacita.runtime.orders import Consulted, decode_consulted, encode
from tacita.runtime.rehearsal import rehearsed
from tacita.runtime.store import MaskStore
from tacita.runtime.traffic import measured
from tacita.runtime.transport import Message

DESK = desk_of("dealer")
VALUES = [5, -6, 1 << 40]


@pytest.fixture
def open_made_up(open_session, monkeypatch):
    """open_session, for sessions that take the made-up instructions."""
    admit(monkeypatch)
    return open_session


def apply(session, kind, x, **fields):
    out = output(session, x.wire.shape)
    session.emit(kind(out.wire.id, x.wire.id, x.wire.shape, **fields))
    return out


def run(session, program, encoded, x, batch=b"", deployment=None):
    if deployment is None:
        deployment = deployed(session, program, encoded)
    outs = [Wire(session.new_id(), (3,)) for _ in program.outputs]
    return [read(session, each) for each in session.run(deployment, [x], outs, batch)]


def deployed(session, program, encoded):
    return session.deploy(encoded(program), len(program.instructions), [], b"m" * 16)


# ---- live --------------------------------------------------------------------------------------


def test_every_kind_in_orders(open_made_up):
    session = open_made_up()
    x = enter(session, VALUES)
    assert read(session, apply(session, PlusSeven, x)) == [v + 7 for v in VALUES]
    assert read(session, apply(session, Rerandomised, x)) == VALUES
    y = apply(session, TimesThree, apply(session, PlusSeven, apply(session, TimesThree, x)))
    assert read(session, apply(session, Rerandomised, y)) == [3 * (3 * v + 7) for v in VALUES]
    assert works(session)


def test_what_is_measured_is_what_is_declared(open_made_up):
    session = open_made_up()
    x = enter(session, VALUES)
    session.flush()
    for kind in (PlusSeven, TimesThree, Rerandomised):
        with measured(session) as traffic:
            out = apply(session, kind, x)
        declared = kind(1, 0, (3,)).cost()
        for name in type(declared).__dataclass_fields__:
            if name != "opened_bytes":
                assert getattr(traffic, name) == getattr(declared, name), (kind, name)
        assert traffic.online_bytes == declared.online_bytes(2)
        assert traffic.seed_bytes == declared.published_bytes
        assert traffic.input_bytes == 0
        assert len(read(session, out)) == 3


def test_a_run(open_session, monkeypatch):
    session, encoded = open_session(), admit_programs(monkeypatch)
    program = chain(
        TimesThree, PlusSeven, Rerandomised, TimesThree, beside=(PlusSeven, TimesThree, TimesThree)
    )
    x, deployment = enter(session, VALUES), deployed(session, program, encoded)
    for _ in range(2):  # the second time under other numbers
        assert run(session, program, encoded, x, b"", deployment) == expected(program, VALUES)
    with measured(session) as traffic:
        run(session, program, encoded, x, b"", deployment)
    # Three of the four that ask do so in the first round, in one message.
    assert (traffic.rounds, traffic.consultations) == (2, 2)
    assert traffic.consulted_bytes == traffic.answered_bytes == 4 * 24


@pytest.mark.parametrize("bound", [1, 100])
def test_the_dealer_answers_while_its_material_waits(open_made_up, monkeypatch, bound):
    """Its channels to both parties are full, and nobody takes anything before the answer."""
    monkeypatch.setattr(transport, "MOST_WAITING_BYTES", bound)
    session = open_made_up()
    x = enter(session, VALUES)
    y = apply(session, TimesThree, x)
    several = [apply(session, PlusSeven, x) for _ in range(20)]
    z = apply(session, TimesThree, y)
    with within(4):
        assert read(session, z) == [9 * v for v in VALUES]
        assert read(session, several[-1]) == [v + 7 for v in VALUES]


def test_a_run_whose_material_waits(open_session, monkeypatch):
    monkeypatch.setattr(transport, "MOST_WAITING_BYTES", 1)
    session, encoded = open_session(), admit_programs(monkeypatch)
    program = chain(*[TimesThree, PlusSeven] * 5, beside=(PlusSeven,) * 5)
    with within(4):
        assert run(session, program, encoded, enter(session, VALUES)) == expected(program, VALUES)


def test_the_dealer_does_not_go_on_for_ever_unasked(open_made_up, monkeypatch, dealers):
    monkeypatch.setattr(assisting, "MOST_UNANSWERED", 0)
    session = open_made_up()
    over, x = threading.Event(), enter(session, VALUES)
    alice = session.parties[0]
    carry_out = alice.carry_out
    alice.carry_out = lambda *order: over.wait(5) and carry_out(*order)
    session.flush()
    outs = []
    for _ in range(3):
        outs.append(apply(session, TimesThree, x))
        session.flush()
    waiting = dealers[0]._assistant._waiting
    assert wait_until(lambda: len(waiting) == 1)
    assert dealers[0].carried <= 1
    over.set()
    assert [read(session, each) for each in outs] == [[3 * v for v in VALUES]] * 3


def test_closing_ends_the_thread_that_answers(open_made_up):
    others = answering()
    session = open_made_up()
    x = enter(session, VALUES)
    assert read(session, apply(session, TimesThree, x)) == [3 * v for v in VALUES]
    assert len(answering() - others) == 1
    for _ in range(50):
        x = apply(session, TimesThree, x)
    with within(4):
        session.close()
    assert wait_until(lambda: not answering() - others)


def answering():
    """The threads that answer now, those of sessions of other tests among them."""
    return {each for each in threading.enumerate() if each.name == "tacita answers"}


# ---- dealt ahead -------------------------------------------------------------------------------


def test_a_run_out_of_the_stock(open_session, monkeypatch, tmp_path):
    session, encoded = open_session(), admit_programs(monkeypatch)
    program = chain(PlusSeven, Rerandomised, PlusSeven, beside=(PlusSeven, Rerandomised))
    deployment = deployed(session, program, encoded)
    batches = session.deal_ahead(deployment, 2, str(tmp_path), lambda *_: None)
    x = enter(session, VALUES)
    for batch in batches:
        session.prepare(deployment, batch, str(tmp_path))
        assert run(session, program, encoded, x, batch, deployment) == expected(program, VALUES)
    sizes = [
        sum(each.stat().st_size for each in (tmp_path / name).iterdir())
        for name in ("alice", "bob")
    ]
    assert sizes == [0, 0]


def test_every_partys_file_holds_what_is_published(open_session, monkeypatch, tmp_path):
    session, encoded = open_session(), admit_programs(monkeypatch)
    count = 1 << 16
    program = chain(PlusSeven, shape=(count,))
    session.deal_ahead(deployed(session, program, encoded), 1, str(tmp_path), lambda *_: None)
    alice, bob = (next((tmp_path / name).glob("*.stock")).stat().st_size for name in NAMES)
    assert 8 * count < alice < 8 * count + 4096
    assert 16 * count < bob < 16 * count + 4096


NAMES = ("alice", "bob")


def test_what_takes_the_dealer_online_is_not_dealt_ahead(open_session, monkeypatch, tmp_path):
    session, encoded = open_session(), admit_programs(monkeypatch)
    program = chain(PlusSeven, TimesThree)
    deployment = deployed(session, program, encoded)
    with pytest.raises(ProgramError, match=r"TimesThree takes the dealer online .*use fss or"):
        session.deal_ahead(deployment, 1, str(tmp_path), lambda *_: None)
    assert not list(tmp_path.glob("*/*"))
    x = enter(session, VALUES)
    assert run(session, program, encoded, x, b"", deployment) == expected(program, VALUES)


def test_a_rehearsal_has_all_that_others_would_send():
    program = chain(PlusSeven, Rerandomised, TimesThree)
    works = rehearsed(program, 2)
    assert len(works) == 3
    assert all(work.online > 0 for work in works)


# ---- checked mode ------------------------------------------------------------------------------


def test_what_is_passed_over_leaves_nobody_waiting(open_made_up, dealers):
    session = open_made_up(checked=True)
    x, good = check(session, enter(session, [1, 1 << 40, 3]), 100), enter(session, VALUES)
    refused = apply(session, TimesThree, apply(session, PlusSeven, apply(session, TimesThree, x)))
    fine = apply(session, TimesThree, apply(session, PlusSeven, good))
    assert read(session, fine) == [3 * (v + 7) for v in VALUES]
    with pytest.raises(BoundExceeded):
        read(session, refused)
    assert not dealers[0]._assistant._waiting
    assert works(session)


def test_what_a_run_passes_over_leaves_nobody_waiting(open_session, monkeypatch, dealers):
    session, encoded = open_session(checked=True), admit_programs(monkeypatch)
    x = check(session, enter(session, [1, 1 << 40, 3]), 100)
    program = chain(TimesThree, PlusSeven, TimesThree, beside=(PlusSeven, TimesThree))
    deployment = deployed(session, program, encoded)
    with pytest.raises(BoundExceeded):
        run(session, program, encoded, x, b"", deployment)
    good = enter(session, VALUES)
    assert run(session, program, encoded, good, b"", deployment) == expected(program, VALUES)
    assert not dealers[0]._assistant._waiting


# ---- what goes wrong ---------------------------------------------------------------------------


class InjuryError(RuntimeError):
    """An error of no role's own."""


def test_a_dealer_that_dies_before_it_answers(open_made_up, monkeypatch):
    session = open_made_up(limit=10.0)

    def die(*_):
        raise InjuryError("of 7305190826441")

    monkeypatch.setattr(TimesThree, "deal", die)
    out = apply(session, TimesThree, enter(session, VALUES))
    with within(5), pytest.raises(PeerFailed, match=r"dealer.* stopped: InjuryError in") as caught:
        read(session, out)
    assert "7305190826441" not in str(caught.value)
    with within(5):
        session.close()
    assert not any(thread.is_alive() for thread in session._threads)


def replying(monkeypatch, reply):
    assist = DealingOrder.assist
    monkeypatch.setattr(DealingOrder, "assist", lambda self, shape, _: assist(self, shape, reply))


def test_a_dealer_that_dies_answering(open_made_up, monkeypatch):
    def die(_):
        raise InjuryError("of 7305190826441")

    replying(monkeypatch, die)
    session = open_made_up(limit=10.0)
    out = apply(session, TimesThree, enter(session, VALUES))
    with within(5), pytest.raises(PeerFailed, match=r"dealer.* stopped: InjuryError in") as caught:
        read(session, out)
    assert "7305190826441" not in str(caught.value)
    with within(5):
        session.close()


def test_a_dealer_that_does_not_answer(open_made_up, monkeypatch):
    over = threading.Event()
    replying(monkeypatch, lambda _: over.wait(20))
    session = open_made_up(limit=0.3)
    out = apply(session, TimesThree, enter(session, VALUES))
    with within(5), pytest.raises(PeerError, match=r"nothing for 0\.3 s"):
        read(session, out)
    over.set()


def test_a_party_that_dies_instead_of_asking(open_made_up, monkeypatch):
    others = answering()
    session = open_made_up(limit=10.0)

    def die(*_):
        raise InjuryError

    session.parties[1]._run_alone = die
    out = apply(session, TimesThree, enter(session, VALUES))
    with within(5), pytest.raises(PeerFailed, match="bob stopped: InjuryError"):
        read(session, out)
    with within(5):
        session.close()
    assert not answering() - others


def with_words(message, words):
    return Message(message.kind, message.header, tuple(words))


def with_header(message, **changes):
    asked = decode_consulted(message.header)
    fields = {name: getattr(asked, name) for name in asked.__struct_fields__}
    return Message(message.kind, encode(Consulted(**(fields | changes))), message.arrays)


ALTERED = {
    "a wrong size": (
        lambda m: with_words(m, [m.arrays[0][:2]]),
        r"alice sent the dealer an array of shape \(2,\) for instruction \d+, which takes \(3,\)",
    ),
    "too few arrays": (lambda m: with_words(m, []), "alice sent the dealer 0 arrays where 1"),
    "another round": (lambda m: with_header(m, round=1), "bob asks the dealer something else"),
    "other orders": (lambda m: with_header(m, transcript=b"x" * 32), "something else than alice"),
    "no header": (lambda m: Message(m.kind, b"\xc1", m.arrays), "alice asks .* cannot be read"),
    "another kind": (lambda m: Message("open", m.header, m.arrays), "kind open where consult"),
}


@pytest.mark.parametrize("case", ALTERED)
def test_what_a_party_may_not_ask(open_made_up, case):
    alter, why = ALTERED[case]
    session = open_made_up(limit=10.0)
    tamper(session, "alice", DESK, lambda m: [alter(m) if m.kind == "consult" else m])
    out = apply(session, TimesThree, enter(session, VALUES))
    with within(5), pytest.raises(PeerFailed, match=why):
        read(session, out)


@pytest.mark.parametrize(
    ("place", "why"),
    [((0, 9), "branch 9 of instruction"), ((1000, 2), "did not deal for it within")],
)
def test_what_the_dealer_has_not_dealt_for(open_made_up, place, why):
    session = open_made_up(limit=0.3 if place[0] else 10.0)
    number = []

    def change(message):
        if message.kind != "consult":
            return [message]
        ((at, _),) = decode_consulted(message.header).places
        number.append(at)
        return [with_header(message, places=((at + place[0], place[1]),))]

    for name in NAMES:
        tamper(session, name, DESK, change)
    out = apply(session, TimesThree, enter(session, VALUES))
    with within(5), pytest.raises(PeerError, match=f"{why}|nothing for 0.3 s"):
        read(session, out)


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (lambda m: with_words(m, [m.arrays[0][:2]]), r"of the shapes \[\(2,\)\] and not"),
        (lambda m: with_header(m, round=7), "answered what it was not asked"),
        (lambda m: Message("open", m.header, m.arrays), "kind open where answer"),
    ],
)
def test_what_the_dealer_may_not_answer(open_made_up, alter, why):
    session = open_made_up(limit=10.0)
    tamper(session, DESK, "alice", lambda m: [alter(m) if m.kind == "answer" else m])
    out = apply(session, TimesThree, enter(session, VALUES))
    with within(5), pytest.raises(PeerFailed, match=why):
        read(session, out)


def test_a_key_that_is_none(open_made_up):
    session = open_made_up(limit=10.0)
    tamper(
        session,
        "alice",
        "bob",
        lambda m: [Message(m.kind, m.header[:8]) if m.kind == "common" else m],
    )
    out = apply(session, Rerandomised, enter(session, VALUES))
    with within(5), pytest.raises(PeerFailed, match="alice sent a key of 8 bytes"):
        read(session, out)


@pytest.mark.parametrize("kind", [PlusSeven, TimesThree])
def test_more_than_two_parties_are_refused(open_made_up, monkeypatch, kind):
    session = open_made_up(3)
    out = apply(session, kind, enter(session, VALUES))
    with pytest.raises(PeerFailed, match=f"{kind.__name__} is for two parties, .* has 3: .*tables"):
        read(session, out)
    session, encoded = open_made_up(3), admit_programs(monkeypatch)
    with pytest.raises(PeerFailed, match=f"{kind.__name__} is for two parties"):
        run(session, chain(kind), encoded, enter(session, VALUES))


def test_more_than_two_parties_draw_alike(open_made_up):
    session = open_made_up(4)
    # c is added once and taken off thrice.
    session.emit(Rerandomised(out := session.new_id(), enter(session, VALUES).wire.id, (3,)))
    session.settle()
    shares = [party._store.wires[out].share for party in session.parties]
    assert not any(np.array_equal(a, b) for a, b in pairwise(shares))
    keys = [party._common._key._key for party in session.parties]
    assert len(set(keys)) == 1


# ---- one time ----------------------------------------------------------------------------------


def test_who_draws_the_common_key_and_who_never_has_it(open_made_up):
    session, sent = open_made_up(), []
    for sender in (*NAMES, "dealer"):
        for receiver in (*NAMES, "dealer", DESK):
            if sender != receiver:
                tamper(
                    session,
                    sender,
                    receiver,
                    lambda m, way=(sender, receiver): sent.append((way, m)) or [m],
                )
    x = enter(session, VALUES)
    for _ in range(3):
        x = apply(session, Rerandomised, apply(session, TimesThree, x))
    session.settle()
    keys = [(way, m.header) for way, m in sent if m.kind == "common"]
    assert [way for way, _ in keys] == [NAMES]
    key = keys[0][1]
    assert not any(key in m.header for way, m in sent if "dealer" in way[1])


def test_common_streams_are_taken_once():
    common = SessionCommon(fresh_key)
    streams = common.streams(4)
    drawn = [streams.take(branch).draw((2,)).tolist() for branch in (7, 0, 3)]
    assert len({tuple(each) for each in drawn}) == 3
    for branch in (7, 0, 3):
        with pytest.raises(MaskReused, match=rf"4\.{branch} was opened before"):
            streams.take(branch)
    for number in (4, 3):
        with pytest.raises(MaskReused):
            common.streams(number).take(0)
    with pytest.raises(MaskReused):
        streams.take(256)


def test_common_streams_of_a_run_are_those_of_its_numbers():
    key = fresh_key()
    alone = StreamKey(key).reserve(10, 3)
    run_ = RunCommon(SessionCommon(lambda: key), 10, 3)
    for number in (2, 0):
        mine = run_.streams(number).take(1).draw((4,))
        assert np.array_equal(mine, alone.open(10 + number, 1).draw((4,)))
    with pytest.raises(MaskReused):
        run_.streams(2).take(0)


def test_the_dealer_is_asked_once_in_a_branch(open_made_up, monkeypatch):
    def twice(self, party):
        words = party.share(self.x)
        yield [party.consult(words, self.shape), party.consult(words, self.shape)]

    monkeypatch.setattr(TimesThree, "evaluate", twice)
    session = open_made_up()
    out = apply(session, TimesThree, enter(session, VALUES))
    with pytest.raises(PeerFailed, match="MaskReused: the dealer is asked once"):
        read(session, out)


def test_the_dealer_assists_once_in_a_branch():
    keys = [StreamKey(fresh_key()) for _ in NAMES]
    order = DealingOrder(MaskStore(), lambda n, b: [key.open(n, b) for key in keys], 0)
    order.assist((2,), sum)
    order.branch(1).assist((2,), sum)
    with pytest.raises(MaskReused, match="once"):
        order.assist((2,), sum)


def test_what_is_published_is_nobodys_to_write_to(open_made_up, monkeypatch):
    def careless(self, party):
        party.branch(3).published(self.shape)[:] = 0
        yield []

    monkeypatch.setattr(
        PlusSeven,
        "deal",
        lambda self, dealer: dealer.branch(3).publish(self.shape, lambda into: into.fill(1)),
    )
    monkeypatch.setattr(PlusSeven, "evaluate", careless)
    session = open_made_up()
    out = apply(session, PlusSeven, enter(session, VALUES))
    with pytest.raises(PeerFailed, match="ValueError in careless"):
        read(session, out)


def test_without_a_dealer_there_is_nobody_to_ask(open_made_up):
    for kind, why in ((PlusSeven, "needs a dealer"), (TimesThree, "needs a dealer")):
        session = open_made_up(dealer=None)
        out = apply(session, kind, enter(session, VALUES))
        with pytest.raises(PeerFailed, match=why):
            read(session, out)
    session = open_made_up(dealer=None)
    assert read(session, apply(session, Rerandomised, enter(session, VALUES))) == VALUES


def test_material_that_is_left_is_an_error(open_made_up, monkeypatch):
    def forgetful(self, party):
        party.branch(3).published(self.shape)
        party.write(self.out, party.share(self.x))
        return
        yield []

    def deal(self, dealer):
        for _ in range(2):
            dealer.branch(3 + _).publish(self.shape, lambda into: into.fill(1))

    monkeypatch.setattr(PlusSeven, "deal", deal)
    monkeypatch.setattr(PlusSeven, "evaluate", forgetful)
    session = open_made_up()
    out = apply(session, PlusSeven, enter(session, VALUES))
    with pytest.raises(PeerFailed, match=MaterialMismatch.__name__):
        read(session, out)
