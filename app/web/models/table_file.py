"""A CSV with an answer to each row, for browsers without scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.errors import Detail, InvalidInput
from app.serving.call import Call
from app.serving.hub_rounds import VALUES, spread
from app.serving.large_bodies import run_large
from app.serving.limits import MAX_DETAILS, Limits
from app.serving.models.model import Model
from app.serving.tasks.base import Payload, invalid
from app.serving.tasks.tables.csv_columns import ColumnCheck, check_columns
from app.serving.tasks.tables.csv_table import CsvTable, nameless, on_lines, read_table
from app.serving.tasks.tables.formula_guard import guarded
from app.web.models.answers.table_answer import answer_cells, answer_columns, as_json

# The BOM by which spreadsheets recognise UTF-8; only needed beyond ASCII.
BOM = "\ufeff".encode()


@dataclass(frozen=True, slots=True)
class AnsweredTable:
    """A table and its answers.

    columns, answer_columns: names. titles: of `columns` in the file that was sent. sent: the cells
    of each row, by column. delimiter: of that file. decimals: of numbers, by the names of outputs.
    """

    columns: list[str]
    titles: list[str]
    answer_columns: list[str]
    sent: list[dict[str, str]]
    predictions: Sequence[Any]
    delimiter: str
    decimals: Mapping[str, int | None]

    def rows(self, start: int, end: int) -> list[list[str]]:
        """Return the cells of rows `start` to `end`, each followed by those of its answer."""
        answers = as_json(self.predictions[start:end])
        return [
            [row.get(name, "") for name in self.columns] + answer_cells(answer, self.decimals)
            for row, answer in zip(self.sent[start:end], answers, strict=True)
        ]

    def csv(self) -> list[bytes]:
        """Return the table as it was sent with its answers added, in pieces. Blocks the
        greenlet."""
        pieces = [*spread(self._csv())]
        return pieces if all(map(bytes.isascii, pieces)) else [BOM, *pieces]

    def _csv(self) -> Iterator[bytes]:
        own = len(self.columns)
        yield _line([*self.titles, *map(guarded, self.answer_columns)], self.delimiter)
        step = max(1, VALUES // (2 * len(self.columns)))
        for start in range(0, len(self.sent), step):
            out = io.StringIO()
            writer = csv.writer(out, delimiter=self.delimiter)
            for row in self.rows(start, start + step):
                writer.writerow([*row[:own], *map(guarded, row[own:])])
            yield out.getvalue().encode()


def answer_table(
    model: Model,
    payload: Payload,
    call: Call,
    names: Sequence[str],
    limits: Limits,
    decimals: Mapping[str, int | None],
) -> AnsweredTable:
    """Read the CSV in `payload` and predict an answer for each row.

    names: of the model's fields. Raises BadRequest, and InvalidInput that names lines of the file.
    """

    def read() -> tuple[CsvTable, ColumnCheck]:
        found = read_table(payload.data, names, limits)
        return found, check_columns(found, names, keep=payload.keep_extra)

    table, checked = run_large(len(payload.data), read, call)
    if checked.details:
        message = "the columns of the CSV are not those of the model"
        raise InvalidInput(message, checked.details[:MAX_DETAILS])
    try:
        predictions = model.predict(payload, call)
    except InvalidInput as error:
        details = [_with_value(detail) for detail in on_lines(error.details, table.lines)]
        if len(details) == 1:
            raise invalid(details) from None
        raise InvalidInput(error.message, details) from None
    shown = {*names, *checked.others}
    placed = [(i, name) for i, name in enumerate(table.header) if name in shown]
    columns = [name for _, name in placed]
    return AnsweredTable(
        columns,
        ["" if name == nameless(i) else name for i, name in placed],
        answer_columns(as_json(predictions[0]), columns),
        table.rows,
        predictions,
        table.delimiter,
        decimals,
    )


def template_csv(columns: Sequence[tuple[str, str | None]]) -> str:
    """Return a CSV to start from. columns: names, each with an example if it has one."""
    text = _line([name for name, _ in columns])
    if any(example is not None for _, example in columns):
        text += _line(["" if example is None else example for _, example in columns])
    return (text if text.isascii() else BOM + text).decode()


def _with_value(detail: Detail) -> Detail:
    if detail.value is None:
        return detail
    return replace(detail, problem=f"{detail.problem}, found {detail.value}")


def _line(cells: Sequence[str], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerow(cells)
    return out.getvalue().encode()
