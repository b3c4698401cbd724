"""Starter cards: what a model's file tells, with its guesses marked, for its author to complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.serving.cards.card import (
    Card,
    ClassesOutput,
    ImageInput,
    InputCard,
    MaskOutput,
    OutputCard,
)
from app.serving.cards.inference.guesses import Guess, guesses
from app.serving.cards.inference.infer import completed
from app.serving.cards.kinds import Kind, kinds_of
from app.serving.cards.part import Activation
from app.serving.cards.read import dump_card
from app.serving.reading.process import ReaderProcess
from app.serving.signature import PictureEvidence, Signature, TensorSpec
from app.serving.tasks.inputs.picture import COLORS
from app.serving.tasks.outputs.classes import conversion

# Names of files that many models have: the folder's says more.
USUAL_NAMES = ("model", "saved_model", "keras_model", "best_model", "final_model", "weights")
# What a starter card says in comments.
SHOWN_SCALE = "The file shows the scale: {reason}."
GUESSED_SCALE = """\
Check this, the scale is a guess: {reason}.
A wrong one gives wrong answers without an error. Likely others: {others}."""
DESCRIPTION = "# description: One line for people.\n"
UNCOMMENT = "remove the first # once you know"
OF_NUMBERS = "for people, if you like"
# A value for each setting of a number that a file cannot have.
NUMBER = {"unit": "kg", "decimals": 1}
# Settings that a card need not have. As comments they leave a guess a guess.
OPTIONAL = ("scale", "size", "resize", "activation", "padding", "punctuation")


@dataclass(frozen=True, slots=True)
class Starter:
    """A card to be completed by its author. text: `model.yaml`. guesses: what nothing proves."""

    text: str
    guesses: list[Guess]


@dataclass(frozen=True, slots=True)
class _Option:
    """A line that stays a comment. remark: what its end says."""

    value: Any
    remark: str


def starter_card(source: Path, folder: Path | None) -> Starter:
    """Return a `model.yaml` for the model file `source`. What it leaves out, as comments, stays a
    guess until its author knows better.

    folder: of the model, perhaps with its labels; None if it has none of its own. Raises LoadError
    if the file cannot be served, CardError for labels that do not match it.
    """
    reader = ReaderProcess()
    try:
        # A Lambda layer is no reason to refuse a description, but running it would be one.
        with reader.convert(source, trusted=False) as converted:
            signature = converted.signature
    finally:
        reader.close()
    card, signature = completed(None, signature, [] if folder is None else [folder])
    return starter_of(card, signature, _title(source, folder))


def starter_of(card: Card, signature: Signature, title: str) -> Starter:
    """Return the starter card for an inferred card."""
    found = guesses(None, card, signature)
    notes = _notes(card, signature, found)
    options = _options(card, signature, found)
    said = card.model_copy(update={"title": title, **_placeholders(card, signature)})
    data = yaml.safe_load(dump_card(said))
    for key, option in options.items():
        *parents, last = _path(key)
        part = data
        for parent in parents:
            part = part[parent]
        part[last] = option.value
    # Lines are whole: none continues on the next.
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000)
    return Starter(_header(signature) + _commented(text, notes, options) + DESCRIPTION, found)


def _title(source: Path, folder: Path | None) -> str:
    title = source.stem
    if folder is not None and title in USUAL_NAMES:
        # A version's folder has a number for a name.
        home = source.parent
        title = (home.parent if home.name.isdigit() else home).name
    return title.replace("-", " ").replace("_", " ").capitalize()


def _path(key: str) -> list[str]:
    """The parts of a key; names of inputs and outputs may have dots."""
    side, _, rest = key.partition(".")
    if side not in ("inputs", "outputs"):
        return [side, rest] if rest else [side]
    name, _, last = rest.rpartition(".")
    return [side, name, last]


def _notes(card: Card, signature: Signature, found: list[Guess]) -> dict[str, str]:
    """Return the comments above keys of the card: on its guesses, and on every scale."""
    notes = {guess.key: f"Check this: {guess.sentence}." for guess in found}
    for kind in kinds_of(card, signature).inputs:
        evidence = signature.pictures.get(kind.specs[0].name)
        if kind.card.kind == "picture" and evidence is not None:
            notes[f"{kind.place.key}scale"] = _of_scale(evidence)
    if "output.activation" in notes:
        notes["output"] = notes.pop("output.activation")
    return notes


def _options(card: Card, signature: Signature, found: list[Guess]) -> dict[str, _Option]:
    """Return the lines to be commented out, by their keys."""
    keys = {guess.key for guess in found if guess.key.rpartition(".")[2] in OPTIONAL}
    options: dict[str, _Option] = {}
    kinds = kinds_of(card, signature)
    for taken in kinds.inputs:
        if taken.card.kind == "picture":
            for name in ("size", "scale", "resize"):
                if (key := f"{taken.place.key}{name}") in keys:
                    value = getattr(taken.card, name)
                    options[key] = _Option([*value] if name == "size" else value, UNCOMMENT)
        elif taken.card.kind == "text" and (index := taken.card.index) is not None:
            for name in ("punctuation", "padding"):
                if (key := f"{taken.place.key}{name}") in keys:
                    options[key] = _Option(getattr(index, name), UNCOMMENT)
        if taken.card.kind == "series" and taken.card.columns is None:
            count = taken.specs[0].row_shape[1:] or (1,)
            names = [f"x{i}" for i in range(count[0] or 0)]
            options[f"{taken.place.key}columns"] = _Option(names, OF_NUMBERS)
    for given in kinds.outputs:
        if given.card.kind == "boxes":
            values = {"format": "xyxy", "labels": ["first", "second"], "activation": "none"}
            options |= {
                f"{given.place.key}{name}": _Option(value, UNCOMMENT)
                for name, value in values.items()
                if any(guess.key == f"{given.place.key}{name}" for guess in found)
            }
            continue
        key = f"{given.place.key}activation" if given.place.long else "output.activation"
        if key in keys:
            activation = _activation(given, signature)
            if given.place.long:
                options[key] = _Option(activation, UNCOMMENT)
            else:
                options["output"] = _Option({"activation": activation}, UNCOMMENT)
        if given.card.kind == "number":
            if given.place.long:
                for name, value in NUMBER.items():
                    options[f"{given.place.key}{name}"] = _Option(value, OF_NUMBERS)
            else:
                options["output"] = _Option({"name": given.name, **NUMBER}, OF_NUMBERS)
    return options


def _activation(kind: Kind[OutputCard], signature: Signature) -> Activation:
    """Return the activation that a classifier is served with."""
    meaning = signature.meaning(kind.specs[0])
    function = None if meaning is None else conversion(meaning, None).function
    if function is None or function == "exp":
        return "none"
    return "sigmoid" if (kind.specs[0].shape or ())[1:] == (1,) else function


def _of_scale(evidence: PictureEvidence) -> str:
    if evidence.proven:
        return SHOWN_SCALE.format(reason=evidence.reason)
    return GUESSED_SCALE.format(reason=evidence.reason, others=", ".join(evidence.others))


def _commented(text: str, notes: Mapping[str, str], options: Mapping[str, _Option]) -> str:
    """A card with each note as a comment above its key, and with its options as comments."""
    lines = []
    path: list[str] = []
    passing: int | None = None
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        is_item = line.lstrip().startswith("- ")
        if passing is not None and (depth > passing or (is_item and depth == passing)):
            continue
        passing = None
        key, colon, _ = line.strip().partition(":")
        if colon and not is_item:
            path = [*path[:depth], str(yaml.safe_load(key))]
            dotted = ".".join(path)
            lines += [f"{'  ' * depth}# {part}" for part in notes.get(dotted, "").splitlines()]
            if (option := options.get(dotted)) is not None:
                lines.append(f"{'  ' * depth}# {_flow(path[-1], option.value)}  # {option.remark}")
                passing = depth
                continue
        lines.append(line)
    return "\n".join(lines) + "\n"


def _flow(key: str, value: Any) -> str:
    """A key with its value on one line."""
    text: str = yaml.safe_dump(
        {key: value}, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000
    )
    return text.strip()[1:-1]


def _placeholders(card: Card, signature: Signature) -> dict[str, Any]:
    update: dict[str, Any] = {}
    if card.task is None:
        kinds = kinds_of(card, signature)
        outputs = {kind.name: _with_labels(kind) for kind in kinds.outputs}
        return {"inputs": {k.name: _with_size(k) for k in kinds.inputs}, "outputs": outputs}
    if "classification" in card.task and card.labels is None:
        update["labels"] = _labels(signature.outputs[0])
    if card.task == "image-classification":
        update["input"] = _sized(card.input, signature.inputs[0])
    return update


def _with_labels(kind: Kind[OutputCard]) -> OutputCard:
    if not isinstance(kind.card, ClassesOutput | MaskOutput) or kind.card.labels is not None:
        return kind.card
    return kind.card.model_copy(update={"labels": _labels(kind.specs[0])})


def _with_size(kind: Kind[InputCard]) -> InputCard:
    if kind.card.kind != "picture":
        return kind.card
    sized: InputCard = _sized(kind.card, kind.specs[0])
    return sized


def _labels(spec: TensorSpec) -> list[str]:
    units = 1 if len(spec.row_shape) == 2 else (spec.row_shape or (1,))[-1] or 1
    return [f"class {i}" for i in range(max(2, units))]


def _sized(said: ImageInput, spec: TensorSpec) -> Any:
    height, width, channels = (*spec.row_shape, 1)[:3]
    size, color = said.size or (height, width), said.color or COLORS[channels or 3]
    return said.model_copy(update={"size": size, "color": color})


def _header(signature: Signature) -> str:
    lines = [
        "# Written from the model file: correct what is a guess (docs/models.md has every key)."
    ]
    for side, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for t in tensors:
            shape = "?" if t.shape is None else list(t.shape)
            lines.append(f"#   {side} {t.name}: {t.dtype} {shape}".replace("None", "any"))
    return "\n".join(lines) + "\n"
