"""Errors in the OpenAPI document, each with an example in the words that are really said."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import orjson

from app.api.errors import describe, error_body, in_one_line
from app.api.examples import example_input
from app.api.image_models import IMAGE_TASK
from app.api.openapi_parts import json_content, ref
from app.errors import (
    BadRequest,
    DeadlineExceeded,
    Detail,
    InvalidInput,
    KeraportError,
    ModelNotFound,
    Overloaded,
    TooLarge,
    UnsupportedMediaType,
)
from app.serving.card import TEXT_TASK
from app.serving.tasks.base import Payload, invalid
from app.serving.tasks.pictures import FORMATS_TEXT

if TYPE_CHECKING:
    from app.serving.model import Model
    from app.serving.tasks.base import Task
    from app.serving.tasks.text import TextGeneration

_ID = "3f2b8c1e9d7a4c5f8e6b0a1d2c3e4f50"
_TOO_MANY = error_body("too_many_requests", "too many requests from this address: slow down", [])
_INTERNAL = error_body(
    "internal", "the server failed on this request; its log says why, under this id", []
)
_TOO_LARGE = TooLarge(
    "the body is larger than 16 MB, the limit of this server (KERAPORT_MAX_BODY_MB)"
)
_NO_MODEL = ModelNotFound("there is no model 'cars'; the models are: mpg")
_FULL = Overloaded("the model 'mpg' has 256 requests waiting, its limit")
_LATE = DeadlineExceeded("the model gave no answer within the time allowed")
_BOTH: dict[int, KeraportError] = {413: _TOO_LARGE, 503: _FULL, 504: _LATE}
# By status, and where there are several by what they are called.
_NATIVE: dict[int, dict[str, KeraportError]] = {
    400: {"": BadRequest("the body is empty: expected JSON")},
    404: {"": _NO_MODEL},
    415: {
        "a picture where JSON is taken": UnsupportedMediaType(
            "this model takes application/json, not image/png"
        ),
        "JSON where a picture is taken": UnsupportedMediaType(
            "this model takes pictures, not application/json: send the picture as the body, or as "
            "the field 'image' of multipart/form-data"
        ),
    },
    422: {
        "no version": invalid(
            [Detail("version", "not a version", "1/2", "a whole number, or an alias")]
        ),
        "no picture": invalid(
            [Detail("image", "not a picture in a format that is read here", expected=FORMATS_TEXT)]
        ),
    },
    **{status: {"": error} for status, error in _BOTH.items()},
}
_PROTOCOLS: dict[int, dict[str, KeraportError]] = {
    400: {
        "v1": BadRequest("Missing 'inputs' or 'instances' key"),
        "v2": invalid([Detail("inputs", "missing", expected="a list of objects")]),
    },
    404: {
        "v1": ModelNotFound("Servable not found for request: Latest(cars)"),
        "v2": _NO_MODEL,
    },
    415: {
        "": UnsupportedMediaType("Content-Encoding 'br' is not read here: expected gzip or deflate")
    },
    **{status: {"": error} for status, error in _BOTH.items()},
}
# What no exception of ours says: nginx, and what nobody foresaw.
_PLAIN = {429: _TOO_MANY, 500: _INTERNAL}


def native_error(error: KeraportError) -> dict[str, Any]:
    """The answer that the native API gives to it."""
    return {"id": _ID, "error": describe(error)}


def native_errors() -> dict[int, dict[str, Any]]:
    """Examples of errors of the native API, by status and name."""
    return {
        **{s: {n: native_error(e) for n, e in found.items()} for s, found in _NATIVE.items()},
        **{s: {"": {"id": _ID, "error": body}} for s, body in _PLAIN.items()},
    }


def protocol_errors() -> dict[int, dict[str, Any]]:
    """Examples of errors of the standard protocols, by status and name."""
    return {
        **{
            s: {n: {"error": in_one_line(describe(e))} for n, e in found.items()}
            for s, found in _PROTOCOLS.items()
        },
        **{s: {"": {"error": body["message"]}} for s, body in _PLAIN.items()},
    }


def errors(
    meanings: Mapping[int, str],
    schema: str,
    examples: Mapping[int, Mapping[str, Any]],
    prefix: str = "Error",
) -> dict[str, Any]:
    """The components that `responses` refers to, by what a status means."""
    again = {"headers": {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}}
    return {
        f"{prefix}{status}": {
            "description": meaning,
            "content": _content(schema, examples[status]),
            **(again if status in (429, 503) else {}),
        }
        for status, meaning in meanings.items()
    }


def _content(schema: str, examples: Mapping[str, Any]) -> dict[str, Any]:
    alone = examples.get("")
    return json_content(ref(schema), alone, None if alone else examples)


def refusal(model: Model) -> dict[str, Any]:
    """422 of a model: what it really says of a body that it cannot take."""
    return {
        "description": "The body was read, but holds what the model cannot take.",
        "content": json_content(ref("Error"), _refused(model)),
    }


def _refused(model: Model) -> dict[str, Any] | None:
    task = cast("Task | TextGeneration", model.task)
    try:
        task.read(_wrong(model))
    except InvalidInput as error:
        return native_error(error)
    return None


def _wrong(model: Model) -> Payload:
    """A body that no model of its task takes."""
    task = model.card.task
    if task == IMAGE_TASK:
        return Payload("files", files=[BytesIO(b"no picture")])
    value: Any = None
    if task == TEXT_TASK:
        value = {"words": "many"}
    elif task.startswith("tabular-"):
        row = example_input({"task": task, "input": model.task.input_schema(), "signature": None})
        value = dict(list(row.items())[1:])
    return Payload("json", data=orjson.dumps(value))
