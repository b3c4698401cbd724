"""Architectures in files of their own, as `to_json()` and `to_yaml()` write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from app.errors import LoadError

# The largest models have a few hundred thousand.
MAX_VALUES = 2_000_000


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Keras wrote it: plain values, some of them tagged with a Python type."""


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.construct_sequence)
for _name in ("unicode", "str"):
    _Loader.add_constructor(f"tag:yaml.org,2002:python/{_name}", _Loader.construct_scalar)
_Loader.add_constructor("tag:yaml.org,2002:python/long", _Loader.construct_yaml_int)


def read(path: Path) -> tuple[Any, str]:
    """Read the configuration in the file. Returns it and the Keras version that wrote it, empty if
    unknown. Raises LoadError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            config = json.loads(text)
            # Saved with `json.dump(model.to_json(), file)`.
            config = json.loads(config) if isinstance(config, str) else config
        else:
            config = _plain(yaml.load(text, _Loader))  # noqa: S506 - a SafeLoader
    except LoadError:
        raise
    except yaml.constructor.ConstructorError as error:
        raise LoadError(
            f"{path.name} is no plain description of a model: {error.problem}; write it again with "
            "to_json()"
        ) from None
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise LoadError(f"{path.name} is truncated or corrupt: {_one_line(error)}") from None
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise LoadError(f"{path.name} describes no Keras model")
    return config, str(config.get("keras_version") or _metadata_version(path))


def _metadata_version(path: Path) -> str:
    """Return the version beside the `config.json` of an unpacked archive; empty if unknown."""
    try:
        metadata = json.loads(path.with_name("metadata.json").read_text(encoding="utf-8"))
        return str(metadata["keras_version"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _plain(value: Any) -> Any:
    """Return `value` with the YAML's references expanded. Raises LoadError if that gives more
    values than any model has."""
    todo, count = [value], 0
    while todo:
        node = todo.pop()
        count += 1
        if count > MAX_VALUES:
            raise LoadError(f"the architecture is corrupt: it has over {MAX_VALUES:,} values")
        if isinstance(node, dict):
            todo.extend(node.values())
        elif isinstance(node, (list, tuple)):
            todo.extend(node)
    return json.loads(json.dumps(value))


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
