"""The Open Inference Protocol (v2) in the OpenAPI document, as `app.api.oip` answers it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.api.oip import EXTENSIONS
from app.api.oip_models import PLATFORM, STATES
from app.api.oip_request import HEADER_LENGTH, MAX_TENSORS
from app.api.oip_tensors import DATATYPES, MAX_DIMENSIONS
from app.api.openapi_examples import example_tensors, v2_infer
from app.api.openapi_parts import (
    FILE,
    array,
    json_content,
    model_name,
    named,
    nullable,
    obj,
    protocol_operation,
    ref,
)
from app.serving.rounds import spread
from app.serving.tensors import kind

if TYPE_CHECKING:
    from app.serving.model import Model

TAG = "Open Inference Protocol (v2)"
_TOLD, _ASKED = (429, 500, 503), (413, 415, 429, 500, 503, 504)


def paths(models: list[Model]) -> dict[str, Any]:
    """Every address of it."""
    index = protocol_operation(
        *(TAG, "v2_index", "All versions of all models", json_content(ref("v2.Index"))),
        (400, *_ASKED),
        json_content(ref("v2.IndexRequest")),
    )
    index["requestBody"]["required"] = False
    found: dict[str, Any] = {
        "/v2": {"get": _get("v2_server", "The server", _SERVER)},
        "/v2/health/live": {"get": _LIVE},
        "/v2/health/ready": {"get": _READY},
        "/v2/repository/index": {"post": index},
        "/v2/models/stats": {
            "get": _get("v2_all_stats", "Statistics of all models", ref("v2.Stats"))
        },
    }
    tensors = {model.name: example_tensors(model) for model in spread(models)}
    examples = {name: v2_infer(t) for name, t in tensors.items() if t is not None}
    names = [model.name for model in models]
    for key, place in (("v2_model", ""), ("v2_version", "/versions/{version}")):
        path = f"/v2/models/{{name}}{place}"
        for rest, what, summary, schema in (
            ("", "metadata", "Inputs and outputs", ref("v2.Model")),
            ("/ready", "ready", "Whether it can be asked", _MODEL_READY),
            ("/config", "config", "As Triton's configuration", ref("v2.Config")),
            ("/stats", "stats", "Statistics", ref("v2.Stats")),
        ):
            found[f"{path}{rest}"] = {
                "parameters": _parts(place, models, names),
                "get": _get(f"{key}_{what}", summary, schema, 404, *_TOLD),
            }
        infer = protocol_operation(
            *(TAG, f"{key}_infer", "Infer", {**json_content(ref("v2.InferResponse")), **_BINARY}),
            (400, 404, *_ASKED),
            {**json_content(ref("v2.InferRequest"), examples=examples), **_BINARY},
        )
        infer["responses"]["200"]["headers"] = {HEADER_LENGTH: _HEADER}
        size = {"name": HEADER_LENGTH, "in": "header", **_HEADER}
        found[f"{path}/infer"] = {
            "parameters": [*_parts(place, models, examples), size],
            "post": infer,
        }
    return found


def _get(name: str, summary: str, schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    return protocol_operation(TAG, name, summary, json_content(schema), errors or _TOLD)


def _parts(place: str, models: list[Model], examples: Iterable[str]) -> list[dict[str, Any]]:
    """The parts of an address. examples: names of models."""
    found = [model_name(models, examples)]
    if place:
        versions = {model.name: str(model.version) for model in models}
        text = {"type": "string", "pattern": "^[^/]+$"}
        of = {name: versions[name] for name in examples}
        found.append(named("version", "Its number, or an alias.", text, of))
    return found


# --- What is told --------------------------------------------------------------------------------

_TEXT = {"type": "string"}
_NUMBER = {"type": "string", "pattern": "^[0-9]+$"}
_COUNT = {"type": "integer", "minimum": 0}
_ANY_SIZE = array({"type": "integer", "minimum": -1}, description="-1 where any size goes.")
_SERVER = obj(
    {"name": {"const": "keraport"}, "version": _TEXT, "extensions": array({"enum": EXTENSIONS})}
)
_LIVE = _get("v2_live", "Whether it lives", obj({"live": {"const": True}}), 429, 500)
_LIVE["responses"]["503"] = {
    "description": "No: a model hangs.",
    "content": json_content(obj({"live": {"const": False}})),
}
_MODEL_READY = obj({"name": _TEXT, "ready": {"const": True}})
_READY = _get(
    "v2_ready", "Whether to send requests here", obj({"ready": {"const": True}}), 429, 500
)
_READY["responses"]["503"] = {
    "description": "No: it is loading or draining.",
    "content": json_content(obj({"ready": {"const": False}})),
}
_TENSORS = array(
    obj({"name": _TEXT, "datatype": {"enum": [*DATATYPES.values()]}, "shape": _ANY_SIZE})
)
_CONFIG_TENSORS = array(
    obj(
        {
            "name": _TEXT,
            "data_type": {"type": "string", "pattern": "^TYPE_[A-Z0-9]+$"},
            "dims": {**_ANY_SIZE, "description": "Of a row, where there are batches."},
        }
    )
)
_SPENT = obj({"count": _COUNT, "ns": _COUNT})
_INFERENCES = obj(
    dict.fromkeys(
        (
            *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
            *("cache_hit", "cache_miss"),
        ),
        _SPENT,
    )
)

# --- What is asked and answered ------------------------------------------------------------------

_HEADER = {
    "description": "Bytes of the JSON object, where binary data follow it.",
    "schema": {"type": "integer", "minimum": 1},
}
_BINARY = {
    "application/octet-stream": {
        "schema": {
            **FILE,
            "description": "An object as of `application/json`, in which tensors may have "
            "`parameters: {binary_data_size: bytes}` in the place of `data`, and right behind it "
            f"the bytes of these, one after another. {HEADER_LENGTH} says where they begin.",
        }
    }
}


def _answered(kinds: str, json_type: str) -> dict[str, Any]:
    """An output in JSON. kinds: of datatypes; of BF16 there is no JSON."""
    return obj(
        {
            "name": _TEXT,
            "datatype": {
                "enum": [v for k, v in DATATYPES.items() if kind(k) in kinds and k != "bfloat16"]
            },
            "shape": array(_COUNT),
            "data": array({"type": json_type}),
        }
    )


_PARAMETERS = {
    "type": ["object", "null"],
    "properties": {
        "binary_data_output": {
            "type": "boolean",
            "description": "Whether outputs come as binary data that do not say so themselves.",
        },
        "timeout": {**_COUNT, "description": "Microseconds until the answer is worth nothing."},
    },
    "description": "Others mean nothing here.",
}
_INPUT = obj(
    {
        "name": {"type": "string", "minLength": 1},
        "datatype": {"enum": [v for v in DATATYPES.values() if v != "BF16"]},
        "shape": array(_COUNT, maxItems=MAX_DIMENSIONS),
        "parameters": {"type": ["object", "null"]},
        "data": array(ref("v2.Value")),
    },
    "parameters",
    more=True,
)
_OUTPUT = obj(
    {
        "name": {"type": "string", "minLength": 1},
        "parameters": {
            "type": ["object", "null"],
            "properties": {
                "binary_data": {"type": "boolean"},
                "classification": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "So many of the best classes of each row, as texts "
                    "`score:index:label`, in the place of the tensor.",
                },
            },
        },
    },
    "parameters",
    more=True,
)
SCHEMAS = {
    "v2.Model": obj(
        {
            "name": _TEXT,
            "versions": array(_NUMBER),
            "platform": {"const": PLATFORM},
            "inputs": _TENSORS,
            "outputs": _TENSORS,
        }
    ),
    "v2.Config": obj(
        {
            "name": _TEXT,
            "platform": {"const": PLATFORM},
            "backend": {"const": "tensorflow"},
            "max_batch_size": {**_COUNT, "description": "0 where there are no batches."},
            "input": _CONFIG_TENSORS,
            "output": _CONFIG_TENSORS,
        }
    ),
    "v2.IndexRequest": obj(
        {"ready": {"type": "boolean", "description": "Only those that are."}}, "ready", more=True
    ),
    "v2.Index": array(
        obj(
            {
                "name": _TEXT,
                "version": _NUMBER,
                "state": {"enum": [*STATES.values()]},
                "reason": {"type": "string", "description": "Why it is not ready."},
            }
        )
    ),
    "v2.Stats": obj(
        {
            "model_stats": array(
                obj(
                    {
                        "name": _TEXT,
                        "version": _NUMBER,
                        "last_inference": {**_COUNT, "description": "Milliseconds since 1970."},
                        "inference_count": {**_COUNT, "description": "Of rows."},
                        "execution_count": {**_COUNT, "description": "Of batches."},
                        "inference_stats": _INFERENCES,
                        "batch_stats": array({}, maxItems=0),
                    }
                )
            )
        }
    ),
    "v2.Value": {
        "anyOf": [{"type": ["number", "string", "boolean"]}, array(ref("v2.Value"))],
        "description": "Of a tensor, whose lists may be nested as its shape is or not.",
    },
    "v2.InferRequest": obj(
        {
            "id": {**nullable("string"), "description": "Comes back in the answer."},
            "parameters": _PARAMETERS,
            "inputs": array(_INPUT, minItems=1, maxItems=MAX_TENSORS),
            "outputs": {
                "type": ["array", "null"],
                "items": _OUTPUT,
                "maxItems": MAX_TENSORS,
                "description": "Else all.",
            },
        },
        *("id", "parameters", "outputs"),
        more=True,
    ),
    "v2.InferResponse": obj(
        {
            "id": {"type": "string", "description": "Of the request, where it has one."},
            "model_name": _TEXT,
            "model_version": _NUMBER,
            "outputs": array(
                {
                    "oneOf": [
                        _answered("f", "number"),
                        _answered("iu", "integer"),
                        _answered("b", "boolean"),
                        _answered("s", "string"),
                    ]
                },
                description="The values of each tensor in one list. NaN, Infinity and -Infinity "
                "are written so, although JSON does not have them.",
            ),
        },
        "id",
    ),
}
