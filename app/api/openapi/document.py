"""The OpenAPI document, generated from the models that are ready.

It follows the OpenAPI Specification 3.1 (spec.openapis.org/oas/v3.1.1), whose schemas are JSON
Schema 2020-12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from flask import Blueprint, Response, request
from gevent.lock import BoundedSemaphore
from werkzeug.http import generate_etag

from app import __version__
from app.api.http.access import ModelAccess
from app.api.openapi import native, v1, v2
from app.api.openapi.errors import errors, protocol_errors
from app.api.openapi.parts import PROTOCOL_ERROR, obj
from app.serving.models.model import Model
from app.settings import Settings

# Documents that are kept, each for other models.
MAX_KEPT = 8
_Key = tuple[tuple[str, int, float], ...]
TAGS = (
    *native.TAGS,
    {"name": v1.TAG, "description": "For clients of TensorFlow Serving."},
    {"name": v2.TAG, "description": "For clients of KServe and Triton."},
)
_ERROR = "ProtocolError"
_MEANINGS = {
    400: "The request cannot be read, or the model cannot take it.",
    401: "An API key is needed, and no valid one was sent.",
    403: "The key is not valid for this model.",
    404: "There is no such model or version.",
    413: "The body exceeds the limit of this server.",
    415: "This Content-Encoding is not supported.",
    429: "Too many requests from this address (an answer of nginx) or with this key.",
    500: "The server or the model failed.",
    503: "Not now: the model is not ready or its queue is full, or the server is stopping.",
    504: "No answer within the time allowed.",
}
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
# Addresses that need no key.
_OPEN = ("/livez", "/readyz")

_DESCRIPTION = """\
The API of this server, for the models that are ready now. Each answer has the id of its request \
in the header `X-Request-ID`; the server's log has the same id. An error lists all problems of a \
request."""


def blueprint(settings: Settings, access: ModelAccess) -> Blueprint:
    """Return the routes of `/openapi.json`."""
    routes = Blueprint("openapi", __name__)
    # By the names of their models: a key may cover only some.
    documents: dict[tuple[str, ...], _Rendered] = {}
    # Requests for a document that is not ready wait for the first of them.
    making = BoundedSemaphore()

    @routes.get("/openapi.json")
    def openapi() -> Response:
        """Answer the document, made again only when a model was added, removed or replaced."""
        ready = ready_models(access)
        key = tuple((model.name, model.version, model.loaded_at) for model in ready)
        names = tuple(model.name for model in ready)
        made = documents.get(names)
        if made is None or made.key != key:
            with making:
                made = documents.get(names)
                if made is None or made.key != key:
                    made = _render(key, ready, settings)
                    if len(documents) >= MAX_KEPT:
                        documents.clear()
                    documents[names] = made
        response = Response(made.body, mimetype="application/json")
        response.headers["Cache-Control"] = "no-cache"
        response.set_etag(made.etag)
        response.make_conditional(request)
        return response

    return routes


def _render(key: _Key, ready: list[Model], settings: Settings) -> _Rendered:
    """Make the document. Blocks the greenlet: with hundreds of models this takes a while. Must not
    run in a native thread, since the tasks of models belong to the hub."""
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    body = orjson.dumps(document(ready, settings), option=options)
    return _Rendered(key, body, generate_etag(body))


def ready_models(access: ModelAccess) -> list[Model]:
    """Return the models that are ready."""
    models = (entry.model for entry in access.entries())
    return [model for model in models if model is not None]


def document(models: list[Model], settings: Settings) -> dict[str, Any]:
    """Return the document for these models, with the limits of the settings and, if there are any,
    the API keys."""
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Keraport",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": list(TAGS),
        "paths": {**native.paths(models), **v1.paths(models), **v2.paths(models)},
        "components": _components(models, settings),
    }
    if settings.api_keys_file is not None:
        _add_keys(made)
    return made


def _components(models: list[Model], settings: Settings) -> dict[str, Any]:
    """Return the schemas, responses, parameters and headers that the paths refer to."""
    found = native.components(models, settings)
    schemas = {
        **found["schemas"],
        _ERROR: obj({"error": {"type": "string"}}),
        **v1.schemas(settings.max_rows),
        **v2.SCHEMAS,
    }
    responses = {**found["responses"]}
    for protocol, examples in protocol_errors(settings).items():
        responses |= errors(_MEANINGS, _ERROR, examples, protocol + PROTOCOL_ERROR)
    return {**found, "schemas": schemas, "responses": responses}


def _add_keys(document: dict[str, Any]) -> None:
    """Add the keys to each operation, and the errors for requests without a valid one."""
    document["components"]["securitySchemes"] = _SCHEMES
    document["security"] = [{name: []} for name in _SCHEMES]
    for path, item in document["paths"].items():
        prefix = path[1:3] + PROTOCOL_ERROR if path.startswith(("/v1/", "/v2")) else "Error"
        statuses = [401, 403, 429] if _names_a_model(path) else [401, 429]
        for method in ("get", "post"):
            if method not in item:
                continue
            # Operations are shared with documents made earlier.
            operation = item[method] = {**item[method]}
            if path in _OPEN:
                operation["security"] = []
                continue
            operation["responses"] = {
                **operation["responses"],
                **{str(s): {"$ref": f"#/components/responses/{prefix}{s}"} for s in statuses},
            }


def _names_a_model(path: str) -> bool:
    return "{name}" in path or (
        path.startswith("/api/") and path not in ("/api/models", "/api/status")
    )


@dataclass(frozen=True, slots=True)
class _Rendered:
    """The document in the form in which it is sent. key: the models that it covers."""

    key: _Key
    body: bytes
    etag: str
