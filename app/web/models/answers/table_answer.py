"""The cells of answers in a table, and numbers for people. `numbers.js` writes the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from app.serving.tasks.outputs.boxes import boxes_in_words
from app.serving.tasks.rows import UNKNOWN_SHARE


def as_json(value: Any) -> Any:
    """Convert an answer to the API's form: plain numbers and lists instead of NumPy's."""
    return orjson.loads(
        orjson.dumps(value, default=lambda a: a.tolist(), option=orjson.OPT_SERIALIZE_NUMPY)
    )


def plain_number(value: float) -> str:
    """Format a number without meaningless digits: 8 for 8.0."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def number_for_people(value: float, decimals: int | None) -> str:
    """Format a number for people: with the decimals of the card, or six significant digits."""
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    if not -5 < magnitude < 15:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    text = f"{value:,.{max(0, 5 - magnitude)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(probability: float) -> str:
    """Format a probability for people."""
    return f"{probability * 100:.1f} %"


def chance_of(found: Mapping[str, Any]) -> float:
    """Return the probability of a class; where the model's numbers are none, its score."""
    value: float = found["probability"] if "probability" in found else found["score"]
    return value


def answer_columns(prediction: Any, taken: Iterable[str]) -> list[str]:
    """Return the names of the columns that a table gets for its answers. taken: the names that it
    already has."""
    names = [name for part in _parts(prediction) for name in _columns(*part)]
    return [f"{name} (answer)" if name in taken else name for name in names]


def answer_cells(prediction: Any, decimals: Mapping[str, int | None]) -> list[str]:
    """Return the cells for `answer_columns`. decimals: of numbers, by the names of outputs."""
    parts = _parts(prediction)
    return [cell for name, value in parts for cell in _cells(value, decimals.get(name))]


def _parts(prediction: Any) -> list[tuple[str, Any]]:
    """The outputs of a prediction, each with its name; empty for one that is not named."""
    if isinstance(prediction, Mapping) and "top" in prediction and UNKNOWN_SHARE in prediction:
        rest = {name: value for name, value in prediction.items() if name != UNKNOWN_SHARE}
        return [("", rest), (UNKNOWN_SHARE, prediction[UNKNOWN_SHARE])]
    if isinstance(prediction, Mapping) and "top" not in prediction:
        return [*prediction.items()]
    return [("", prediction)]


def _is_boxes(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, Mapping) for each in value)


def _columns(name: str, value: Any) -> list[str]:
    if _is_boxes(value):
        return [name or "boxes"]
    if isinstance(value, Mapping) and "top" in value:
        keys = [key for key in ("probability", "score", "labels") if key in value]
        return [name or "label", *(f"{name} {key}".strip() for key in keys)]
    if isinstance(value, Mapping) and "png" not in value:
        return [f"{name} {key}" for key in value]
    if isinstance(value, list) and not any(isinstance(each, list) for each in value):
        return [f"{name} {i + 1}".strip() for i in range(len(value))]
    return [name or "value"]


def _cells(value: Any, decimals: int | None) -> list[str]:
    if _is_boxes(value):
        return [boxes_in_words(value)]
    if isinstance(value, Mapping) and "top" in value:
        cells = [value["label"], plain_number(chance_of(value))]
        return cells + (["; ".join(value["labels"])] if "labels" in value else [])
    if isinstance(value, Mapping) and "png" in value:
        return [_drawn(value)]
    if isinstance(value, Mapping):
        value = [*value.values()]
    if isinstance(value, list) and any(isinstance(each, list) for each in value):
        return [orjson.dumps(value).decode()]
    values = value if isinstance(value, list) else [value]
    return [_cell(each, decimals) for each in values]


def _drawn(value: Mapping[str, Any]) -> str:
    """A mask or a picture in a few words."""
    height, width = value["size"]
    found = sorted(value.get("classes", ()), key=lambda each: -each["share"])
    shares = [f"{each['label']} {percent(each['share'])}" for each in found if each["share"]]
    return ", ".join(shares) or f"{width} × {height} pixels"


def _cell(value: Any, decimals: int | None) -> str:
    if isinstance(value, str | bool):
        return str(value)
    return plain_number(value) if decimals is None else f"{value:.{decimals}f}"
