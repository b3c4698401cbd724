"""JSON and code laid out for people: what is short stays on one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

# Lines are no longer than this where it can be helped.
WIDTH = 76
_ORJSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def readable_json(value: Any) -> str:
    """`value` as JSON for people; NumPy arrays and scalars become lists and numbers."""
    return layout(orjson.loads(orjson.dumps(value, default=lambda a: a.tolist(), option=_ORJSON)))


def json_scalar(value: Any) -> str:
    """Anything that is no list and no mapping, as JSON and JavaScript write it."""
    return json.dumps(value, ensure_ascii=False)


def layout(
    value: Any,
    scalar: Callable[[Any], str] = json_scalar,
    *,
    step: str = "  ",
    indent: str = "",
    used: int = 0,
) -> str:
    """Lists and mappings, broken into lines where they are too long for one.

    scalar: writes everything else, and keys. step: by how much each level is indented. indent: of
    the line that `value` begins on. used: characters in front of it on that line.
    """
    if not isinstance(value, list | dict):
        return scalar(value)
    flat = _flat(value, scalar)
    if not value or len(indent) + used + len(flat) <= WIDTH:
        return flat
    inner = indent + step
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            name = f"{scalar(key)}: "
            lines.append(name + layout(item, scalar, step=step, indent=inner, used=len(name)))
        start, end = "{", "}"
    else:
        start, end = "[", "]"
        if any(isinstance(item, list | dict) for item in value):
            lines = [layout(item, scalar, step=step, indent=inner) for item in value]
        else:
            lines = _filled([scalar(item) for item in value], WIDTH - len(inner))
    body = ",\n".join(inner + line for line in lines)
    return f"{start}\n{body}\n{indent}{end}"


def _flat(value: Any, scalar: Callable[[Any], str]) -> str:
    if isinstance(value, dict):
        items = (f"{scalar(key)}: {_flat(item, scalar)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(item, scalar) for item in value) + "]"
    return scalar(value)


def _filled(items: list[str], width: int) -> list[str]:
    """As many on each line as fit."""
    lines = [items[0]]
    for item in items[1:]:
        longer = f"{lines[-1]}, {item}"
        if len(longer) < width:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines
