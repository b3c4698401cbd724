"""The Open Inference Protocol (v2) in the OpenAPI document, as `app.api.v2.routes` answers it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.api.openapi.examples import example_tensors, v2_infer
from app.api.openapi.parts import (
    json_content,
    model_name,
    named,
    protocol_operation,
    ref,
    static_parts,
)
from app.api.v2.request import HEADER_LENGTH
from app.serving.hub_rounds import spread
from app.serving.models.model import Model

TAG = "Open Inference Protocol (v2)"
_DATA = static_parts("v2")
SCHEMAS: dict[str, Any] = _DATA["schemas"]
_MODEL_READY, _BINARY = _DATA["parts"]["model_ready"], _DATA["parts"]["binary"]
# The schema of the header that tells where binary data begin.
_JSON_LENGTH = _DATA["parts"]["json_length"]
# Errors of requests without a body, and with one.
_NO_BODY, _BODY = (429, 500, 503), (413, 415, 429, 500, 503, 504)


def paths(models: list[Model]) -> dict[str, Any]:
    """Return every path of the protocol."""
    found: dict[str, Any] = {path: {**item} for path, item in _DATA["paths"].items()}
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
                "parameters": _parameters(place, models, names),
                "get": protocol_operation(
                    TAG, f"{key}_{what}", summary, json_content(schema), (404, *_NO_BODY)
                ),
            }
        infer = protocol_operation(
            *(TAG, f"{key}_infer", "Infer", {**json_content(ref("v2.InferResponse")), **_BINARY}),
            (400, 404, *_BODY),
            {**json_content(ref("v2.InferRequest"), examples=examples), **_BINARY},
        )
        infer["responses"]["200"]["headers"] = {HEADER_LENGTH: _JSON_LENGTH}
        size = {"name": HEADER_LENGTH, "in": "header", **_JSON_LENGTH}
        found[f"{path}/infer"] = {
            "parameters": [*_parameters(place, models, examples), size],
            "post": infer,
        }
    return found


def _parameters(place: str, models: list[Model], examples: Iterable[str]) -> list[dict[str, Any]]:
    """Return the parameters of a path. examples: names of models."""
    found = [model_name(models, examples)]
    if place:
        versions = {model.name: str(model.version) for model in models}
        text = {"type": "string", "pattern": "^[^/]+$"}
        of = {name: versions[name] for name in examples}
        found.append(named("version", "Its number or an alias.", text, of))
    return found
