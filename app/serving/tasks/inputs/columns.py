"""The fields of a row: which values each may have, and what is wrong with others in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic_core import ErrorDetails, PydanticCustomError

from app.errors import Detail, short
from app.serving.cards.card import FieldSpec
from app.serving.cards.kinds import Place
from app.serving.signature import TensorSpec
from app.serving.tasks.base import whole
from app.serving.tasks.tables.decimal_commas import with_point

# pydantic's errors for a text where a number is expected.
_NO_NUMBER = frozenset({"float_parsing", "int_parsing", "float_type", "int_type"})


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def fit_field(field: FieldSpec, target: TensorSpec, place: Place) -> FieldSpec:
    """Return the field, as whole numbers where the model takes no others. Raises CardError where
    the model cannot take what the card offers."""
    text = target.dtype == "string"
    if field.choices is not None:
        for value in _choices(field, target.dtype).values():
            if isinstance(value, str) != text or not (text or _holds(target.dtype, value)):
                raise place.wrong(
                    "fields",
                    f": {field.name}: the model's input {target.name} cannot hold the choice "
                    f"{value!r} as {target.dtype}",
                )
        return field
    if (field.type == "text") != text:
        wanted = "text" if text else "number"
        raise place.wrong(
            "fields",
            f": {field.name}: the model's input {target.name} is {target.dtype}: expected "
            f"'type: {wanted}'",
        )
    if not text and np.dtype(target.dtype).kind != "f":
        return field.model_copy(update={"type": "integer"})
    return field


def _holds(dtype: str, value: float) -> bool:
    low, high = _range(dtype)
    return low <= value <= high and (np.dtype(dtype).kind == "f" or float(value).is_integer())


def _range(dtype: str) -> tuple[Any, Any]:
    """The smallest and largest number of a NumPy dtype, as Python numbers."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return 0, 1
    if kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


class Column:
    """A field and the dtype that it is fed as."""

    def __init__(self, field: FieldSpec, dtype: str) -> None:
        self.field = field
        self.dtype = dtype

    def annotation(self) -> Any:
        """Return the pydantic type of a value."""
        field = self.field
        if field.choices is not None:
            return Annotated[Any, BeforeValidator(_chooser(field, self.dtype))]
        if field.type == "text":
            return str
        low, high = _range(self.dtype)
        if field.min is not None:
            low = max(low, field.min)
        if field.max is not None:
            high = min(high, field.max)
        if field.type == "integer":
            limits = Field(ge=math.ceil(low), le=math.floor(high))
            # In this order pydantic's Rust checks the limits.
            return Annotated[int, limits, BeforeValidator(whole)]
        return Annotated[float, Field(ge=low, le=high)]

    def expected(self) -> str:
        """Describe the expected value, in words."""
        field = self.field
        if isinstance(field.choices, dict):
            return "one of " + ", ".join(f"{v} ({label})" for v, label in field.choices.items())
        if field.choices is not None:
            return "one of " + ", ".join(str(c) for c in field.choices)
        text = {"number": "a number", "integer": "a whole number", "text": "a text"}[field.type]
        if field.min is not None and field.max is not None:
            text += f" from {field.min:.15g} to {field.max:.15g}"
        elif field.min is not None:
            text += f" of at least {field.min:.15g}"
        elif field.max is not None:
            text += f" of at most {field.max:.15g}"
        return f"{text} ({field.unit})" if field.unit else text


def row_model(columns: list[Column]) -> type[BaseModel]:
    """Return a pydantic model with one attribute a field, named f0, f1…: field names are free
    text."""
    definitions: dict[str, Any] = {
        f"f{i}": (column.annotation(), Field(alias=column.field.name))
        for i, column in enumerate(columns)
    }
    model: type[BaseModel] = create_model("Row", __base__=_Row, **definitions)
    return model


def _choices(field: FieldSpec, dtype: str) -> dict[str, Any]:
    """Return the values that a client may send (a value or its label), and what the model gets for
    each.

    A list of words becomes 0, 1, 2… unless the model takes texts.
    """
    choices = field.choices or []
    chosen: dict[str, Any] = {}
    if isinstance(choices, dict):
        for value, label in choices.items():
            chosen[label] = chosen[str(whole(value))] = value
        return chosen
    words = any(isinstance(c, str) for c in choices) and dtype != "string"
    for i, value in enumerate(choices):
        chosen[str(whole(value))] = i if words and field.type != "text" else value
    return chosen


def _chooser(field: FieldSpec, dtype: str) -> Any:
    choices = _choices(field, dtype)
    # A cell of a CSV may say 1.0 for 1.
    cells = {str(float(c)): v for c, v in choices.items() if c.lstrip("-").isdecimal()} | choices

    def choose(value: Any) -> Any:
        # True is no 1 and null is no text.
        text = str(whole(value)) if type(value) in (int, float, str) else None
        if text not in cells:
            raise PydanticCustomError("choice", "not a choice")
        return cells[text]

    return choose


def problem_of(error: ErrorDetails, prefix: str, columns: dict[str, Column], names: str) -> Detail:
    """Return a pydantic error in our words. names: of all columns."""
    name = str(error["loc"][0]) if error["loc"] else ""
    kind, value = error["type"], short(error["input"])
    if not error["loc"]:
        return Detail(prefix or "body", "not an object", value, f"an object with {names}")
    where = f"{prefix}.{short(name)}" if prefix else short(name)
    if kind == "extra_forbidden":
        return Detail(where, "unexpected", value, f"one of {names}")
    column = columns[name]
    if kind == "missing":
        return Detail(where, "missing", expected=column.expected())
    problem = {
        "greater_than_equal": "out of range",
        "less_than_equal": "out of range",
        "int_parsing_size": "out of range",
        "finite_number": "not a finite number",
        "choice": "not one of the choices",
    }.get(kind, "wrong type")
    expected = column.expected()
    if kind in _NO_NUMBER and (number := with_point(error["input"])) is not None:
        expected += f", with a decimal point: {number}"
    if problem == "out of range" and column.field.min is None and column.field.max is None:
        expected += f" that fits {column.dtype}"
    return Detail(where, problem, value, expected)


def split_commas(errors: Sequence[ErrorDetails]) -> tuple[dict[str, str], list[ErrorDetails]]:
    """Split pydantic's errors into numbers with decimal commas, by the names of fields, and the
    others."""
    commas: dict[str, str] = {}
    others = []
    for error in errors:
        if error["type"] in _NO_NUMBER and with_point(error["input"]) is not None:
            commas[str(error["loc"][0])] = error["input"]
        else:
            others.append(error)
    return commas, others


def field_schema(field: FieldSpec) -> dict[str, Any]:
    """Return the field as JSON Schema (2020-12)."""
    schema: dict[str, Any] = {}
    if isinstance(field.choices, dict):
        # A choice may be said by its value or by its label.
        schema["enum"] = list(dict.fromkeys([*field.choices, *field.choices.values()]))
    elif field.choices is not None:
        schema["enum"] = field.choices
    else:
        schema["type"] = {"number": "number", "integer": "integer", "text": "string"}[field.type]
    for key, value in (
        ("minimum", field.min),
        ("maximum", field.max),
        ("description", field.help),
        ("x-unit", field.unit),
    ):
        if value is not None:
            schema[key] = value
    if field.example is not None:
        schema["examples"] = [field.example]
    return schema
