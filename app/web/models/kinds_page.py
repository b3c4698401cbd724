"""The page of a model with several inputs, or with one of sound or of series, made of the parts of
their kinds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import orjson
from flask import Request, Response, request, url_for
from werkzeug.datastructures import MultiDict
from wtforms import Form, StringField, TextAreaField

from app.api.http.requests import MAX_FORM_BYTES, read_payload
from app.api.native.describe import model_form
from app.api.native.examples import Repeated, example_input
from app.api.native.explain import wants_explanation
from app.api.native.scale import scale_of
from app.errors import Detail, TooLarge
from app.serving.call import Call
from app.serving.large_bodies import run_large
from app.serving.models.explanation import explain
from app.serving.models.model import Model
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.base import Part
from app.serving.tasks.examples import Example
from app.serving.tasks.inputs.audio import Audio
from app.serving.tasks.inputs.fields import Fields
from app.serving.tasks.inputs.files import FileInput
from app.serving.tasks.inputs.input import Input
from app.serving.tasks.inputs.series import Series
from app.web.layout import layout
from app.web.models.answers.heat import Heat, explain_context, heats
from app.web.models.answers.plot import Plot, following, plots
from app.web.models.answers.readings import (
    PictureRoom,
    Reading,
    for_script,
    readings,
    shown_outputs,
)
from app.web.models.columns import column_field, example_of, help_of, shown_value, value_of
from app.web.models.model_page import ModelPage, scale_context, tried_scale
from app.web.models.picture_form import picture_field
from app.web.models.table_part import TablePart
from app.web.models.text_input_page import text_field
from app.web.models.time_fields import recording_field, series_example, series_fields


class KindsPage(ModelPage):
    """A part of the form for each input: a file, fields, or a text.

    The form's fields are called input0, input1_0… because names are free text.
    """

    template = "models/kinds.html"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        task = cast("RowTask", model.task)
        self.inputs = task.inputs
        self._examples = example_input(model_form(model)) if len(self.inputs) > 1 else {}
        self._outputs = shown_outputs(model)
        self._answer: list[Reading] = []
        self._heats: list[Heat] = []
        self._table: TablePart | None = None
        # The texts of series, and what was drawn of them.
        self._sent: dict[str, bytes] = {}
        self._plots: list[Plot] = []
        if "csv" in task.accepts and all(each.fields for each in self.inputs):
            self._fields = [field for each in self.inputs for field in each.fields]
            self._table = TablePart(model, self._fields, task.limits, self._outputs)

    def form(self, data: Any = None) -> Form:
        """Return the form, with the examples of the card unless it was submitted."""
        fields: dict[str, Any] = {}
        for i, each in enumerate(self.inputs):
            if isinstance(each, Fields):
                for j, field in enumerate(each.fields):
                    fields[_column(i, j)] = column_field(field)
            elif isinstance(each, Audio):
                fields[_key(i)] = recording_field(each)
            elif isinstance(each, Series):
                fields[_key(i)], fields[_file_key(i)] = series_fields(each)
            elif each.kind == "picture":
                fields[_key(i)] = picture_field(each.name, several=False)
            elif each.kind == "text":
                fields[_key(i)] = text_field(each, each.name)
            else:
                fields[_key(i)] = _json_field(each)
        form: Form = type("KindsForm", (Form,), fields)(data, data=self._defaults(data))
        return form

    def _defaults(self, data: Any) -> dict[str, str | None]:
        if data is not None or "empty" in request.args:
            return {}
        found: dict[str, str | None] = {}
        for i, each in enumerate(self.inputs):
            if isinstance(each, Fields):
                found |= {_column(i, j): example_of(f) for j, f in enumerate(each.fields)}
            elif isinstance(each, Series):
                found[_key(i)] = series_example(each)
            elif each.kind == "tensor":
                example = self._examples[each.name]
                found[_key(i)] = "" if isinstance(example, Repeated) else layout(example)
        return found

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """Read the form as a form of the API: a part for each input. Or a CSV, where all are
        fields."""
        if self._table is not None and {"table", "download"} & {*request.args}:
            return self.form(), self._table.read(request, call)
        scale = scale_of(request, self.model)
        payload = read_payload(request, frozenset({"form"}), call)
        texts: dict[str, str] = {}
        files: dict[str, Part] = {}
        if sum(part.size for part in payload.parts if part.filename is None) > MAX_FORM_BYTES:
            payload.close()
            raise TooLarge(f"the form has more than {MAX_FORM_BYTES:,} bytes: use the API instead")
        for part in payload.parts:
            if part.filename is None:
                texts[part.name] = part.file.read().decode(errors="replace")
            elif part.filename:
                files[part.name] = part
        form = self.form(MultiDict(texts))
        parts = []
        for i, each in enumerate(self.inputs):
            if isinstance(each, FileInput):
                if _key(i) in files:
                    sent = files[_key(i)]
                    parts.append(Part(each.name, sent.filename, sent.file, sent.size))
                continue
            text = texts.get(_key(i), "").encode()
            if isinstance(each, Series):
                if (file := files.get(_file_key(i))) is not None:
                    text = file.file.read()
                self._sent[each.name] = text
            if isinstance(each, Fields):
                row = {}
                for j, field in enumerate(each.fields):
                    # An empty field is missing, as an empty cell of a CSV is.
                    if (typed := texts.get(_column(i, j), "")).strip():
                        row[field.name] = value_of(field, typed)
                text = orjson.dumps(row)
            if text.strip():
                parts.append(Part(each.name, None, io.BytesIO(text), len(text)))
        spools = [part.file for part in payload.parts]
        return form, Payload("form", parts=parts, files=spools, scale=scale)

    def example_fields(self, example: Example) -> dict[str, str]:
        """Return the values of fields, texts, and JSON for tensors."""
        found: dict[str, str] = {}
        for i, each in enumerate(self.inputs):
            value = example.values[each.name]
            if isinstance(each, Fields):
                for j, field in enumerate(each.fields):
                    found[_column(i, j)] = shown_value(field, value[field.name]) or ""
            elif each.kind == "text":
                found[_key(i)] = value
            elif not each.takes_files:
                found[_key(i)] = layout(value)
        return found

    def file_fields(self, example: Example) -> list[str]:
        """Return the fields of the inputs that take files."""
        return [_key(i) for i, each in enumerate(self.inputs) if each.name in example.files]

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Ask the model, and keep the answer for the page."""
        if self._table is not None and payload.kind == "csv":
            return self._table.predict(payload, call)
        if wants_explanation(request, self.model):
            found = explain(self.model, payload, call)
            predictions: Sequence[Any] = found["predictions"]
            self._heats = heats(found["explanation"], self._outputs)
        else:
            predictions = self.model.predict(payload, call)
        predictions = [PictureRoom().fitted(predictions[0])]
        self._answer = readings(predictions[0], self._outputs)
        for each in self.inputs:
            if isinstance(each, Series):
                self._plots += self._plotted(each, predictions[0], call)
        return predictions

    def _plotted(self, each: Series, prediction: Any, call: Call) -> list[Plot]:
        """Draw a series as it was given to the model, and what comes next."""
        text = self._sent[each.name]
        parsed = run_large(len(text), partial(each.texts, [text], str), call)
        given = parsed.arrays[each.spec.name][0]
        return plots(given, each.columns, following(prediction, self._outputs, each.columns, given))

    def download(self, request: Request) -> Response | None:
        """Return the rows of a CSV with their answers."""
        return self._table.download(request) if self._table else None

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """Return the form's field for an input, or for the column of one."""
        for i, each in enumerate(self.inputs):
            if isinstance(each, Fields):
                for j, field in enumerate(each.fields):
                    if detail.field == f"{each.name}.{field.name}":
                        return _column(i, j)
            elif detail.field == each.name or detail.field.startswith(f"{each.name}["):
                return _key(i)
        return None

    def context(self) -> dict[str, Any]:
        """Return the inputs, and the answer."""
        tried = tried_scale(self.model)
        return {
            "inputs": [self._input(i, each) for i, each in enumerate(self.inputs)],
            "answer": self._answer,
            "heats": self._heats,
            "plots": self._plots,
            **(self._table_context() if self._table else {"table": None, "many": None}),
            **scale_context(self.model),
            **explain_context(self.model, f"?scale={tried}" if tried else ""),
        }

    def _table_context(self) -> dict[str, Any]:
        assert self._table is not None
        many = {
            "api": url_for("native.predict", name=self.model.name),
            "output": for_script(self._outputs),
            "names": [field.name for field in self._fields],
        }
        return {"many": many, **self._table.context()}

    @staticmethod
    def _input(i: int, each: Input) -> dict[str, Any]:
        columns = []
        if isinstance(each, Fields):
            columns = [
                {"key": _column(i, j), "unit": field.unit, "help": help_of(field)}
                for j, field in enumerate(each.fields)
            ]
        about = {"name": each.name, "kind": each.kind, "key": _key(i), "columns": columns}
        return {**about, "file": _file_key(i)}


def _file_key(i: int) -> str:
    return f"input{i}_file"


def _key(i: int) -> str:
    return f"input{i}"


def _column(i: int, j: int) -> str:
    return f"input{i}_{j}"


def _json_field(each: Input) -> StringField:
    return TextAreaField(
        f"{each.name}, as JSON",
        description=f"Expected: {each.expected()}.",
        render_kw={"rows": 4, "spellcheck": "false"},
    )
