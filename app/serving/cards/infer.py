"""Cards for models that have none, and what a card leaves open, from the model's signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from app.errors import CardError
from app.serving.cards.card import (
    CARD_FILE,
    TASKS,
    Card,
    ClassesOutput,
    FieldsInput,
    FieldSpec,
    InputCard,
    NumberOutput,
    OutputCard,
    PictureInput,
    TaskName,
    TensorInput,
    TensorOutput,
    VectorOutput,
)
from app.serving.cards.kinds import ROW, in_words
from app.serving.cards.labels import LABEL_FILES, is_teachable_machine, labels_beside
from app.serving.cards.outputs import labels_fit, may_be_classes, output_kind
from app.serving.cards.picture_settings import as_exported, is_picture, settle_pictures
from app.serving.signature import Signature, TensorSpec

# A model with more columns than a form can hold is better asked with plain lists.
MAX_INFERRED_FIELDS = 64
# The keys of a card that go with each task that may be inferred.
_OF_CLASSES = ("labels", "threshold", "top", "output")
_GO_WITH: dict[TaskName | None, tuple[str, ...]] = {
    "image-classification": ("input", *_OF_CLASSES),
    "tabular-classification": ("fields", *_OF_CLASSES),
    "tabular-regression": ("fields", "output"),
}


def completed(
    card: Card | None, signature: Signature, folders: Sequence[Path] = ()
) -> tuple[Card, Signature]:
    """Return the card with which a model is served, and the signature with what its folder shows.

    card: the author's, if any. folders: of the version and of the model; none for a file right in
    the folder of all models, where no other file belongs to one of them. Raises CardError for a
    card that names what the model does not have, and for labels that do not match.
    """
    cropped = any(evidence.cropped for evidence in signature.pictures.values())
    if cropped and any(map(is_teachable_machine, folders[:1])):
        signature = as_exported(signature)
    if card is None:
        return _inferred(signature, folders), signature
    if card.is_open:
        return _filled(card, signature, folders), signature
    if card.task is None:
        update: dict[str, object] = {}
        if card.inputs is None:
            update["inputs"] = _inputs(signature)
        if card.outputs is None:
            update["outputs"] = _outputs(signature, None)
        card = card.model_copy(update=update)
    return settle_pictures(card, signature), signature


def _filled(card: Card, signature: Signature, folders: Sequence[Path]) -> Card:
    """Complete a card that leaves open what the model is. Raises CardError where its settings do
    not go with that."""
    stated = card.labels if isinstance(card.labels, list) else None
    inferred = _inferred(signature, folders, stated)
    if any(key not in _GO_WITH.get(inferred.task, ()) for key in card.short_keys()):
        raise CardError(_no_task(card, inferred, signature))
    update: dict[str, object] = {"task": inferred.task}
    if inferred.task is None:
        update |= {"inputs": inferred.inputs, "outputs": inferred.outputs}
    else:
        for key in ("fields", "labels"):
            if getattr(card, key) is None:
                update[key] = getattr(inferred, key)
    return settle_pictures(card.model_copy(update=update), signature)


def _no_task(card: Card, inferred: Card, signature: Signature) -> str:
    keys = ", ".join(card.short_keys())
    if inferred.task is not None:
        return (
            f"{CARD_FILE}: {keys}: the file does not show what these are for: add the line 'task: "
            f"…' ({', '.join(TASKS[1:])}), or write {' and '.join(card.long_lines())}"
        )
    names = (", ".join(spec.name for spec in t) for t in (signature.inputs, signature.outputs))
    return (
        f"{CARD_FILE}: {keys}: these go with a task, and this model ({in_words(inferred)}) has "
        f"none: write {' and '.join(card.long_lines())}. The model's inputs are {next(names)}, its "
        f"outputs are {next(names)}"
    )


def _inferred(
    signature: Signature, folders: Sequence[Path], stated: list[str] | None = None
) -> Card:
    """Infer a card. stated: the labels of a card that says no more of the model."""
    wanted = any(may_be_classes(t, signature.meaning(t)) for t in signature.outputs)
    labels: Sequence[str] | None = None
    if stated is not None:
        # Those that do not fit are a problem of the card.
        labels = stated if any(labels_fit(t, stated) for t in signature.outputs) else None
    elif wanted and signature.parameters is not None:
        labels = next((found for f in folders if (found := labels_beside(f)) is not None), None)
    return infer_card(signature, labels)


def infer_card(signature: Signature, labels: Sequence[str] | None = None) -> Card:
    """Infer a card for a model that has none, from its signature, and from the labels in a file
    beside it. Raises CardError for labels that do not match."""
    # Of a SavedModel, little more is known than its shapes: guessing would be silently wrong.
    if signature.parameters is None:
        return Card(task="tensor")
    if not _scores_one_input(signature):
        # One that takes lists only stays one: programs know it as such.
        if signature.batchable and any(is_picture(t, signature) for t in signature.inputs):
            return _long(signature, labels)
        return Card(task="tensor")
    (output,) = _outputs(signature, labels).values()
    if may_classify_pictures(signature):
        if output.kind != "classes":
            return _long(signature, labels)
        card = Card(task="image-classification", labels=output.labels)
        return settle_pictures(card, signature)
    if fields := _fields(signature.inputs):
        if output.kind != "classes":
            return Card(task="tabular-regression", fields=fields)
        return Card(task="tabular-classification", fields=fields, labels=output.labels)
    return Card(task="tensor")


def may_classify_pictures(signature: Signature) -> bool:
    """Tell whether the shapes are those of a classifier of pictures."""
    return _scores_one_input(signature) and is_picture(signature.inputs[0], signature)


def _long(signature: Signature, labels: Sequence[str] | None) -> Card:
    card = Card(task=None, inputs=_inputs(signature), outputs=_outputs(signature, labels))
    return settle_pictures(card, signature)


def _inputs(signature: Signature) -> dict[str, InputCard]:
    """Guess the kind of each input."""
    specs = signature.inputs
    if len(specs) > 1 and all(_is_column(spec) for spec in specs):
        columns = [FieldSpec(name=spec.name, type=_type(spec)) for spec in specs]
        return {ROW: FieldsInput(kind="fields", fields=columns)}
    return {spec.name: _input(spec, signature) for spec in specs}


def _input(spec: TensorSpec, signature: Signature) -> InputCard:
    if is_picture(spec, signature):
        return PictureInput(kind="picture")
    if fields := _fields([spec]):
        return FieldsInput(kind="fields", fields=fields)
    return TensorInput(kind="tensor")


def _outputs(signature: Signature, labels: Sequence[str] | None) -> dict[str, OutputCard]:
    """Guess the kind of each output. labels: of one of them. Raises CardError where they match none
    of those that give classes."""
    taker = _taker(signature, labels)
    found: dict[str, OutputCard] = {}
    for spec in signature.outputs:
        own = labels if spec is taker else None
        kind = output_kind(spec, signature.meaning(spec), own).kind
        if kind == "classes":
            stated = None if own is None else list(own)
            found[spec.name] = ClassesOutput(kind="classes", labels=stated)
        elif kind == "number":
            found[spec.name] = NumberOutput(kind="number")
        elif kind == "vector":
            found[spec.name] = VectorOutput(kind="vector")
        else:
            found[spec.name] = TensorOutput(kind="tensor")
    return found


def _taker(signature: Signature, labels: Sequence[str] | None) -> TensorSpec | None:
    """Return the output that the labels are those of; None where that is not certain."""
    if labels is None:
        return None
    specs = [t for t in signature.outputs if may_be_classes(t, signature.meaning(t))]
    fitting = [spec for spec in specs if labels_fit(spec, labels)]
    if len(fitting) == 1:
        return fitting[0]
    kinds = [output_kind(spec, signature.meaning(spec), None).kind for spec in specs]
    if len(specs) == 1 and kinds == ["classes"]:
        units = (specs[0].shape or (None, None))[1] or 1
        raise CardError(
            f"the file beside the model ({', '.join(LABEL_FILES)}) has {len(labels)} labels: "
            f"expected {max(2, units)} for its output of {units} unit{'s' if units > 1 else ''}; "
            f"correct it, or name the labels in {CARD_FILE}"
        )
    return None


def _fields(specs: Sequence[TensorSpec]) -> list[FieldSpec] | None:
    """Return the fields of one matrix of numbers; None for anything else, and where they are too
    many."""
    if len(specs) != 1:
        return None
    shape = specs[0].row_shape
    numbers = specs[0].dtype.startswith(("float", "int", "uint"))
    if not numbers or len(shape) != 1 or not shape[0] or shape[0] > MAX_INFERRED_FIELDS:
        return None
    return [FieldSpec(name=f"x{i}") for i in range(shape[0])]


def _is_column(spec: TensorSpec) -> bool:
    return bool(spec.shape) and spec.row_shape in ((), (1,))


def _type(spec: TensorSpec) -> Literal["number", "text"]:
    return "text" if spec.dtype == "string" else "number"


def _scores_one_input(signature: Signature) -> bool:
    """Whether one input of known rank gives one row of numbers, of known length, for each row."""
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        return False
    out = signature.outputs[0].shape
    return signature.inputs[0].shape is not None and bool(out and len(out) == 2 and out[1])
