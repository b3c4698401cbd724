"""The page of a model that takes rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import orjson
from flask import Request, Response, request
from wtforms import Form

from app.api.http.requests import read_form
from app.errors import Detail, short
from app.serving.call import Call
from app.serving.models.model import Model
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.examples import Example
from app.serving.tasks.inputs.fields import Fields
from app.web.models.answers.readings import Reading, for_script, readings, shown_outputs
from app.web.models.columns import column_field, example_of, help_of, shown_value, value_of
from app.web.models.model_page import ModelPage
from app.web.models.table_part import TablePart


class TabularPage(ModelPage):
    """A form field for each column, and an upload for files of many rows.

    The form's fields are called field0, field1… because names of columns are free text: one may be
    called `data`, or `a.b`.
    """

    template = "models/tabular.html"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        task = cast("RowTask", model.task)
        self.fields = cast("Fields", task.inputs[0]).fields
        # Keys by the names that problems use. If two are shortened to the same, the first counts.
        self._keys = {short(f.name): _key(i) for i, f in reversed([*enumerate(self.fields)])}
        self._limits = task.limits
        self._outputs = shown_outputs(model)
        self._answer: list[Reading] = []
        self._table = TablePart(model, self.fields, self._limits, self._outputs)

    def form(self, data: Any = None) -> Form:
        """Return the form, filled with the examples of the card unless it was submitted or the
        address has `?empty`."""
        examples = {}
        if data is None and "empty" not in request.args:
            examples = {_key(i): example_of(f) for i, f in enumerate(self.fields)}
        inputs = {_key(i): column_field(f) for i, f in enumerate(self.fields)}
        form: Form = type("TabularForm", (Form,), inputs)(data, data=examples)
        return form

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """Read one row from the form, or a CSV."""
        if request.mimetype == "multipart/form-data":
            return self.form(), self._table.read(request, call)
        most = self._limits.columns(len(self.fields))
        form = self.form(read_form(request, call, most))
        row = {}
        for i, field in enumerate(self.fields):
            # An empty field is missing, as an empty cell of a CSV is.
            if (text := form[_key(i)].data or "").strip():
                row[field.name] = value_of(field, text)
        return form, Payload("json", orjson.dumps(row))

    def example_fields(self, example: Example) -> dict[str, str]:
        """Return a value for each column."""
        (row,) = example.values.values()
        return {_key(i): shown_value(f, row[f.name]) or "" for i, f in enumerate(self.fields)}

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Ask the model, and keep the answer for the page."""
        if payload.kind == "csv":
            return self._table.predict(payload, call)
        predictions = self.model.predict(payload, call)
        self._answer = readings(predictions[0], self._outputs)
        return predictions

    def download(self, request: Request) -> Response | None:
        """Return the rows of the CSV with their answers."""
        return self._table.download(request)

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """Return the form's field for the column that the error names."""
        return self._keys.get(detail.field)

    def context(self) -> dict[str, Any]:
        """Return the columns, the answer, and the values for the script."""
        return {
            "columns": [
                {"key": _key(i), "unit": field.unit, "help": help_of(field)}
                for i, field in enumerate(self.fields)
            ],
            "has_examples": any(field.example is not None for field in self.fields),
            "answer": self._answer,
            "outputs": for_script(self._outputs),
            **self._table.context(),
        }


def _key(i: int) -> str:
    return f"field{i}"
