"""TensorFlow Serving's REST API (v1) in the OpenAPI document, as `app.api.tfserving` answers it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.api.openapi_examples import example_tensors, v1_examples, v1_predict
from app.api.openapi_parts import (
    array,
    json_content,
    model_name,
    named,
    obj,
    protocol_operation,
    ref,
)
from app.api.tfserving import STATES
from app.serving.rounds import spread
from app.serving.signature import CLASSIFY_METHOD, REGRESS_METHOD

if TYPE_CHECKING:
    from app.serving.model import Model

TAG = "TensorFlow Serving (v1)"
# Errors of what has no body, and of what has one.
_TOLD, _ASKED = (429, 500, 503), (413, 415, 429, 500, 503, 504)
# Of the model itself or a version of it, the rest of the address and what an unknown one gets.
_PLACES = {
    "v1": ("", (400, 404)),
    "v1_version": ("/versions/{version}", (400, 404)),
    "v1_label": ("/labels/{label}", (400,)),
}


def paths(models: list[Model]) -> dict[str, Any]:
    """Every address of it."""
    listed = json_content(obj({"models": array({"type": "string"})}))
    found: dict[str, Any] = {
        "/v1/models": {
            "get": protocol_operation(TAG, "v1_models", "The names of all models", listed, _TOLD)
        }
    }
    names = [model.name for model in models]
    verbs = (
        ("predict", "v1.PredictRequest", "v1.PredictResponse", _predictions(models)),
        ("classify", "v1.ExamplesRequest", "v1.ClassifyResponse", _of(CLASSIFY_METHOD, models)),
        ("regress", "v1.ExamplesRequest", "v1.RegressResponse", _of(REGRESS_METHOD, models)),
    )
    for key, (place, unknown) in _PLACES.items():
        path = f"/v1/models/{{name}}{place}"
        for rest, what, summary, schema in (
            ("", "status", "State of the versions", "v1.Status"),
            ("/metadata", "metadata", "Signatures", "v1.Metadata"),
        ):
            found[f"{path}{rest}"] = {
                "parameters": _parts(place, models, names),
                "get": protocol_operation(
                    TAG, f"{key}_{what}", summary, json_content(ref(schema)), (*unknown, *_TOLD)
                ),
            }
        for verb, request, answer, examples in verbs:
            found[f"{path}:{verb}"] = {
                "parameters": _parts(place, models, examples),
                "post": protocol_operation(
                    TAG,
                    f"{key}_{verb}",
                    verb.capitalize(),
                    json_content(ref(answer)),
                    (*unknown, *_ASKED),
                    json_content(ref(request), examples=examples),
                ),
            }
    return found


def _parts(place: str, models: list[Model], examples: Iterable[str]) -> list[dict[str, Any]]:
    """The parts of an address. examples: names of models."""
    found = [model_name(models, examples)]
    if "version" in place:
        versions = {model.name: model.version for model in models}
        whole = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
        version = named("version", "Its number.", whole, {n: versions[n] for n in examples})
        found.append(version)
    elif "label" in place:
        text = {"type": "string", "pattern": "^[^/:]+$"}
        found.append(named("label", "An alias of a version.", text))
    return found


def _predictions(models: list[Model]) -> dict[str, Any]:
    """A body for each model that has a short one."""
    tensors = {model.name: example_tensors(model) for model in spread(models)}
    return {
        model.name: v1_predict(model, t) for model in spread(models) if (t := tensors[model.name])
    }


def _of(method: str, models: list[Model]) -> dict[str, Any]:
    """A body for each model that has a signature of the method."""
    return {
        model.name: v1_examples(name)
        for model in spread(models)
        for name in [n for n, s in model.signatures.items() if s.method == method][:1]
    }


_SIGNATURE = {"type": "string", "description": "Else the model's default."}
_TEXT = {"type": "string"}
_WHOLE_NUMBER = {"type": "string", "pattern": "^[0-9]+$"}
_NUMBERS = "NaN, Infinity and -Infinity are written so, although JSON does not have them."
# What tensors are made of. Recursive: of any number of dimensions.
_BASE64 = obj({"b64": {"type": "string", "contentEncoding": "base64"}})
_VALUE = ref("v1.Value")
_BY_NAME = {"type": "object", "additionalProperties": _VALUE}
_TENSORS = {
    "type": "object",
    "additionalProperties": obj(
        {
            "dtype": {"type": "string", "pattern": "^DT_[A-Z0-9]+$"},
            "tensor_shape": obj(
                {
                    "dim": array(
                        obj(
                            {
                                "size": {
                                    "type": "string",
                                    "pattern": "^(-1|[0-9]+)$",
                                    "description": "-1 where any size goes.",
                                },
                                "name": {"const": ""},
                            }
                        )
                    ),
                    "unknown_rank": {"type": "boolean"},
                }
            ),
            "name": {"type": "string", "description": "In the graph."},
        }
    ),
}
_SIGNATURES = {
    "type": "object",
    "additionalProperties": obj(
        {
            "inputs": _TENSORS,
            "outputs": _TENSORS,
            "method_name": {"type": "string", "examples": [CLASSIFY_METHOD]},
            "defaults": obj({}),
        }
    ),
}
_SCHEMAS = {
    "v1.Status": obj(
        {
            "model_version_status": array(
                obj(
                    {
                        "version": _WHOLE_NUMBER,
                        "state": {"enum": list(STATES.values())},
                        "status": obj(
                            {"error_code": {"enum": ["OK", "UNKNOWN"]}, "error_message": _TEXT}
                        ),
                    }
                ),
                minItems=1,
            )
        }
    ),
    "v1.Metadata": obj(
        {
            "model_spec": obj(
                {"name": _TEXT, "signature_name": {"const": ""}, "version": _WHOLE_NUMBER}
            ),
            "metadata": obj({"signature_def": obj({"signature_def": _SIGNATURES})}),
        }
    ),
    "v1.Value": {
        "anyOf": [{"type": ["number", "string", "boolean"]}, _BASE64, array(_VALUE)],
        "description": "A tensor as nested lists, or one value of it. `b64` is bytes, such as a "
        f"picture. {_NUMBERS}",
    },
    "v1.PredictResponse": {
        "oneOf": [
            obj(
                {
                    "predictions": array(
                        {"anyOf": [_VALUE, _BY_NAME]},
                        description="To `instances`: a row each, by name where there are several "
                        "outputs.",
                    )
                }
            ),
            obj(
                {
                    "outputs": {
                        "anyOf": [_VALUE, _BY_NAME],
                        "description": "To `inputs`: all rows, by name where there are several "
                        "outputs.",
                    }
                }
            ),
        ]
    },
    "v1.ClassifyResponse": obj(
        {
            "results": array(
                # With `prefixItems` Schemathesis cannot cope.
                array(array({"type": ["string", "number"]}, minItems=2, maxItems=2)),
                description=f"Of each example, labels with their scores. {_NUMBERS}",
            )
        }
    ),
    "v1.RegressResponse": obj(
        {"results": array({"type": "number"}, description=f"A value an example. {_NUMBERS}")}
    ),
}


def _predict_request(max_rows: int) -> dict[str, Any]:
    return {
        "oneOf": [
            obj(
                {
                    "signature_name": _SIGNATURE,
                    "instances": array(
                        {"anyOf": [_VALUE, _BY_NAME]},
                        minItems=1,
                        maxItems=max_rows,
                        description="A row each: of one input by itself, else `{input: row}`.",
                    ),
                },
                "signature_name",
                more=True,
            ),
            obj(
                {
                    "signature_name": _SIGNATURE,
                    "inputs": {
                        "anyOf": [_VALUE, {"type": "object", "minProperties": 1}],
                        "description": "All rows: of one input by itself, or by name.",
                    },
                },
                "signature_name",
                more=True,
            ),
        ]
    }


def _examples_request(max_rows: int) -> dict[str, Any]:
    return obj(
        {
            "signature_name": _SIGNATURE,
            "context": {**_BY_NAME, "description": "Features that all examples share."},
            "examples": array(
                _BY_NAME,
                minItems=1,
                maxItems=max_rows,
                description="The features of each by name, as of a `tf.Example`: a value, or a "
                "list of values of one kind.",
            ),
        },
        "signature_name",
        "context",
        more=True,
    )


def schemas(max_rows: int) -> dict[str, Any]:
    """The schemas that the paths refer to. max_rows: of a request."""
    return {
        **_SCHEMAS,
        "v1.PredictRequest": _predict_request(max_rows),
        "v1.ExamplesRequest": _examples_request(max_rows),
    }
