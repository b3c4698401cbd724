"""TensorFlow Serving's REST API (v1) in the OpenAPI document, as `app.api.v1.routes` answers it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from app.api.openapi.examples import example_tensors, v1_examples, v1_predict
from app.api.openapi.parts import (
    json_content,
    model_name,
    named,
    protocol_operation,
    ref,
    static_parts,
)
from app.serving.hub_rounds import spread
from app.serving.models.model import Model
from app.serving.signature import CLASSIFY_METHOD, REGRESS_METHOD

TAG = "TensorFlow Serving (v1)"
_DATA = static_parts("v1")
# Errors of requests without a body, and with one.
_NO_BODY, _BODY = (429, 500, 503), (413, 415, 429, 500, 503, 504)
# For the model itself or one of its versions: the rest of the path, and the errors of an unknown
# one.
_PLACES = {
    "v1": ("", (400, 404)),
    "v1_version": ("/versions/{version}", (400, 404)),
    "v1_label": ("/labels/{label}", (400,)),
}


def paths(models: list[Model]) -> dict[str, Any]:
    """Return every path of the protocol."""
    found: dict[str, Any] = {path: {**item} for path, item in _DATA["paths"].items()}
    names = [model.name for model in models]
    verbs = (
        ("predict", "v1.PredictRequest", "v1.PredictResponse", _predictions(models)),
        ("classify", "v1.ExamplesRequest", "v1.ClassifyResponse", _bodies(CLASSIFY_METHOD, models)),
        ("regress", "v1.ExamplesRequest", "v1.RegressResponse", _bodies(REGRESS_METHOD, models)),
    )
    for key, (place, unknown) in _PLACES.items():
        path = f"/v1/models/{{name}}{place}"
        for rest, what, summary, schema in (
            ("", "status", "State of the versions", "v1.Status"),
            ("/metadata", "metadata", "Signatures", "v1.Metadata"),
        ):
            found[f"{path}{rest}"] = {
                "parameters": _parameters(place, models, names),
                "get": protocol_operation(
                    TAG, f"{key}_{what}", summary, json_content(ref(schema)), (*unknown, *_NO_BODY)
                ),
            }
        for verb, request, answer, examples in verbs:
            found[f"{path}:{verb}"] = {
                "parameters": _parameters(place, models, examples),
                "post": protocol_operation(
                    TAG,
                    f"{key}_{verb}",
                    verb.capitalize(),
                    json_content(ref(answer)),
                    (*unknown, *_BODY),
                    json_content(ref(request), examples=examples),
                ),
            }
    return found


def _parameters(place: str, models: list[Model], examples: Iterable[str]) -> list[dict[str, Any]]:
    """Return the parameters of a path. examples: names of models."""
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
    """Return a body for each model that has a short one."""
    tensors = {model.name: example_tensors(model) for model in spread(models)}
    return {
        model.name: v1_predict(model, t) for model in spread(models) if (t := tensors[model.name])
    }


def _bodies(method: str, models: list[Model]) -> dict[str, Any]:
    """Return a body for each model with a signature of that method."""
    return {
        model.name: v1_examples(name)
        for model in spread(models)
        for name in [n for n, s in model.signatures.items() if s.method == method][:1]
    }


def schemas(max_rows: int) -> dict[str, Any]:
    """Return the schemas that the paths refer to. max_rows: of a request."""
    found: dict[str, Any] = deepcopy(_DATA["schemas"])
    for rows in (
        found["v1.PredictRequest"]["oneOf"][0]["properties"]["instances"],
        found["v1.ExamplesRequest"]["properties"]["examples"],
    ):
        rows["maxItems"] = max_rows
    return found
