"""Rows of named fields in, numbers or labels out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Any

import gevent
import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticCustomError

from app.errors import BadRequest, CardError, Detail
from app.serving.card import CARD_FILE, Card, FieldSpec
from app.serving.signature import Signature
from app.serving.tasks.base import MAX_DETAILS, Array, Limits, Payload, Task, invalid, parse_json
from app.serving.tasks.classes import Classes

# Rows checked before other requests get a turn.
ROWS_AT_ONCE = 500


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Tabular(Task):
    """Reads rows; what the outputs mean is up to the two tasks below."""

    accepts = frozenset({"json", "csv"})

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        super().__init__(card, signature, limits)
        self.fields = card.fields or self._plain_fields()
        self._one_matrix = len(signature.inputs) == 1 and len(self.fields) > 1
        self._check_fields()
        self._model = _row_model(self.fields)
        self._values = attrgetter(*(f"f{i}" for i in range(len(self.fields))))

    def _columns(self) -> int | None:
        shape = self.signature.inputs[0].row_shape
        return shape[0] if len(shape) == 1 else None

    def _plain_fields(self) -> list[FieldSpec]:
        columns = self._columns()
        if len(self.signature.inputs) > 1:
            return [
                FieldSpec(name=t.name, type="text" if t.dtype == "string" else "number")
                for t in self.signature.inputs
            ]
        if not columns:
            raise CardError(
                f"{CARD_FILE}: the model's columns have no names: list them in 'fields'"
            )
        return [FieldSpec(name=f"x{i}") for i in range(columns)]

    def _check_fields(self) -> None:
        inputs = self.signature.inputs
        names = [f.name for f in self.fields]
        if len(inputs) == 1:
            shape = inputs[0].row_shape
            if len(shape) > 1 or (shape and shape[0] not in (None, len(names))):
                raise CardError(
                    f"{CARD_FILE}: {len(names)} fields do not match the model's input of shape "
                    f"{inputs[0].shape}"
                )
        elif sorted(names) != sorted(t.name for t in inputs):
            raise CardError(
                f"{CARD_FILE}: the fields {names} do not match the model's inputs "
                f"{[t.name for t in inputs]}"
            )

    def read(self, payload: Payload) -> list[Array]:
        """An object, a list of objects, or a CSV with a header."""
        if payload.kind == "csv":
            return self._tensors(self._check(self._csv_rows(payload.data), strict=False, many=True))
        value = parse_json(payload.data)
        many = isinstance(value, list)
        if many and not value:
            raise BadRequest("the list is empty: expected at least one object")
        return self._tensors(self._check(value if many else [value], strict=True, many=many))

    def _csv_rows(self, data: bytes) -> list[dict[str, Any]]:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadRequest(f"the CSV is not UTF-8: {error}") from None
        try:
            dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t")
        except csv.Error:
            dialect = csv.excel
        reader = csv.DictReader(io.StringIO(text), dialect=dialect, skipinitialspace=True)
        try:
            rows = list(reader)
        except csv.Error as error:
            raise BadRequest(f"line {reader.line_num} of the CSV cannot be read: {error}") from None
        if not rows:
            raise BadRequest(
                "the CSV has no rows: expected a line of field names "
                f"({','.join(f.name for f in self.fields)}) and one line a row"
            )
        for row in rows:
            # DictReader files cells beyond the header under None, and missing ones as None.
            extra = row.pop(None, None)
            if extra:
                row["(cells beyond the header)"] = ",".join(extra)
            for name in [n for n, cell in row.items() if cell is None or cell == ""]:
                del row[name]
        return rows

    def _check(self, values: list[Any], *, strict: bool, many: bool) -> list[Any]:
        """The validated rows as tuples of values in the order of the fields."""
        rows, details = [], []
        validate = self._model.__pydantic_validator__.validate_python
        for i, value in enumerate(values):
            try:
                rows.append(self._values(validate(value, strict=strict)))
            except ValidationError as error:
                prefix = f"[{i}]" if many else ""
                details += [_detail(e, prefix, self.fields) for e in error.errors()]
                if len(details) > 10 * MAX_DETAILS:
                    break
            if i % ROWS_AT_ONCE == ROWS_AT_ONCE - 1:
                gevent.sleep(0)
        if details:
            raise invalid(details)
        return rows

    def _tensors(self, rows: list[Any]) -> list[Array]:
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
        self._name = card.output.name or "value"

    def answer(self, outputs: Sequence[Array]) -> list[Any]:
        """`{name: number}` a row."""
        values = outputs[0].reshape(len(outputs[0]), -1).astype(np.float64)
        if self.card.output.decimals is None:
            values = values.astype(np.float32)
        else:
            values = values.round(self.card.output.decimals)
        if values.shape[1] == 1:
            return [{self._name: v} for v in values[:, 0]]
        return [{self._name: row} for row in values]


class TabularClassification(_Tabular):
    """`tabular-classification`: one label a row."""

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        super().__init__(card, signature, limits)
        self._classes = Classes(card, signature)

    def answer(self, outputs: Sequence[Array]) -> list[Any]:
        """`{label, probability, top}` a row."""
        return self._classes.answer(outputs[0])


def _numpy(dtype: str) -> Any:
    return object if dtype == "string" else np.dtype(dtype)


def _row_model(fields: list[FieldSpec]) -> type[BaseModel]:
    """A pydantic model with one attribute a field, named f0, f1…: field names are free text."""
    definitions: dict[str, Any] = {
        f"f{i}": (_annotation(field), Field(alias=field.name)) for i, field in enumerate(fields)
    }
    model: type[BaseModel] = create_model("Row", __base__=_Row, **definitions)
    return model


def _annotation(field: FieldSpec) -> Any:
    if field.choices is not None:
        return Annotated[Any, BeforeValidator(_chooser(field))]
    if field.type == "text":
        return str
    number: Any = int if field.type == "integer" else float
    return Annotated[number, Field(ge=field.min, le=field.max)]


def _chooser(field: FieldSpec) -> Any:
    """Maps what a client may send (the value or its label) to what the model gets.

    A list of words becomes 0, 1, 2… unless the field is of type text, which gets the words.
    """
    choices = field.choices or []
    accepted: dict[str, Any] = {}
    if isinstance(choices, dict):
        for value, label in choices.items():
            accepted[str(label)] = accepted[str(value)] = value
    else:
        words = any(isinstance(c, str) for c in choices)
        for i, value in enumerate(choices):
            accepted[str(value)] = i if words and field.type != "text" else value

    def choose(value: Any) -> Any:
        # 1.0 and 1 are one number in JSON; true is not.
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or str(value) not in accepted:
            raise PydanticCustomError("choice", "not a choice")
        return accepted[str(value)]

    return choose


def _detail(error: ErrorDetails, prefix: str, fields: list[FieldSpec]) -> Detail:
    """A pydantic error in our words."""
    name = str(error["loc"][0]) if error["loc"] else ""
    where = f"{prefix}.{name}" if prefix and name else prefix or name or "body"
    value = error["input"]
    known = {f.name: f for f in fields}
    kind = error["type"]
    if kind == "missing":
        return Detail(where, "missing", expected=_expected(known[name]))
    if kind == "extra_forbidden":
        return Detail(where, "unexpected", _short(value), f"one of {', '.join(known)}")
    if name not in known:
        return Detail(where, "not an object", _short(value), f"an object with {', '.join(known)}")
    problem = {
        "greater_than_equal": "out of range",
        "less_than_equal": "out of range",
        "finite_number": "not a finite number",
        "choice": "not one of the choices",
    }.get(kind, "wrong type")
    return Detail(where, problem, _short(value), _expected(known[name]))


def _short(value: Any) -> Any:
    """What the client sent, cut to what an error message can hold."""
    if isinstance(value, str):
        return value if len(value) <= 100 else value[:100] + "…"
    if value is None:
        return "null"
    return value if isinstance(value, (bool, int, float)) else type(value).__name__


def _expected(field: FieldSpec) -> str:
    if isinstance(field.choices, dict):
        return "one of " + ", ".join(f"{v} ({label})" for v, label in field.choices.items())
    if field.choices is not None:
        return "one of " + ", ".join(str(c) for c in field.choices)
    text = {"number": "a number", "integer": "a whole number", "text": "a text"}[field.type]
    if field.min is not None and field.max is not None:
        text += f" from {field.min:g} to {field.max:g}"
    elif field.min is not None:
        text += f" of at least {field.min:g}"
    elif field.max is not None:
        text += f" of at most {field.max:g}"
    return f"{text} ({field.unit})" if field.unit else text


def _schema(field: FieldSpec) -> dict[str, Any]:
    """The field as JSON Schema (2020-12)."""
    schema: dict[str, Any] = {}
    if isinstance(field.choices, dict):
        schema["enum"] = list(field.choices)
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
