"""Series: rows of numbers in time order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from app.errors import BadRequest, Detail, short
from app.json_body import read_json, without_bom
from app.serving.arrays import Array
from app.serving.cards.kinds import Kind
from app.serving.cards.time_inputs import SeriesInput
from app.serving.limits import Limits
from app.serving.tasks.base import ENOUGH, Payload, invalid, parse_json
from app.serving.tasks.inputs.input import Input, Parsed, Where
from app.serving.tasks.inputs.series_shape import series_shape
from app.serving.tasks.tables.csv_series import read_series
from app.serving.tasks.tables.decimal_commas import comma_problem, with_point
from app.serving.tensors import dtype_kind, numpy_dtype, too_long
from app.thread_slices import checkpoint

# The rows of a series, as numbers of Python.
Rows = list[list[float]]
# Numbers that become an array at once.
_AT_ONCE = 10_000
# The key of a series in JSON, which the name of the model's input may replace.
KEY = "series"


class Series(Input):
    """One series a row of the request. Raises CardError from `__init__` where card and model do not
    fit."""

    kind = "series"
    accepts = frozenset({"json", "csv"})

    def __init__(self, kind: Kind[SeriesInput], limits: Limits) -> None:
        super().__init__(kind.name, kind.specs, limits)
        (self.spec,) = kind.specs
        self.shape = series_shape(kind)
        self.columns = kind.card.columns
        self._known = set(self.columns or [])

    # --- requests ------------------------------------------------------------------------------

    def body(self, payload: Payload) -> Parsed:
        """Read one series as a list of rows or a CSV; or an object with it, or a list of these."""
        if payload.kind == "csv":
            details: list[Detail] = []
            rows = self._table(payload.data, "", details)
            return self._parsed([rows], lambda i: "body", details)
        value = parse_json(payload.data, self.limits, "; a CSV needs Content-Type: text/csv")
        if not isinstance(value, (dict, list)):
            raise invalid([Detail("body", "not a list", short(value), self.expected())])
        many = isinstance(value, list) and self._is_many(value)
        if not many and not isinstance(value, dict):
            # Rows are named by their place alone.
            return self.values([value], lambda i: "")
        several: list[Any] = value if isinstance(value, list) else [value]
        if excess := self.limits.excess("body", len(several)):
            raise invalid(excess)
        if many and isinstance(several[0], list):
            return self.values(several, lambda i: f"[{i}]")
        return self._objects(several, many=many)

    def _is_many(self, value: list[Any]) -> bool:
        """Whether a list holds several series, not the rows of one."""
        first = value[0] if value else None
        if isinstance(first, dict):
            return any(isinstance(first.get(key), list) for key in (KEY, self.name))
        # Lists of lists of lists cannot be anything else.
        return isinstance(first, list) and bool(first) and isinstance(first[0], (list, dict))

    def _objects(self, rows: Sequence[Any], *, many: bool) -> Parsed:
        """Read objects with a series each."""
        found: list[Any] = []
        fields: list[str] = []
        details: list[Detail] = []
        expected = f"an object with '{KEY}': {self.expected()}"
        for i, row in enumerate(rows):
            prefix = f"[{i}]." if many else ""
            if not isinstance(row, dict):
                details.append(Detail(prefix[:-1] or "body", "not an object", short(row), expected))
                continue
            key = self.name if self.name in row and KEY not in row else KEY
            details += [
                Detail(prefix + short(name), "unexpected", expected=expected)
                for name in islice((name for name in row if name != key), 3)
            ]
            if key not in row:
                details.append(Detail(prefix + key, "missing", expected=self.expected()))
            else:
                found.append(row[key])
                fields.append(prefix + key)
            if len(details) > ENOUGH:
                raise invalid(details, more=i + 1 < len(rows))
            checkpoint()
        parsed = self.values(found, fields.__getitem__)
        parsed.details = details + parsed.details
        return parsed

    def values(self, values: Sequence[Any], where: Where) -> Parsed:
        """Read lists of rows: numbers, lists of numbers, or objects by the names of the columns."""
        details: list[Detail] = []
        found = (self._read(value, where(i), details) for i, value in enumerate(values))
        return self._parsed(found, where, details)

    def texts(self, texts: Sequence[bytes], where: Where) -> Parsed:
        """Read a text each: JSON, or a CSV."""
        details: list[Detail] = []
        found = (self._text(text, where(i), details) for i, text in enumerate(texts))
        return self._parsed(found, where, details)

    def _parsed(self, found: Iterable[Rows | None], where: Where, details: list[Detail]) -> Parsed:
        """Put series together, as they are read. details: their problems."""
        parts: list[Array] = []
        waiting: list[Rows] = []
        steps: int | None = None
        for i, rows in enumerate(found):
            if len(details) > ENOUGH:
                raise invalid(details, more=True)
            checkpoint()
            if rows is None:
                continue
            steps = steps or len(rows)
            if len(rows) != steps:
                expected = f"{steps:,} rows, as in the first series"
                details.append(Detail(where(i), f"{len(rows):,} rows", len(rows), expected))
            elif not details:
                waiting.append(rows)
                if len(waiting) * steps * self.shape.columns >= _AT_ONCE:
                    parts.append(self._array(waiting, i + 1 - len(waiting), where, details))
                    waiting = []
        if waiting and not details:
            parts.append(self._array(waiting, i + 1 - len(waiting), where, details))
        if details or not parts:
            return Parsed(details=details)
        array = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return Parsed({self.spec.name: array[..., 0] if self.shape.flat else array})

    def _text(self, text: bytes, where: str, details: list[Detail]) -> Rows | None:
        try:
            if without_bom(text).lstrip()[:1] not in (b"[", b"{"):
                return self._table(text, where, details)
            value = read_json(text, self.limits.max_json_depth)
        except BadRequest as error:
            details.append(Detail(where, error.message, expected=f"{self.expected()}, or a CSV"))
            return None
        except ValueError as error:
            details.append(Detail(where, f"not JSON: {error}", expected=self.expected()))
            return None
        return self._read(value, where, details)

    def _table(self, text: bytes, where: str, details: list[Detail]) -> Rows | None:
        """The rows of a CSV with or without a header; None where it has problems. Raises
        BadRequest, or InvalidInput if it has too many lines."""
        shape = self.shape
        table = read_series(text, self.columns or [], shape.columns, shape.steps, self.limits)
        if wrong := self._wrong_length(table.count, where or "body"):
            details.append(wrong)
            return None
        rows: Rows = []
        commas: set[str] = set()
        before = len(details)
        for line, cells in table.rows:
            field = f"{where}: line {line}" if where else f"line {line}"
            if len(cells) != shape.columns:
                sent, expected = f"{len(cells)} cells", f"{shape.columns}"
                details.append(Detail(field, sent, len(cells), expected))
                continue
            row = [_of_cell(cell) for cell in cells]
            for j, (cell, number) in enumerate(zip(cells, row, strict=True)):
                if number is not None:
                    continue
                name = self.columns[j] if self.columns else str(j + 1)
                if with_point(cell) is None:
                    at = self._at(field, j, ": ")
                    details.append(Detail(at, "not a number", short(cell), self._number))
                elif name not in commas:
                    found = comma_problem(name, cell)
                    details.append(replace(found, field=f"{where}: {found.field}".lstrip(": ")))
                    commas.add(name)
            rows.append([number or 0 for number in row])
            if len(details) > ENOUGH:
                raise invalid(details, more=True)
            checkpoint()
        return rows if len(details) == before else None

    def _read(self, value: Any, where: str, details: list[Detail]) -> Rows | None:
        """The rows of one series of JSON that are used; None where it has problems."""
        if not isinstance(value, list):
            details.append(Detail(where or "body", "not a list", short(value), self.expected()))
            return None
        if wrong := self._wrong_length(len(value), where or "body"):
            details.append(wrong)
            return None
        start = 0 if self.shape.steps is None else len(value) - self.shape.steps
        before = len(details)
        rows = []
        for i in range(start, len(value)):
            rows.append(self._row(value[i], f"{where}[{i}]", details))
            if len(details) > ENOUGH:
                raise invalid(details, more=i + 1 < len(value))
            checkpoint()
        return rows if len(details) == before else None

    def _wrong_length(self, count: int, field: str) -> Detail | None:
        steps = self.shape.steps
        if count == 0 or (steps is not None and count < steps):
            expected = self.expected()
            problem = f"{count:,} {'row' if count == 1 else 'rows'}" if count else "no rows"
            return Detail(field, problem, count, expected)
        if steps is None:
            return too_long((1, count), replace(self.spec, name=field, shape=(None, None)))
        return None

    def _row(self, row: Any, where: str, details: list[Detail]) -> list[float]:
        """One row as numbers; its problems are added to `details`."""
        if isinstance(row, dict) and self.columns:
            extra = islice((name for name in row if name not in self._known), 3)
            expected = f"one of {', '.join(self.columns)}"
            details += [
                Detail(f"{where}.{short(name)}", "unexpected", expected=expected) for name in extra
            ]
            missing = [name for name in self.columns if name not in row]
            details += [
                Detail(f"{where}.{short(name)}", "missing", expected=self._number)
                for name in missing
            ]
            cells = [row.get(name, 0) for name in self.columns]
        elif isinstance(row, list):
            if len(row) != self.shape.columns:
                sent = f"{len(row)} values"
                details.append(Detail(where, sent, len(row), self._of_row))
                return []
            cells = row
        elif self.shape.columns == 1 and not isinstance(row, dict):
            cells = [row]
        else:
            details.append(Detail(where, "wrong type", short(row), self._of_row))
            return []
        wrong = [j for j, cell in enumerate(cells) if not _is_number(cell)]
        plain = not isinstance(row, (dict, list))
        details += [
            Detail(
                where if plain else self._at(where, j, "."),
                "wrong type",
                short(cells[j]),
                self._number,
            )
            for j in wrong
        ]
        return [] if wrong else cells

    def _at(self, where: str, column: int, gap: str) -> str:
        """The field of a column in a row."""
        if self.columns:
            return f"{where}{gap}{short(self.columns[column])}"
        if gap == ".":
            return f"{where}[{column}]"
        return where if self.shape.columns == 1 else f"{where}{gap}column {column + 1}"

    def _array(
        self, many: Sequence[Rows], first: int, where: Where, details: list[Detail]
    ) -> Array:
        """Series as (series, steps, columns) of the model's type. first: the place of the first
        one, for problems, which are added to `details`."""
        dtype, whole = numpy_dtype(self.spec.dtype), dtype_kind(self.spec.dtype) != "f"
        array = np.array(many, object).reshape(len(many), -1, self.shape.columns)
        try:
            with np.errstate(over="raise"):
                cast = array.astype(dtype)
        except (OverflowError, FloatingPointError):
            cast = None
        problem, expected = "out of range", f"values that fit {self.spec.dtype}"
        if cast is not None and whole:
            problem, expected = "not whole numbers", self.expected()
            if (cast == array).all():
                return cast
        elif cast is not None and np.isfinite(cast.astype(np.float64)).all():
            return cast
        if len(many) > 1:
            for i, rows in enumerate(many):
                self._array([rows], first + i, where, details)
        else:
            details.append(Detail(where(first) or "body", problem, expected=expected))
        return array

    # --- descriptions --------------------------------------------------------------------------

    @property
    def _number(self) -> str:
        return "a number" if dtype_kind(self.spec.dtype) == "f" else "a whole number"

    @property
    def _of_row(self) -> str:
        """A row in words."""
        count = self.shape.columns
        if count == 1:
            return self._number
        by_name = f", or an object with {', '.join(self.columns)}" if self.columns else ""
        return f"a list of {count} numbers{by_name}"

    def expected(self) -> str:
        """A list of rows."""
        steps, count = self.shape.steps, self.shape.columns
        rows = "numbers" if count == 1 else f"rows of {count} numbers"
        amount = "" if steps is None else f" of at least {steps:,}"
        last = "" if steps is None else f" (the last {steps:,} are used)"
        return f"a list{amount} {rows}, in time order{last}"

    def value_schema(self) -> dict[str, Any]:
        """JSON Schema of a series."""
        number = {"type": "number" if dtype_kind(self.spec.dtype) == "f" else "integer"}
        count = self.shape.columns
        row: dict[str, Any] = {
            "type": "array",
            "items": number,
            "minItems": count,
            "maxItems": count,
        }
        forms = [row]
        if count == 1:
            forms.insert(0, number)
        if self.columns:
            properties = dict.fromkeys(self.columns, number)
            forms.append(
                {
                    "type": "object",
                    "properties": properties,
                    "required": [*properties],
                    "additionalProperties": False,
                }
            )
        items = forms[0] if len(forms) == 1 else {"anyOf": forms}
        amount: dict[str, Any] = {"minItems": self.shape.steps or 1}
        if self.shape.steps is None and self.spec.bounds is not None:
            amount["maxItems"] = self.spec.bounds.length
        return {"type": "array", "items": items, **amount}

    def body_schema(self) -> dict[str, Any]:
        """JSON Schema of a series."""
        return self.value_schema()

    def about(self) -> dict[str, dict[str, Any]]:
        """The rows, the columns and the type."""
        about: dict[str, Any] = {"kind": self.kind, "steps": self.shape.steps}
        about |= {"columns": self.columns or self.shape.columns, "dtype": self.spec.dtype}
        return {self.name: about}

    def example(self) -> dict[str, Array]:
        """Return a series of zeros."""
        shape = (1, self.shape.steps or 1, self.shape.columns)
        zeros = np.zeros(shape, numpy_dtype(self.spec.dtype))
        return {self.spec.name: zeros[..., 0] if self.shape.flat else zeros}


def _of_cell(cell: str) -> float | None:
    """The number in a cell of a CSV; None if it is none."""
    # Python's own numbers may have underscores.
    if "_" in cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))
