"""The guesses about a model, where neither its file nor its card says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from app.serving.cards.card import TEXT_TASK, Card, InputCard, OutputCard
from app.serving.cards.kinds import Kind, kinds_of, words
from app.serving.cards.outputs import output_kind
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
    if card.task is not None:
        if (stated is None or stated.task is None) and card.task != "tensor":
            output = signature.outputs[0]
            reason = output_kind(output, signature.meaning(output), _labels(card.labels)).guess
            found.append(Guess("task", f"the task {card.task}", reason=reason))
    elif stated is None or stated.inputs is None:
        what = f"the kinds of the inputs ({words(card.inputs or {})})"
        found.append(Guess("inputs", what, plural=True))
    kinds = kinds_of(card, signature)
    for taken in kinds.inputs:
        found += _of_input(taken, stated, signature)
    for given in kinds.outputs:
        if card.task is None and (stated is None or stated.outputs is None):
            found += _of_kind(given, signature)
        found += _of_output(given, signature)
    return found


def _of_input(kind: Kind[InputCard], stated: Card | None, signature: Signature) -> list[Guess]:
    of = f" of {kind.name}" if kind.place.long else ""
    said = _said(kind, stated)
    if kind.card.kind == "picture":
        found = []
        evidence = signature.pictures.get(kind.specs[0].name)
        if "scale" not in said and not (evidence is not None and evidence.proven):
            what = f"the input scale {kind.card.scale}{of}"
            found.append(Guess(f"{kind.place.key}scale", what, reason=_scale_reason(evidence)))
        if "resize" not in said and evidence and evidence.cropped and not evidence.exported:
            what = f"the cropping to the middle of pictures{of}"
            reason = "its layers are those of Teachable Machine"
            found.append(Guess(f"{kind.place.key}resize", what, reason=reason))
        if "size" not in said and kind.card.size is not None:
            what = f"the input size {list(kind.card.size)}{of}"
            found.append(Guess(f"{kind.place.key}size", what))
        return found
    if kind.card.kind == "fields" and "fields" not in said:
        what = f"the names and ranges of the fields{of}"
        return [Guess(f"{kind.place.key}fields", what, plural=True)]
    return []


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
    labels = _labels(kind.card.labels) if kind.card.kind == "classes" else None
    guess = output_kind(kind.specs[0], signature.meaning(kind.specs[0]), labels).guess
    if guess is None:
        return []
    what = f"the kind {kind.card.kind} of {kind.name}"
    return [Guess(f"outputs.{kind.name}.kind", what, reason=guess)]


def _labels(labels: list[str] | str | None) -> list[str] | None:
    return labels if isinstance(labels, list) else None


def _of_output(kind: Kind[OutputCard], signature: Signature) -> list[Guess]:
    if kind.card.kind != "classes":
        return []
    found = []
    of = f" of {kind.name}" if kind.place.long else ""
    if kind.card.labels is None:
        found.append(Guess(f"{kind.place.key}labels", f"the labels 0, 1, …{of}", plural=True))
    meaning = signature.meaning(kind.specs[0])
    if kind.card.activation is None and (meaning is None or not meaning.proven):
        key = f"{kind.place.key if kind.place.long else 'output.'}activation"
        reason = None if meaning is None else meaning.reason
        found.append(Guess(key, f"what the outputs{of} are", reason=reason))
    return found
