"""What may be sent to a model, made from what `GET /api/models/NAME` tells of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from app.serving.card import TEXT_TASK

# Tensors with more numbers are not written out.
MAX_NUMBERS = 200


@dataclass(frozen=True, slots=True)
class Repeated:
    """Nested lists of `shape` that hold the same value everywhere, too long to write out."""

    value: Any
    shape: tuple[int, ...]


def example_input(about: dict[str, Any]) -> Any:
    """A body that the model takes as it stands: None for pictures, with `Repeated` in the place of
    long tensors."""
    task = about["task"]
    if task == "image-classification":
        return None
    if task == TEXT_TASK:
        properties = about["input"]["properties"]
        return {"seed": example_seed(about), "words": int(properties["words"]["default"])}
    if task == "tensor":
        return _tensors(about["signature"]["inputs"])
    return {name: _value(schema) for name, schema in about["input"]["properties"].items()}


def example_seed(about: dict[str, Any]) -> str:
    """A beginning that the model knows at least one word of."""
    seed: str = about["input"]["properties"]["seed"]["examples"][0]
    return seed


def is_long(about: dict[str, Any]) -> bool:
    """Whether what a model of tensors takes is too long to write out."""
    return _count(about["signature"]["inputs"]) > MAX_NUMBERS


def _value(schema: dict[str, Any]) -> Any:
    """The card's example of a field, else the middle of its range, else what comes first."""
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
    """The shape, with 1 where any size goes, and a plain list where any shape does."""
    shape = [None] if spec["shape"] is None else spec["shape"]
    return tuple(1 if size is None else size for size in shape)


def _of_type(dtype: str) -> Any:
    if dtype == "string":
        return "text"
    if dtype == "bool":
        return False
    return 0.5 if "float" in dtype else 1
