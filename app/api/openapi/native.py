"""The native API in the OpenAPI document, except for the models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from pydantic.json_schema import models_json_schema

from app.api.http.errors import STATUS
from app.api.native.describe import HIDDEN
from app.api.openapi.errors import MEANINGS, errors, native_errors, unreadable_picture
from app.api.openapi.models import EXPLANATION, predictions, schemas
from app.api.openapi.parts import (
    VERSION,
    array,
    json_content,
    named,
    nullable,
    obj,
    pictures,
    ref,
    responses,
)
from app.serving.cards.card import KINDS, TASKS, Card
from app.serving.models.explanation import METHOD
from app.serving.models.model import Model
from app.serving.registry.entry import State
from app.settings import Settings
from app.status.schema import SelfStatus, Status

TAGS = (
    {"name": "Predictions", "description": "Ask one model, or all models that take pictures."},
    {"name": "Models", "description": "The models, and what they take."},
    {"name": "State", "description": "For load balancers and operators."},
)
_ID = {"type": "string", "description": "Id of the request, as in `X-Request-ID`."}


def paths(models: list[Model]) -> dict[str, Any]:
    """Return every path of the native API, with one for each model."""
    name = named(
        "name",
        "Name of the model.",
        {"type": "string", "minLength": 1},
        {model.name: model.name for model in models},
    )
    return {
        **predictions(models),
        "/predict": {"post": _PREDICT},
        "/api/models": {
            "get": {
                "tags": ["Models"],
                "operationId": "models",
                "summary": "All models",
                "responses": responses(_answer("Models"), 500, 503),
            }
        },
        "/api/models/{name}": {
            "get": {
                "tags": ["Models"],
                "operationId": "model",
                "summary": "One model",
                "parameters": [name, VERSION],
                "responses": responses(_answer("Model"), 404, 422, 500, 503),
            }
        },
        "/api/models/{name}/example": {
            "get": {
                "tags": ["Models"],
                "operationId": "example",
                "summary": "An example of a request",
                "description": "A body for `POST /api/{name}`: an example of the card, else one "
                "of values that are made up.",
                "parameters": [name, _EXAMPLE, VERSION],
                "responses": responses(_BODY, 404, 422, 500, 503),
            }
        },
        "/api/status": {"get": _STATUS},
        "/livez": {"get": _LIVE},
        "/readyz": {"get": _READY},
    }


def components(models: list[Model], settings: Settings) -> dict[str, Any]:
    """Return the schemas, responses, parameters and headers that the paths refer to."""
    _, described = models_json_schema(
        [(Status, "serialization"), (SelfStatus, "serialization"), (Card, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    shown = described["$defs"]
    for key, hidden in HIDDEN.items():
        properties = shown["Card" if hidden is True else "TextSettings"]["properties"]
        for name in [key] if hidden is True else hidden:
            del properties[name]
    # A file may leave it out; an answer has it, as null where the card is one of kinds.
    shown["Card"] = dict(sorted({**shown["Card"], "required": ["task"]}.items()))
    return {
        "schemas": {
            **schemas(models),
            **shown,
            "Explanation": EXPLANATION,
            "Error": _ERROR,
            "Models": obj({"id": _ID, "models": array(ref("ModelSummary"))}),
            "ModelSummary": obj(_SUMMARY, "reason"),
            "Model": obj({"id": _ID, **_SUMMARY, **_DESCRIBED}, "reason", *_DESCRIBED),
        },
        "responses": errors(MEANINGS, "Error", native_errors(settings)),
        "parameters": {"version": _VERSION},
        "headers": {"Retry-After": _RETRY_AFTER},
    }


def _answer(schema: str) -> dict[str, Any]:
    return {"description": "The answer.", "content": json_content(ref(schema))}


# --- The models ----------------------------------------------------------------------------------

_STATE = {"enum": list(get_args(State))}
_NUMBER = {"type": "integer"}
_REASON = {"type": "string", "description": "Why it, or a change to it, is not served."}
_SUMMARY = {
    "name": {"type": "string"},
    "title": {"type": "string"},
    "description": nullable("string"),
    "task": {
        "enum": [*TASKS, None],
        "description": "null while it is unknown, and for a card with `inputs` and `outputs`.",
    },
    "state": _STATE,
    "version": {**_NUMBER, "description": "The version that answers by default."},
    "versions": array(obj({"version": _NUMBER, "state": _STATE, "reason": _REASON}, "reason")),
    "aliases": {
        "type": "object",
        "additionalProperties": _NUMBER,
        "description": "Other names for versions, and the version that each stands for.",
    },
    "canary": {
        "anyOf": [
            obj(
                {
                    "version": _NUMBER,
                    "percent": {"type": "number", "minimum": 0, "maximum": 100},
                }
            ),
            {"type": "null"},
        ],
        "description": "A version that gets this percentage of the requests that name no version.",
    },
    "metrics": {
        "type": "object",
        "additionalProperties": {"type": ["number", "string"]},
        "description": "Quality, as measured by the model's author.",
    },
    "reason": {"type": "string", "description": "What is wrong with any version."},
}
_TENSORS = {
    "type": "array",
    "items": obj(
        {
            "name": {"type": "string"},
            "dtype": {"type": "string", "description": "A NumPy name, or `string`."},
            "shape": {
                "type": ["array", "null"],
                "items": nullable("integer"),
                "description": "null for any size.",
            },
        }
    ),
}


def _kinds(kinds: Iterable[str]) -> dict[str, Any]:
    each = {"type": "object", "properties": {"kind": {"enum": [*kinds]}}, "required": ["kind"]}
    return {"type": "object", "additionalProperties": each}


# Only for models that are ready.
_DESCRIBED = {
    "card": ref("Card"),
    "input": {"type": "object", "description": "What a request must look like."},
    "inputs": {**_kinds(KINDS["inputs"]), "description": "The kind of each input."},
    "outputs": {**_kinds(KINDS["outputs"]), "description": "The kind of each output."},
    "guessed": {
        **array({"type": "string"}),
        "description": "Keys of the card that neither it nor the file of the model settles.",
    },
    "signature": obj({"inputs": _TENSORS, "outputs": _TENSORS}),
    "examples": {
        **array({"type": "string"}),
        "description": "The names of the card's examples, which `/example?n=0` and so on give.",
    },
    "explain": {
        **array({"enum": [METHOD]}),
        "description": "What `POST /api/NAME?explain=` may ask for.",
    },
    "parameters": {**nullable("integer"), "description": "The number of weights."},
    "loaded_at": {"type": "number", "description": "Seconds since 1970."},
    "waiting": {"type": "integer", "description": "Requests between arrival and answer."},
    "generation": {
        **obj({"kind": {"enum": ["step", "window"]}, "reason": nullable("string")}),
        "description": "How a text model generates texts.",
    },
}

# --- Errors --------------------------------------------------------------------------------------

_ERROR = obj(
    {
        "id": _ID,
        "error": obj(
            {
                "code": {"enum": list(STATUS)},
                "message": {"type": "string"},
                "details": {
                    "type": "array",
                    "items": obj(
                        {
                            "field": {"type": "string", "examples": ["weight", "[3].weight"]},
                            "problem": {"type": "string"},
                            "value": {"description": "What was sent."},
                            "expected": {"description": "What to send."},
                        },
                        "value",
                        "expected",
                    ),
                },
            }
        ),
    }
)
_RETRY_AFTER = {
    "description": "Seconds after which to try again.",
    "schema": {"type": "integer", "minimum": 0},
}
_EXAMPLE = {
    "name": "n",
    "in": "query",
    "description": "The number of the example, counted from 0; default: the first.",
    "schema": {"type": "integer", "minimum": 0},
}
_BODY = {
    "description": "The body of a request.",
    "content": json_content({"type": ["object", "array", "string", "number", "boolean"]}),
}
_VERSION = {
    "name": "version",
    "in": "query",
    "description": "The number or an alias of the version to ask; default: the model's own choice.",
    "schema": {
        "type": "string",
        "maxLength": 100,
        "pattern": "^([0-9]{1,15}|[0-9]*[A-Za-z._-][A-Za-z0-9._-]*)$",
    },
}

# --- Fixed addresses -----------------------------------------------------------------------------

_PREDICT = {
    "tags": ["Predictions"],
    "operationId": "predict",
    "summary": "One picture to every image model",
    "requestBody": {"required": True, "content": pictures()},
    "responses": {
        **responses(
            {
                "description": "The answer of each model, or why it has none.",
                "content": json_content(
                    {
                        "type": "object",
                        "additionalProperties": {
                            "anyOf": [
                                obj(
                                    {
                                        "id": _ID,
                                        "model": {"type": "string"},
                                        "version": {"type": "integer"},
                                        "predictions": {
                                            "type": "array",
                                            "items": {"type": "object"},
                                        },
                                    }
                                ),
                                obj({"error": _ERROR["properties"]["error"]}),
                            ]
                        },
                    }
                ),
            },
            *(400, 404, 413, 415, 429, 500, 503, 504),
        ),
        "422": unreadable_picture(),
    },
}
_STATUS = {
    "tags": ["State"],
    "operationId": "status",
    "summary": "Every replica and model, with recent events",
    "parameters": [
        {
            "name": "replica",
            "in": "query",
            "description": "`self`: this replica alone, without asking the others.",
            "schema": {"enum": ["self"]},
        },
        {
            "name": "worker",
            "in": "query",
            "description": "`self`: this process alone, without asking the other workers.",
            "schema": {"enum": ["self"]},
        },
    ],
    "responses": responses(
        {
            "description": "The state.",
            "content": json_content(
                {
                    "type": "object",
                    "properties": {"id": _ID},
                    "required": ["id"],
                    "anyOf": [ref("Status"), ref("SelfStatus")],
                    "unevaluatedProperties": False,
                }
            ),
        },
        *(400, 500),
    ),
}
_HANGS = {"type": "string", "description": "Which model hangs."}
_LIVE = {
    "tags": ["State"],
    "operationId": "livez",
    "summary": "Whether the process is alive",
    "responses": {
        **responses(
            {
                "description": "It is.",
                "content": json_content(obj({"alive": {"const": True}})),
            }
        ),
        "503": {
            "description": "A model hangs: the process is about to be restarted.",
            "content": json_content(obj({"alive": {"const": False}, "reason": _HANGS})),
        },
    },
}
_READINESS = json_content(
    obj(
        {
            "ready": {"type": "boolean"},
            "draining": {"type": "boolean", "description": "Whether it is about to end."},
            "stand": {
                "enum": ["serving", "undecided", "staying", "leaving"],
                "description": "The agreement with the other replicas. undecided, staying: it "
                "has to stop, and serves until another replica is ready.",
            },
            "process": {"type": "string", "description": "Identifies the process."},
            "models": {"type": "object", "additionalProperties": _STATE},
            "reason": _HANGS,
        },
        "reason",
    )
)
_READY = {
    "tags": ["State"],
    "operationId": "readyz",
    "summary": "Whether to send requests here",
    "responses": {
        **responses({"description": "Yes.", "content": _READINESS}),
        "503": {
            "description": "No: it is loading or draining, or a model hangs.",
            "content": _READINESS,
        },
    },
}
