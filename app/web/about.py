"""What there is to know about a model, in words for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

TASKS = {
    "image-classification": "Says what a picture shows",
    "tabular-regression": "Works out a number from a row of values",
    "tabular-classification": "Says which class a row of values belongs to",
    "text-generation": "Writes on from a beginning",
    "tensor": "Takes numbers or texts and answers with others, as lists",
}
# What the first dimension counts.
_ROWS = {"image-classification": "pictures", "text-generation": "texts"}
# Labels beyond so many are counted only.
MAX_LABELS = 12
_MEASURED_ON = "measured_on"


def facts(about: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Terms and what is to be said of each. about: as `GET /api/models/NAME` answers for a model
    that is ready."""
    rows = _ROWS.get(about["task"], "rows")
    found = [
        ("Task", [f"{TASKS[about['task']]} ({about['task']})"]),
        ("Inputs", [_tensor(spec, rows) for spec in about["signature"]["inputs"]]),
        ("Outputs", [_tensor(spec, rows) for spec in about["signature"]["outputs"]]),
        ("Labels", _labels(about["card"]["labels"])),
        *_pixels(about["card"]),
        *_writing(about),
        ("Parameters", [f"{about['parameters']:,}"] if about["parameters"] else []),
        ("Precision", [about["card"]["runtime"]["precision"]]),
        ("Version", [_version(each, about) for each in about["versions"]]),
        *_metrics(about["metrics"]),
    ]
    return [(term, values) for term, values in found if values]


def shape_in_words(shape: list[int | None] | None, rows: str = "rows") -> str:
    """Such as `any number of rows × 150 × 150 × 3`."""
    if shape is None:
        return "any shape"
    if not shape:
        return "a single value"
    sizes = ["any number" if size is None else f"{size:,}" for size in shape]
    if shape[0] is None:
        sizes[0] += f" of {rows}"
    return " × ".join(sizes)


def moment(seconds: float) -> datetime:
    """Seconds since 1970, as a time of day in UTC."""
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=0)


def _tensor(spec: dict[str, Any], rows: str) -> str:
    return f"{spec['name']}: {spec['dtype']}, {shape_in_words(spec['shape'], rows)}"


def _labels(labels: list[str] | str | None) -> list[str]:
    if not isinstance(labels, list):
        return []
    shown = ", ".join(labels[:MAX_LABELS])
    return [shown if len(labels) <= MAX_LABELS else f"{len(labels):,}, such as {shown}"]


def _pixels(card: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """How a model of pictures is fed with them."""
    if card["task"] != "image-classification":
        return []
    scale = card["input"]["scale"]
    return [("Pixels", ["0 to 255, as they are" if scale == "none" else f"scaled: {scale}"])]


def _version(version: dict[str, Any], about: dict[str, Any]) -> str:
    """A version with its state and which of several answers by default, which goes without saying
    for the only one, and what else it is called."""
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
    """How a model of texts makes them."""
    generation = about.get("generation")
    if generation is None:
        return []
    asked, text = about["input"], about["card"]["text"]
    unit = asked["level"]
    if generation["kind"] == "step":
        made = f"One step a {unit}: the model remembers what it has read"
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


def _metrics(metrics: dict[str, Any]) -> list[tuple[str, list[str]]]:
    values = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in metrics.items()
        if name != _MEASURED_ON
    ]
    if values and _MEASURED_ON in metrics:
        return [("Measured", [*values, f"on {metrics[_MEASURED_ON]}"])]
    return [("Measured", values)]
