"""What the parts of the OpenAPI document are built of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.serving.tasks.pictures import MEDIA_TYPES

# The parameter of the native API.
VERSION = {"$ref": "#/components/parameters/version"}
# OpenAPI leaves the schema of raw bytes empty; the format makes Swagger UI offer a file.
FILE = {"type": "string", "format": "binary"}


def ref(schema: str) -> dict[str, Any]:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{schema}"}


def obj(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    """An object that has all `properties`, but for the `optional`."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def nullable(kind: str) -> dict[str, Any]:
    """A value of a JSON type, or null."""
    return {"type": [kind, "null"]}


def named(
    name: str, description: str, examples: Sequence[str] = (), kind: str = "string"
) -> dict[str, Any]:
    """A part of an address. kind: its JSON type."""
    found: dict[str, Any] = {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1} if kind == "string" else {"type": kind},
    }
    if examples:
        found["examples"] = {example: {"value": example} for example in examples}
    return found


def json_content(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    """A body of JSON."""
    media: dict[str, Any] = {"schema": schema}
    if example is not None:
        media["example"] = example
    return {"application/json": media}


def pictures(*, several: bool) -> dict[str, Any]:
    """A body that is a picture, or a form with one or `several`."""
    field: dict[str, Any] = {"type": "array", "items": FILE, "minItems": 1} if several else FILE
    form = {"type": "object", "properties": {"image": field}, "required": ["image"]}
    return {
        "multipart/form-data": {"schema": form},
        **{media_type: {"schema": FILE} for media_type in MEDIA_TYPES},
    }


def responses(success: dict[str, Any], *errors: int, prefix: str = "Error") -> dict[str, Any]:
    """The answer of status 200, and errors by their status; `prefix`: of the components' names."""
    known = {str(status): {"$ref": f"#/components/responses/{prefix}{status}"} for status in errors}
    return {"200": success, **known}
