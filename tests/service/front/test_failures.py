"""Errors and the statuses they become: one by one, and through the front."""

import logging
import threading
from dataclasses import replace

import pytest

from tacita import errors
from tacita.errors import AlreadyUsed, NotReady, UnknownModel
from tacita.service.front.failures import STATUSES, answer_to, status_of

EXPECTED = {
    errors.UsageError: 400,
    errors.ShapeError: 400,
    errors.ProgramError: 400,
    errors.HoldersError: 400,
    errors.Refused: 403,
    UnknownModel: 404,
    AlreadyUsed: 409,
    errors.BoundExceeded: 422,
    errors.RateExceeded: 429,
    errors.StockEmpty: 503,
    NotReady: 503,
    errors.PeerFailed: 503,
    errors.FrameError: 503,
    errors.SessionClosed: 503,
    errors.PeerTimeout: 504,
}
INNER = (
    errors.ConfigError,
    errors.CredentialError,
    errors.DataError,
    errors.MaterialMismatch,
    errors.MaskReused,
    ValueError,
    KeyError,
    MemoryError,
)
FOREIGN = 500


@pytest.mark.parametrize(("kind", "status"), EXPECTED.items())
def test_errors_of_the_tree(client, engine, kind, status, share):
    engine.fails_with = kind("bob: said so")
    for answer in (client.get("/v2/models/doubling"), client.infer()):
        assert answer.status_code == status
        assert answer.json() == {"error": "bob: said so", "kind": kind.__name__}
        assert ("retry-after" in answer.headers) == (status == 429)


@pytest.mark.parametrize("kind", INNER)
def test_inner_errors_get_an_id_and_no_details(client, engine, kind, caplog):
    engine.fails_with = kind("/etc/alice.key 8675309")
    with caplog.at_level(logging.ERROR, "tacita.front"):
        answer = client.infer()
    assert answer.status_code == FOREIGN
    message = answer.json()["error"]
    assert "alice.key" not in message
    name = message.rsplit(" ", 1)[1]
    (record,) = [each for each in caplog.records if name in each.getMessage()]
    assert kind.__name__ in record.getMessage()
    assert "conftest.py" in record.getMessage()


def test_messages_of_foreign_errors_are_not_logged(client, engine, caplog):
    engine.fails_with = ValueError("array([8675309])")
    assert client.infer().status_code == FOREIGN
    assert "ValueError" in caplog.text
    assert "8675309" not in caplog.text


def test_an_entry_never_stands_behind_one_that_covers_it():
    for index, (kind, status) in enumerate(STATUSES):
        assert status_of(kind("x")) == status
        assert not any(issubclass(kind, before) for before, _ in STATUSES[:index])


def test_when_to_try_again():
    error = errors.RateExceeded("too often")
    assert answer_to(error).headers["retry-after"] == "1"
    error.retry_after = 2.4
    assert answer_to(error).headers["retry-after"] == "3"


def test_odd_messages_become_json():
    body = answer_to(errors.UsageError('"quoted" \x00 \ud800 ' + "x" * 5000)).body
    assert len(body) < 1200


def test_a_query_id_is_taken_once(client, client_of, files):
    assert client.infer().status_code == 200
    again = client.infer()
    assert again.status_code == 409
    assert "was asked before" in again.json()["error"]
    assert client_of(files.dave).infer().status_code == 200  # ids are a principal's own


def test_queries_beyond_the_limit_are_sent_away_at_once(
    client_of, files, engine, share, limits, wait
):
    engine.gate = threading.Event()
    clients = [client_of(files.carol) for _ in range(limits.queries_at_once)]
    answers = []
    threads = [
        threading.Thread(target=lambda c=c, i=i: answers.append(c.infer(query=bytes([i] * 16))))
        for i, c in enumerate(clients)
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            assert engine.entered.acquire(timeout=wait)
        dave = client_of(files.dave)
        refused = dave.infer(query=bytes([99] * 16))
        assert refused.status_code == 503
        assert "3 queries" in refused.json()["error"]
        assert refused.headers["retry-after"] == "1"
        assert dave.get("/v2/health/ready").status_code == 200  # other work is not held up
        assert dave.get("/v2/models/doubling").status_code == 200
    finally:
        engine.gate.set()
        for thread in threads:
            thread.join(wait)
    assert [each.status_code for each in answers] == [200] * len(threads)
    assert dave.infer(query=bytes([99] * 16)).status_code == 200


def test_one_principal_does_not_take_all_places(client_of, files, engine, serve, limits, wait):
    engine.gate = threading.Event()
    front = serve(engine, replace(limits, requests_each=2))
    threads = [
        threading.Thread(
            target=client_of(files.carol, front).infer, kwargs={"query": bytes([i] * 16)}
        )
        for i in range(2)
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            assert engine.entered.acquire(timeout=wait)
        refused = client_of(files.carol, front).get("/v2/health/live")
        assert refused.status_code == 429
        assert "client:carol has 2 requests here" in refused.json()["error"]
        assert client_of(files.dave, front).get("/v2/health/live").status_code == 200
    finally:
        engine.gate.set()
        for thread in threads:
            thread.join(wait)


def test_many_at_once(client_of, files, share, limits):
    results = []

    def ask(index):
        own = client_of(files.carol if index % 2 else files.dave)
        for turn in range(5):
            sent = share(start=index * 1000 + turn)
            while True:
                answer = own.infer(query=bytes([index, turn] * 8), tensors=[sent])
                if answer.status_code not in (429, 503):
                    break
            results.append((answer.status_code, answer.content[-48:], sent))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 20
    for status, words, sent in results:
        assert status == 200
        assert words == (sent.values * 2).astype("<u8").tobytes()
