"""The page of a model that writes text."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import orjson
from werkzeug.datastructures import MultiDict
from wtforms import FloatField, Form, IntegerField, RadioField, TextAreaField
from wtforms.validators import InputRequired, NumberRange
from wtforms.widgets import NumberInput

from app.errors import Detail
from app.serving.cards.card import Range
from app.serving.limits import MAX_CHARACTERS
from app.serving.tasks import Payload
from app.serving.tasks.examples import Example
from app.web.models.model_page import JsonPage

OWN, RANDOM = "own", "random"
# No space comes before a closing mark or after an opening one.
_CLOSES = re.compile(r"[.,;:!?)\]}%’”…]")
_OPENS = re.compile(r"[\s(\[{$#“‘]\Z")


class TextPage(JsonPage):
    """Fields for a beginning of one's own or a random one, the diversity, and the length."""

    template = "models/text.html"

    def form(self, data: Any = None) -> Form:
        """Return the form, with the limits of the card."""
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
                render_kw={"rows": 3, "maxlength": MAX_CHARACTERS},
                description="The model continues from here.",
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

    def body(self, form: Form) -> bytes:
        """Return the seed and the settings of one text."""
        order = dict(form.data)
        if order.pop("start", OWN) == RANDOM:
            order["seed"] = None
        return orjson.dumps(order)

    def example_fields(self, example: Example) -> dict[str, str]:
        """Return the beginning."""
        own = {"start": OWN} if self.model.card.text.starts else {}
        return {**own, "seed": example.values["seed"]}

    def try_example(self, example: Example) -> tuple[Form, Payload]:
        """Return the form with the beginning, and the request with the card's settings."""
        text = self.model.card.text
        settings = {
            "diversity": f"{text.diversity.default:g}",
            "words": f"{int(text.words.default)}",
        }
        fields = {**self.example_fields(example), **settings}
        return self.form(MultiDict(fields)), example.payload

    def context(self) -> dict[str, Any]:
        """Return `gap`, with which the template joins the two parts of a text."""
        return {"gap": partial(gap, self.model.card.text.level)}

    def field_of(self, form: Form, detail: Detail) -> str | None:
        """Show errors that belong to no field at the seed."""
        return super().field_of(form, detail) or "seed"


def gap(level: str, seed: str, rest: str) -> str:
    """Return the characters between a seed and the text that follows."""
    apart = level == "word" and not (_CLOSES.match(rest) or _OPENS.search(seed))
    return " " if apart else ""


def _range(allowed: Range, kind: str) -> NumberRange:
    text = f"expected {kind} from {allowed.min:g} to {allowed.max:g}"
    return NumberRange(allowed.min, allowed.max, text)
