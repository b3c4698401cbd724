"""A CSV with an answer to each of its rows, for browsers that run no script."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from app.errors import Detail, InvalidInput
from app.serving.call import Call
from app.serving.large import run_large
from app.serving.limits import Limits
from app.serving.tasks.base import Payload, invalid
from app.serving.tasks.csvtext import CsvTable, on_lines, read_table
from app.web.table_answer import answer_cells, answer_columns, as_json

if TYPE_CHECKING:
    from app.serving.model import Model


@dataclass(frozen=True, slots=True)
class AnsweredTable:
    """columns, answer_columns: their names. rows: the cells of each with those of its answer.
    delimiter: as in the file that was sent."""

    columns: list[str]
    answer_columns: list[str]
    rows: list[list[str]]
    predictions: list[Any]
    delimiter: str

    def csv(self) -> str:
        """The table as it was sent, its answers added."""
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self.delimiter)
        writer.writerow(self.columns + self.answer_columns)
        writer.writerows(self.rows)
        return _marked(out.getvalue())


def answer_table(
    model: Model, payload: Payload, call: Call, names: Sequence[str], limits: Limits
) -> AnsweredTable:
    """Raises BadRequest, and InvalidInput that names the lines of the file."""
    read = partial(read_table, payload.data, names, limits)
    table = run_large(len(payload.data), read, call)
    _check_header(table, names)
    try:
        predictions = as_json(model.predict(payload, call))
    except InvalidInput as error:
        details = [_with_value(detail) for detail in on_lines(error.details, table.lines)]
        if len(details) == 1:
            raise invalid(details) from None
        raise InvalidInput(error.message, details) from None
    output = model.card.output
    columns = list(table.rows[0])
    return AnsweredTable(
        columns,
        answer_columns(predictions[0], columns),
        [
            [row.get(name, "") for name in columns] + answer_cells(prediction, output)
            for row, prediction in zip(table.rows, predictions, strict=True)
        ],
        predictions,
        table.delimiter,
    )


def template_csv(columns: Sequence[tuple[str, str | None]]) -> str:
    """A CSV to begin with. columns: names, and an example of each where there is one."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([name for name, _ in columns])
    if any(example is not None for _, example in columns):
        writer.writerow(["" if example is None else example for _, example in columns])
    return _marked(out.getvalue())


def _check_header(table: CsvTable, names: Sequence[str]) -> None:
    """A column too many or too few is one mistake, not one a row."""
    details = [
        Detail(f"column {name}", "missing", expected="its name in the first line")
        for name in names
        if name not in table.header
    ]
    known = {*names, *(f"(column {i + 1})" for i in range(len(table.header)))}
    details += [
        Detail(f"column {name}", "unexpected", expected=f"one of {', '.join(names)}")
        for name in table.header
        if name not in known
    ]
    if details:
        raise InvalidInput("the columns of the CSV are not those of the model", details)


def _with_value(detail: Detail) -> Detail:
    if detail.value is None:
        return detail
    return replace(detail, problem=f"{detail.problem}, found {detail.value}")


def _marked(text: str) -> str:
    """With the mark by which spreadsheets know UTF-8, where it makes a difference."""
    return text if text.isascii() else "\ufeff" + text
