"""How `model.yaml` is read as YAML, and how its problems are put into words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

# How pydantic begins what it says of a wrong value, and what it calls the types of a union.
_SHOULD_BE = "Input should be "
_TYPE_NAME = re.compile(r"int|float|str|constrained-\w+|[\w-]*\[.*\]")


class _Loader(yaml.SafeLoader):
    """YAML without its traps: `no`, `on`, dates, `12:30` and `007` are texts, as they look, and a
    key that is there twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping, its keys all different."""
        keys: set[object] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else []:
            key = (key_node.tag, str(key_node.value))
            if key in keys:
                problem = f"the key {key_node.value!r} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"(?:[-+]?[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first)
    )


def load_yaml(text: str) -> Any:
    """The value of a YAML text. Raises YAMLError."""
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def problems(error: ValidationError, tasks: Sequence[str]) -> list[str]:
    """Every problem once. tasks: what `task` may be, the most general first.

    A value that may be of several types fails for each of them: that is one problem, at the
    deepest place that was reached.
    """
    found: dict[str, list[ErrorDetails]] = {}
    for e in error.errors():
        found.setdefault(_where(e["loc"]), []).append(e)
    return [
        _problem(where, errors, tasks)
        for where, errors in found.items()
        if not any(other.startswith((f"{where}.", f"{where}[")) for other in found)
    ]


def _where(loc: tuple[int | str, ...]) -> str:
    """A path such as `fields[2].min`."""
    where = ""
    for part in loc:
        if isinstance(part, int):
            where += f"[{part}]"
        elif not _TYPE_NAME.fullmatch(part):
            where += f".{part}" if where else part
    return where


def _problem(where: str, errors: list[ErrorDetails], tasks: Sequence[str]) -> str:
    first = errors[0]
    if first["type"] in ("extra_forbidden", "invalid_key"):
        parent = _where(first["loc"][:-1])
        return f"unknown key '{parent}{parent and '.'}{first['loc'][-1]}'"
    if where == "task" and first["type"] == "missing":
        general, *others = tasks
        return f"the key 'task' is missing: add the line 'task: {general}', or {', '.join(others)}"
    if first["type"] == "missing":
        return f"the key {where!r} is missing"
    if first["type"] == "value_error":
        text = first["msg"].removeprefix("Value error, ")
        return f"{where}: {text}" if where else text
    if not first["msg"].startswith(_SHOULD_BE):
        return f"{where}: {first['msg']}"
    wanted = " or ".join(dict.fromkeys(_wanted(e["msg"]) for e in errors))
    given = json.dumps(first["input"], ensure_ascii=False, default=str)
    return f"{where}: expected {wanted}, found {given[:100]}"


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
