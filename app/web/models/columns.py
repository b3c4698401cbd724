"""The fields of a form for columns: their widgets, their help and the values that they send."""

from __future__ import annotations

import math
import re
from typing import Any

from wtforms import Field, SelectField, StringField
from wtforms.widgets import NumberInput

from app.serving.cards.card import FieldSpec
from app.web.models.answers.table_answer import plain_number

# Numbers as the form's script reads them: those of JSON, and with a leading + or point.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def help_of(field: FieldSpec) -> str:
    """Return the card's description of a field, with its range."""
    limits = ""
    if field.choices is None and field.type != "text":
        unit = f" {field.unit}" if field.unit else ""
        if field.min is not None and field.max is not None:
            limits = f"{plain_number(field.min)} to {plain_number(field.max)}{unit}"
        elif field.min is not None:
            limits = f"{plain_number(field.min)}{unit} or more"
        elif field.max is not None:
            limits = f"{plain_number(field.max)}{unit} or less"
        elif field.type == "integer":
            limits = "whole numbers"
    if field.help and limits:
        return f"{field.help} ({limits})"
    return field.help or limits[:1].upper() + limits[1:]


def example_of(field: FieldSpec) -> str | None:
    """Return the example as the form's field holds it; None if the card has none."""
    return None if field.example is None else shown_value(field, field.example)


def shown_value(field: FieldSpec, value: int | float | str) -> str | None:
    """Return a value as the form's field holds it; None for one that is no choice."""
    text = value if isinstance(value, str) else plain_number(value)
    if field.choices is None:
        return text
    # A card may give a choice by its value or by its label.
    return next((value for value, label in _choices(field) if text in (value, label)), None)


def _choices(field: FieldSpec) -> list[tuple[str, str]]:
    """Return the value that each choice sends, and its label."""
    choices = field.choices or []
    pairs = choices.items() if isinstance(choices, dict) else ((c, c) for c in choices)
    return [(_text(value), _text(label)) for value, label in pairs]


def _text(value: int | float | str) -> str:
    return value if isinstance(value, str) else plain_number(value)


def column_field(field: FieldSpec) -> Field:
    """Return the form's field for a column."""
    about = {"data-name": field.name, "data-kind": "choice" if field.choices else field.type}
    about["autocomplete"] = "off"
    if field.unit is not None:
        about["data-unit"] = field.unit
    if (example := example_of(field)) is not None:
        about["data-example"] = example
    if field.choices is not None:
        return SelectField(
            field.name,
            choices=[("", "Choose one"), *_choices(field)],
            validate_choice=False,
            render_kw=about,
        )
    if field.type == "text":
        return StringField(field.name, render_kw=about | {"spellcheck": "false"})
    low, high = field.min, field.max
    if field.type == "integer":
        low, high = low and math.ceil(low), high and math.floor(high)
    if low is not None and low >= 0:
        # Phones show a keyboard without a minus sign.
        about["inputmode"] = "numeric" if field.type == "integer" else "decimal"
    widget = NumberInput(
        step="any" if field.type == "number" else 1,
        min=None if low is None else plain_number(low),
        max=None if high is None else plain_number(high),
    )
    return StringField(field.name, widget=widget, render_kw=about)


def value_of(field: FieldSpec, text: str) -> Any:
    """Convert the input to JSON; text that is not a number is kept so that the model reports
    it."""
    if field.choices is not None or field.type == "text":
        return text
    found = NUMBER.fullmatch(text.strip())
    if not found or not math.isfinite(float(text)):
        return text
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
