"""The native API in the OpenAPI document: what holds whatever the models are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic.json_schema import models_json_schema

from app.api.errors import STATUS
from app.api.openapi_errors import MEANINGS, errors, native_errors, unreadable_picture
from app.api.openapi_models import predictions, schemas
from app.api.openapi_parts import (
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
from app.serving.card import TASKS, Card
from app.serving.entry import HIDDEN, State
from app.status.shape import SelfStatus, Status

if TYPE_CHECKING:
    from app.serving.model import Model
    from app.settings import Settings

TAGS = (
    {"name": "Predictions", "description": "Ask one model, or all that take pictures."},
    {"name": "Models", "description": "Which models there are, and what they take."},
    {"name": "State", "description": "For load balancers and for whoever runs this server."},
)
_ID = {"type": "string", "description": "Of the request, as in `X-Request-ID`."}


def paths(models: list[Model]) -> dict[str, Any]:
    """Every address of the native API, with one for each model."""
    name = named(
        "name",
        "Of the model.",
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
        "/api/status": {"get": _STATUS},
        "/livez": {"get": _LIVE},
        "/readyz": {"get": _READY},
    }


def components(models: list[Model], settings: Settings) -> dict[str, Any]:
    """Schemas, responses, parameters and headers that the paths refer to."""
    _, described = models_json_schema(
        [(Status, "serialization"), (SelfStatus, "serialization"), (Card, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    shown = described["$defs"]
    for key, hidden in HIDDEN.items():
        properties = shown["Card" if hidden is True else "TextSettings"]["properties"]
        for name in [key] if hidden is True else hidden:
            del properties[name]
    return {
        "schemas": {
            **schemas(models),
            **shown,
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
_REASON = {"type": "string", "description": "Why it is not served, or a change of it is not."}
_SUMMARY = {
    "name": {"type": "string"},
    "title": {"type": "string"},
    "description": nullable("string"),
    "task": {"enum": [*TASKS, None], "description": "null while it is unknown."},
    "state": _STATE,
    "version": {**_NUMBER, "description": "That answers unless another is asked for."},
    "versions": array(obj({"version": _NUMBER, "state": _STATE, "reason": _REASON}, "reason")),
    "aliases": {
        "type": "object",
        "additionalProperties": _NUMBER,
        "description": "What else versions may be called, and which each stands for.",
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
        "description": "A version that has so many percent of the requests that name none.",
    },
    "metrics": {
        "type": "object",
        "additionalProperties": {"type": ["number", "string"]},
        "description": "Quality, as the model's author has measured it.",
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
                "description": "null where any size goes.",
            },
        }
    ),
}
# What there is only of a model that is ready.
_DESCRIBED = {
    "card": ref("Card"),
    "input": {"type": "object", "description": "What a request must look like."},
    "signature": obj({"inputs": _TENSORS, "outputs": _TENSORS}),
    "parameters": {**nullable("integer"), "description": "The number of weights."},
    "loaded_at": {"type": "number", "description": "Seconds since 1970."},
    "waiting": {"type": "integer", "description": "Requests between arrival and answer."},
    "generation": {
        **obj({"kind": {"enum": ["step", "window"]}, "reason": nullable("string")}),
        "description": "How a model of texts makes them.",
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
    "description": "In how many seconds to try again.",
    "schema": {"type": "integer", "minimum": 0},
}
_VERSION = {
    "name": "version",
    "in": "query",
    "description": "The number or an alias of the version to ask; else the model's own choice.",
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
    "requestBody": {"required": True, "content": pictures(several=False)},
    "responses": {
        **responses(
            {
                "description": "What each model answers, or why it does not.",
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
    "summary": "Every replica and model, with what happened of late",
    "parameters": [
        {
            "name": "replica",
            "in": "query",
            "description": "`self`: this replica alone, without asking the others.",
            "schema": {"enum": ["self"]},
        }
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
    "summary": "Whether the process lives",
    "responses": {
        **responses(
            {
                "description": "It does.",
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
            "draining": {"type": "boolean", "description": "Told to stop."},
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
