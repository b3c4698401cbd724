"""What a Keras file says of its training: the loss and the metrics of each output."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# one: probabilities of which one holds. any: probabilities of which any number holds. margin: the
# sign tells. numbers: no classes. classes: classes of some kind, as the metrics tell.
Aim = Literal["one", "any", "margin", "numbers", "classes"]

# Names of losses without underscores, in lower case.
_NAMES: dict[Aim, str] = {
    "one": "categoricalcrossentropy sparsecategoricalcrossentropy categoricalfocalcrossentropy "
    "categoricalgeneralizedcrossentropy kld kldivergence kullbackleiblerdivergence",
    "any": "binarycrossentropy bce binaryfocalcrossentropy dice tversky",
    "margin": "hinge squaredhinge categoricalhinge",
    "numbers": "mse meansquarederror mae meanabsoluteerror mape meanabsolutepercentageerror msle "
    "meansquaredlogarithmicerror huber huberloss logcosh poisson cosinesimilarity cosineproximity "
    "circle",
}
_LOSSES = {name: aim for aim, names in _NAMES.items() for name in names.split()}
# Parts of the names of functions that authors write themselves.
_PARTS: tuple[tuple[str, Aim], ...] = (
    ("binarycrossentropy", "any"),
    ("crossentropy", "one"),
    ("squarederror", "numbers"),
    ("absoluteerror", "numbers"),
    ("rmse", "numbers"),
)
_COUNTING = re.compile(r"^(acc|auc)$|accuracy|precision|recall|^f1|fbeta|confusion|iou|topk")
_MEASURING = re.compile(r"^(mse|mae|rmse|mape|msle|r2|r2score)$|squarederror|absoluteerror")


@dataclass(frozen=True, slots=True)
class Training:
    """What an output was trained for.

    aim: None where the loss is not known. from_logits: whether the loss takes logits; None where it
    does not tell. words: a sentence for people. counted: whether a metric counts right answers.
    """

    aim: Aim | None
    from_logits: bool | None
    words: str
    counted: bool = False


def read_training(config: Any, names: Sequence[str]) -> list[Training | None]:
    """Return what each output was trained for; None where the file says nothing of it.

    config: the compile configuration of Keras 1, 2 or 3. names: those of the outputs.
    """
    settings = config if isinstance(config, dict) else {}
    losses = _by_output(settings.get("loss"), names)
    metrics = _by_output(settings.get("metrics"), names, several=True)
    return [_training(loss, metric) for loss, metric in zip(losses, metrics, strict=True)]


def _by_output(value: Any, names: Sequence[str], *, several: bool = False) -> list[Any]:
    """Return the entry of each output. several: whether a plain list is one of several entries for
    an output, as of metrics, unless all its entries are lists."""
    value = _plain(value)
    if isinstance(value, dict) and "class_name" not in value:
        only = next(iter(value.values())) if len(value) == len(names) == 1 else None
        return [value.get(name, only) for name in names]
    if isinstance(value, list):
        inner = [_plain(each) for each in value]
        apart = not several or (inner and all(isinstance(each, list) for each in inner))
        if apart:
            return inner if len(inner) == len(names) else [None] * len(names)
        # Which of several outputs a flat list of metrics is for, each version decides otherwise.
        return [inner] if len(names) == 1 else [None] * len(names)
    return [value] * len(names)


def _plain(value: Any) -> Any:
    """Return a serialised tuple or dictionary as a list or dictionary."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, dict):
        kind = value.get("class_name")
        if kind == "__tuple__":
            items = value.get("items", value.get("config"))
            return list(items) if isinstance(items, list) else None
    return value


def _training(loss: Any, metrics: Any) -> Training | None:
    counted = any(_COUNTING.search(_short(name)) for name, _ in _named(metrics))
    for name, settings in _named(loss):
        return _of_loss(name, settings, counted)
    if not counted:
        for name, _ in _named(metrics):
            if _MEASURING.search(_short(name)):
                return Training("numbers", None, f"the metric is {name}")
    return Training("classes", None, "a metric counts right answers", True) if counted else None


def _of_loss(name: str, settings: dict[str, Any], counted: bool) -> Training:
    short, words = _short(name), f"the loss is {name}"
    aim = _LOSSES.get(short)
    if aim is not None:
        from_logits = settings.get("from_logits") is True
        if from_logits:
            words += " from logits"
        return Training(aim, from_logits, words, counted)
    aim = next((aim for part, aim in _PARTS if part in short), None)
    if aim in ("one", "any"):
        logits = "withlogits" in short or "fromlogits" in short
        return Training(aim, True if logits else None, words, counted)
    if aim is None and counted:
        return Training("classes", None, "a metric counts right answers", True)
    return Training(aim, None, words, counted)


def _short(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.rpartition(">")[2].lower())


def _named(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the losses or metrics in a part of the configuration: their names and settings."""
    todo = [value]
    while todo:
        found = _plain(todo.pop(0))
        if isinstance(found, str) and found:
            yield found, {}
        elif isinstance(found, list):
            todo = [*found, *todo]
        elif isinstance(found, dict):
            name, settings = found.get("class_name"), found.get("config")
            if isinstance(settings, str) and name in ("function", None):
                yield settings, {}
            elif isinstance(name, str):
                settings = settings if isinstance(settings, dict) else {}
                wrapped = settings.get("fn")
                inner = list(_named(wrapped))
                yield (inner[0][0], settings) if inner else (name, settings)
