"""What the parts of the OpenAPI document are built of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.serving.tasks.pictures import MEDIA_TYPES

if TYPE_CHECKING:
    from app.serving.model import Model

# The parameter of the native API.
VERSION = {"$ref": "#/components/parameters/version"}
# OpenAPI leaves the schema of raw bytes empty; the format makes Swagger UI offer a file.
FILE = {"type": "string", "format": "binary"}
# What the components of errors of the standard protocols are called, after `v1` or `v2` and before
# their status.
PROTOCOL_ERROR = ".Error"


def ref(schema: str) -> dict[str, Any]:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{schema}"}


def obj(properties: dict[str, Any], *optional: str, more: bool = False) -> dict[str, Any]:
    """An object that has all `properties`, but for the `optional`. more: whether it may have
    others, which mean nothing: those of a request."""
    required = [name for name in properties if name not in optional]
    schema = {"type": "object", "properties": properties, "required": required}
    return schema if more else {**schema, "additionalProperties": False}


def array(items: Mapping[str, Any], **limits: Any) -> dict[str, Any]:
    """A list of `items`."""
    return {"type": "array", "items": items, **limits}


def nullable(kind: str) -> dict[str, Any]:
    """A value of a JSON type, or null."""
    return {"type": [kind, "null"]}


def named(
    name: str, description: str, schema: dict[str, Any], examples: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A part of an address. examples: its values by what they are called."""
    found = {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
    }
    return {**found, "examples": values(examples)} if examples else found


def values(examples: Mapping[str, Any]) -> dict[str, Any]:
    """Examples by what they are called."""
    return {name: {"value": example} for name, example in examples.items()}


def model_name(models: Iterable[Model], examples: Iterable[str]) -> dict[str, Any]:
    """The part of an address that is the name of one of the models. examples: names of those that
    there are examples of bodies for, which Swagger UI and others pair by their order."""
    names = [model.name for model in models]
    schema = {"type": "string", "enum": names} if names else {"type": "string", "minLength": 1}
    return named("name", "Of the model.", schema, {name: name for name in examples})


def json_content(
    schema: dict[str, Any], example: Any = None, examples: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A body of JSON. examples: of several, by what they are called."""
    media: dict[str, Any] = {"schema": schema}
    if example is not None:
        media["example"] = example
    if examples:
        media["examples"] = values(examples)
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


def protocol_operation(
    tag: str,
    name: str,
    summary: str,
    answer: dict[str, Any],
    statuses: Sequence[int],
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A way to ask one of the standard protocols. name: its own, for programs that are made of the
    document; it begins with `v1` or `v2`. answer: its content. statuses: of errors. body: the
    content of a request."""
    operation = {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "responses": responses(
            {"description": "The answer.", "content": answer},
            *statuses,
            prefix=name[:2] + PROTOCOL_ERROR,
        ),
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation
