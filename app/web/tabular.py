"""The page of a model that takes rows of a table."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import orjson
from flask import Request, Response, request
from wtforms import Field, Form, SelectField, StringField
from wtforms.widgets import NumberInput

from app.api.answers import piecewise
from app.api.requests import read_form, read_payload
from app.errors import Detail, short
from app.serving.call import Call
from app.serving.card import FieldSpec
from app.serving.tasks.base import Payload
from app.web.model_page import ModelPage
from app.web.table_answer import Answer, plain
from app.web.table_file import AnsweredTable, answer_table, template_csv

if TYPE_CHECKING:
    from app.serving.model import Model
    from app.serving.tasks.tabular import TabularClassification, TabularRegression

# As the form's own script reads a number: what JSON would take, and a leading + or point.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
PREVIEW_ROWS = 10


class TabularPage(ModelPage):
    """A field a column, and a place for files of many rows.

    The form's fields are called field0, field1… since the names of a model's columns are free
    text: one may be called `data`, or `a.b`.
    """

    template = "models/tabular.html"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        task = cast("TabularRegression | TabularClassification", model.task)
        self.fields = task.fields
        # As problems call them; of two that are cut to the same, the first.
        self._keys = {short(f.name): _key(i) for i, f in reversed([*enumerate(self.fields)])}
        self._limits = task.limits
        self._answer: Answer | None = None
        self._table: AnsweredTable | None = None

    def form(self, data: Any = None) -> Form:
        """Filled with the examples of the card, unless something was sent or `?empty` asks not
        to."""
        examples = {}
        if data is None and "empty" not in request.args:
            examples = {_key(i): example_of(f) for i, f in enumerate(self.fields)}
        inputs = {_key(i): _input(f) for i, f in enumerate(self.fields)}
        form: Form = type("TabularForm", (Form,), inputs)(data, data=examples)
        return form

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """One row of the form, or a CSV."""
        if request.mimetype == "multipart/form-data":
            return self.form(), read_payload(request, frozenset({"csv"}), call)
        most = self._limits.columns(len(self.fields))
        form = self.form(read_form(request, call, most))
        row = {}
        for i, field in enumerate(self.fields):
            # A field that is left empty is missing, as a cell of a CSV is.
            if (text := form[_key(i)].data or "").strip():
                row[field.name] = _value(field, text)
        return form, Payload("json", orjson.dumps(row))

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Ask the model, and keep what the page shows of the answer."""
        card = self.model.card
        if payload.kind == "csv":
            names = [field.name for field in self.fields]
            self._table = answer_table(self.model, payload, call, names, self._limits)
            return self._table.predictions
        predictions = self.model.predict(payload, call)
        self._answer = Answer(predictions[0], card.output)
        return predictions

    def download(self, request: Request) -> Response | None:
        """The rows of the CSV with their answers."""
        if self._table is None or "download" not in request.args:
            return None
        cells = len(self._table.sent) * len(self._table.columns)
        file = piecewise(self._table.csv(), cells, mimetype="text/csv")
        file.headers["Content-Disposition"] = f"attachment; filename={self.model.name}-answers.csv"
        return file

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """By the place of the column."""
        return self._keys.get(detail.field)

    def context(self) -> dict[str, Any]:
        """The columns, the answer, and what the script needs to know."""
        return {
            "columns": [
                {"key": _key(i), "unit": field.unit, "help": help_of(field)}
                for i, field in enumerate(self.fields)
            ],
            "has_examples": any(field.example is not None for field in self.fields),
            "answer": self._answer,
            "table": self._table,
            "shown": self._table.rows(0, PREVIEW_ROWS) if self._table else [],
            "template_csv": template_csv([(f.name, example_of(f)) for f in self.fields]),
            "max_mb": f"{((request.max_content_length or 1) - 1) / 1_000_000:g}",
        }


def help_of(field: FieldSpec) -> str:
    """What the card says of a field, with the range that it allows."""
    limits = ""
    if field.choices is None and field.type != "text":
        unit = f" {field.unit}" if field.unit else ""
        if field.min is not None and field.max is not None:
            limits = f"{plain(field.min)} to {plain(field.max)}{unit}"
        elif field.min is not None:
            limits = f"{plain(field.min)}{unit} or more"
        elif field.max is not None:
            limits = f"{plain(field.max)}{unit} or less"
        elif field.type == "integer":
            limits = "whole numbers"
    if field.help and limits:
        return f"{field.help} ({limits})"
    return field.help or limits[:1].upper() + limits[1:]


def example_of(field: FieldSpec) -> str | None:
    """The example as the form's field holds it; None where the card has none."""
    if field.example is None:
        return None
    text = field.example if isinstance(field.example, str) else plain(field.example)
    if field.choices is None:
        return text
    # A card may give a choice by its value or by its label.
    return next((value for value, label in _choices(field) if text in (value, label)), None)


def _key(i: int) -> str:
    return f"field{i}"


def _choices(field: FieldSpec) -> list[tuple[str, str]]:
    """What is sent for each choice, and what people read."""
    choices = field.choices or []
    pairs = choices.items() if isinstance(choices, dict) else ((c, c) for c in choices)
    return [(_text(value), _text(label)) for value, label in pairs]


def _text(value: int | float | str) -> str:
    return value if isinstance(value, str) else plain(value)


def _input(field: FieldSpec) -> Field:
    about = {"data-name": field.name, "data-kind": "choice" if field.choices else field.type}
    about["autocomplete"] = "off"
    if field.unit is not None:
        about["data-unit"] = field.unit
    if (example := example_of(field)) is not None:
        about["data-example"] = example
    if field.choices is not None:
        return SelectField(
            field.name,
            choices=[("", "Choose one"), *_choices(field)],
            validate_choice=False,
            render_kw=about,
        )
    if field.type == "text":
        return StringField(field.name, render_kw=about | {"spellcheck": "false"})
    low, high = field.min, field.max
    if field.type == "integer":
        low, high = low and math.ceil(low), high and math.floor(high)
    if low is not None and low >= 0:
        # Telephones leave out the minus sign with these.
        about["inputmode"] = "numeric" if field.type == "integer" else "decimal"
    widget = NumberInput(
        step="any" if field.type == "number" else 1,
        min=None if low is None else plain(low),
        max=None if high is None else plain(high),
    )
    return StringField(field.name, widget=widget, render_kw=about)


def _value(field: FieldSpec, text: str) -> Any:
    """What was typed, as JSON has it; text that is no number stays text, for the model to say
    so."""
    if field.choices is not None or field.type == "text":
        return text
    found = NUMBER.fullmatch(text.strip())
    if not found or not math.isfinite(float(text)):
        return text
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
