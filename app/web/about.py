"""The facts about a model, in words for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.api.native.examples import form_of
from app.web.models.answers.table_answer import percent, plain_number

TASKS = {
    "image-classification": "Says what a picture shows",
    "tabular-regression": "Predicts a number from a row of values",
    "tabular-classification": "Predicts the class of a row of values",
    "text-generation": "Continues a text",
    "tensor": "Takes lists of numbers or texts, and returns lists",
}
# What the first dimension counts.
_ROWS = {"picture": "pictures", "text": "texts", "writing": "texts"}
# Labels shown. If there are more, their number is shown as well.
MAX_LABELS = 12
_MEASURED_ON = "measured_on"
_ABBREVIATIONS = ("auc", "mae", "mse", "rmse")


def facts(about: dict[str, Any], tried: str | None = None) -> list[tuple[str, list[str]]]:
    """Return terms with their values.

    about: the answer of `GET /api/models/NAME` for a ready model. tried: the scale of pixels that
    the page uses in place of guesses.
    """
    rows = _ROWS.get(form_of(about), "rows")
    found = [
        ("Task", [f"{_task(about)} ({about['task']})"] if about["task"] else []),
        *_kinds(about, tried),
        ("Inputs", [_tensor(spec, rows) for spec in about["signature"]["inputs"]]),
        ("Outputs", [_tensor(spec, rows) for spec in about["signature"]["outputs"]]),
        ("Labels", _labels(about["card"].get("labels"))),
        *_pixels(about, tried),
        *_writing(about),
        ("Parameters", [f"{about['parameters']:,}"] if about["parameters"] else []),
        ("Precision", [about["card"]["runtime"]["precision"]]),
        ("Version", [_version(each, about) for each in about["versions"]]),
        ("Measured", [text] if (text := measured(about["metrics"])) else []),
    ]
    return [(term, values) for term, values in found if values]


def measured(metrics: dict[str, Any]) -> str:
    """Return a model's quality in words, such as `94.7 % right on 300 held-out pictures`.

    metrics: those of its card. Empty if they have no measure.
    """
    words = ", ".join(_measure(*each) for each in metrics.items() if each[0] != _MEASURED_ON)
    if words and _MEASURED_ON in metrics:
        return f"{words} on {metrics[_MEASURED_ON]}"
    return words


def shape_in_words(shape: list[int | None] | None, rows: str = "rows") -> str:
    """Describe a shape, such as `any number of rows × 150 × 150 × 3`."""
    if shape is None:
        return "any shape"
    if not shape:
        return "a single value"
    sizes = ["any number" if size is None else f"{size:,}" for size in shape]
    if shape[0] is None:
        sizes[0] += f" of {rows}"
    return " × ".join(sizes)


def moment(seconds: float) -> datetime:
    """Convert seconds since 1970 to a UTC time, to the second."""
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)


def _measure(name: str, value: float | str) -> str:
    if name == "accuracy" and isinstance(value, float | int) and 0 <= value <= 1:
        return f"{percent(value)} right"
    name = name.upper() if name in _ABBREVIATIONS else name.replace("_", " ")
    return f"{name} {value if isinstance(value, str) else plain_number(value)}"


def _tensor(spec: dict[str, Any], rows: str) -> str:
    return f"{spec['name']}: {spec['dtype']}, {shape_in_words(spec['shape'], rows)}"


def _labels(labels: list[str] | str | None) -> list[str]:
    if not isinstance(labels, list):
        return []
    shown = ", ".join(labels[:MAX_LABELS])
    return [shown if len(labels) <= MAX_LABELS else f"{len(labels):,}, such as {shown}"]


def _task(about: dict[str, Any]) -> str:
    if about["task"] == "tabular-regression":
        (out,) = about["outputs"].values()
        if out["count"] != 1:
            return "Predicts several numbers from a row of values"
    return TASKS[about["task"]]


def _pixels(about: dict[str, Any], tried: str | None) -> list[tuple[str, list[str]]]:
    """Return the scale of pixels, for a model of pictures."""
    if about["task"] != "image-classification":
        return []
    scale = about["card"]["input"]["scale"]
    words = "0 to 255, as they are" if scale == "none" else f"scaled: {scale}"
    return [("Pixels", [words + _if_guessed(about, "input.scale", tried)])]


def _if_guessed(about: dict[str, Any], key: str, tried: str | None) -> str:
    if key not in about["guessed"]:
        return ""
    return f" (a guess; this page tries {tried})" if tried else " (a guess)"


def _kinds(about: dict[str, Any], tried: str | None) -> list[tuple[str, list[str]]]:
    """Describe the inputs and outputs of a card without a task."""
    if about["task"] is not None:
        return []
    taken = [
        f"{name}: {_taken(each)}{_if_guessed(about, f'inputs.{name}.scale', tried)}"
        for name, each in about["inputs"].items()
    ]
    return [("Takes", taken), ("Answers", [_given(*each) for each in about["outputs"].items()])]


def _taken(kind: dict[str, Any]) -> str:
    if kind["kind"] == "picture":
        scale = "0 to 255" if kind["scale"] == "none" else f"scaled {kind['scale']}"
        if kind["size"] == "own":
            size = f"in its own size, up to {kind['max_side']} pixels a side"
        else:
            size = f"resized to {' × '.join(map(str, kind['size']))}"
        return f"a picture, {size}, {kind['color']}, {scale}"
    if kind["kind"] == "audio":
        seconds = kind["seconds"] or kind["max_seconds"]
        how = "cut or padded to" if kind["seconds"] else "of at most"
        return f"a recording, {how} {seconds:g} s, {kind['rate']:,} samples a second"
    if kind["kind"] == "series":
        columns, steps = kind["columns"], kind["steps"]
        named = f"{columns} columns" if isinstance(columns, int) else ", ".join(columns)
        amount = "any number of rows" if steps is None else f"{steps:,} rows"
        return f"{amount} in time order ({named})"
    if kind["kind"] == "fields":
        return f"fields ({', '.join(kind['fields'])})"
    if kind["kind"] == "text":
        return _text(kind)
    return "lists"


def _text(kind: dict[str, Any]) -> str:
    if "vocabulary" not in kind:
        return "a text"
    unit = f"{kind['level']}s"
    sides = {"pre": "beginning", "post": "end"}
    return (
        f"a text, whose {kind['length']:,} {unit} are looked up among {kind['vocabulary']:,}; "
        f"shorter texts are padded at their {sides[kind['padding']]}, longer ones cut at their "
        f"{sides[kind['truncation']]}"
    )


def _given(name: str, kind: dict[str, Any]) -> str:
    if kind["kind"] == "classes":
        return f"{name}: classes ({', '.join(_labels(kind['labels']))})"
    if kind["kind"] == "number":
        numbers = "a number" if kind["count"] == 1 else "numbers"
        return f"{name}: {numbers}" + (f" in {kind['unit']}" if kind["unit"] else "")
    if kind["kind"] == "boxes":
        labels = f" ({', '.join(_labels(kind['labels']))})" if kind["labels"] else ""
        return f"{name}: boxes{labels}, from a {kind['number']} of {kind['threshold']:g} on"
    if kind["kind"] == "mask":
        return f"{name}: a mask ({', '.join(_labels(kind['labels']))})"
    if kind["kind"] == "picture":
        return f"{name}: a picture"
    return f"{name}: {'a vector' if kind['kind'] == 'vector' else 'lists'}"


def _version(version: dict[str, Any], about: dict[str, Any]) -> str:
    """Describe a version: its state and whether it answers by default (left out for the only one),
    its aliases, and its share of requests as a canary."""
    number, canary = version["version"], about["canary"]
    said = [version["state"]] if len(about["versions"]) > 1 else []
    if said and number == about["version"]:
        said.append("answers by default")
    called = [alias for alias, of in about["aliases"].items() if of == number]
    if called:
        said.append(f"called {' and '.join(called)}")
    if canary and canary["version"] == number:
        said.append(f"canary with {canary['percent']:g} % of the requests")
    return f"{number} ({', '.join(said)})" if said else str(number)


def _writing(about: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Describe how a model of texts generates them."""
    generation = about.get("generation")
    if generation is None:
        return []
    asked, text = about["input"], about["card"]["text"]
    unit = asked["level"]
    if generation["kind"] == "step":
        made = f"One step per {unit}: the model remembers what it has read"
    else:
        made = f"For each {unit}, the model reads the last {text['window']} {unit}s again"
    if generation["reason"]:
        made += f", because {generation['reason']}"
    starts = asked["random_starts"]
    return [
        ("Vocabulary", [f"{asked['vocabulary']:,} {unit}s"]),
        ("Random beginnings", [f"{starts:,}"] if starts else []),
        ("How it writes", [made]),
    ]
