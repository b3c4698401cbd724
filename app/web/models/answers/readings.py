"""Predictions, formatted for people: a reading for each output. `readings.js` makes the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from app.serving.models.model import Model
from app.serving.tasks import RowTask
from app.serving.tasks.outputs.boxes import place_in_words
from app.serving.tasks.rows import UNKNOWN_SHARE
from app.web.models.answers.table_answer import as_json, chance_of, number_for_people, percent

# Characters of all pictures that come out on one page, as data URLs: a page is rendered in one go.
PICTURE_ROOM = 3_000_000
# Numbers of a vector, and values of a tensor, that a page shows.
MOST_NUMBERS = 8
MOST_VALUES = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """An output as pages show it. name: in answers. title: for people."""

    name: str
    title: str
    kind: str
    wrapped: bool
    unit: str | None = None
    decimals: int | None = None
    picture: str | None = None


@dataclass(slots=True)
class Reading:
    """The value of one output.

    value: the number, or the label, in words. values: several numbers, each with its name, if it
    has one. bars: the labels that come first, each with what it reaches of the whole (None for
    scores, which are no part of one) and that in words. length: of a vector. lines: of a tensor, as
    JSON. similar: other inputs, each with the cosine of the angle between its vector and this one.
    boxes: the label of each, what it reaches in words, and its place likewise. picture: the input
    that has the boxes. json: of the value, for the script that draws it.
    png: a picture, as a data URL. size: its height and width. legend: of a mask, each label with
    its share in words and its colour. part: what the picture shows of the one that was sent, in
    words, if not all. A picture that is too large for the page is empty.
    """

    kind: str
    name: str
    unit: str | None = None
    value: str = ""
    values: list[tuple[str, str]] = field(default_factory=list)
    bars: list[tuple[str, float | None, str]] = field(default_factory=list)
    scores: bool = False
    length: int = 0
    norm: str = ""
    similar: list[tuple[str, str]] = field(default_factory=list)
    lines: Any = None
    boxes: list[tuple[str, str, str]] = field(default_factory=list)
    picture: str = ""
    json: Any = None
    png: str = ""
    size: tuple[int, int] = (0, 0)
    legend: list[tuple[str, str, str]] = field(default_factory=list)
    part: str = ""


def shown_outputs(model: Model) -> list[Shown]:
    """Return the outputs of a model of rows."""
    card, task = model.card, cast("RowTask", model.task)
    found = []
    for out in task.outputs:
        about = out.about()
        # The short form need not name its classes.
        title = out.name if card.task is None or out.kind == "number" else card.output.name
        found.append(
            Shown(
                out.name,
                title or ("label" if out.kind == "classes" else "value"),
                out.kind,
                out.wrapped,
                about.get("unit"),
                about.get("decimals"),
                about.get("picture"),
            )
        )
    return found


def for_script(outputs: Sequence[Shown]) -> list[dict[str, Any]]:
    """Return the outputs as the scripts of pages read them."""
    return [asdict(out) for out in outputs]


def value_of(prediction: Any, outputs: Sequence[Shown], out: Shown) -> Any:
    """Return the value of one output in a prediction."""
    return prediction[out.name] if len(outputs) > 1 or out.wrapped else prediction


def readings(prediction: Any, outputs: Sequence[Shown]) -> list[Reading]:
    """Return a reading of each output of a prediction, and of the words that the model does not
    know, where there are some."""
    found = [_reading(as_json(value_of(prediction, outputs, out)), out) for out in outputs]
    told = isinstance(prediction, Mapping) and all(out.name != UNKNOWN_SHARE for out in outputs)
    shares = prediction.get(UNKNOWN_SHARE, {}) if told else {}
    each = shares if isinstance(shares, Mapping) else {"": shares}
    return found + [
        Reading("share", name, value=percent(share)) for name, share in each.items() if share > 0
    ]


class PictureRoom:
    """The room for the pictures that come out on one page."""

    def __init__(self) -> None:
        self._left = PICTURE_ROOM

    def fitted(self, prediction: Any) -> Any:
        """Return a prediction with an empty text for pictures that no room is left for."""
        if not isinstance(prediction, dict):
            return prediction
        return {name: self._fitted(value) for name, value in prediction.items()}

    def _fitted(self, value: Any) -> Any:
        if not isinstance(value, dict) or "png" not in value:
            return value
        if len(value["png"]) > self._left:
            return {**value, "png": ""}
        self._left -= len(value["png"])
        return value


def cosine(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return the cosine of the angle between two vectors; None if either has no direction."""
    norms = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / norms if norms else None


def _reading(value: Any, out: Shown) -> Reading:
    if out.kind == "classes":
        return _classes(value, out)
    reading = Reading(out.kind, out.title, out.unit)
    if out.kind == "boxes":
        return _boxes(value, out)
    if out.kind == "number":
        if isinstance(value, Mapping):
            reading.values = [
                (name, number_for_people(v, out.decimals)) for name, v in value.items()
            ]
        elif isinstance(value, list):
            reading.values = [("", number_for_people(v, out.decimals)) for v in value]
        else:
            reading.value = number_for_people(value, out.decimals)
    elif out.kind == "vector":
        reading.length = len(value)
        reading.norm = number_for_people(math.hypot(*value), None)
        reading.values = [("", number_for_people(v, None)) for v in value[:MOST_NUMBERS]]
    elif out.kind in ("mask", "picture"):
        reading.png, reading.size = value["png"], (value["size"][0], value["size"][1])
        reading.legend = [
            (each["label"], percent(each["share"]), each["color"])
            for each in value.get("classes", ())
        ]
        reading.part = place_in_words(value) if "box" in value else ""
    else:
        reading.lines = value
    return reading


def _boxes(value: Any, out: Shown) -> Reading:
    scores = any("score" in box for box in value)
    reading = Reading(out.kind, out.title, picture=out.picture or "", json=value, scores=scores)
    for box in value:
        chance = chance_of(box)
        text = number_for_people(chance, None) if scores else percent(chance)
        reading.boxes.append((box["label"], text, place_in_words(box)))
    return reading


def _classes(value: Any, out: Shown) -> Reading:
    reading = Reading(out.kind, out.title, None, value["label"], scores="score" in value)
    if "labels" in value:
        reading.value = ", ".join(value["labels"]) or "none of the labels"
    for top in value["top"]:
        chance = chance_of(top)
        text = number_for_people(chance, None) if reading.scores else percent(chance)
        reading.bars.append((top["label"], None if reading.scores else chance, text))
    return reading
