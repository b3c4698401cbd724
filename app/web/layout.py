"""JSON and code laid out for people: short values stay on one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

# Characters of a line, unless a single value needs more.
WIDTH = 76
# Characters of a text that are shown: those of a picture in base64 say nothing.
MOST_CHARACTERS = 5_000
_SHOWN = 60
# The fewest characters that a value takes, its separator included.
_NARROWEST = 3
_BETWEEN = ", "
_ORJSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
_encode = json.JSONEncoder(ensure_ascii=False).encode


def readable_json(value: Any) -> str:
    """Return `value` as JSON for people; NumPy arrays and scalars become lists and numbers."""
    plain = orjson.loads(orjson.dumps(value, default=lambda a: a.tolist(), option=_ORJSON))
    return layout(plain, lambda each: json_scalar(shortened(each)))


def shortened(value: Any) -> Any:
    """Return the beginning of a text that is too long to read, and anything else as it is."""
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        return f"{value[:_SHOWN]}…"
    return value


def first_lines(value: Any, count: int) -> tuple[list[str], bool]:
    """Return the first `count` lines of `readable_json` at most, and whether there are more. Reads
    no more of a large value than they need."""
    left = count * WIDTH // _NARROWEST

    def head(value: Any) -> Any:
        nonlocal left
        if isinstance(value, dict):
            found: Any = {}
            for key, item in value.items():
                if left < 0:
                    break
                left -= 1
                found[key] = head(item)
            return found
        if not _is_list(value):
            return shortened(value)
        found = []
        for item in value:
            if left < 0:
                break
            left -= 1
            found.append(head(item))
        return found

    lines = readable_json(head(value)).splitlines()
    return lines[:count], left < 0 or len(lines) > count


def json_scalar(value: Any) -> str:
    """Return a value other than a list or mapping as JSON and JavaScript write it."""
    return _encode(value)


def layout(
    value: Any,
    scalar: Callable[[Any], str] = json_scalar,
    *,
    step: str = "  ",
    indent: str = "",
    used: int = 0,
) -> str:
    """Write lists and mappings, broken into lines if they are too long for one.

    scalar: writes all other values, and keys. step: the indentation that each level adds. indent:
    that of the line on which `value` begins. used: characters before it on that line.
    """
    if not isinstance(value, list | dict):
        return scalar(value)
    flat = _flat(value, scalar, WIDTH - len(indent) - used)
    if flat is not None:
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


def _is_list(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str)


def _flat(value: Any, scalar: Callable[[Any], str], room: int) -> str | None:
    """Write a value on one line; None if it is longer than `room`. Empty lists and mappings always
    fit."""
    if not value and isinstance(value, list | dict):
        return "{}" if isinstance(value, dict) else "[]"
    if not isinstance(value, list | dict):
        text = scalar(value)
        return text if len(text) <= room else None
    named = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    parts: list[str] = []
    left = room - 2
    for key, item in named:
        name = f"{scalar(key)}: " if isinstance(value, dict) else ""
        flat = _flat(item, scalar, left - len(name))
        if flat is None or len(name) + len(flat) > left:
            return None
        parts.append(name + flat)
        left -= len(parts[-1]) + len(_BETWEEN)
    line = _BETWEEN.join(parts)
    return f"{{{line}}}" if isinstance(value, dict) else f"[{line}]"


def _filled(items: list[str], width: int) -> list[str]:
    """Join items into lines, with as many on each as fit."""
    lines = [items[0]]
    for item in items[1:]:
        longer = f"{lines[-1]}, {item}"
        if len(longer) < width:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines
