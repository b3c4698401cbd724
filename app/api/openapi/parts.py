"""The building blocks of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from app.api.native.examples import MadeUpFile, in_json
from app.serving.models.model import Model
from app.serving.tasks.files.file_kinds import PICTURES, RECORDINGS, FileKind
from app.serving.tasks.files.pictures import MEDIA_TYPES
from app.serving.tasks.files.recordings import MEDIA_TYPES as RECORDING_TYPES
from app.serving.tasks.files_json import files_schema

# The query parameter of the native API.
VERSION = {"$ref": "#/components/parameters/version"}
# OpenAPI leaves the schema of raw bytes empty; the format makes Swagger UI offer a file.
FILE = {"type": "string", "format": "binary"}
# Errors of the standard protocols have components named `v1` or `v2`, this, and their status.
PROTOCOL_ERROR = ".Error"
# The loader in C reads them in 6 ms, that in Python in 50.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def static_parts(protocol: str) -> dict[str, Any]:
    """Read the parts of the document that do not depend on the models. protocol: `v1` or `v2`."""
    text = Path(__file__).with_name(f"{protocol}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, _LOADER)  # noqa: S506 - it is safe
    return found


def ref(schema: str) -> dict[str, Any]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{schema}"}


def obj(properties: dict[str, Any], *optional: str, more: bool = False) -> dict[str, Any]:
    """Return the schema of an object with all `properties`, except that the `optional` may be
    missing. more: whether it may have others, which are ignored: for requests."""
    required = [name for name in properties if name not in optional]
    schema = {"type": "object", "properties": properties, "required": required}
    return schema if more else {**schema, "additionalProperties": False}


def array(items: Mapping[str, Any], **limits: Any) -> dict[str, Any]:
    """Return the schema of a list of `items`."""
    return {"type": "array", "items": items, **limits}


def nullable(kind: str) -> dict[str, Any]:
    """Return the schema of a JSON type, or null."""
    return {"type": [kind, "null"]}


def named(
    name: str, description: str, schema: dict[str, Any], examples: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a path parameter. examples: its values by the names of the examples."""
    found = {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
    }
    return {**found, "examples": values(examples)} if examples else found


def values(examples: Mapping[str, Any]) -> dict[str, Any]:
    """Return examples by their names."""
    return {name: {"value": example} for name, example in examples.items()}


def model_name(models: Iterable[Model], examples: Iterable[str]) -> dict[str, Any]:
    """Return the path parameter with the name of one of the models. examples: names of the models
    that have example bodies, which Swagger UI and others pair by their order."""
    names = [model.name for model in models]
    schema = {"type": "string", "enum": names} if names else {"type": "string", "minLength": 1}
    return named("name", "Name of the model.", schema, {name: name for name in examples})


def json_content(
    schema: dict[str, Any], example: Any = None, examples: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a JSON body. examples: several examples by their names."""
    media: dict[str, Any] = {"schema": schema}
    if example is not None:
        media["example"] = example
    if examples:
        media["examples"] = values(examples)
    return {"application/json": media}


def pictures(most: int = 1) -> dict[str, Any]:
    """Return a body that is a picture, or a form or JSON with at most `most`."""
    return _files(PICTURES, most, MEDIA_TYPES, "image/bmp")


def recordings(most: int) -> dict[str, Any]:
    """Return a body that is a recording, or a form or JSON with at most `most`."""
    return _files(RECORDINGS, most, RECORDING_TYPES, RECORDINGS.media)


def _files(kind: FileKind, most: int, types: Sequence[str], media: str) -> dict[str, Any]:
    """Return a body of files. media: the type of the example."""
    field: dict[str, Any] = FILE if most == 1 else {"type": "array", "items": FILE, "minItems": 1}
    form = {"type": "object", "properties": {kind.field: field}, "required": [kind.field]}
    return {
        "multipart/form-data": {"schema": form},
        **json_content(files_schema(kind, most), in_json(MadeUpFile(kind))),
        **{media_type: {"schema": FILE} for media_type in types},
    }


def responses(success: dict[str, Any], *errors: int, prefix: str = "Error") -> dict[str, Any]:
    """Return the answer of status 200, and errors by their status. prefix: of the components'
    names."""
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
    """Return an operation of v1 or v2.

    name: its id, for generated programs; begins with `v1` or `v2`. answer: its content. statuses:
    of errors. body: the content of a request.
    """
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
