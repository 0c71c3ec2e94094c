"""Peers with good certificates and bad manners: what they do ends with them, and nothing else does.

Each case ends one conversation with an error that says what was wrong; the daemon then goes on.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tacita.errors import PeerError, PeerFailed, StockEmpty
from tacita.network.authority import issue
from tacita.service.config import Limits, StockSettings
from tacita.service.conversations import (
    BatchDealt,
    Dealing,
    Declining,
    Joining,
    Preparing,
    Publishing,
    Query,
    Removing,
    Session,
    Stocktaking,
    begin,
    send_query,
    session_of,
)

from .daemons import Daemons
from .rogue import SOON, answer_to, dialed, listening, said
from .small_model import small

LIMITS = Limits(round=2, query=12, publish=12, deal=10, stock=3, connect=4, handshake=2)
STOCK = StockSettings(low=9, high=9, prepared=1)
ID, DIGEST = b"i" * 16, b"d" * 32


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def network(tmp_path_factory, model):
    daemons = Daemons(tmp_path_factory.mktemp("network"), stock=STOCK, limits=LIMITS).start()
    daemons.published = daemons.publish("small", model.program, model.weights)
    yield daemons
    daemons.stop()


def ask(daemons, model):
    images = model.images()
    (result,) = daemons.infer("small", model.inputs(images))
    model.require_right(result, images)


def storehouse(daemons, name):
    return daemons.parties[name]._around.storehouse


@pytest.fixture
def without(network, model):
    """A party is away while the test plays it; afterwards all is as before."""
    away = []

    def leave(name):
        for each in network.names:
            network.wait_until(
                lambda each=each: storehouse(network, each).level(network.published) >= STOCK.low,
                "a stock",
            )
        network.stop_party(name)
        away.append(name)

    yield leave
    for name in away:
        network.start_party(name)
    network.wait_connected()
    ask(network, model)
    # Whatever the rogue began has ended: what is left waits for the leader's next query.
    network.wait_until(
        lambda: (
            sum(each.name == "tacita stream" for each in threading.enumerate())
            <= 2 * STOCK.prepared + 2
        ),
        "the conversations to end",
    )
    around = network.parties["bob"]._around
    assert not around.meeting._waiting
    assert not around.desk._waiting


# ---- in the leader's place -----------------------------------------------------------------------


@pytest.fixture
def leading(network, without):
    """A link to bob in the name of alice, and the ids of batches that bob has ready."""
    without("alice")
    with dialed(network, network.credentials["alice"], "bob") as link:
        yield link


def digest_of(network):
    return network.parties["bob"]._around.models.all()[0].digest


def prepared(network, link):
    """A stream on which bob waits for a query, and the batch that he took for it."""
    batch = storehouse(network, "bob").waiting(network.published)[0]
    stream = link.open(os.urandom(16))
    begin(stream, Preparing(network.published, digest_of(network), batch), SOON)
    assert answer_to(stream) == ("done", "")
    return stream, batch


def test_what_bob_does_not_have_is_not_prepared(network, leading):
    batch = storehouse(network, "bob").waiting(network.published)[0]
    digest = digest_of(network)
    for topic, why in (
        (Preparing(ID, digest, batch), "bob does not serve model"),
        (Preparing(network.published, DIGEST, batch), "bob does not serve model"),
        (Preparing(network.published, digest, ID), "have the batch dealt"),
    ):
        stream = leading.open(os.urandom(16))
        begin(stream, topic, SOON)
        kind, text = answer_to(stream)
        assert (kind, why in text) == ("refuse", True), text
        with pytest.raises(PeerFailed, match="closed the stream"):
            stream.receive(SOON)


def test_a_batch_is_prepared_once(network, leading):
    stream, batch = prepared(network, leading)
    again = leading.open(os.urandom(16))
    begin(again, Preparing(network.published, digest_of(network), batch), SOON)
    kind, text = answer_to(again)
    assert (kind, "spent already" in text) == ("refuse", True), text
    stream.close()
    assert batch not in storehouse(network, "bob").waiting(network.published)


def test_what_is_no_query_burns_the_batch(network, leading):
    fit = Query(ID, network.published, digest_of(network), "f" * 64, ID)
    for spoil, why in (
        (lambda stream, _: stream.send(said("open"), SOON), "sent open where a query was due"),
        (lambda stream, _: stream.send(said("begin", b"\xc1"), SOON), "cannot be read"),
        (lambda stream, _: send_query(stream, fit, SOON), "another batch or model"),
        (
            lambda stream, batch: send_query(
                stream, Query(ID, ID, digest_of(network), "", batch), SOON
            ),
            "another batch or model",
        ),
    ):
        stream, batch = prepared(network, leading)
        spoil(stream, batch)
        kind, text = answer_to(stream)
        assert (kind, why in text) == ("fail", True), text
        ledger = network.parties["bob"]._around.ledger
        assert ledger.states([batch]) == {batch: "spent"}


def test_a_query_that_no_client_made_ends(network, leading):
    stream, batch = prepared(network, leading)
    send_query(stream, Query(ID, network.published, digest_of(network), "", batch), SOON)
    kind, text = answer_to(stream)
    assert (kind, "did not come within" in text) == ("fail", True), text


def other_shapes(stream, opening):
    arrays = [np.zeros((*array.shape, 2), np.uint64) for array in opening.arrays]
    stream.send(said("open", opening.header, arrays), SOON)


WITHIN_A_ROUND = {
    "another kind": (
        lambda stream, opening: stream.send(said("done", opening.header, opening.arrays), SOON),
        "where open was due",
    ),
    "fewer arrays": (
        lambda stream, opening: stream.send(said("open", opening.header), SOON),
        "instead of",
    ),
    "other shapes": (other_shapes, "opened an array of shape"),
    "another turn": (
        lambda stream, opening: stream.send(said("open", b"x", opening.arrays), SOON),
        "cannot be read|opened",
    ),
    "a failure": (lambda stream, _: stream.send(said("fail", b"no more"), SOON), "no more"),
    "a replay": (
        lambda stream, opening: [
            stream.send(said("open", opening.header, opening.arrays), SOON) for _ in range(2)
        ],
        "opened .* instead of",
    ),
    "the end": (lambda stream, _: stream.close("enough"), "enough"),
    "nothing": (lambda *_: None, "sent nothing for 2 s"),
}


def in_a_round(network, model, leading, misbehave):
    """The error of a client's request at bob, whose leader misbehaves."""
    query, client = os.urandom(16), network.principals["hospital"]
    bob, tensors = network.parties["bob"], network.requests(model.inputs(model.images()))[1]
    stream, batch = prepared(network, leading)
    word = Query(
        session_of(client.fingerprint, query),
        network.published,
        digest_of(network),
        client.fingerprint,
        batch,
    )
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(bob.infer, client, "small", query, tensors)
        send_query(stream, word, SOON)
        misbehave(stream, stream.receive(SOON))
        with pytest.raises(PeerError) as failed:
            asked.result(SOON + LIMITS.query)
    stream.close()
    return failed


def test_what_does_not_fit_a_round_ends_the_query(network, model, leading):
    for misbehave, why in WITHIN_A_ROUND.values():
        failed = in_a_round(network, model, leading, misbehave)
        assert failed.match(why)
        assert "array(" not in str(failed.value)


def test_another_principals_request_is_not_taken(network, model, leading):
    query, client = os.urandom(16), network.principals["hospital"]
    bob, tensors = network.parties["bob"], network.requests(model.inputs(model.images()))[1]
    stream, batch = prepared(network, leading)
    session = session_of(client.fingerprint, query)
    other = network.principals["clinic"].fingerprint
    word = Query(session, network.published, digest_of(network), other, batch)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(bob.infer, client, "small", query, tensors)
        send_query(stream, word, SOON)
        with pytest.raises(PeerFailed, match="from another principal"):
            asked.result(SOON + LIMITS.query)


def test_a_stream_has_to_say_what_it_is_about(network, leading):
    for message, why in (
        (said("done"), "began with done"),
        (said("begin", b"\xc1\xc1"), "cannot be read"),
        (said("begin", b""), "cannot be read"),
        (None, "sent nothing for 2 s"),
    ):
        stream = leading.open(os.urandom(16))
        if message is not None:
            stream.send(message, SOON)
        kind, text = answer_to(stream)
        assert (kind, why in text) == ("refuse", True), text


def test_the_leader_does_not_deal(network, leading):
    batch = os.urandom(16)
    stream = leading.open(batch)
    begin(stream, BatchDealt(network.published, digest_of(network), batch, ID), SOON)
    assert answer_to(stream) == ("refuse", "party:alice may not begin a BatchDealt with this party")
    assert not network.parties["bob"]._around.ledger.states([batch])


# ---- in the place of one that follows ------------------------------------------------------------


def test_who_never_prepares_is_not_waited_for_without_end(network, model, without):
    without("bob")
    alice, client = network.parties["alice"], network.principals["hospital"]
    tensors = network.requests(model.inputs(model.images()))[0]
    with listening(network, "bob", lambda stream: stream.receive(SOON)):
        network.wait_connected()
        with pytest.raises(StockEmpty, match="no prepared batch of 'small' for 3 s"):
            alice.infer(client, "small", os.urandom(16), tensors)


@pytest.mark.parametrize("case", ["fewer arrays", "other shapes", "the end"])
def test_who_follows_badly_ends_the_query(network, model, without, case):
    without("bob")
    misbehave, why = WITHIN_A_ROUND[case]

    def follow(stream):
        if b"Stocktaking" in stream.receive(SOON).header:
            stream.send(said("refuse"), SOON)  # with an empty stock, the leader's would be void
            return
        stream.send(said("done"), SOON)
        assert stream.receive(SOON).kind == "begin"  # the query
        misbehave(stream, stream.receive(SOON))
        stream.receive(SOON)

    alice, client = network.parties["alice"], network.principals["hospital"]
    tensors = network.requests(model.inputs(model.images()))[0]
    with listening(network, "bob", follow):
        network.wait_connected()
        with pytest.raises(PeerFailed, match=why):
            alice.infer(client, "small", os.urandom(16), tensors)


def test_who_follows_begins_nothing_with_the_leader(network, without):
    without("bob")
    digest = digest_of_leader(network)
    links = []
    with listening(network, "bob", lambda stream: links.append(stream.link)) as listener:
        network.wait_until(lambda: listener.links, "alice to connect")
        (link,) = listener.links
        for topic in (
            Preparing(network.published, digest, ID),
            Joining(ID),
            Declining(ID, "no"),
            Stocktaking(network.published, ()),
            BatchDealt(network.published, digest, ID, ID),
            Publishing("small", ID, digest, "owner:acme", "", ()),
            Session(ID, ("alice", "bob"), "dana"),
            Dealing(network.published, digest, 1),
        ):
            stream = link.open(os.urandom(16))
            begin(stream, topic, SOON)
            kind, text = answer_to(stream)
            assert kind in ("refuse", "fail")
            assert text == f"party:bob may not begin a {type(topic).__name__} with this party"


def digest_of_leader(network):
    return network.parties["alice"]._around.models.all()[0].digest


# ---- others --------------------------------------------------------------------------------------


def test_clients_named_like_daemons_are_clients(network):
    folder = network.folder
    digest, batch = digest_of(network), os.urandom(16)
    for name, topic in (
        ("alice", Preparing(network.published, digest, batch)),
        ("alice", Stocktaking(network.published, ())),
        ("alice", Declining(batch, "no")),
        ("alice", Publishing("small", ID, digest, "owner:acme", "", ())),
        ("dana", BatchDealt(network.published, digest, batch, ID)),
    ):
        out = folder / "clients"
        if not (out / f"{name}.key").exists():
            issue(folder / "authority", "client", name, out=out, days=1)
        credentials = network.credentials["alice"].__class__(
            out / f"{name}.pem", out / f"{name}.key", network.credentials["alice"].authority
        )
        before = storehouse(network, "bob").waiting(network.published)
        with dialed(network, credentials, "bob") as link:
            stream = link.open(os.urandom(16))
            begin(stream, topic, SOON)
            expected = f"client:{name} may not begin a {type(topic).__name__} with this party"
            assert answer_to(stream) == ("refuse", expected)
        assert set(before) <= set(storehouse(network, "bob").waiting(network.published))


def test_who_has_no_business_here_is_told(network):
    out = network.folder / "others"
    for role, name, to in (
        ("party", "mallory", "bob"),
        ("dealer", "dana2", "bob"),
        ("owner", "acme2", "bob"),
        ("party", "mallory", "dana"),
    ):
        if not (out / f"{name}.key").exists():
            issue(network.folder / "authority", role, name, out=out, days=1)
        credentials = network.credentials["alice"].__class__(
            out / f"{name}.pem", out / f"{name}.key", network.credentials["alice"].authority
        )
        with dialed(network, credentials, to) as link:
            network.wait_until(lambda link=link: not link.usable, "the link to be closed")
            assert "has no business here" in link.why


def test_only_the_leader_has_batches_dealt(network):
    for who, topic in (
        ("bob", Dealing(network.published, digest_of(network), 1)),
        ("hospital", Dealing(network.published, digest_of(network), 1)),
        ("hospital", Removing(network.published)),
        ("alice", Preparing(network.published, digest_of(network), ID)),
    ):
        with dialed(network, network.credentials[who], "dana") as link:
            stream = link.open(os.urandom(16))
            begin(stream, topic, SOON)
            kind, text = answer_to(stream)
            assert (kind, "dealer" in text) == ("refuse", True)
    network.wait_connected()  # whose names were used dials again
