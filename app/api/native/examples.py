"""Example requests for a model, made from its description in `GET /api/models/NAME`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from app.serving.cards.card import TEXT_TASK

# Tensors with more numbers are not written out.
MAX_NUMBERS = 200
_FORMS = {
    "image-classification": "picture",
    "tabular-regression": "fields",
    "tabular-classification": "fields",
    "tensor": "tensor",
    TEXT_TASK: "text",
}


@dataclass(frozen=True, slots=True)
class Repeated:
    """Nested lists of `shape` that hold the same value everywhere, too long to write out."""

    value: Any
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture, which clients send as a file."""


def form_of(about: dict[str, Any]) -> str:
    """Return the form of a model's requests: `picture`, `fields`, `tensor` or `text`; `several` for
    inputs of different kinds, or several that are not tensors."""
    if about["task"] is not None:
        return _FORMS[about["task"]]
    kinds = [each["kind"] for each in about["inputs"].values()]
    if len(kinds) == 1 or set(kinds) == {"tensor"}:
        return str(kinds[0])
    return "several"


def example_input(about: dict[str, Any]) -> Any:
    """Return a body that the model accepts: None for a picture, with `Repeated` in place of long
    tensors; an object for several inputs, with `PictureFile` in place of pictures."""
    form = form_of(about)
    if form == "picture":
        return None
    if form == "text":
        properties = about["input"]["properties"]
        return {"seed": example_seed(about), "words": int(properties["words"]["default"])}
    if form == "tensor":
        return _tensors(_specs(about))
    if form == "fields":
        return _row(about["input"])
    return {
        name: _of_kind(each, about["input"]["properties"][name])
        for name, each in about["inputs"].items()
    }


def example_seed(about: dict[str, Any]) -> str:
    """Return a beginning that the model knows at least one word of."""
    seed: str = about["input"]["properties"]["seed"]["examples"][0]
    return seed


def is_long(about: dict[str, Any]) -> bool:
    """Whether what a model of tensors takes is too long to write out."""
    return _count(_specs(about)) > MAX_NUMBERS


def _specs(about: dict[str, Any]) -> list[dict[str, Any]]:
    """The tensors that a model of tensors takes, by the names of requests."""
    if about["task"] is not None:
        found: list[dict[str, Any]] = about["signature"]["inputs"]
        return found
    return [{"name": name, **each} for name, each in about["inputs"].items()]


def _of_kind(about: dict[str, Any], schema: dict[str, Any]) -> Any:
    """An example of one input among several."""
    if about["kind"] == "picture":
        return PictureFile()
    if about["kind"] == "fields":
        return _row(schema)
    spec = {**about, "shape": about["shape"] and about["shape"][1:]}
    return _tensor(spec, _count([spec]) <= MAX_NUMBERS)


def _row(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(each) for name, each in schema["properties"].items()}


def _value(schema: dict[str, Any]) -> Any:
    """Return the card's example of a field, else the middle of its range, else its first choice."""
    for known in ("examples", "enum"):
        if known in schema:
            return schema[known][0]
    if schema["type"] == "string":
        return "text"
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    both = math.isfinite(low) and math.isfinite(high)
    value = float(f"{low + (high - low) / 2:.6g}") if both else 0.0
    if schema["type"] == "integer":
        return int(min(max(math.floor(value), _up(low)), high))
    value = float(min(max(value, low), high))
    return int(value) if value.is_integer() else value


def _up(low: float) -> float:
    return math.ceil(low) if math.isfinite(low) else low


def _tensors(specs: list[dict[str, Any]]) -> Any:
    whole = _count(specs) <= MAX_NUMBERS
    tensors = {spec["name"]: _tensor(spec, whole) for spec in specs}
    return tensors if len(specs) != 1 else next(iter(tensors.values()))


def _tensor(spec: dict[str, Any], whole: bool) -> Any:
    value = _of_type(spec["dtype"])
    shape = _sizes(spec)
    if not whole:
        return Repeated(value, shape)
    for size in reversed(shape):
        value = [value] * size
    return value


def _count(specs: list[dict[str, Any]]) -> int:
    return sum(math.prod(_sizes(spec)) for spec in specs)


def _sizes(spec: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape, with 1 for each open size, and a plain list for an open shape."""
    shape = [None] if spec["shape"] is None else spec["shape"]
    return tuple(1 if size is None else size for size in shape)


def _of_type(dtype: str) -> Any:
    if dtype == "string":
        return "text"
    if dtype == "bool":
        return False
    return 0.5 if "float" in dtype else 1
