"""The page of a model that takes rows of a table."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Request
from wtforms import Form, StringField

from app.serving.batching import Call
from app.serving.tasks.base import Payload
from app.web.model_page import ModelPage


class TabularPage(ModelPage):
    """A field a column."""

    template = "models/tabular.html"

    def form(self, data: Any = None) -> Form:
        """Made from the fields of the model."""
        fields = {f.name: StringField(f.name) for f in self.model.card.fields or []}
        form: Form = type("TabularForm", (Form,), fields)(data)
        return form

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """One row."""
        form = self.form(request.form)
        return form, Payload("json", orjson.dumps(form.data))
