"""Every endpoint over TLS: what it answers, in the shapes of the standard."""

import numpy as np
import pytest

from tacita.network.tensors import HEAD_LENGTH, Tensor, decode_response, encode_request

MODEL_ID = bytes(range(16, 32))


def test_health(client, engine):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    engine.is_ready = False
    answer = client.get("/v2/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"ready": False})
    assert client.get("/v2/health/live").status_code == 200


def test_server_metadata(client, version):
    assert client.get("/v2").json() == {
        "name": "tacita",
        "version": version,
        "extensions": ["binary_tensor_data", "secret_shares"],
    }


def test_no_answer_names_the_server_software(client):
    assert "server" not in client.get("/v2").headers


def test_model_metadata(client, engine):
    info = engine.published["doubling"]
    wire = {"datatype": "UINT64", "shape": [2, 3], "parameters": {"scale": 65536}}
    assert client.get("/v2/models/doubling").json() == {
        "name": "doubling",
        "versions": ["00" * 16],
        "platform": "tacita",
        "inputs": [{"name": "x", **wire}],
        "outputs": [{"name": "y", **wire}],
        "parameters": {
            "model_id": "00" * 16,
            "digest": info.digest,
            "owner": "owner:olga",
            "ready": True,
            "stock": 0,
            "party": 0,
            "parties": 2,
        },
    }


def test_readiness_of_a_model(client, engine):
    ready = client.get("/v2/models/doubling/ready")
    assert (ready.status_code, ready.json()) == (200, {"name": "doubling", "ready": True})
    engine.add("waiting", "owner:olga", b"", ready=False)
    waiting = client.get("/v2/models/waiting/ready")
    assert (waiting.status_code, waiting.json()) == (503, {"name": "waiting", "ready": False})


def test_index(client, engine):
    engine.add("waiting", "owner:olga", b"", ready=False)
    listed = client.post("/v2/repository/index").json()
    assert [(each["name"], each["state"]) for each in listed] == [
        ("doubling", "READY"),
        ("waiting", "UNAVAILABLE"),
    ]
    ready = client.post("/v2/repository/index", json={"ready": True}).json()
    assert ready == [{"name": "doubling", "version": "00" * 16, "state": "READY", "reason": ""}]


def test_infer(client, engine, share, query, limits):
    sent = share()
    answer = client.infer(tensors=[sent])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    got = decode_response(answer.headers, answer.content, limits.tensors)
    assert (got.model, got.query) == ("doubling", query)
    (y,) = got.tensors
    assert (y.name, y.shape, y.scale, y.share, y.parties) == ("y", (2, 3), 65536, 0, 2)
    np.testing.assert_array_equal(y.values, sent.values * np.uint64(2))
    assert str(engine.principals[-1]) == "client:carol"


def test_bodies_without_a_declared_length_are_taken(client, share, query, limits):
    headers, (body,) = encode_request(query, [share()])
    del headers["Content-Length"]
    pieces = (body[start : start + 50] for start in range(0, len(body), 50))
    answer = client.post("/v2/models/doubling/infer", headers=headers, content=pieces)
    assert answer.status_code == 200
    assert decode_response(answer.headers, answer.content, limits.tensors).tensors


def test_large_tensors(client, share, limits):
    sent = share(shape=(1 << 10, 100))
    answer = client.infer(tensors=[sent])
    (y,) = decode_response(answer.headers, answer.content, limits.tensors).tensors
    np.testing.assert_array_equal(y.values, sent.values * np.uint64(2))


def test_status_and_metrics(client):
    assert client.get("/v2/status").json() == {"asked_by": "client:carol", "models": 1}
    metrics = client.get("/metrics")
    assert metrics.text == "tacita_queries_total 3\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_stock(client):
    answer = client.post("/v2/models/doubling/stock", json={"runs": 4})
    assert (answer.status_code, answer.json()) == (200, {"name": "doubling", "stock": 5})


def publish(client, name="fresh", program=b"a program", weights=(), **parameters):
    attached = {} if program is None else {"program": program}
    headers, buffers = encode_request(MODEL_ID, weights, parameters, attached)
    return client.put(f"/v2/repository/models/{name}", headers=headers, content=iter(buffers))


def test_publishing_and_removing(client_of, files, engine, share):
    olga = client_of(files.olga)
    weights = [share("w", (5, 5)), share("b", (5,))]
    answer = publish(olga, weights=weights, audience="client:carol, client:dave")
    assert answer.status_code == 201
    assert answer.json()["versions"] == [MODEL_ID.hex()]
    assert answer.json()["parameters"]["owner"] == "owner:olga"
    got = engine.weights["fresh"]
    assert (got.model_id, got.program) == (MODEL_ID, b"a program")
    assert got.audience == ("client:carol", "client:dave")
    for a, b in zip(got.weights, weights, strict=True):
        np.testing.assert_array_equal(a.values, b.values)

    program = olga.get("/v2/models/fresh/program")
    assert program.headers["content-type"] == "application/octet-stream"
    assert program.content == b"a program"

    gone = olga.delete("/v2/repository/models/fresh")
    assert (gone.status_code, gone.content) == (204, b"")
    assert olga.get("/v2/models/fresh").status_code == 404


def test_a_publication_needs_its_program(client_of, files):
    answer = publish(client_of(files.olga), program=None)
    assert answer.status_code == 400
    assert "no BYTES tensor 'program'" in answer.json()["error"]


def test_an_audience_is_text(client_of, files):
    answer = publish(client_of(files.olga), audience=3)
    assert answer.status_code == 400
    assert "'audience'" in answer.json()["error"]


def test_who_may_not_publish(client):
    answer = publish(client)
    assert (answer.status_code, answer.json()) == (
        403,
        {"error": "client:carol may not publish", "kind": "Refused"},
    )


# ---- what is malformed -------------------------------------------------------------------------

BODIES = {
    "no head": ({}, b"", HEAD_LENGTH),
    "no JSON": ({HEAD_LENGTH: "5"}, b"hello", "JSON head"),
    "a head beyond the body": ({HEAD_LENGTH: "50"}, b"hello", "50 bytes in a body of 5"),
    "nothing in it": ({HEAD_LENGTH: "2"}, b"{}", "inputs"),
}


@pytest.mark.parametrize(("headers", "body", "message"), BODIES.values(), ids=BODIES)
def test_malformed_queries(client, headers, body, message):
    answer = client.post("/v2/models/doubling/infer", headers=headers, content=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


def test_words_that_are_missing_or_too_many(client, share, query):
    headers, (body,) = encode_request(query, [share()])
    del headers["Content-Length"]
    for changed in (body[:-1], body + b"1"):
        answer = client.post("/v2/models/doubling/infer", headers=headers, content=changed)
        assert answer.status_code == 400
        assert "bytes" in answer.json()["error"]


def test_inputs_that_the_engine_refuses(client, share):
    answer = client.infer(tensors=[share("other")])
    assert answer.status_code == 400
    assert answer.json()["error"] == "the model has one input, 'x'"


ORDERS = [
    "", "[", "[1]", "{}", '{"runs": "4"}', '{"runs": 0}', '{"runs": 1e9}',
    '{"runs": 99999999999999999999}', '{"runs": 1, "more": 2}', "[" * 4000,
]  # fmt: skip


@pytest.mark.parametrize("body", ORDERS)
def test_malformed_orders_to_deal(client, body):
    answer = client.post("/v2/models/doubling/stock", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "name", ["other", "%20", "a%2Fb", "..%2f..%2fetc", "-x", "x" * 200, "%00", "ä"]
)
@pytest.mark.parametrize("kind", ["", "/ready", "/program"])
def test_unknown_models(client, name, kind):
    answer = client.get(f"/v2/models/{name}{kind}")
    assert answer.status_code == 404
    assert set(answer.json()) - {"kind"} == {"error"}  # some paths never reach the engine


def test_paths_and_methods_that_are_not_there(client):
    assert client.get("/").status_code == 404
    assert client.get("/docs").status_code == 404
    answer = client.get("/v2/models/doubling/infer")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json() == {"error": "Method Not Allowed"}


def test_values_are_in_no_answer_that_says_no(client, query):
    secret = 1234567890123456789
    values = np.full((2, 3), secret, np.uint64)
    for name in ("x", "other"):
        sent = Tensor(name, (2, 3), values, 1, 0, 2)
        for _ in range(2):
            answer = client.infer(tensors=[sent], query=query)
        assert answer.status_code >= 400
        assert str(secret).encode() not in answer.content
        assert values.tobytes()[:8] not in answer.content
