"""Cards read from `model.yaml` and the files that it names, and cards written as YAML."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from app.errors import CardError
from app.serving.cards import architecture_files
from app.serving.cards.boxes_output import BoxesOutput
from app.serving.cards.card import (
    CARD_FILE,
    LABELS_FILE,
    TEXT_TASK,
    Card,
    ClassesOutput,
    MaskOutput,
    OutputCard,
    TextSettings,
    is_inside,
)
from app.serving.cards.labels import labels_in
from app.serving.cards.problems import card_problems, one_line
from app.strict_yaml import load_yaml

# Where Keras keeps what it has downloaded, and under which name.
INDEX_FILE = Path("models") / "imagenet_class_index.json"


def read_card(folder: Path) -> Card | None:
    """The card in `folder`, its labels read in; None if there is no `model.yaml`.

    Raises CardError, with every problem of the card in the message.
    """
    card = parse_card(folder)
    if card is None:
        return None
    update: dict[str, Any] = {"labels": _read_labels(folder, card.labels, "labels")}
    if card.is_open:
        # Labels that no one names are looked for as without a card.
        update = {} if card.labels is None else update
    elif card.task is None:
        update = {"outputs": card.outputs and _read_outputs(folder, card.outputs)}
    if card.task == TEXT_TASK:
        update["text"] = _read_texts(folder, card.text)
    return card.model_copy(update=update)


def parse_card(folder: Path) -> Card | None:
    """The card in `folder` without the files that it names. Raises CardError."""
    path = folder / CARD_FILE
    # Keras 2 wrote architectures as YAML, which many called by the same name.
    if not path.is_file() or architecture_files.looks_like_one(path):
        return None
    try:
        raw = load_yaml(path.read_text(encoding="utf-8-sig"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise CardError(f"{CARD_FILE} cannot be read: {error.problem}{where}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CardError(f"{CARD_FILE} cannot be read: {one_line(error)}") from None
    if not isinstance(raw, dict):
        raise CardError(f"{CARD_FILE} must be a mapping, such as 'title: Flowers'")
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        raise CardError(f"{CARD_FILE}: " + "; ".join(card_problems(error))) from None


def _read_texts(folder: Path, text: TextSettings) -> TextSettings:
    """With the vocabulary and the starts read in."""
    update: dict[str, Any] = {}
    for key, value in (("vocabulary", text.vocabulary), ("starts", text.starts)):
        if isinstance(value, str):
            lines = _lines(folder, key, value)
            # A vocabulary's first line may be empty: the padding. The end of the file is no line.
            update[key] = lines if key == "vocabulary" else [x for x in lines if x.strip()]
    return text.model_copy(update=update)


def _lines(folder: Path, key: str, name: str) -> list[str]:
    if not is_inside(name):
        raise CardError(f"{CARD_FILE}: text.{key}: {name!r} is not a file of this folder")
    try:
        text = (folder / name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(
            f"{CARD_FILE}: text.{key}: expected a list or a text file of this folder; {name} "
            f"cannot be read: {one_line(error)}"
        ) from None
    return text.removesuffix("\n").split("\n")


def _read_outputs(folder: Path, outputs: dict[str, OutputCard]) -> dict[str, OutputCard]:
    """With their labels read in. The file of labels that no one names is that of the only output
    with classes, a mask or boxes."""
    labelled = [
        name
        for name, out in outputs.items()
        if isinstance(out, ClassesOutput | MaskOutput | BoxesOutput)
    ]
    read = dict(outputs)
    for name in labelled:
        out = outputs[name]
        assert isinstance(out, ClassesOutput | MaskOutput | BoxesOutput)
        if len(labelled) == 1 or out.labels is not None:
            if out.kind == "mask" and out.labels == "imagenet":
                raise CardError(f"{CARD_FILE}: outputs.{name}.labels: a mask has none of ImageNet")
            labels = _read_labels(folder, out.labels, f"outputs.{name}.labels")
            read[name] = out.model_copy(update={"labels": labels})
    return read


def _read_labels(folder: Path, labels: list[str] | str | None, key: str) -> list[str] | str | None:
    if isinstance(labels, list) or labels == "imagenet":
        return labels
    path = folder / (labels or LABELS_FILE)
    if labels is None and not path.is_file():
        return None
    if not is_inside(labels or LABELS_FILE):
        raise CardError(f"{CARD_FILE}: {key}: {labels!r} is not a file of this folder")
    try:
        return labels_in(path)
    except CardError as error:
        raise CardError(
            f"{CARD_FILE}: {key}: expected a list, 'imagenet' or a text file of this folder "
            f"with one label per line; {error}"
        ) from None


def with_imagenet(card: Card) -> Card:
    """Return the card with the names of ImageNet where it wants them. Raises CardError."""
    if card.labels == "imagenet":
        card = card.model_copy(update={"labels": imagenet_labels()})
    wanting = [
        name
        for name, out in (card.outputs or {}).items()
        if out.kind == "classes" and out.labels == "imagenet"
    ]
    if not wanting:
        return card
    update = {"labels": imagenet_labels()}
    named = {name: (card.outputs or {})[name].model_copy(update=update) for name in wanting}
    return card.model_copy(update={"outputs": {**(card.outputs or {}), **named}})


def imagenet_labels() -> list[str]:
    """The names out of Keras's cache, `$KERAS_HOME` or `~/.keras`. Raises CardError.

    Serving never downloads anything: `python -m app add` writes the names beside the model.
    """
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        index = json.loads((home / INDEX_FILE).read_text(encoding="utf-8"))
        return [index[str(i)][1].replace("_", " ") for i in range(1000)]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise CardError(
            f"labels: imagenet: {home / INDEX_FILE} cannot be read ({type(error).__name__}): "
            "put it there, or write the names into labels.txt, one a line"
        ) from None


def dump_card(card: Card) -> str:
    """Return the card as YAML: only what differs from the defaults, the task, and the scale of
    pictures, which an author must see."""
    data = card.model_dump(exclude_defaults=True)
    if card.task == "image-classification":
        data["input"] = {**data.get("input", {}), "scale": card.input.scale}
    if card.task is None:
        data.pop("task", None)
        for name, taken in (card.inputs or {}).items():
            if taken.kind == "picture":
                said = {**data["inputs"][name], "scale": taken.scale}
                data["inputs"][name] = {"kind": said.pop("kind"), **said}
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text
