"""The page of a model that classifies pictures."""

from __future__ import annotations

from typing import Any

from flask import Request
from wtforms import Form, MultipleFileField

from app.api.requests import read_payload
from app.serving.batching import Call
from app.serving.tasks.base import Payload
from app.web.model_page import ModelPage


class ImagePage(ModelPage):
    """Pictures, one or many."""

    template = "models/image.html"

    def form(self, data: Any = None) -> Form:
        """A field for files."""

        class ImageForm(Form):
            image = MultipleFileField("Pictures", render_kw={"accept": "image/*"})

        form: Form = ImageForm(data)
        return form

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """By the API's own reader, which spools large uploads."""
        return self.form(), read_payload(request, self.model.task.accepts, call)
