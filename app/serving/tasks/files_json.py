"""Files in JSON: an object, or a list of objects, with base64 or a data URL in a field."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from app.errors import BadRequest, Detail, short
from app.serving.base64_text import decode_base64
from app.serving.limits import Limits
from app.serving.tasks.base import ENOUGH, invalid, parse_json
from app.serving.tasks.files.file_kinds import FileKind

# Unexpected names of one object that are listed.
_NAMES = 3


def read_files(
    data: bytes, limits: Limits, check_count: Callable[[int], None], kind: FileKind, name: str
) -> tuple[list[bytes], list[str]]:
    """Return the files in a JSON body, and what problems call each.

    check_count: raises for too many files, before any is decoded. name: of the model's input,
    which objects may have in place of the field of `kind`. Raises BadRequest if nothing can be
    read, InvalidInput with all problems at once.
    """
    value = parse_json(data, limits)
    many = isinstance(value, list)
    if many and not value:
        raise BadRequest(f"the list is empty: expected at least one object with '{name}'")
    items = value if many else [value]
    check_count(len(items))
    if many and not any(isinstance(item, dict) for item in items):
        # One mistake, not one per file.
        expected = f"{_one(name, kind)}; or a list of such objects"
        raise invalid([Detail("body", "a list without objects", expected=expected)])
    files: list[bytes] = []
    fields: list[str] = []
    details: list[Detail] = []
    for i, item in enumerate(items):
        where = f"[{i}]" if many else ""
        key = kind.field if isinstance(item, dict) and kind.field in item else name
        fields.append(f"{where}.{key}" if where else key)
        found = _file(item, where, key, kind)
        if isinstance(found, bytes):
            files.append(found)
        else:
            details += found
        if len(details) > ENOUGH:
            raise invalid(details, more=i + 1 < len(items))
    if details:
        raise invalid(details)
    return files, fields


def _one(key: str, kind: FileKind) -> str:
    return f"an object with '{key}': {kind.in_json}"


def _file(item: Any, where: str, key: str, kind: FileKind) -> bytes | list[Detail]:
    """The file that an object holds, or its problems. where: the place of the object."""
    if not isinstance(item, dict):
        return [Detail(where or "body", "wrong type", short(item), _one(key, kind))]
    prefix = f"{where}." if where else ""
    unknown = islice((other for other in item if other != key), _NAMES)
    details = [
        Detail(prefix + short(other), "unexpected", expected=_one(key, kind)) for other in unknown
    ]
    text = item.get(key)
    if key not in item:
        details.append(Detail(prefix + key, "missing", expected=kind.in_json))
    elif not isinstance(text, str):
        details.append(Detail(prefix + key, "wrong type", short(text), kind.in_json))
    elif not details:
        try:
            return decode_base64(text)
        except ValueError as error:
            details.append(Detail(prefix + key, str(error), short(text), kind.in_json))
    return details


def files_schema(kind: FileKind, most: int) -> dict[str, Any]:
    """Return the JSON Schema of a body: one file, or a list of at most `most` as well where that is
    more than one."""
    one = {
        "type": "object",
        "properties": {
            kind.field: {
                "type": "string",
                "description": "The file, in base64 (plain or web-safe) or as a data URL.",
            }
        },
        "required": [kind.field],
        "additionalProperties": False,
    }
    if most == 1:
        return one
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": most}]}
