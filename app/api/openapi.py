"""The contract for programs: one OpenAPI document, made of the models that are ready.

Of the OpenAPI Specification 3.1 (spec.openapis.org/oas/v3.1.1), whose schemas are JSON Schema
2020-12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from flask import Blueprint, Response, request
from gevent.lock import BoundedSemaphore
from werkzeug.http import generate_etag

from app import __version__
from app.api import openapi_native, openapi_protocols
from app.api.access import ModelAccess
from app.api.openapi_keys import add_keys
from app.settings import Settings

if TYPE_CHECKING:  # it needs TensorFlow, which takes seconds to import
    from app.serving.model import Model

# Documents of so many choices of models are kept ready.
MAX_KEPT = 8
_Key = tuple[tuple[str, int, float], ...]
# The modules that say what is in the document: TAGS, paths and components of each.
PROTOCOLS = (openapi_native, openapi_protocols)

_DESCRIPTION = """\
What this server answers, for the models that are ready now. Each answer has the id of its request \
as the header `X-Request-ID`, by which the server's log knows it. All problems of a request are \
told at once."""


def blueprint(settings: Settings, access: ModelAccess) -> Blueprint:
    """`/openapi.json`."""
    routes = Blueprint("openapi", __name__)
    # By the names of the models in it: a key may be for some only.
    documents: dict[tuple[str, ...], _Made] = {}
    # Many that ask for one that is not ready wait for the first of them.
    making = BoundedSemaphore()

    @routes.get("/openapi.json")
    def openapi() -> Response:
        """Made again only when a model has come, gone or been replaced."""
        ready = ready_models(access)
        key = tuple((model.name, model.version, model.loaded_at) for model in ready)
        names = tuple(model.name for model in ready)
        made = documents.get(names)
        if made is None or made.key != key:
            with making:
                made = documents.get(names)
                if made is None or made.key != key:
                    made = _made(key, ready, settings)
                    if len(documents) >= MAX_KEPT:
                        documents.clear()
                    documents[names] = made
        response = Response(made.body, mimetype="application/json")
        response.headers["Cache-Control"] = "no-cache"
        response.set_etag(made.etag)
        response.make_conditional(request)
        return response

    return routes


def _made(key: _Key, ready: list[Model], settings: Settings) -> _Made:
    """Blocks the greenlet: of hundreds of models it takes a while. Not for a native thread, since
    the tasks of models belong to the hub."""
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    body = orjson.dumps(document(ready, settings), option=options)
    return _Made(key, body, generate_etag(body))


def ready_models(access: ModelAccess) -> list[Model]:
    """The models that can be asked, by name."""
    models = (entry.model for entry in access.entries())
    return [model for model in models if model is not None]


def document(models: list[Model], settings: Settings) -> dict[str, Any]:
    """The document for these models, with the limits of the settings and what they say of keys."""
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Keraport",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [tag for part in PROTOCOLS for tag in part.TAGS],
        "paths": {path: item for part in PROTOCOLS for path, item in part.paths(models).items()},
        "components": {
            kind: {
                name: component
                for part in PROTOCOLS
                for name, component in part.components(models, settings).get(kind, {}).items()
            }
            for kind in ("schemas", "responses", "parameters", "headers")
        },
    }
    if settings.api_keys_file is not None:
        add_keys(made)
    return made


@dataclass(frozen=True, slots=True)
class _Made:
    """The document as it was sent. key: the models that it was made of."""

    key: _Key
    body: bytes
    etag: str
