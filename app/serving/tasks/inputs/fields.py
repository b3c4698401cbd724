"""Named values: the columns of one matrix, or an input of the model each."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import BadRequest, CardError, Detail, InvalidInput, short
from app.serving.arrays import Array
from app.serving.cards.card import CARD_FILE, FieldsInput, FieldSpec
from app.serving.cards.kinds import Kind
from app.serving.limits import Limits
from app.serving.signature import TensorSpec
from app.serving.tasks.base import ENOUGH, Payload, invalid, parse_json
from app.serving.tasks.inputs.columns import (
    Column,
    field_schema,
    fit_field,
    problem_of,
    row_model,
    split_commas,
)
from app.serving.tasks.inputs.input import Input, Parsed, Where, with_columns
from app.serving.tasks.tables.csv_columns import check_columns
from app.serving.tasks.tables.csv_table import read_table
from app.serving.tasks.tables.decimal_commas import comma_problem
from app.thread_slices import checkpoint, free_afterwards, free_rows_afterwards

# Seconds of checking before other threads get a turn.
_TURN_S = 0.001
# Values that become an array at once.
_VALUES_AT_ONCE = 20_000


class Fields(Input):
    """A row of named values. Raises CardError from `__init__` where card and model do not fit."""

    kind = "fields"
    accepts = frozenset({"json", "csv"})

    def __init__(self, kind: Kind[FieldsInput], limits: Limits) -> None:
        super().__init__(kind.name, kind.specs, limits)
        _check_rows(kind)
        fields = kind.card.fields or _plain_fields(kind)
        targets = _targets(kind, fields)
        self.fields = [fit_field(f, t, kind.place) for f, t in zip(fields, targets, strict=True)]
        self._one_matrix = len(self.specs) == 1 and len(fields) > 1
        self._columns = {
            f.name: Column(f, t.dtype) for f, t in zip(self.fields, targets, strict=True)
        }
        self._names = ", ".join(self._columns)
        self._max_names = limits.columns(len(fields))
        self._model = row_model(list(self._columns.values()))
        self._values = attrgetter(*(f"f{i}" for i in range(len(fields))))

    def body(self, payload: Payload) -> Parsed:
        """Read an object, a list of objects, or a CSV with a header."""
        if payload.kind == "csv":
            names = [f.name for f in self.fields]
            table = read_table(payload.data, names, self.limits)
            free_rows_afterwards(table.rows, len(table.header))
            checked = check_columns(table, names, keep=payload.keep_extra)
            return with_columns(checked, lambda: self.cells(checked.rows, absent=checked.absent))
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
        return self.values(value if many else [value], lambda i: f"[{i}]" if many else "")

    def values(self, values: Sequence[Any], where: Where) -> Parsed:
        """Read objects."""
        return self._tensors(self._check(values, where, strict=True))

    def cells(
        self,
        rows: Sequence[dict[str, str]],
        where: Where | None = None,
        absent: Collection[str] = frozenset(),
    ) -> Parsed:
        """Read rows of a CSV, or of a form, whose cells are texts. absent: columns that all rows
        lack, which is reported elsewhere; nothing is returned then but problems."""
        row = where or (lambda i: f"[{i}]")
        found = self._check(rows, row, strict=False, absent=absent, table=where is None)
        return Parsed() if absent else self._tensors(found)

    def example(self) -> dict[str, Array] | None:
        """Return the examples of all fields."""
        row = {f.name: f.example for f in self.fields}
        if None in row.values():
            return None
        try:
            return self.values([row], lambda i: "").arrays
        except InvalidInput:  # not as the field asks for it
            return None

    def _check(
        self,
        values: Sequence[Any],
        where: Where,
        *,
        strict: bool,
        absent: Collection[str] = frozenset(),
        table: bool = False,
    ) -> list[Any]:
        """The validated rows as tuples of values in the order of the fields. absent: names that
        all lack, which is no problem here. table: whether the rows share columns, so that a problem
        of all of a column is one."""
        commas: set[str] = set()
        rows: list[Any] = []
        kept = 0
        details: list[Detail] = []
        validate = self._model.__pydantic_validator__.validate_python
        until = time.monotonic() + _TURN_S
        for i, value in enumerate(values):
            prefix = where(i)
            if strict and type(value) is dict and len(value) > self._max_names:
                details.append(self._too_many(value, prefix))
            else:
                try:
                    rows.append(self._values(validate(value, strict=strict)))
                except ValidationError as error:
                    found = error.errors(include_url=False, include_context=False)
                    if absent:
                        found = [e for e in found if not _is_missing(e, absent)]
                    if table:
                        own, found = split_commas(found)
                        details += [comma_problem(*e) for e in own.items() if e[0] not in commas]
                        commas.update(own)
                    details += [problem_of(e, prefix, self._columns, self._names) for e in found]
            if len(details) > ENOUGH:
                raise invalid(details, more=i + 1 < len(values))
            if time.monotonic() > until:
                free_afterwards(rows, len(rows) - kept)
                kept = len(rows)
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

    def _tensors(self, rows: list[Any]) -> Parsed:
        parts: list[list[Array]] = []
        size = max(1, _VALUES_AT_ONCE // len(self.fields))
        for i in range(0, len(rows), size):
            parts.append(self._part(rows[i : i + size]))
            checkpoint()
        arrays = parts[0]
        if len(parts) > 1:
            arrays = [np.concatenate(column) for column in zip(*parts, strict=True)]
        names = (spec.name for spec in self.specs)
        return Parsed(dict(zip(names, arrays, strict=True)))

    def _part(self, rows: list[Any]) -> list[Array]:
        """Some rows as one array an input of the model."""
        specs = self.specs
        if self._one_matrix:
            return [np.array(rows, _numpy(specs[0].dtype))]
        columns = [rows] if len(self.fields) == 1 else list(zip(*rows, strict=True))
        by_name = dict(zip((f.name for f in self.fields), columns, strict=True))
        return [
            np.array(by_name[t.name] if len(specs) > 1 else columns[0], _numpy(t.dtype)).reshape(
                (len(rows), 1) if len(t.row_shape) == 1 else (len(rows),)
            )
            for t in specs
        ]

    def body_schema(self) -> dict[str, Any]:
        """JSON Schema of a row."""
        return self.value_schema()

    def value_schema(self) -> dict[str, Any]:
        """JSON Schema of a row."""
        return {
            "type": "object",
            "properties": {f.name: field_schema(f) for f in self.fields},
            "required": [f.name for f in self.fields],
            "additionalProperties": False,
        }

    def expected(self) -> str:
        """An object."""
        return f"an object with {self._names}"

    def about(self) -> dict[str, dict[str, Any]]:
        """The names of the fields, in their order."""
        return {self.name: {"kind": self.kind, "fields": [*self._columns]}}


def _check_rows(kind: Kind[FieldsInput]) -> None:
    """Raise CardError where an input of the model is more than a row of values."""
    for spec in kind.specs:
        if len(spec.row_shape) < 2:
            continue
        place, like, instead = kind.place, "", kind.place.instead
        if len(spec.row_shape) == 3 and spec.row_shape[2] in (1, 3, 4):
            like = ", that of pictures"
            instead = "use 'kind: picture'"
            if place.what == "tabular-classification":
                instead = "use 'task: image-classification'"
            elif not place.long:
                line = f"inputs: {{{spec.name}: {{kind: picture}}}}"
                instead = f"write '{line}' in the place of 'task'"
        raise CardError(
            f"{place.what} needs a row of values, the model's input {spec.name} has the shape "
            f"{spec.shape}{like}: {instead}"
        )


def _plain_fields(kind: Kind[FieldsInput]) -> list[FieldSpec]:
    specs = kind.specs
    if len(specs) > 1:
        return [FieldSpec(name=t.name, type=_type(t)) for t in specs]
    shape = specs[0].row_shape
    if len(shape) == 0 and specs[0].shape:
        return [FieldSpec(name=kind.name, type=_type(specs[0]))]
    if len(shape) != 1 or not shape[0]:
        raise kind.place.stated(
            f"the model's columns have no names: list them in '{kind.place.key}fields'"
        )
    return [FieldSpec(name=f"x{i}", type=_type(specs[0])) for i in range(shape[0])]


def _targets(kind: Kind[FieldsInput], fields: list[FieldSpec]) -> list[TensorSpec]:
    """The input of the model that each field goes into."""
    specs = kind.specs
    names = [f.name for f in fields]
    if len(specs) > 1 and sorted(names) != sorted(t.name for t in specs):
        raise CardError(
            f"{CARD_FILE}: the fields {names} do not match the model's inputs "
            f"{[t.name for t in specs]}"
        )
    columns = len(names) if len(specs) == 1 else 1
    for t in specs:
        # A single column may also come without a dimension of its own.
        fits = [(columns,), (None,), *([()] if columns == 1 else [])]
        if t.shape is not None and (t.shape == () or t.row_shape not in fits):
            raise CardError(
                f"{CARD_FILE}: {columns} field{'s' if columns > 1 else ''} cannot fill the "
                f"model's input {t.name} of shape {t.shape}"
            )
    by_name = {t.name: t for t in specs}
    return [by_name[n] if len(specs) > 1 else specs[0] for n in names]


def _is_missing(error: ErrorDetails, names: Collection[str]) -> bool:
    return error["type"] == "missing" and error["loc"][0] in names


def _numpy(dtype: str) -> Any:
    return object if dtype == "string" else np.dtype(dtype)


def _type(spec: TensorSpec) -> Any:
    return "text" if spec.dtype == "string" else "number"
