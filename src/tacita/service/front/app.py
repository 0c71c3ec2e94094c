"""The HTTPS front of a party: KServe's protocol v2 over shares, as a FastAPI application.

Handlers take plain requests and read bodies themselves, within limits: FastAPI routes, and writes
the OpenAPI document from the same models that the answers are made of.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import msgspec
from fastapi import FastAPI
from pydantic import BaseModel, RootModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tacita.errors import Busy, TacitaError, UnknownModel, UsageError
from tacita.network.identity import Principal
from tacita.network.tensors import CONTENT_TYPE, decode_request, encode_response, id_in
from tacita.service.front import schema
from tacita.service.front.bodies import BinaryAnswer, read_body
from tacita.service.front.doorkeeper import PRINCIPAL, Doorkeeper
from tacita.service.front.engine import Engine, Publication
from tacita.service.front.failures import failed
from tacita.service.front.limits import FrontLimits
from tacita.service.front.workers import Workers

SMALL_BODY = 4096  # bytes of a JSON body that has a number in it
SMALL_SECONDS = 10.0
PROGRAM = "program"
AUDIENCE = "audience"

Answer = TypeVar("Answer")
Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_NAME = re.compile(schema.MODEL_NAME[1:-1])
_INFER = re.compile("/v2/models/([^/]+)/infer")


class _Index(RootModel[list[schema.IndexEntry]]):
    pass


class _IndexRequest(msgspec.Struct, forbid_unknown_fields=True):
    ready: bool = False


class _DealRequest(msgspec.Struct, forbid_unknown_fields=True):
    runs: int


def make_app(engine: Engine, limits: FrontLimits, version: str) -> FastAPI:
    """The application; `version` is Tacita's. Close `app.state.handlers` when it is served no more.

    A server has to put the principal into each request's scope, see `doorkeeper`.
    """
    app = FastAPI(
        title="Tacita party",
        version=version,
        description="Secure inference over shares: each party takes one share and returns one.",
        docs_url=None,
        redoc_url=None,
    )
    handlers = Handlers(engine, limits, version)
    app.state.handlers = handlers
    app.add_middleware(QueriesFirst, infer=handlers.infer)
    app.add_middleware(Doorkeeper, limits=limits)  # around all that was added before it
    app.add_exception_handler(HTTPException, _http_exception)
    _add_routes(app, handlers)
    document = app.openapi
    app.openapi = lambda: schema.secured(document())  # type: ignore[method-assign]
    return app


class QueriesFirst:
    """Takes queries to their handler itself; all else goes through the router.

    For the route that matters, FastAPI's stacks and searches take longer than the handler. The
    route is in the router as well, which is where the OpenAPI document has it from.
    """

    def __init__(self, app: ASGIApp, infer: Handler) -> None:
        self._app = app
        self._infer = infer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        matched = _INFER.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if matched is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["path_params"] = {"name": matched[1]}
        answer = await self._infer(Request(scope, receive))
        await answer(scope, receive, send)


class Handlers:
    """One method an endpoint."""

    def __init__(self, engine: Engine, limits: FrontLimits, version: str) -> None:
        self._engine = engine
        self._limits = limits
        self._version = version
        self._uploads = 0
        self._queries = Workers("queries", limits.queries_at_once)
        self._changes = Workers("changes", limits.changes_at_once)
        self._answers = Workers("requests", limits.answers_at_once)

    def close(self) -> None:
        for workers in (self._queries, self._changes, self._answers):
            workers.close()

    # ---- the server ----

    async def live(self, request: Request) -> Response:
        return _json(schema.Live(live=True))

    async def ready(self, request: Request) -> Response:
        ready = await self._answers.run(self._engine.ready)
        return _json(schema.Ready(ready=ready), 200 if ready else 503)

    async def server(self, request: Request) -> Response:
        extensions = list(schema.EXTENSIONS)
        return _json(
            schema.ServerMetadata(name="tacita", version=self._version, extensions=extensions)
        )

    async def status(self, request: Request) -> Response:
        principal = _principal(request)
        status = await self._answers.run(lambda: self._engine.status(principal))
        return Response(msgspec.json.encode(status), media_type="application/json")

    async def neighbours(self, request: Request) -> Response:
        principal = _principal(request)
        found = await self._answers.run(lambda: self._engine.neighbours(principal))
        return Response(msgspec.json.encode(found), media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        principal = _principal(request)
        text = await self._answers.run(lambda: self._engine.metrics(principal))
        return Response(text, headers={"Content-Type": schema.METRICS_TYPE})

    # ---- models ----

    async def model(self, request: Request) -> Response:
        principal, name = _principal(request), _name(request)
        info = await self._answers.run(lambda: self._engine.model(principal, name))
        return _json(schema.metadata_of(info))

    async def model_ready(self, request: Request) -> Response:
        principal, name = _principal(request), _name(request)
        info = await self._answers.run(lambda: self._engine.model(principal, name))
        return _json(schema.ModelReady(name=name, ready=info.ready), 200 if info.ready else 503)

    async def program(self, request: Request) -> Response:
        principal, name = _principal(request), _name(request)
        encoded = await self._answers.run(lambda: self._engine.program(principal, name))
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(encoded))}
        return BinaryAnswer(headers, [encoded], self._limits.answer_seconds)

    async def index(self, request: Request) -> Response:
        body = await read_body(request, SMALL_BODY, SMALL_SECONDS)
        wanted = _parsed(body, _IndexRequest) if len(body) else _IndexRequest()
        principal = _principal(request)
        infos = await self._answers.run(lambda: self._engine.models(principal))
        listed = [schema.index_entry_of(each) for each in infos if each.ready or not wanted.ready]
        return _json(_Index(listed))

    async def infer(self, request: Request) -> Response:
        principal, name = _principal(request), _name(request)
        limits = self._limits
        try:
            self._engine.check_query(principal, name)
        except TacitaError as error:
            if (query := id_in(request.headers)) is not None:
                asked_for, why = query, error
                await self._answers.run(
                    lambda: self._engine.decline_query(principal, asked_for, why)
                )
            raise
        body = await self._upload(request, limits.largest_query, limits.query_seconds)
        asked = decode_request(request.headers, body, limits.tensors)
        query, inputs = asked.query, list(asked.tensors)
        results = await self._queries.run(
            lambda: self._engine.infer(principal, name, query, inputs)
        )
        headers, buffers = encode_response(name, "", query, results)
        return BinaryAnswer(headers, buffers, limits.answer_seconds)

    # ---- the repository ----

    async def publish(self, request: Request) -> Response:
        principal, name = _principal(request), _name(request)
        limits = self._limits
        try:
            self._engine.check_publish(principal, name)
        except TacitaError as error:
            if (model := id_in(request.headers)) is not None:
                published, why = model, error
                await self._answers.run(lambda: self._engine.decline_publication(published, why))
            raise
        body = await self._upload(request, limits.largest_publication, limits.publication_seconds)
        asked = decode_request(request.headers, body, limits.tensors, attachments=(PROGRAM,))
        if PROGRAM not in asked.attachments:
            raise UsageError(f"the publication of {name!r} has no BYTES tensor {PROGRAM!r}")
        audience = asked.parameters.get(AUDIENCE, "")
        if not isinstance(audience, str):
            raise UsageError(f"the parameter {AUDIENCE!r} is no text; join principals by commas")
        publication = Publication(
            name=name,
            model_id=asked.query,
            program=asked.attachments[PROGRAM],
            weights=asked.tensors,
            audience=tuple(each.strip() for each in audience.split(",") if each.strip()),
        )
        info = await self._changes.run(lambda: self._engine.publish(principal, publication))
        return _json(schema.metadata_of(info), 201)

    async def remove(self, request: Request) -> Response:
        principal, name = _principal(request), _name(request)
        await self._changes.run(lambda: self._engine.remove(principal, name))
        return Response(status_code=204)

    async def deal(self, request: Request) -> Response:
        principal, name = _principal(request), _name(request)
        wanted = _parsed(await read_body(request, SMALL_BODY, SMALL_SECONDS), _DealRequest)
        if not 1 <= wanted.runs <= schema.MOST_RUNS:
            raise UsageError(f"runs is not a number from 1 to {schema.MOST_RUNS}")
        stock = await self._changes.run(lambda: self._engine.deal(principal, name, wanted.runs))
        return _json(schema.Stock(name=name, stock=stock))

    async def _upload(self, request: Request, limit: int, seconds: float) -> memoryview:
        if self._uploads >= self._limits.uploads_at_once:
            raise Busy(f"{self._limits.uploads_at_once} bodies are being received; try again")
        self._uploads += 1
        try:
            return await read_body(request, limit, seconds)
        finally:
            self._uploads -= 1


def _add_routes(app: FastAPI, handlers: Handlers) -> None:
    def route(
        method: str,
        path: str,
        handler: Handler,
        done: schema.Answers,
        *errors: int,
        extra: dict[str, Any] | None = None,
    ) -> None:
        status = next(int(each) for each in done)  # the first is the one of success
        if extra is None and "{name}" in path:
            extra = {"parameters": [schema.model_name()]}
        app.add_api_route(
            path,
            handler,
            methods=[method],
            status_code=status,
            response_class=Response,
            response_model=None,
            responses={**schema.answers(*errors), **done},
            openapi_extra=extra,
        )

    model = "/v2/models/{name}"
    repository = "/v2/repository/models/{name}"
    told, binary = schema.json_answer, schema.bytes_answer
    ready: schema.Answers = {
        200: told(schema.Ready, "queries can be answered"),
        503: told(schema.Ready | schema.ErrorAnswer, "they cannot"),
    }
    model_ready: schema.Answers = {
        200: told(schema.ModelReady, "it can be queried"),
        503: told(schema.ModelReady | schema.ErrorAnswer, "it cannot"),
    }
    metadata = told(schema.ModelMetadata, "inputs, outputs, stock")
    runs = {"runs": {"type": "integer", "minimum": 1, "maximum": schema.MOST_RUNS}}
    deal = {"parameters": [schema.model_name()], **schema.json_body(runs, required=True)}
    index = schema.json_body({"ready": {"type": "boolean"}}, required=False)
    shares = schema.tensors_body("the query's id and this party's shares of all inputs")
    weights = schema.tensors_body("the model's id, its program, this party's shares of weights")

    # Routes are tried in order: the one that matters comes first.
    route(
        "POST", f"{model}/infer", handlers.infer, {200: binary("shares of the results")},
        403, 404, 408, 409, 413, 422, 504, extra=shares,
    )  # fmt: skip
    route("GET", "/v2/health/live", handlers.live, {200: told(schema.Live, "it is there")})
    route("GET", "/v2/health/ready", handlers.ready, ready)
    route("GET", "/v2", handlers.server, {200: told(schema.ServerMetadata, "this server")})
    route("GET", "/v2/status", handlers.status, {200: told(dict[str, Any], "its state")}, 403)
    links = told(dict[str, Any], "how fast the ways to the other daemons are")
    route("GET", "/v2/neighbours", handlers.neighbours, {200: links}, 403)
    route("GET", "/metrics", handlers.metrics, {200: binary("counters", "text/plain")}, 403)
    route("GET", model, handlers.model, {200: metadata}, 403, 404)
    route("GET", f"{model}/ready", handlers.model_ready, model_ready, 403, 404)
    route("GET", f"{model}/program", handlers.program, {200: binary("the program")}, 403, 404)
    route(
        "POST", f"{model}/stock", handlers.deal, {200: told(schema.Stock, "the stock now")},
        403, 404, 408, 413, 504, extra=deal,
    )  # fmt: skip
    route(
        "POST", "/v2/repository/index", handlers.index, {200: told(_Index, "all models")},
        408, 413, extra=index,
    )  # fmt: skip
    route(
        "PUT", repository, handlers.publish, {201: metadata},
        403, 404, 408, 409, 413, 504, extra=weights,
    )  # fmt: skip
    gone = {"description": "the model is gone"}
    route("DELETE", repository, handlers.remove, {204: gone}, 403, 404, 504)


async def _http_exception(_: Request, error: Exception) -> Response:
    """What the router says: no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    return failed(error.status_code, error.detail, dict(error.headers or {}))


def _json(answer: BaseModel, status: int = 200) -> Response:
    return Response(answer.model_dump_json(), status, media_type="application/json")


def _parsed(body: memoryview, kind: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise UsageError(f"the JSON body: {ascii(str(error))[1:200]}") from None


def _principal(request: Request) -> Principal:
    principal = request.scope[PRINCIPAL]
    assert isinstance(principal, Principal)
    return principal


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not _NAME.fullmatch(name):
        raise UnknownModel("no model can have this name; a name matches " + schema.MODEL_NAME)
    return name
