"""The OpenAPI document: what it says is there, and what is there does what it says."""

import asyncio

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tacita.network.identity import Principal
from tacita.service.front.app import make_app
from tacita.service.front.doorkeeper import PRINCIPAL
from tacita.service.front.limits import FrontLimits

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
CALLS = {
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2"),
    ("get", "/v2/models/{name}"),
    ("get", "/v2/models/{name}/ready"),
    ("get", "/v2/models/{name}/program"),
    ("post", "/v2/models/{name}/infer"),
    ("post", "/v2/models/{name}/stock"),
    ("post", "/v2/repository/index"),
    ("put", "/v2/repository/models/{name}"),
    ("delete", "/v2/repository/models/{name}"),
    ("get", "/v2/status"),
    ("get", "/v2/neighbours"),
    ("get", "/metrics"),
}


class Introduced:
    """The application, told that olga asks: what the server does with her certificate."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        scope[PRINCIPAL] = Principal("owner", "olga", "ab" * 32)
        await self.app(scope, receive, send)


@pytest.fixture
def app(engine):
    app = make_app(engine, FrontLimits(), "1")
    yield Introduced(app)
    app.state.handlers.close()


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json()


@pytest.fixture
def described(app):
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize(("method", "path"), sorted(CALLS))
def test_every_call_ends_in_a_documented_way(described, method, path):
    """Made-up calls, and the same to the model that is there."""

    @settings(max_examples=20, deadline=None, database=None)
    @given(case=described[path][method].as_strategy(), there=st.booleans())
    def call(case, there):
        if there and case.path_parameters:
            case.path_parameters["name"] = "doubling"
        case.call_and_validate(checks=CHECKS)

    call()


def test_all_calls_are_described(document):
    paths = document["paths"]
    assert {(method, path) for path in paths for method in paths[path]} == CALLS


def test_certificates_are_described(document):
    assert document["security"] == [{"certificate": []}]
    assert document["components"]["securitySchemes"]["certificate"]["type"] == "mutualTLS"


def test_bytes_are_described_as_bytes(document):
    for path, method, status in (
        ("/v2/models/{name}/infer", "post", "200"),
        ("/v2/models/{name}/program", "get", "200"),
    ):
        answer = document["paths"][path][method]["responses"][status]
        assert list(answer["content"]) == ["application/octet-stream"]
    for path, method in (
        ("/v2/models/{name}/infer", "post"),
        ("/v2/repository/models/{name}", "put"),
    ):
        call = document["paths"][path][method]
        assert list(call["requestBody"]["content"]) == ["application/octet-stream"]
        assert {each["name"] for each in call["parameters"]} == {
            "name",
            "Inference-Header-Content-Length",
        }


def test_errors_are_described_as_errors(document):
    for path in document["paths"].values():
        for call in path.values():
            answers = call["responses"]
            assert "401" in answers
            assert "500" in answers
            for status, answer in answers.items():
                if int(status) >= 400 and status != "503":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}


def test_no_principal_in_the_scope_is_401(engine):
    app = make_app(engine, FrontLimits(), "1")

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://alice") as client:
            for method, path in CALLS:
                assert (await client.request(method, path)).status_code == 401

    asyncio.run(ask())
    app.state.handlers.close()
    assert not engine.principals
