"""The page of a model that takes a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import orjson
from flask import Request, Response, request, url_for
from wtforms import Form, TextAreaField

from app.api.http.requests import read_form
from app.api.native.explain import wants_explanation
from app.errors import Detail, InvalidInput
from app.serving.call import Call
from app.serving.limits import MAX_CHARACTERS
from app.serving.models.explanation import explain
from app.serving.models.model import Model
from app.serving.tasks import Payload, RowTask
from app.serving.tasks.examples import Example
from app.serving.tasks.inputs.input import Input
from app.web.models.answers.heat import Heat, explain_context, heats
from app.web.models.answers.readings import Reading, for_script, readings, shown_outputs
from app.web.models.model_page import ModelPage
from app.web.models.table_part import TablePart

FIELD = "text"


class TextInputPage(ModelPage):
    """A field for a text, and an upload for files of many."""

    template = "models/text_input.html"

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        task = cast("RowTask", model.task)
        (self.input,) = task.inputs
        self._outputs = shown_outputs(model)
        self._answer: list[Reading] = []
        self._heats: list[Heat] = []
        self._table = TablePart(model, self.input.fields, task.limits, self._outputs)

    def form(self, data: Any = None) -> Form:
        """Return a form with a field for the text."""
        form: Form = type("TextForm", (Form,), {FIELD: text_field(self.input)})(data)
        return form

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """Read one text from the form, or a CSV."""
        if request.mimetype == "multipart/form-data":
            return self.form(), self._table.read(request, call)
        form = self.form(read_form(request, call))
        return form, Payload("json", orjson.dumps(form[FIELD].data or ""))

    def example_fields(self, example: Example) -> dict[str, str]:
        """Return the text."""
        return {FIELD: example.values[self.input.name]}

    def predict(self, payload: Payload, call: Call) -> Sequence[Any]:
        """Ask the model, and keep the answer for the page."""
        if payload.kind == "csv":
            return self._table.predict(payload, call)
        try:
            if wants_explanation(request, self.model):
                found = explain(self.model, payload, call)
                self._heats = heats(found["explanation"], self._outputs)
                predictions: Sequence[Any] = found["predictions"]
            else:
                predictions = self.model.predict(payload, call)
        except InvalidInput as error:
            # The page has but one field, which has another name.
            error.details = [replace(detail, field=FIELD) for detail in error.details]
            raise
        self._answer = readings(predictions[0], self._outputs)
        return predictions

    def download(self, request: Request) -> Response | None:
        """Return the rows of the CSV with their answers."""
        return self._table.download(request)

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """Return the only field, but for the lines of a CSV."""
        return FIELD if detail.field == FIELD else None

    def context(self) -> dict[str, Any]:
        """Return the answer, and the values for the script."""
        asked = {
            "api": url_for("native.predict", name=self.model.name),
            "output": for_script(self._outputs),
            "names": [field.name for field in self.input.fields],
        }
        return {
            "asked": asked,
            "answer": self._answer,
            "heats": self._heats,
            **explain_context(self.model, ""),
            **self._table.context(),
        }


def text_field(taken: Input, label: str = "Text") -> TextAreaField:
    """Return the field for a text."""
    return TextAreaField(
        label,
        description=f"Up to {MAX_CHARACTERS:,} characters.",
        render_kw={"rows": 5, "maxlength": MAX_CHARACTERS, "data-name": taken.name},
    )
