"""What a tabular model answered, as people read it. `tabular_answer.js` writes the same."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import orjson

from app.serving.card import Output


def as_json(value: Any) -> Any:
    """The answer as the API gives it: plain numbers and lists for NumPy's."""
    return orjson.loads(
        orjson.dumps(value, default=lambda a: a.tolist(), option=orjson.OPT_SERIALIZE_NUMPY)
    )


def plain(value: float) -> str:
    """A number without digits that say nothing: 8 for 8.0."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def written(value: float, decimals: int | None) -> str:
    """A number for people: with the decimals that the card wants, else six digits."""
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    if not -5 < magnitude < 15:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    text = f"{value:,.{max(0, 5 - magnitude)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(probability: float) -> str:
    """A probability for people."""
    return f"{probability * 100:.1f} %"


class Answer:
    """One prediction. name: of what was predicted. value: the number, or the label.
    values: where the model gives several numbers. bars: of a classifier, label, probability and
    the latter in words, the likeliest first."""

    def __init__(self, prediction: Any, output: Output) -> None:
        found = as_json(prediction)
        self.name = output.name or "value"
        self.unit = output.unit
        self.values: list[str] = []
        self.bars: list[tuple[str, float, str]] = []
        if "top" not in found:
            (value,) = found.values()
            if isinstance(value, list):
                self.values = [written(v, output.decimals) for v in value]
            else:
                self.value = written(value, output.decimals)
            return
        self.name = output.name or "label"
        self.unit = None
        self.value = found["label"]
        if "labels" in found:
            self.value = ", ".join(found["labels"]) or "none of the labels"
        self.bars = [
            (top["label"], top["probability"], percent(top["probability"])) for top in found["top"]
        ]


def answer_columns(prediction: Any, taken: Iterable[str]) -> list[str]:
    """What the columns are called that a table gets for its answers.
    taken: names of columns that it has."""
    if "top" in prediction:
        names = ["label", "probability", *(["labels"] if "labels" in prediction else [])]
    else:
        ((name, value),) = prediction.items()
        several = isinstance(value, list)
        names = [f"{name} {i + 1}" for i in range(len(value))] if several else [name]
    return [f"{name} (answer)" if name in taken else name for name in names]


def answer_cells(prediction: Any, output: Output) -> list[str]:
    """The cells of `answer_columns`."""
    if "top" in prediction:
        cells = [prediction["label"], plain(prediction["probability"])]
        return cells + (["; ".join(prediction["labels"])] if "labels" in prediction else [])
    (value,) = prediction.values()
    values = value if isinstance(value, list) else [value]
    decimals = output.decimals
    return [plain(v) if decimals is None else f"{v:.{decimals}f}" for v in values]
