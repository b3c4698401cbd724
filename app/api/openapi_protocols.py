"""The standard protocols in the OpenAPI document.

v1: TensorFlow Serving's REST API (tensorflow.org/tfx/serving/api_rest), with the list of models as
KServe has it. v2: the Open Inference Protocol (github.com/kserve/open-inference-protocol), with
Triton's extensions for the repository, statistics and binary tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.api.openapi_parts import json_content, named, nullable, obj, ref, responses

if TYPE_CHECKING:
    from app.serving.model import Model

_V1, _V2 = "TensorFlow Serving (v1)", "Open Inference Protocol (v2)"
TAGS = (
    {"name": _V1, "description": "What clients of TensorFlow Serving ask."},
    {"name": _V2, "description": "What clients of KServe and Triton ask."},
)
_PREFIX = "ProtocolError"
_ANY = {"type": "object"}
_MEANINGS = {
    400: "The request cannot be read, or the model cannot take it.",
    404: "There is no such model, version or label.",
    413: "The body is larger than this server takes.",
    415: "Bodies of this kind or encoding are not taken.",
    429: "Too many requests from this address (said by nginx).",
    500: "The server or the model failed.",
    503: "Not now: the model is not ready or has a full queue, or the server stops.",
    504: "No answer within the time allowed.",
}
_ASKED = (400, 404, 413, 415, 429, 500, 503, 504)
_TOLD = (404, 429, 500, 503)


def paths(models: list[Model]) -> dict[str, Any]:
    """Every address of both protocols."""
    names = [model.name for model in models]
    return {**_v1(names), **_v2(names)}


def components(models: list[Model]) -> dict[str, Any]:
    """Schemas and responses that the paths refer to."""
    return {
        "schemas": {
            "v1.Error": obj({"error": {"type": "string"}}),
            **_V1_SCHEMAS,
            **_V2_SCHEMAS,
        },
        "responses": {
            f"{_PREFIX}{status}": {
                "description": meaning,
                "content": json_content(ref("v1.Error")),
            }
            for status, meaning in _MEANINGS.items()
        },
    }


def _get(tag: str, name: str, summary: str, schema: dict[str, Any], *errors: int) -> dict[str, Any]:
    """An operation without a body. name: its own, for programs that are made of the document."""
    success = {"description": "The answer.", "content": json_content(schema)}
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "responses": responses(success, *(errors or _TOLD), prefix=_PREFIX),
    }


def _post(tag: str, name: str, summary: str, body: Any, success: Any) -> dict[str, Any]:
    """An operation with a body."""
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": body},
        "responses": responses(success, *_ASKED, prefix=_PREFIX),
    }


# --- v1 ------------------------------------------------------------------------------------------


def _v1(names: list[str]) -> dict[str, Any]:
    listed = obj({"models": {"type": "array", "items": {"type": "string"}}})
    found: dict[str, Any] = {
        "/v1/models": {"get": _get(_V1, "v1_models", "The names of all models", listed, 429, 500)}
    }
    model = named("name", "Of the model.", names)
    forms = (
        ("/v1/models/{name}", "v1", [model]),
        (
            "/v1/models/{name}/versions/{version}",
            "v1_version",
            [model, named("version", "Of the model.", kind="integer")],
        ),
        (
            "/v1/models/{name}/labels/{label}",
            "v1_label",
            [model, named("label", "An alias of a version.")],
        ),
    )
    for path, key, parameters in forms:
        found[path] = {
            "parameters": parameters,
            "get": _get(
                _V1, f"{key}_status", "State of the versions", ref("v1.Status"), 400, *_TOLD
            ),
        }
        found[f"{path}/metadata"] = {
            "parameters": parameters,
            "get": _get(_V1, f"{key}_metadata", "Signatures", ref("v1.Metadata"), 400, *_TOLD),
        }
        for verb, request, answer in (
            ("predict", "v1.PredictRequest", "v1.PredictResponse"),
            ("classify", "v1.ExamplesRequest", "v1.ClassifyResponse"),
            ("regress", "v1.ExamplesRequest", "v1.RegressResponse"),
        ):
            found[f"{path}:{verb}"] = {
                "parameters": parameters,
                "post": _post(
                    _V1,
                    f"{key}_{verb}",
                    verb.capitalize(),
                    json_content(ref(request)),
                    {"description": "The answer.", "content": json_content(ref(answer))},
                ),
            }
    return found


_SIGNATURE = {"type": "string", "description": "Else the model's default."}
_V1_SCHEMAS = {
    "v1.Status": obj(
        {
            "model_version_status": {
                "type": "array",
                "items": obj(
                    {
                        "version": {"type": "string"},
                        "state": {"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                        "status": obj(
                            {
                                "error_code": {"type": "string"},
                                "error_message": {"type": "string"},
                            }
                        ),
                    }
                ),
            }
        }
    ),
    "v1.Metadata": obj(
        {
            "model_spec": obj(
                {
                    "name": {"type": "string"},
                    "signature_name": {"type": "string"},
                    "version": {"type": "string"},
                }
            ),
            "metadata": obj({"signature_def": _ANY}),
        }
    ),
    "v1.PredictRequest": {
        "oneOf": [
            obj(
                {
                    "signature_name": _SIGNATURE,
                    "instances": {
                        "type": "array",
                        "minItems": 1,
                        "description": "A row each: of one input by itself, else `{input: row}`. "
                        '`{"b64": …}` is bytes, such as a picture.',
                    },
                },
                "signature_name",
            ),
            obj(
                {
                    "signature_name": _SIGNATURE,
                    "inputs": {"description": "All rows: of one input by itself, or by name."},
                },
                "signature_name",
            ),
        ]
    },
    "v1.PredictResponse": {
        "oneOf": [
            obj({"predictions": {"type": "array", "description": "To `instances`: a row each."}}),
            obj({"outputs": {"description": "To `inputs`: all rows, by name where several."}}),
        ]
    },
    "v1.ExamplesRequest": obj(
        {
            "signature_name": _SIGNATURE,
            "context": {**_ANY, "description": "Features that all examples share."},
            "examples": {
                "type": "array",
                "items": _ANY,
                "minItems": 1,
                "description": "The features of each by name, as of a `tf.Example`.",
            },
        },
        "signature_name",
        "context",
    ),
    "v1.ClassifyResponse": obj(
        {
            "results": {
                "type": "array",
                "items": {
                    "type": "array",
                    "items": {
                        "type": "array",
                        "prefixItems": [{"type": "string"}, {"type": ["number", "string"]}],
                        "minItems": 2,
                        "maxItems": 2,
                    },
                },
                "description": "Of each example, labels with their scores.",
            }
        }
    ),
    "v1.RegressResponse": obj({"results": {"type": "array", "description": "A value an example."}}),
}

# --- v2 ------------------------------------------------------------------------------------------


def _v2(names: list[str]) -> dict[str, Any]:
    model = named("name", "Of the model.", names)
    found: dict[str, Any] = {
        "/v2": {"get": _get(_V2, "v2_server", "The server", ref("v2.Server"), 429, 500)},
        "/v2/health/live": {"get": _yes("v2_live", "Whether the server lives")},
        "/v2/health/ready": {"get": _yes("v2_ready", "Whether all models can be asked", 503)},
        "/v2/repository/index": {
            "post": {
                **_get(_V2, "v2_index", "All models with their state", ref("v2.Index"), 400, 500),
                "requestBody": {"content": json_content(ref("v2.IndexRequest"))},
            }
        },
        "/v2/models/stats": {
            "get": _get(_V2, "v2_all_stats", "Statistics of all models", ref("v2.Stats"))
        },
    }
    forms = (
        ("/v2/models/{name}", "v2_model", [model]),
        (
            "/v2/models/{name}/versions/{version}",
            "v2_version",
            [model, named("version", "Of the model.")],
        ),
    )
    success = {"description": "The answer.", "content": _tensors("v2.InferResponse")}
    for path, key, parameters in forms:
        metadata = _get(_V2, f"{key}_metadata", "Inputs and outputs", ref("v2.Model"))
        stats = _get(_V2, f"{key}_stats", "Statistics", ref("v2.Stats"))
        infer = _post(_V2, f"{key}_infer", "Infer", _tensors("v2.InferRequest"), success)
        ready = _yes(f"{key}_ready", "Whether it can be asked", *_TOLD)
        found[path] = {"parameters": parameters, "get": metadata}
        found[f"{path}/ready"] = {"parameters": parameters, "get": ready}
        found[f"{path}/stats"] = {"parameters": parameters, "get": stats}
        found[f"{path}/infer"] = {"parameters": [*parameters, _JSON_SIZE], "post": infer}
    return found


def _yes(name: str, summary: str, *errors: int) -> dict[str, Any]:
    """An operation that answers by its status."""
    return {
        "tags": [_V2],
        "operationId": name,
        "summary": summary,
        "responses": responses({"description": "Yes."}, *errors, prefix=_PREFIX),
    }


def _tensors(schema: str) -> dict[str, Any]:
    """JSON, or JSON with binary tensors after it."""
    return {**json_content(ref(schema)), "application/octet-stream": {"schema": {}}}


_JSON_SIZE = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Bytes of the JSON, where binary tensors follow it.",
    "schema": {"type": "integer", "minimum": 0},
}
_DATATYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BF16", "BYTES"),
)
_NAME = {"type": "string"}
_TENSOR = {
    "name": _NAME,
    "datatype": {"enum": list(_DATATYPES)},
    "shape": {"type": "array", "items": {"type": "integer"}},
}
_DATA = {
    **_TENSOR,
    "parameters": _ANY,
    "data": {"type": "array", "description": "Flat or nested."},
}
_COUNT = {"type": "integer", "minimum": 0}
_V2_SCHEMAS = {
    "v2.Server": obj(
        {"name": _NAME, "version": _NAME, "extensions": {"type": "array", "items": _NAME}}
    ),
    "v2.Model": obj(
        {
            "name": _NAME,
            "versions": {"type": "array", "items": _NAME},
            "platform": _NAME,
            "inputs": {"type": "array", "items": obj(_TENSOR)},
            "outputs": {"type": "array", "items": obj(_TENSOR)},
        }
    ),
    "v2.InferRequest": obj(
        {
            "id": _NAME,
            "parameters": _ANY,
            "inputs": {
                "type": "array",
                "items": obj(_DATA, "parameters", "data"),
                "description": "An input without `data` has its tensor after the JSON.",
            },
            "outputs": {
                "type": "array",
                "items": obj({"name": _NAME, "parameters": _ANY}, "parameters"),
                "description": "Else all.",
            },
        },
        *("id", "parameters", "outputs"),
    ),
    "v2.InferResponse": obj(
        {
            "model_name": _NAME,
            "model_version": _NAME,
            "id": _NAME,
            "parameters": _ANY,
            "outputs": {"type": "array", "items": obj(_DATA, "parameters", "data")},
        },
        *("model_version", "id", "parameters"),
    ),
    "v2.IndexRequest": {
        "type": "object",
        "properties": {"ready": {"type": "boolean", "description": "Only those that are."}},
    },
    "v2.Index": {
        "type": "array",
        "items": obj(
            {"name": _NAME, "version": _NAME, "state": nullable("string"), "reason": _NAME},
            *("version", "state", "reason"),
        ),
    },
    "v2.Stats": obj(
        {
            "model_stats": {
                "type": "array",
                "items": obj(
                    {
                        "name": _NAME,
                        "version": _NAME,
                        "inference_count": _COUNT,
                        "execution_count": _COUNT,
                        "inference_stats": _ANY,
                    },
                    *("inference_count", "execution_count", "inference_stats"),
                ),
            }
        }
    ),
}
