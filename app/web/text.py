"""The page of a model that writes text."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Request
from wtforms import BooleanField, FloatField, Form, IntegerField, TextAreaField
from wtforms.validators import InputRequired, NumberRange
from wtforms.widgets import NumberInput

from app.errors import Detail
from app.serving.batching import Call
from app.serving.card import Range
from app.serving.tasks.base import Payload
from app.serving.tasks.text import MAX_SEED_CHARACTERS
from app.web.model_page import ModelPage


class TextPage(ModelPage):
    """A beginning, or a random one; how surprising the words are, and how many."""

    template = "models/text.html"

    def form(self, data: Any = None) -> Form:
        """Made from the limits of the card."""
        settings = self.model.card.text

        class TextForm(Form):
            seed = TextAreaField(
                "How the text begins",
                render_kw={"rows": 3, "maxlength": MAX_SEED_CHARACTERS},
                filters=[lambda value: value or ""],
            )
            random = BooleanField("Begin with a random start instead")
            diversity = FloatField(
                "Diversity",
                [InputRequired("a number is needed"), _range(settings.diversity, "a number")],
                default=settings.diversity.default,
                widget=NumberInput(step=0.1),
                description="Low: the likeliest words. High: surprising ones.",
            )
            words = IntegerField(
                "Words",
                [InputRequired("a number is needed"), _range(settings.words, "a whole number")],
                default=int(settings.words.default),
            )

        if not settings.starts:
            del TextForm.random
        form: Form = TextForm(data)
        return form

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """One order."""
        form = self.form(request.form)
        if not form.validate():
            return form, None
        order = dict(form.data)
        if order.pop("random", False):
            order["seed"] = None
        return form, Payload("json", orjson.dumps(order))

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """What is wrong with the text is wrong with the seed."""
        return super().field_of(form, detail) or "seed"


def _range(allowed: Range, kind: str) -> NumberRange:
    text = f"expected {kind} from {allowed.min:g} to {allowed.max:g}"
    return NumberRange(allowed.min, allowed.max, text)
