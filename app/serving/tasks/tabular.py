"""Rows of named fields in, numbers or labels out."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import islice
from operator import attrgetter
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticCustomError

from app.errors import BadRequest, CardError, Detail, short
from app.serving.call import Call
from app.serving.card import CARD_FILE, Card, FieldSpec
from app.serving.signature import Signature, TensorSpec
from app.serving.tasks.base import (
    ENOUGH,
    Array,
    Limits,
    Payload,
    Task,
    invalid,
    parse_json,
    whole,
)
from app.serving.tasks.classes import Classes
from app.serving.tasks.csvtext import read_table
from app.serving.tensors import nested_schema
from app.slices import checkpoint

# Seconds of checking before other threads get a turn.
_TURN_S = 0.001
# Values that become an array at once.
_VALUES_AT_ONCE = 20_000


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Tabular(Task):
    """Reads rows; what the outputs mean is up to the two tasks below."""

    accepts = frozenset({"json", "csv"})

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        super().__init__(card, signature, limits)
        fields = card.fields or self._plain_fields()
        targets = self._targets(fields)
        self.fields = [_fitting(f, t) for f, t in zip(fields, targets, strict=True)]
        self._one_matrix = len(signature.inputs) == 1 and len(fields) > 1
        self._columns = {
            f.name: _Column(f, t.dtype) for f, t in zip(self.fields, targets, strict=True)
        }
        self._names = ", ".join(self._columns)
        self._max_names = limits.columns(len(fields))
        self._model = _row_model(list(self._columns.values()))
        self._values = attrgetter(*(f"f{i}" for i in range(len(fields))))

    def _plain_fields(self) -> list[FieldSpec]:
        inputs = self.signature.inputs
        if len(inputs) > 1:
            return [FieldSpec(name=t.name, type=_type(t)) for t in inputs]
        shape = inputs[0].row_shape
        if len(shape) != 1 or not shape[0]:
            raise CardError(
                f"{CARD_FILE}: the model's columns have no names: list them in 'fields'"
            )
        return [FieldSpec(name=f"x{i}", type=_type(inputs[0])) for i in range(shape[0])]

    def _targets(self, fields: list[FieldSpec]) -> list[TensorSpec]:
        """The input that each field goes into."""
        inputs = self.signature.inputs
        names = [f.name for f in fields]
        if len(inputs) > 1 and sorted(names) != sorted(t.name for t in inputs):
            raise CardError(
                f"{CARD_FILE}: the fields {names} do not match the model's inputs "
                f"{[t.name for t in inputs]}"
            )
        columns = len(names) if len(inputs) == 1 else 1
        for t in inputs:
            # A single column may also come without a dimension of its own.
            fits = [(columns,), (None,), *([()] if columns == 1 else [])]
            if t.shape is not None and (t.shape == () or t.row_shape not in fits):
                raise CardError(
                    f"{CARD_FILE}: {columns} field{'s' if columns > 1 else ''} cannot fill the "
                    f"model's input {t.name} of shape {t.shape}"
                )
        by_name = {t.name: t for t in inputs}
        return [by_name[n] if len(inputs) > 1 else inputs[0] for n in names]

    def read(self, payload: Payload, call: Call | None = None) -> list[Array]:
        """An object, a list of objects, or a CSV with a header."""
        if payload.kind == "csv":
            names = [f.name for f in self.fields]
            rows = read_table(payload.data, names, self.limits).rows
            return self._tensors(self._check(rows, strict=False, many=True))
        value = parse_json(payload.data, self.limits, "; a CSV needs Content-Type: text/csv")
        many = isinstance(value, list)
        if many and not value:
            raise BadRequest("the list is empty: expected at least one object")
        if many and (excess := self.limits.excess("body", len(value))):
            raise invalid(excess)
        if many and not any(isinstance(row, dict) for row in value):
            # One mistake, not one a value: a row was sent without its names.
            expected = f"an object with {self._names}, or a list of such objects"
            raise invalid([Detail("body", "a list without objects", expected=expected)])
        return self._tensors(self._check(value if many else [value], strict=True, many=many))

    def _check(self, values: list[Any], *, strict: bool, many: bool) -> list[Any]:
        """The validated rows as tuples of values in the order of the fields."""
        rows = []
        details: list[Detail] = []
        validate = self._model.__pydantic_validator__.validate_python
        until = time.monotonic() + _TURN_S
        for i, value in enumerate(values):
            prefix = f"[{i}]" if many else ""
            if strict and type(value) is dict and len(value) > self._max_names:
                details.append(self._too_many(value, prefix))
            else:
                try:
                    rows.append(self._values(validate(value, strict=strict)))
                except ValidationError as error:
                    found = error.errors(include_url=False, include_context=False)
                    details += [_detail(e, prefix, self._columns, self._names) for e in found]
            if len(details) > ENOUGH:
                raise invalid(details, more=i + 1 < len(values))
            if time.monotonic() > until:
                checkpoint()
                until = time.monotonic() + _TURN_S
        if details:
            raise invalid(details)
        return rows

    def _too_many(self, row: dict[str, Any], prefix: str) -> Detail:
        unknown = islice((short(name) for name in row if name not in self._columns), 3)
        problem = f"{len(row):,} names, among them {', '.join(unknown)}"
        expected = f"at most {self._max_names:,} names, those of an object with {self._names}"
        return Detail(prefix or "body", problem, len(row), expected)

    def _tensors(self, rows: list[Any]) -> list[Array]:
        inputs = self.signature.inputs
        parts: list[list[Array]] = []
        size = max(1, _VALUES_AT_ONCE // len(self.fields))
        for i in range(0, len(rows), size):
            parts.append(self._part(rows[i : i + size]))
            checkpoint()
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate([part[i] for part in parts]) for i in range(len(inputs))]

    def _part(self, rows: list[Any]) -> list[Array]:
        """Some rows as one array an input."""
        inputs = self.signature.inputs
        if self._one_matrix:
            return [np.array(rows, _numpy(inputs[0].dtype))]
        columns = [rows] if len(self.fields) == 1 else list(zip(*rows, strict=True))
        by_name = dict(zip((f.name for f in self.fields), columns, strict=True))
        return [
            np.array(by_name[t.name] if len(inputs) > 1 else columns[0], _numpy(t.dtype)).reshape(
                (len(rows), 1) if len(t.row_shape) == 1 else (len(rows),)
            )
            for t in inputs
        ]

    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of a row."""
        return {
            "type": "object",
            "properties": {f.name: _schema(f) for f in self.fields},
            "required": [f.name for f in self.fields],
            "additionalProperties": False,
        }


class TabularRegression(_Tabular):
    """`tabular-regression`: one number a row (or a list where the model has several)."""

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        super().__init__(card, signature, limits)
        if len(signature.outputs) != 1:
            raise CardError(
                f"tabular-regression needs a model with one output, this one has "
                f"{len(signature.outputs)}: use 'task: tensor'"
            )
        out = signature.outputs[0]
        if out.shape == () or out.dtype == "string":
            raise CardError(
                f"tabular-regression needs an output of numbers, one or more a row, this model's "
                f"is {out.dtype} of shape {out.shape}: use 'task: tensor'"
            )
        self._name = card.output.name or "value"

    def answer(self, outputs: Sequence[Array]) -> list[Any]:
        """`{name: number}` a row."""
        values = outputs[0].reshape(len(outputs[0]), -1)
        if self.card.output.decimals is not None:
            # + 0.0 makes -0.0 a plain zero.
            values = values.astype(np.float64).round(self.card.output.decimals) + 0.0
        if values.shape[1] == 1:
            return [{self._name: v} for v in values[:, 0]]
        return [{self._name: row} for row in values]

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of one row's answer."""
        out = self.signature.outputs[0]
        number = nested_schema(out.dtype, ())
        known = [size for size in out.row_shape if size is not None]
        if out.shape is None or len(known) < len(out.row_shape):
            several: dict[str, Any] = {"type": "array", "items": number}
            value: dict[str, Any] = {"anyOf": [number, several]}
        else:
            count = math.prod(known)
            value = number if count == 1 else nested_schema(out.dtype, (count,))
        if self.card.output.unit is not None:
            value = {**value, "x-unit": self.card.output.unit}
        return {
            "type": "object",
            "properties": {self._name: value},
            "required": [self._name],
            "additionalProperties": False,
        }


class TabularClassification(_Tabular):
    """`tabular-classification`: one label a row."""

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        super().__init__(card, signature, limits)
        self._classes = Classes(card, signature)

    def answer(self, outputs: Sequence[Array]) -> list[Any]:
        """`{label, probability, top}` a row."""
        return self._classes.answer(outputs[0])

    def answer_schema(self) -> dict[str, Any]:
        """JSON Schema of one row's answer."""
        return self._classes.schema()


def _numpy(dtype: str) -> Any:
    return object if dtype == "string" else np.dtype(dtype)


def _type(spec: TensorSpec) -> Any:
    return "text" if spec.dtype == "string" else "number"


def _fitting(field: FieldSpec, target: TensorSpec) -> FieldSpec:
    """The field, as whole numbers where the model takes no others. Raises CardError where the
    model cannot take what the card offers."""
    text = target.dtype == "string"
    if field.choices is not None:
        for value in _choices(field, target.dtype).values():
            if isinstance(value, str) != text or not (text or _holds(target.dtype, value)):
                raise CardError(
                    f"{CARD_FILE}: fields: {field.name}: the model's input {target.name} cannot "
                    f"hold the choice {value!r} as {target.dtype}"
                )
        return field
    if (field.type == "text") != text:
        wanted = "text" if text else "number"
        raise CardError(
            f"{CARD_FILE}: fields: {field.name}: the model's input {target.name} is "
            f"{target.dtype}: expected 'type: {wanted}'"
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


class _Column:
    """A field and the dtype that it is fed as."""

    def __init__(self, field: FieldSpec, dtype: str) -> None:
        self.field = field
        self.dtype = dtype

    def annotation(self) -> Any:
        """The pydantic type of a value."""
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
            return Annotated[int, BeforeValidator(whole), limits]
        return Annotated[float, Field(ge=low, le=high)]

    def expected(self) -> str:
        """What a value must be, in words."""
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


def _row_model(columns: list[_Column]) -> type[BaseModel]:
    """A pydantic model with one attribute a field, named f0, f1…: field names are free text."""
    definitions: dict[str, Any] = {
        f"f{i}": (column.annotation(), Field(alias=column.field.name))
        for i, column in enumerate(columns)
    }
    model: type[BaseModel] = create_model("Row", __base__=_Row, **definitions)
    return model


def _choices(field: FieldSpec, dtype: str) -> dict[str, Any]:
    """What a client may send (a value or its label), and what the model gets for it.

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


def _detail(error: ErrorDetails, prefix: str, columns: dict[str, _Column], names: str) -> Detail:
    """A pydantic error in our words. names: of all columns."""
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
    if problem == "out of range" and column.field.min is None and column.field.max is None:
        expected += f" that fits {column.dtype}"
    return Detail(where, problem, value, expected)


def _schema(field: FieldSpec) -> dict[str, Any]:
    """The field as JSON Schema (2020-12)."""
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
