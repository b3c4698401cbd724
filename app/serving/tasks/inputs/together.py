"""Several inputs in one request: an object with a value for each, or a form of parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from app.errors import BadRequest, CardError, Detail, InvalidInput, short
from app.json_body import read_json
from app.serving.arrays import Array
from app.serving.cards.card import CARD_FILE
from app.serving.limits import Limits
from app.serving.tasks.base import ENOUGH, Part, Payload, invalid, object_schema, parse_json
from app.serving.tasks.inputs.fields import Fields
from app.serving.tasks.inputs.files import FileInput
from app.serving.tasks.inputs.form_fields import FormFields
from app.serving.tasks.inputs.input import FILE, Input, Parsed, Where, with_columns
from app.serving.tasks.inputs.series import Series
from app.serving.tasks.tables.csv_columns import ColumnCheck, check_columns
from app.serving.tasks.tables.csv_table import BEYOND, read_table
from app.thread_slices import checkpoint, free_rows_afterwards


class Together(Input):
    """Inputs of any kinds, of which each row has a value each. Where all are fields or texts, a CSV
    may have the columns of all. Raises CardError from `__init__` for inputs without rows."""

    kind = "several"

    def __init__(self, inputs: Sequence[Input], limits: Limits) -> None:
        super().__init__("", [spec for each in inputs for spec in each.specs], limits)
        self._inputs = inputs
        self._names = ", ".join(each.name for each in inputs)
        self._columns = _columns(inputs)
        self._form_fields = FormFields(inputs)
        texts = any(each.plain for each in inputs)
        forms = {"form"} if self._columns is None or texts else set()
        self.accepts = frozenset({"json", *forms, *(() if self._columns is None else ("csv",))})
        for spec in self.specs:
            if not spec.shape:
                raise CardError(
                    f"{CARD_FILE}: inputs: the model's input {spec.name} of shape {spec.shape} has "
                    "no rows: a model with such an input takes tensors only"
                )

    def body(self, payload: Payload) -> Parsed:
        """Read JSON, a form or a CSV."""
        if payload.kind == "csv":
            return self._table(payload.data, keep=payload.keep_extra)
        if payload.kind == "form":
            return self._form(payload.parts, keep=payload.keep_extra)
        value = parse_json(payload.data, self.limits)
        many = isinstance(value, list)
        if many and not value:
            raise BadRequest("the list is empty: expected at least one object")
        if many and (excess := self.limits.excess("body", len(value))):
            raise invalid(excess)
        return self.values(value if many else [value], lambda i: f"[{i}]" if many else "")

    def values(self, values: Sequence[Any], where: Where) -> Parsed:
        """Read objects with a value for each input."""
        names = {each.name for each in self._inputs}
        whole = Parsed()
        for i, row in enumerate(values):
            if len(whole.details) > ENOUGH:
                raise invalid(whole.details, more=True)
            if not isinstance(row, dict):
                expected = f"an object with {self._names}"
                whole.details.append(
                    Detail(where(i) or "body", "not an object", short(row), expected)
                )
                continue
            whole.details += [
                Detail(_in_row(where, each.name, i), "missing", expected=each.expected())
                for each in self._inputs
                if each.name not in row
            ]
            whole.details += [
                Detail(
                    _in_row(where, short(name), i), "unexpected", expected=f"one of {self._names}"
                )
                for name in islice((name for name in row if name not in names), ENOUGH)
            ]
        for each in self._inputs:
            at = [i for i, row in enumerate(values) if isinstance(row, dict) and each.name in row]
            own = [values[i][each.name] for i in at]
            _add(whole, partial(each.values, own, partial(_at, where, each.name, at)), own)
        return whole

    def _form(self, parts: Sequence[Part], *, keep: bool) -> Parsed:
        """A part for each input and row, for fields also a part for each of them; or the upload of
        a table."""
        if self._columns is not None and [part.name for part in parts] == [FILE]:
            return self._table(parts[0].file.read(), keep=keep)
        whole = Parsed()
        rows = self._form_fields.rows(parts)
        by_name: dict[str, list[Part]] = {each.name: [] for each in self._inputs}
        # Browsers send fields for files that were left empty.
        files = {each.name for each in self._inputs if isinstance(each, FileInput)}
        for part in parts:
            if self._form_fields.own(part):
                continue
            if part.name not in by_name:
                expected = f"one of {self._names}"
                whole.details.append(Detail(short(part.name), "unexpected", expected=expected))
            elif part.filename != "" and (part.size or part.name not in files):
                by_name[part.name].append(part)
        # Both at once could mean anything.
        whole.details += [
            Detail(name, "unexpected", expected=f"{name}, or its fields, not both")
            for name in rows
            if by_name[name]
        ]
        counts = {name: len(rows.get(name, some)) for name, some in by_name.items()}
        for each in self._inputs:
            some = by_name[each.name]
            if (cells := rows.get(each.name)) is not None:
                assert isinstance(each, Fields)
                where = partial(_in_rows, len(cells) > 1)
                _add(whole, partial(each.cells, cells, where), cells)
            elif not some:
                expected = each.formats if isinstance(each, FileInput) else each.expected()
                whole.details.append(Detail(each.name, "missing", expected=expected))
            elif excess := self.limits.excess(each.name, len(some)):
                whole.details += excess
            else:
                where = partial(_in_part, each.name, len(some) > 1)
                _add(whole, partial(self._parts, each, some, where), some)
        if all(counts.values()) and len(set(counts.values())) > 1:
            expected = "as many in every input"
            whole.details.append(Detail("body", "different numbers of rows", counts, expected))
        return whole

    def _parts(self, each: Input, parts: Sequence[Part], where: Where) -> Parsed:
        if isinstance(each, FileInput) and all(part.filename is not None for part in parts):
            return each.uploaded([part.file for part in parts], where)
        if isinstance(each, Series):
            return each.texts([part.file.read() for part in parts], where)
        values, details = [], []
        for i, part in enumerate(parts):
            data = part.file.read()
            if isinstance(each, FileInput) or each.plain:
                values.append(data.decode(errors="replace"))
                continue
            try:
                values.append(read_json(data, self.limits.max_json_depth))
            except ValueError as error:
                expected = f"{each.expected()}, as JSON"
                details.append(Detail(where(i), f"not JSON: {error}", expected=expected))
        return Parsed(details=details) if details else each.values(values, where)

    def _table(self, data: bytes, *, keep: bool) -> Parsed:
        """The columns of all inputs. keep: whether others are left out, not refused."""
        columns = self._columns or []
        table = read_table(data, columns, self.limits)
        free_rows_afterwards(table.rows, len(table.header))
        checked = check_columns(table, columns, keep=keep)
        return with_columns(checked, partial(self._cells, checked))

    def _cells(self, checked: ColumnCheck) -> Parsed:
        whole = Parsed()
        beyond = [(i, row[BEYOND]) for i, row in enumerate(checked.rows) if BEYOND in row]
        whole.details += [
            Detail(f"[{i}].{BEYOND}", "unexpected", short(cells), "as many cells as the header has")
            for i, cells in beyond[:ENOUGH]
        ]
        for each in self._inputs:
            own = {f.name for f in each.fields}
            absent = own & checked.absent
            rows = []
            for row in checked.rows:
                rows.append({n: cell for n, cell in row.items() if n in own})
                checkpoint()
            free_rows_afterwards(rows, len(own))
            if not absent:
                _add(whole, partial(each.cells, rows), rows)
            elif isinstance(each, Fields):
                _add(whole, partial(each.cells, rows, absent=absent), rows)
        return whole

    def form_fields(self, each: Input) -> list[str]:
        """Return the fields of a form that may stand for an input, all of them together."""
        return self._form_fields.names(each)

    def example(self) -> dict[str, Array] | None:
        """Return those of all inputs."""
        arrays: dict[str, Array] = {}
        for each in self._inputs:
            shown = each.example()
            if shown is None:
                return None
            arrays |= shown
        return arrays

    def body_schema(self) -> dict[str, Any]:
        """JSON Schema of a row."""
        return self.value_schema()

    def value_schema(self) -> dict[str, Any]:
        """JSON Schema of a row."""
        return object_schema({each.name: each.value_schema() for each in self._inputs})

    def expected(self) -> str:
        """An object."""
        return f"an object with {self._names}"

    def about(self) -> dict[str, dict[str, Any]]:
        """That of each."""
        return {name: about for each in self._inputs for name, about in each.about().items()}


def _add(whole: Parsed, read: Callable[[], Parsed], values: Sequence[Any]) -> None:
    """Add what was read of one input to what was read of the others."""
    if not values:
        return
    try:
        parsed = read()
    except InvalidInput as error:
        if not error.details:  # of the request as a whole
            raise
        whole.details += error.details
        return
    whole.arrays |= parsed.arrays
    whole.files |= parsed.files
    whole.fields |= parsed.fields
    whole.unknown |= parsed.unknown
    whole.texts |= parsed.texts
    whole.details += parsed.details


def _in_row(where: Where, name: str, i: int) -> str:
    row = where(i)
    return f"{row}.{name}" if row else name


def _at(where: Where, name: str, at: Sequence[int], i: int) -> str:
    return _in_row(where, name, at[i])


def _in_rows(many: bool, i: int) -> str:
    return f"[{i}]" if many else ""


def _in_part(name: str, many: bool, i: int) -> str:
    return f"{name}[{i}]" if many else name


def _columns(inputs: Sequence[Input]) -> list[str] | None:
    """The columns of a table with all inputs; None where some have none, or share names."""
    names = [f.name for each in inputs for f in each.fields]
    all_fields = all(each.fields for each in inputs)
    return names if all_fields and len(set(names)) == len(names) else None
