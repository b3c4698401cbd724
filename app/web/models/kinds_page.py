"""The page of a model with several inputs, made of the parts of their kinds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, cast

import orjson
from flask import Request, Response, request, url_for
from werkzeug.datastructures import MultiDict
from wtforms import Form, StringField, TextAreaField

from app.api.http.requests import MAX_FORM_BYTES, read_payload
from app.api.native.describe import model_form
from app.api.native.examples import Repeated, example_input
from app.api.native.scale import scale_of
from app.errors import Detail, TooLarge
from app.serving.call import Call
from app.serving.models.model import Model
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.base import Part
from app.serving.tasks.inputs.fields import Fields
from app.serving.tasks.inputs.input import Input
from app.web.layout import layout
from app.web.models.columns import column_field, example_of, help_of, value_of
from app.web.models.model_page import ModelPage, scale_context
from app.web.models.picture_form import picture_field
from app.web.models.readings import Reading, for_script, readings, shown_outputs
from app.web.models.table_part import TablePart


class KindsPage(ModelPage):
    """A part of the form for each input: a file, fields, or JSON.

    The form's fields are called input0, input1_0… because names are free text.
    """

    template = "models/kinds.html"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        task = cast("RowTask", model.task)
        self.inputs = task.inputs
        self._examples = example_input(model_form(model))
        self._outputs = shown_outputs(model)
        self._answer: list[Reading] = []
        self._table: TablePart | None = None
        if "csv" in task.accepts:
            self._fields = [
                f for each in self.inputs if isinstance(each, Fields) for f in each.fields
            ]
            self._table = TablePart(model, self._fields, task.limits, self._outputs)

    def form(self, data: Any = None) -> Form:
        """Return the form, with the examples of the card unless it was submitted."""
        fields: dict[str, Any] = {}
        for i, each in enumerate(self.inputs):
            if isinstance(each, Fields):
                for j, field in enumerate(each.fields):
                    fields[_column(i, j)] = column_field(field)
            elif each.kind == "picture":
                fields[_key(i)] = picture_field(each.name, several=False)
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
            if each.kind == "picture":
                if _key(i) in files:
                    sent = files[_key(i)]
                    parts.append(Part(each.name, sent.filename, sent.file, sent.size))
                continue
            text = texts.get(_key(i), "").encode()
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

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Ask the model, and keep the answer for the page."""
        if self._table is not None and payload.kind == "csv":
            return self._table.predict(payload, call)
        predictions = self.model.predict(payload, call)
        self._answer = readings(predictions[0], self._outputs)
        return predictions

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
        return {
            "inputs": [self._input(i, each) for i, each in enumerate(self.inputs)],
            "answer": self._answer,
            **(self._table_context() if self._table else {"table": None, "many": None}),
            **scale_context(self.model),
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
        return {"name": each.name, "kind": each.kind, "key": _key(i), "columns": columns}


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
