"""The problems of a `model.yaml`, in words."""

from __future__ import annotations

import json
import re

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.serving.cards.card import KINDS

# How pydantic begins what it says of a wrong value, and what it calls the types of a union.
_SHOULD_BE = "Input should be "
_FIELD = re.compile(r"\bfields\[\d+\]$")
_TYPE_NAME = re.compile(r"int|float|str|constrained-\w+|[\w-]*\[.*\]")


def card_problems(error: ValidationError) -> list[str]:
    """Every problem once.

    A value that may be of several types fails for each of them: that is one problem, at the
    deepest place that was reached.
    """
    found: dict[str, list[ErrorDetails]] = {}
    for e in error.errors():
        found.setdefault(_where(e["loc"]), []).append(e)
    return [
        _problem(where, errors)
        for where, errors in found.items()
        if not any(other.startswith((f"{where}.", f"{where}[")) for other in found)
    ]


def _where(loc: tuple[int | str, ...]) -> str:
    """A path such as `fields[2].min`."""
    where = ""
    if len(loc) > 2 and loc[0] in KINDS:
        # Pydantic names the kind between an input, or output, and its keys.
        loc = loc[:2] + loc[3:]
    for part in loc:
        if isinstance(part, int):
            where += f"[{part}]"
        elif not _TYPE_NAME.fullmatch(part):
            where += f".{part}" if where else part
    return where


def _problem(where: str, errors: list[ErrorDetails]) -> str:
    first = errors[0]
    if first["type"] in ("extra_forbidden", "invalid_key"):
        parent = _where(first["loc"][:-1])
        return f"unknown key '{parent}{parent and '.'}{first['loc'][-1]}'"
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        *others, last = KINDS[first["loc"][0]]
        wanted = f"{', '.join(others)} or {last}"
        tag = first.get("ctx", {}).get("tag")
        if tag is None:
            return f"the key '{where}.kind' is missing: expected {wanted}"
        return f"{where}.kind: expected {wanted}, found {json.dumps(tag, ensure_ascii=False)[:100]}"
    if first["type"] == "missing":
        return f"the key {where!r} is missing"
    if first["type"] == "value_error":
        text = first["msg"].removeprefix("Value error, ")
        return f"{where}: {text}" if where else text
    if not first["msg"].startswith(_SHOULD_BE):
        return f"{where}: {first['msg']}"
    wanted = " or ".join(dict.fromkeys(_wanted(e["msg"]) for e in errors))
    given = json.dumps(first["input"], ensure_ascii=False, default=str)
    if _FIELD.search(where) and isinstance(first["input"], (str, int, float)):
        return f"{where}: expected {wanted}, found {given[:100]}: write {{name: {first['input']}}}"
    more = " (other models are described by 'inputs' and 'outputs')" if where == "task" else ""
    return f"{where}: expected {wanted}, found {given[:100]}{more}"


def _wanted(message: str) -> str:
    """Pydantic's words without the Python in them."""
    text = message.removeprefix(_SHOULD_BE).partition(", unable")[0]
    text = re.sub(r"a valid dictionary( or instance of \w+)?", "a mapping", text)
    text = re.sub(r"a valid (list|tuple)", "a list", text).replace("a valid string", "a text")
    text = text.replace("a valid integer", "a whole number")
    return text.replace("a valid boolean", "true or false").replace("a valid ", "a ")


def one_line(error: object) -> str:
    """An error's text without its line breaks."""
    return " ".join(str(error).split())
