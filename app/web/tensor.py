"""The page of a model that takes plain numbers or texts."""

from __future__ import annotations

from typing import Any

from flask import Request
from wtforms import Form, TextAreaField
from wtforms.validators import InputRequired

from app.errors import Detail
from app.serving.batching import Call
from app.serving.tasks.base import Payload
from app.web.model_page import ModelPage


class TensorPage(ModelPage):
    """JSON, as the API takes it."""

    template = "models/tensor.html"

    def form(self, data: Any = None) -> Form:
        """One field of JSON."""

        class TensorForm(Form):
            body = TextAreaField(
                "Input, as JSON",
                [InputRequired("an input is needed")],
                render_kw={"rows": 6, "spellcheck": "false"},
            )

        form: Form = TensorForm(data)
        return form

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """The text as it stands."""
        form = self.form(request.form)
        if not form.validate():
            return form, None
        return form, Payload("json", form.data["body"].encode())

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """There is only one."""
        return "body"
