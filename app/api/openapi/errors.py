"""Errors in the OpenAPI document, each with its real message as an example."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, cast

import orjson

from app.api.http.errors import describe, error_body, in_one_line, too_large
from app.api.http.requests import not_accepted
from app.api.native.describe import model_form
from app.api.native.examples import FILES, example_input, form_of
from app.api.openapi.parts import json_content, ref
from app.errors import (
    BadRequest,
    DeadlineExceeded,
    Detail,
    Forbidden,
    InvalidInput,
    KeraportError,
    ModelNotFound,
    Overloaded,
    Unauthorized,
    UnsupportedMediaType,
)
from app.serving.cards.card import Runtime
from app.serving.models.model import Model
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.base import invalid
from app.serving.tasks.files.file_kinds import files_of
from app.serving.tasks.files.pictures import FORMATS_TEXT, NOT_A_PICTURE
from app.serving.tasks.text import TextGeneration
from app.settings import Settings

# The errors of the native API.
MEANINGS = {
    400: "The request cannot be read: not JSON, no body, not the form that it claims to be…",
    401: "An API key is needed, and no valid one was sent.",
    403: "The key is not valid for this model.",
    404: "There is no such model or version.",
    413: "The body exceeds the limit of this server.",
    415: "The model does not take bodies of this type.",
    422: "The body was read, but the model cannot take its contents.",
    429: "Too many requests from this address (an answer of nginx) or with this key.",
    500: "The server or the model failed.",
    503: "Not now: the model is loading, has failed or is overloaded, or the server is stopping.",
    504: "No answer within the time allowed.",
}
_ID = "3f2b8c1e9d7a4c5f8e6b0a1d2c3e4f50"
_TOO_MANY = error_body("too_many_requests", "too many requests from this address: slow down", [])
_INTERNAL = error_body(
    "internal", "the server failed on this request; its log says why, under this id", []
)
_NO_MODEL = ModelNotFound("there is no model 'cars'; the models are: mpg")
_FULL = Overloaded(f"the model 'mpg' has {Runtime().max_queue} requests waiting, its limit")
_LATE = DeadlineExceeded("the model gave no answer within the time allowed")
_NO_KEY = Unauthorized(
    "an API key is needed: send one as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
)
_NOT_FOR = Forbidden("your key is not for the model 'cars'; the models it is for: mpg")
_SHARED: dict[int, KeraportError] = {401: _NO_KEY, 403: _NOT_FOR, 503: _FULL, 504: _LATE}
_NATIVE: dict[int, KeraportError] = {
    **_SHARED,
    400: BadRequest("the body is empty: expected JSON"),
    404: _NO_MODEL,
    415: not_accepted("application/json", frozenset({"files"})),
    422: invalid([Detail("version", "not a version", "1/2", "a whole number, or an alias")]),
}
_V2: dict[int, KeraportError] = {
    **_SHARED,
    400: invalid([Detail("inputs", "missing", expected="a list of objects")]),
    404: _NO_MODEL,
    415: UnsupportedMediaType("Content-Encoding 'br' is not supported: expected gzip or deflate"),
}
_V1: dict[int, KeraportError] = {
    **_V2,
    400: BadRequest("Missing 'inputs' or 'instances' key"),
    404: ModelNotFound("Servable not found for request: Latest(cars)"),
}
# Errors that are not among our exceptions: those of nginx, and unexpected ones.
_PLAIN = {429: _TOO_MANY, 500: _INTERNAL}


def _native(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": _ID, "error": body}


def native_errors(settings: Settings) -> dict[int, Any]:
    """Return examples of errors of the native API, by status."""
    errors = {**_NATIVE, 413: too_large(settings)}
    described = {status: describe(error) for status, error in errors.items()}
    return {status: _native(body) for status, body in {**described, **_PLAIN}.items()}


def protocol_errors(settings: Settings) -> dict[str, dict[int, Any]]:
    """Return examples of errors of the standard protocols, by `v1` or `v2` and status."""
    described = {
        protocol: {s: describe(e) for s, e in {**errors, 413: too_large(settings)}.items()}
        for protocol, errors in (("v1", _V1), ("v2", _V2))
    }
    return {
        protocol: {
            status: {"error": in_one_line(body)} for status, body in {**bodies, **_PLAIN}.items()
        }
        for protocol, bodies in described.items()
    }


def errors(
    meanings: Mapping[int, str],
    schema: str,
    examples: Mapping[int, Any],
    prefix: str = "Error",
) -> dict[str, Any]:
    """Return the components that `responses` refers to. meanings: their descriptions by status."""
    retry_after = {"headers": {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}}
    return {
        f"{prefix}{status}": {
            "description": meaning,
            "content": json_content(ref(schema), examples[status]),
            **(retry_after if status in (429, 503) else {}),
        }
        for status, meaning in meanings.items()
    }


def refusals(model: Model) -> dict[str, Any]:
    """Return the responses 415 and 422 of a model, with its real messages about a body that it
    cannot take."""
    task = cast("RowTask | TextGeneration", model.task)
    # No body is both JSON and a picture.
    other = "text/csv" if files_of(task.accepts) else "image/png"
    found = {"415": _response(415, not_accepted(other, task.accepts, task.hint))}
    try:
        task.read(_wrong_body(model))
    except InvalidInput as error:
        found["422"] = _response(422, error)
    return found


def unreadable_picture() -> dict[str, Any]:
    """422 of what takes one picture for all models."""
    return _response(422, invalid([Detail("image", NOT_A_PICTURE, expected=FORMATS_TEXT)]))


def _response(status: int, error: KeraportError) -> dict[str, Any]:
    example = _native(describe(error))
    return {"description": MEANINGS[status], "content": json_content(ref("Error"), example)}


def _wrong_body(model: Model) -> Payload:
    """Return a body that no model of its task takes."""
    form = form_of(model_form(model))
    if form in FILES:
        return Payload("files", files=[BytesIO(b"no such file")])
    value: Any = None
    if form == "text":
        value = 1
    elif form == "writing":
        value = {"words": "many"}
    elif form == "fields":
        row = example_input(model_form(model))
        value = dict(list(row.items())[1:])
    elif form == "several":
        value = {}
    return Payload("json", data=orjson.dumps(value))
