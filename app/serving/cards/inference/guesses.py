"""The guesses about a model, where neither its file nor its card says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from app.serving.cards.boxes_output import BoxesOutput
from app.serving.cards.card import (
    TEXT_TASK,
    Card,
    ClassesOutput,
    InputCard,
    MaskOutput,
    OutputCard,
    PictureOutput,
)
from app.serving.cards.inference.picture_outputs import answer_kind, output_scale
from app.serving.cards.kinds import Kind, kinds_of, words
from app.serving.cards.text_input import TokenIndex
from app.serving.signature import PictureEvidence, Signature


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess. key: of the card, which settles it. what: what is guessed, for people. reason: why
    so, where the file shows something."""

    key: str
    what: str
    plural: bool = False
    reason: str | None = None

    @property
    def explained(self) -> str:
        """What is guessed, with the reason."""
        return f"{self.what} ({self.reason})" if self.reason else self.what

    @property
    def sentence(self) -> str:
        """The guess for people, without its end."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.what} {'are' if self.plural else 'is'} a guess{reason}"

    def __str__(self) -> str:
        return f"{self.sentence}: set {self.key}"


def guessed_scales(found: Sequence[Guess], names: Sequence[str]) -> list[str]:
    """Return those of the inputs that take pictures, `names`, whose scale is among the guesses."""
    keys = {guess.key for guess in found}
    return [n for n in names if f"inputs.{n}.scale" in keys or "input.scale" in keys]


def guesses(stated: Card | None, card: Card, signature: Signature) -> list[Guess]:
    """Return what nothing proves.

    stated: what the author wrote; None without a card. card: what the model is served with.
    """
    if card.task == TEXT_TASK:
        return []
    found = []
    if stated is None or (stated.task is None and stated.inputs is None):
        found += _of_ids(card, signature)
    if card.task is not None:
        if (stated is None or stated.task is None) and card.task != "tensor":
            output = signature.outputs[0]
            reason = answer_kind(output, signature, _labels(card.labels)).guess
            found.append(Guess("task", f"the task {card.task}", reason=reason))
    elif (stated is None or stated.inputs is None) and not _proven(card, signature):
        what = f"the kinds of the inputs ({words(card.inputs or {})})"
        found.append(Guess("inputs", what, plural=True))
    kinds = kinds_of(card, signature)
    for taken in kinds.inputs:
        found += _of_input(taken, stated, signature)
    for given in kinds.outputs:
        if card.task is None and (stated is None or stated.outputs is None):
            found += _of_kind(given, signature)
        if given.card.kind == "picture":
            found += _of_scale(given, stated, card, signature)
        found += _of_place(given, card, signature)
        found += _of_output(given, signature)
    return found


def _of_input(kind: Kind[InputCard], stated: Card | None, signature: Signature) -> list[Guess]:
    of = f" of {kind.name}" if kind.place.long else ""
    said = _said(kind, stated)
    if kind.card.kind == "picture":
        found = []
        evidence = signature.pictures.get(kind.specs[0].name)
        # Scaled pixels are no whole numbers.
        whole = kind.specs[0].dtype == "uint8" and kind.card.scale == "none"
        if "scale" not in said and not whole and not (evidence is not None and evidence.proven):
            what = f"the input scale {kind.card.scale}{of}"
            found.append(Guess(f"{kind.place.key}scale", what, reason=_scale_reason(evidence)))
        if "resize" not in said and evidence and evidence.cropped and not evidence.exported:
            what = f"the cropping to the middle of pictures{of}"
            reason = "its layers are those of Teachable Machine"
            found.append(Guess(f"{kind.place.key}resize", what, reason=reason))
        if "size" not in said and kind.card.size not in (None, "own"):
            what = f"the input size {[*kind.card.size]}{of}"
            found.append(Guess(f"{kind.place.key}size", what))
        return found
    if kind.card.kind == "fields" and "fields" not in said:
        what = f"the names and ranges of the fields{of}"
        return [Guess(f"{kind.place.key}fields", what, plural=True)]
    if kind.card.kind == "text" and kind.card.index is not None:
        return _of_text(kind, kind.card.index, said)
    return []


def _of_text(kind: Kind[InputCard], index: TokenIndex, said: set[str]) -> list[Guess]:
    found = []
    if not index.certain and not said & {"punctuation", "filters", "level"}:
        unit = {"attached": "words without punctuation", "separate": "words and punctuation"}
        what = f"that the tokens of {kind.name} are {unit.get(index.punctuation, 'words')}"
        found.append(Guess(f"{kind.place.key}punctuation", what, reason=index.source))
    if not index.padded and not {"padding", "truncation"} <= said:
        sides = {"pre": "before their first token", "post": "after their last token"}
        what = f"that texts of {kind.name} are padded {sides[index.padding]}"
        if index.truncation != index.padding:
            what += f", and cut {sides[index.truncation]}"
        found.append(Guess(f"{kind.place.key}padding", what, reason="as Keras does by default"))
    return found


def _of_ids(card: Card, signature: Signature) -> list[Guess]:
    """The guess that an input takes lists although it takes the ids of tokens."""
    found = []
    for kind in kinds_of(card, signature).inputs:
        evidence = signature.texts.get(kind.specs[0].name)
        if kind.card.kind == "tensor" and evidence is not None and evidence.ids:
            (spec,) = kind.specs
            # A vocabulary beside the model is found by itself, the length of texts never.
            needs, key = "the card names their vocabulary", "vocabulary"
            if not spec.row_shape[0]:
                needs, key = f"{needs} and the length of texts", "length"
            reason = f"an Embedding reads it: it takes texts if {needs}"
            what = f"the kind tensor of {spec.name}"
            found.append(Guess(f"inputs.{spec.name}.{key}", what, reason=reason))
    return found


def _proven(card: Card, signature: Signature) -> bool:
    """Tell whether the file shows that every input is of its kind."""
    return all(
        kind.card.kind == "text" and not signature.texts[kind.specs[0].name].ids
        for kind in kinds_of(card, signature).inputs
    )


def _scale_reason(evidence: PictureEvidence | None) -> str | None:
    return None if evidence is None else evidence.reason


def _said(kind: Kind[InputCard], stated: Card | None) -> set[str]:
    """The keys that the author wrote of an input."""
    said: BaseModel | None = stated
    if stated is not None and kind.place.long:
        said = None if stated.inputs is None else stated.inputs[kind.name]
    elif stated is not None and kind.card.kind == "picture":
        said = stated.input
    return set() if said is None else said.model_fields_set


def _of_kind(kind: Kind[OutputCard], signature: Signature) -> list[Guess]:
    """The guess that an output is of its kind."""
    if kind.card.kind == "boxes":
        return []
    labels = None
    if isinstance(kind.card, ClassesOutput | MaskOutput):
        labels = _labels(kind.card.labels)
    guess = answer_kind(kind.specs[0], signature, labels).guess
    if guess is None:
        return []
    what = f"the kind {kind.card.kind} of {kind.name}"
    return [Guess(f"outputs.{kind.name}.kind", what, reason=guess)]


def _of_scale(
    kind: Kind[OutputCard], stated: Card | None, card: Card, signature: Signature
) -> list[Guess]:
    """The guess that a picture that comes out has its scale."""
    said = None if stated is None or stated.outputs is None else stated.outputs[kind.name]
    guess = output_scale(kind.specs[0], signature, card).guess
    if guess is None or (said is not None and "scale" in said.model_fields_set):
        return []
    assert kind.card.kind == "picture"
    return [
        Guess(f"{kind.place.key}scale", f"the scale {kind.card.scale} of {kind.name}", reason=guess)
    ]


def _of_place(kind: Kind[OutputCard], card: Card, signature: Signature) -> list[Guess]:
    """The guess that a mask or a picture shows all of the picture that goes in."""
    if not isinstance(kind.card, MaskOutput | PictureOutput) or kind.card.covers is not None:
        return []
    (spec,) = kind.specs
    given = [k.specs[0] for k in kinds_of(card, signature).inputs if k.card.kind == "picture"]
    if not given or spec.name in signature.grids:
        return []
    before, after = given[0].row_shape[:2], spec.row_shape[:2]
    if before == after and None not in after:
        return []
    what = f"that {kind.name} shows the whole picture, without leaving out a border"
    return [Guess(f"{kind.place.key}covers", what)]


def _labels(labels: list[str] | str | None) -> list[str] | None:
    return labels if isinstance(labels, list) else None


def _of_output(kind: Kind[OutputCard], signature: Signature) -> list[Guess]:
    if not isinstance(kind.card, ClassesOutput | MaskOutput | BoxesOutput):
        return []
    found = []
    of = f" of {kind.name}" if kind.place.long else ""
    meaning = signature.meaning(kind.specs[0])
    if kind.card.kind == "boxes" and kind.boxes is not None:
        meaning = signature.meaning(kind.boxes.scores or kind.boxes.boxes)
        if kind.card.format is None and kind.boxes.known == "keras":
            what = f"the format{of} (xyxy, in pixels)"
            found.append(Guess(f"{kind.place.key}format", what))
    if kind.card.labels is None:
        found.append(Guess(f"{kind.place.key}labels", f"the labels 0, 1, …{of}", plural=True))
    if kind.card.activation is None and (meaning is None or not meaning.proven):
        key = f"{kind.place.key if kind.place.long else 'output.'}activation"
        reason = None if meaning is None else meaning.reason
        numbers = "scores" if kind.card.kind == "boxes" else "outputs"
        found.append(Guess(key, f"what the {numbers}{of} are", reason=reason))
    return found
