"""The declared cost of every instruction is what the transport measures."""

from functools import partial

import numpy as np
import pytest
from cases import BY_OTHER_WAYS, CASES, play

from tacita.program.cost import Cost
from tacita.protocols import Constant, Input, MaskWires
from tacita.runtime.serving import USER
from tacita.runtime.traffic import measured


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_declared_is_measured(session, case):
    check_cost(session, case)


@pytest.mark.parametrize("case", BY_OTHER_WAYS, ids=lambda case: case.id)
def test_declared_is_measured_by_every_way_to_compare(sessions, case):
    check_cost(sessions.of(2, case.protocol), case)


def check_cost(session, case):
    played = play(session, case, partial(measured, session))
    declared = played.instruction.cost()
    traffic = played.traffic
    assert traffic.rounds == declared.rounds
    assert traffic.online_bytes == declared.online_bytes(len(session.holders))
    assert traffic.dealt_bytes == declared.dealt_bytes
    assert traffic.published_bytes == declared.published_bytes
    assert traffic.consultations == declared.consultations
    assert traffic.consulted_bytes == declared.consulted_bytes
    assert traffic.answered_bytes == declared.answered_bytes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_nobody_but_the_last_party_is_sent_more_than_seeds(session, case):
    traffic = play(session, case, partial(measured, session)).traffic
    assert traffic.seed_bytes == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_only_inputs_and_constants_are_sent_by_the_user(session, case):
    played = play(session, case, partial(measured, session))
    entered = case.kind in (Input, Constant)
    expected = sum(8 * handle.wire.size for handle in played.outputs) if entered else 0
    assert played.traffic.input_bytes == expected


def test_every_party_opens_to_every_other_alike(session):
    before = opened(session)
    wire = session.input(np.arange(7, dtype=np.uint64), (7,), 1, None)
    session.mask([wire], "test")
    session.settle()
    sent = {pair: after - before[pair] for pair, after in opened(session).items()}
    assert set(sent.values()) == {MaskWires((0,), ((7,),)).cost().opened_bytes}


def opened(session):
    pairs = [(a, b) for a in session.holders for b in session.holders if a != b]
    return {(a, b): session.network.channel(a, b).sent_bytes for a, b in pairs}


def test_nobody_sends_the_dealer_anything_but_orders(session):
    sent = []
    for sender in (USER, *session.holders):
        channel = session.network.channel(sender, session.dealer)
        put = channel.put

        def record(message, limit, put=put, sender=sender):
            sent.append((sender, message.kind, message.payload_bytes))
            put(message, limit)

        channel.put = record
    for case in CASES:
        play(session, case)
    session.settle()
    assert {sender for sender, _, _ in sent} == {USER}
    assert {kind for _, kind, _ in sent} == {"instruct", "done"}
    assert {size for _, _, size in sent} == {0}


def test_the_parties_send_the_user_nothing_unless_it_is_revealed(session):
    def returned():
        session.settle()
        return [session.network.channel(each, USER).sent_bytes for each in session.holders]

    wire = session.input(np.arange(7, dtype=np.uint64), (7,), 1, None)
    before = returned()
    session.emit(MaskWires((wire.wire.id,), ((7,),)))
    assert returned() == before
    session.reveal(wire)
    assert returned() == [count + 56 for count in before]


def test_a_masked_wire_is_not_opened_again(session):
    wire = session.input(np.arange(7, dtype=np.uint64), (7,), 1, None)
    session.mask([wire], "test")
    with measured(session) as traffic:
        session.mask([wire, wire], "test")
    assert (traffic.rounds, traffic.online_bytes) == (0, 0)


def test_what_runs_side_by_side_shares_its_rounds():
    assert Cost(2, 10, 100).beside(Cost(3, 1, 5)) == Cost(3, 11, 105)
