"""The page of a model that writes text."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import orjson
from flask import Request
from wtforms import FloatField, Form, IntegerField, RadioField, TextAreaField
from wtforms.validators import InputRequired, NumberRange
from wtforms.widgets import NumberInput

from app.api.requests import read_form
from app.errors import Detail
from app.serving.call import Call
from app.serving.card import Range
from app.serving.tasks.base import Payload
from app.serving.tasks.text import MAX_SEED_CHARACTERS
from app.web.model_page import ModelPage

OWN, RANDOM = "own", "random"
# Where a text goes on without a blank: before a sign that closes, after one that opens.
_CLOSES = re.compile(r"[.,;:!?)\]}%’”…]")
_OPENS = re.compile(r"[\s(\[{$#“‘]\Z")


class TextPage(ModelPage):
    """A beginning, or a random one; how surprising the words are, and how many."""

    template = "models/text.html"

    def form(self, data: Any = None) -> Form:
        """Made from the limits of the card."""
        settings = self.model.card.text
        schema = self.model.task.input_schema()
        unit = settings.level

        class TextForm(Form):
            start = RadioField(
                "How the text begins",
                choices=[(OWN, "With words of my own"), (RANDOM, "At random")],
                default=OWN,
            )
            seed = TextAreaField(
                "Beginning",
                default=schema["properties"]["seed"]["examples"][0],
                render_kw={"rows": 3, "maxlength": MAX_SEED_CHARACTERS},
                description="The model goes on from here.",
                filters=[lambda value: value or ""],
            )
            diversity = FloatField(
                "Diversity",
                [InputRequired("a number is needed"), _range(settings.diversity, "a number")],
                default=settings.diversity.default,
                widget=NumberInput(0.1, settings.diversity.min, settings.diversity.max),
            )
            words = IntegerField(
                f"Number of {unit}s",
                [InputRequired("a number is needed"), _range(settings.words, "a whole number")],
                default=int(settings.words.default),
                widget=NumberInput(1, int(settings.words.min), int(settings.words.max)),
                description=f"From {settings.words.min:g} to {settings.words.max:g}.",
            )

        if not settings.starts:
            del TextForm.start
        form: Form = TextForm(data)
        return form

    def read(self, request: Request, call: Call) -> tuple[Form, Payload | None]:
        """One order."""
        form = self.form(read_form(request, call))
        if not form.validate():
            return form, None
        order = dict(form.data)
        if order.pop("start", OWN) == RANDOM:
            order["seed"] = None
        return form, Payload("json", orjson.dumps(order))

    def context(self) -> dict[str, Any]:
        """How the two parts of a text are put together."""
        return {"gap": partial(gap, self.model.card.text.level)}

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """What is wrong with the text is wrong with the seed."""
        return super().field_of(form, detail) or "seed"


def gap(level: str, seed: str, rest: str) -> str:
    """What stands between a seed and how it goes on."""
    apart = level == "word" and not (_CLOSES.match(rest) or _OPENS.search(seed))
    return " " if apart else ""


def _range(allowed: Range, kind: str) -> NumberRange:
    text = f"expected {kind} from {allowed.min:g} to {allowed.max:g}"
    return NumberRange(allowed.min, allowed.max, text)
