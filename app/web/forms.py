"""Forms, made from the cards of the models."""

from __future__ import annotations

from typing import Any

from wtforms import BooleanField, FloatField, Form, IntegerField, TextAreaField
from wtforms.validators import InputRequired, NumberRange
from wtforms.widgets import NumberInput

from app.errors import Detail
from app.serving.card import Range, TextSettings
from app.serving.tasks.text import MAX_SEED_CHARACTERS


def text_form(settings: TextSettings, data: Any = None) -> Form:
    """The form of a text model; `data` is what was sent of it, if anything."""

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


def _range(allowed: Range, kind: str) -> NumberRange:
    text = f"expected {kind} from {allowed.min:g} to {allowed.max:g}"
    return NumberRange(allowed.min, allowed.max, text)


def add_problems(form: Form, details: list[Detail]) -> None:
    """Problems that the model found, at the fields that they are about."""
    for detail in details:
        field = form[detail.field] if detail.field in form else form["seed"]
        expected = "" if detail.expected is None else f": expected {detail.expected}"
        text = f"{detail.problem}{expected}"
        field.errors = [*field.errors, text]
