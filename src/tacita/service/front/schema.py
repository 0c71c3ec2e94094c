"""The JSON of the front's answers, and the parts of its OpenAPI document that are about bytes.

The shapes are those of KServe's protocol v2; what shares need besides stands under `parameters`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from tacita.network.tensors import CONTENT_TYPE, HEAD_LENGTH
from tacita.service.front.engine import ModelInfo, TensorInfo

PLATFORM = "tacita"
EXTENSIONS = ("binary_tensor_data", "secret_shares")
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_RUNS = 1_000_000


class ErrorAnswer(BaseModel):
    """`kind` is the name of the error in the library, where it has one."""

    error: str
    kind: str | None = None


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorParameters(BaseModel):
    scale: int


class TensorMetadata(BaseModel):
    name: str
    datatype: Literal["UINT64"]
    shape: list[int]
    parameters: TensorParameters


class ModelParameters(BaseModel):
    """stock: dealt runs that are ready. party: this one's index, of `parties`."""

    model_id: str
    digest: str
    owner: str
    ready: bool
    stock: int
    party: int
    parties: int


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: ModelParameters


class IndexEntry(BaseModel):
    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class Stock(BaseModel):
    name: str
    stock: int


def metadata_of(info: ModelInfo) -> ModelMetadata:
    """A publication is a version: its model id names it."""
    return ModelMetadata(
        name=info.name,
        versions=[info.model_id.hex()],
        platform=PLATFORM,
        inputs=[_tensor(each) for each in info.inputs],
        outputs=[_tensor(each) for each in info.outputs],
        parameters=ModelParameters(
            model_id=info.model_id.hex(),
            digest=info.digest,
            owner=info.owner,
            ready=info.ready,
            stock=info.stock,
            party=info.party,
            parties=info.parties,
        ),
    )


def index_entry_of(info: ModelInfo) -> IndexEntry:
    state: Literal["READY", "UNAVAILABLE"] = "READY" if info.ready else "UNAVAILABLE"
    reason = "" if info.ready else "the model is published and cannot be queried now"
    return IndexEntry(name=info.name, version=info.model_id.hex(), state=state, reason=reason)


def _tensor(info: TensorInfo) -> TensorMetadata:
    parameters = TensorParameters(scale=info.scale)
    shape = list(info.shape)
    return TensorMetadata(name=info.name, datatype="UINT64", shape=shape, parameters=parameters)


# ---- the OpenAPI document ------------------------------------------------------------------------

STATUSES = {
    400: "the request is malformed, or its tensors do not fit the model",
    401: "the connection has no certificate that names a principal",
    403: "this party's policy does not allow it",
    404: "no such model, or not for this principal",
    408: "the body did not arrive in time",
    409: "the id or name was used before",
    413: "the body is too large",
    422: "a value was found outside the bound that the model declares",
    429: "too many requests of this principal; see Retry-After",
    500: "this party failed; the message has an id that its log knows",
    503: "this party, its material or another party is not ready; later it may be",
    504: "another party did not answer in time",
}
ALWAYS = (400, 401, 429, 500, 503)

Fields: TypeAlias = dict[str, Any]
Answers: TypeAlias = dict[int | str, Fields]


def answers(*statuses: int) -> Answers:
    """The errors of an endpoint: these, and those that any may have."""
    every = sorted({*ALWAYS, *statuses})
    return {status: {"description": STATUSES[status], "model": ErrorAnswer} for status in every}


def json_answer(model: Any, what: str) -> Fields:
    return {"description": what, "model": model}


def bytes_answer(what: str, media: str = CONTENT_TYPE) -> Fields:
    kind = {"type": "string"}
    if media == CONTENT_TYPE:
        kind["format"] = "binary"
    return {"description": what, "content": {media: {"schema": kind}}}


def model_name() -> Fields:
    return {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "the model's name",
        "schema": {"type": "string", "pattern": MODEL_NAME},
    }


def tensors_body(what: str) -> Fields:
    """requestBody and header of an endpoint that takes binary tensors."""
    return {
        "parameters": [
            model_name(),
            {
                "name": HEAD_LENGTH,
                "in": "header",
                "required": True,
                "description": "bytes of JSON that the body begins with",
                "schema": {"type": "integer", "minimum": 2},
            },
        ],
        "requestBody": {
            "required": True,
            "description": what,
            "content": {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
    }


def json_body(properties: Fields, *, required: bool) -> Fields:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(properties)
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": required, "content": content}}


def secured(document: Fields) -> Fields:
    """Every endpoint asks for a client certificate."""
    schemes = {"certificate": {"type": "mutualTLS", "description": "a certificate of the network"}}
    document.setdefault("components", {})["securitySchemes"] = schemes
    document["security"] = [{"certificate": []}]
    return document
