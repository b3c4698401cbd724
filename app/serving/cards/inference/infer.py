"""Cards for models that have none, and what a card leaves open, from the model's signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from app.errors import CardError
from app.serving.cards.boxes_output import BoxesOutput, BoxTensors, known_tensors
from app.serving.cards.card import (
    CARD_FILE,
    TASKS,
    Card,
    ClassesOutput,
    FieldsInput,
    FieldSpec,
    InputCard,
    MaskOutput,
    NumberOutput,
    OutputCard,
    PictureInput,
    PictureOutput,
    TaskName,
    TensorInput,
    TensorOutput,
    VectorOutput,
)
from app.serving.cards.inference.model_card import with_model_card
from app.serving.cards.inference.outputs import labels_fit, may_be_classes
from app.serving.cards.inference.picture_outputs import answer_kind, is_picture, labels_fit_mask
from app.serving.cards.inference.picture_settings import as_exported, settle_pictures
from app.serving.cards.inference.token_index import settle_texts, takes_texts, vocabulary_for
from app.serving.cards.kinds import ROW, in_words
from app.serving.cards.labels import (
    LABEL_FILES,
    is_teachable_machine,
    label_map_beside,
    labels_beside,
)
from app.serving.cards.text_input import TextInput
from app.serving.cards.time_inputs import SeriesInput
from app.serving.signature import Signature, TensorSpec, TextEvidence

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
    if card is None or (card.task is None and card.outputs is None and card.labels is None):
        signature = with_model_card(signature, folders)
    if card is None:
        card = _inferred(signature, folders)
    elif card.is_open:
        card = _filled(card, signature, folders)
    elif card.task is None:
        update: dict[str, object] = {}
        if card.inputs is None:
            update["inputs"] = _inputs(signature, vocabulary_for(folders))
        if card.outputs is None:
            update["outputs"] = _outputs(signature, None)
        card = card.model_copy(update=update)
    return settle_texts(settle_pictures(card, signature), signature, folders), signature


def _filled(card: Card, signature: Signature, folders: Sequence[Path]) -> Card:
    """Complete a card that leaves open what the model is. Raises CardError where its settings do
    not go with that."""
    stated = card.labels if isinstance(card.labels, list) else None
    inferred = _inferred(signature, folders, stated)
    if card.short_keys() == ["labels"] and _has_labels(inferred, stated):
        # They are those of an output by now.
        card = card.model_copy(update={"labels": None})
    elif any(key not in _GO_WITH.get(inferred.task, ()) for key in card.short_keys()):
        raise CardError(_no_task(card, inferred, signature))
    update: dict[str, object] = {"task": inferred.task}
    if inferred.task is None:
        update |= {"inputs": inferred.inputs, "outputs": inferred.outputs}
    else:
        for key in ("fields", "labels"):
            if getattr(card, key) is None:
                update[key] = getattr(inferred, key)
    return settle_pictures(card.model_copy(update=update), signature)


def _has_labels(card: Card, labels: list[str] | None) -> bool:
    """Tell whether an output of a card without a task has these labels, or is one of boxes."""
    for out in (card.outputs or {}).values():
        if out.kind == "boxes":
            return True
        if (
            (out.kind == "classes" or out.kind == "mask")
            and labels is not None
            and out.labels == labels
        ):
            return True
    return False


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
    wanted = any(_may_have_labels(t, signature) for t in signature.outputs)
    labels: Sequence[str] | None = None
    if stated is not None:
        # Those that do not fit are a problem of the card.
        fit = any(_fit(t, stated, signature) for t in signature.outputs)
        labels = stated if fit or known_tensors(signature.outputs) else None
    elif (boxes := known_tensors(signature.outputs)) is not None or (
        wanted and signature.parameters is not None
    ):
        readers = [labels_beside]
        if boxes is not None and boxes.known == "detection-api":
            readers.append(label_map_beside)
        found = (reader(f) for f in folders for reader in readers)
        labels = next((each for each in found if each is not None), None)
    return infer_card(signature, labels, vocabulary_for(folders))


def infer_card(
    signature: Signature, labels: Sequence[str] | None = None, vocabulary: str | None = None
) -> Card:
    """Infer a card for a model that has none, from its signature, from the labels in a file beside
    it, and from the name of the vocabulary there. Raises CardError for labels that do not match."""
    if (tensors := known_tensors(signature.outputs)) is not None and _is_detector(signature):
        return _of_boxes(signature, tensors, labels)
    if len(signature.inputs) == 1 and _has_rows(signature, signature.outputs):
        kind = _input(signature.inputs[0], signature, vocabulary).kind
        if kind == "text":
            return _long(signature, labels, vocabulary)
        if signature.texts:  # ids without their words
            return Card(task="tensor")
    # Of a SavedModel, little more is known than its shapes: guessing would be silently wrong.
    if signature.parameters is None:
        return Card(task="tensor")
    if not _scores_one_input(signature):
        # One that takes lists only stays one: programs know it as such.
        if _has_rows(signature, signature.outputs) and any(
            _is_special(t, signature) for t in signature.inputs
        ):
            return _long(signature, labels, vocabulary)
        return Card(task="tensor")
    (output,) = _outputs(signature, labels).values()
    if signature.inputs[0].name in signature.series:
        return _long(signature, labels, vocabulary)
    if may_classify_pictures(signature):
        if output.kind != "classes":
            return _long(signature, labels, vocabulary)
        card = Card(task="image-classification", labels=output.labels)
        return settle_pictures(card, signature)
    if fields := _fields(signature.inputs):
        if output.kind != "classes":
            return Card(task="tabular-regression", fields=fields)
        return Card(task="tabular-classification", fields=fields, labels=output.labels)
    return Card(task="tensor")


def _is_detector(signature: Signature) -> bool:
    """Tell whether the only input takes pictures, one or several at a time."""
    return len(signature.inputs) == 1 and is_picture(signature.inputs[0], signature)


def _of_boxes(signature: Signature, tensors: BoxTensors, labels: Sequence[str] | None) -> Card:
    """Infer the card of a model that gives boxes under known names."""
    (spec,) = signature.inputs
    inputs: dict[str, InputCard] = {spec.name: PictureInput(kind="picture")}
    if spec.row_shape[:2] == (None, None):
        inputs = {spec.name: PictureInput(kind="picture", size="own")}
    stated = None if labels is None else list(labels)
    outputs: dict[str, OutputCard] = {"boxes": BoxesOutput(kind="boxes", labels=stated)}
    if signature.parameters is not None:
        # Of a Keras file, other outputs have kinds of their own.
        taken = {each.name for each in tensors.specs}
        others = [t for t in signature.outputs if t.name not in taken and _has_rows(signature, [t])]
        found = _outputs(signature, None)
        outputs |= {t.name: found[t.name] for t in others}
    return settle_pictures(Card(task=None, inputs=inputs, outputs=outputs), signature)


def may_classify_pictures(signature: Signature) -> bool:
    """Tell whether the shapes are those of a classifier of pictures."""
    return _scores_one_input(signature) and is_picture(signature.inputs[0], signature)


def _long(signature: Signature, labels: Sequence[str] | None, vocabulary: str | None) -> Card:
    inputs, outputs = _inputs(signature, vocabulary), _outputs(signature, labels)
    return settle_pictures(Card(task=None, inputs=inputs, outputs=outputs), signature)


def _inputs(signature: Signature, vocabulary: str | None) -> dict[str, InputCard]:
    """Guess the kind of each input. Those of one value a row are the fields of one row, but for
    texts beside other kinds. vocabulary: the name of the file beside the model."""
    specs = signature.inputs
    columns = [spec for spec in specs if _is_column(spec)]
    if len(columns) < len(specs):
        columns = [spec for spec in columns if spec.name not in signature.texts]
    if len(specs) == 1 or not columns:
        return {spec.name: _input(spec, signature, vocabulary) for spec in specs}
    others = [spec for spec in specs if spec not in columns]
    found = {spec.name: _input(spec, signature, vocabulary) for spec in others}
    name = ROW if all(spec.name != ROW for spec in others) else "fields"
    fields = [FieldSpec(name=spec.name, type=_type(spec)) for spec in columns]
    return {**found, name: FieldsInput(kind="fields", fields=fields)}


def _input(spec: TensorSpec, signature: Signature, vocabulary: str | None) -> InputCard:
    if spec.name in signature.series:
        return SeriesInput(kind="series")
    text = signature.texts.get(spec.name)
    if text is not None and not text.ids and takes_texts(spec):
        return TextInput(kind="text")
    # Of any length, no file tells to which one training padded texts.
    if text is not None and text.ids:
        if vocabulary is not None and spec.row_shape[0] and not _continues(text, signature):
            return TextInput(kind="text", vocabulary=vocabulary)
        return TensorInput(kind="tensor")
    if is_picture(spec, signature):
        return PictureInput(kind="picture")
    if fields := _fields([spec]):
        return FieldsInput(kind="fields", fields=fields)
    return TensorInput(kind="tensor")


def _is_special(spec: TensorSpec, signature: Signature) -> bool:
    """Whether an input takes more than fields or lists."""
    return spec.name in signature.series or is_picture(spec, signature)


def _continues(text: TextEvidence, signature: Signature) -> bool:
    """Tell whether a model seems to give the next token of a text."""
    units = [spec.shape[-1] for spec in signature.outputs if spec.shape]
    return text.tokens is not None and text.tokens in units


def _outputs(signature: Signature, labels: Sequence[str] | None) -> dict[str, OutputCard]:
    """Guess the kind of each output. labels: of one of them. Raises CardError where they match none
    of those that give classes."""
    taker = _taker(signature, labels)
    found: dict[str, OutputCard] = {}
    for spec in signature.outputs:
        own = labels if spec is taker else None
        kind = answer_kind(spec, signature, own).kind
        if kind == "classes":
            stated = None if own is None else list(own)
            found[spec.name] = ClassesOutput(kind="classes", labels=stated)
        elif kind == "number":
            found[spec.name] = NumberOutput(kind="number")
        elif kind == "mask":
            found[spec.name] = MaskOutput(kind="mask", labels=None if own is None else list(own))
        elif kind == "picture":
            found[spec.name] = PictureOutput(kind="picture")
        elif kind == "vector":
            found[spec.name] = VectorOutput(kind="vector")
        else:
            found[spec.name] = TensorOutput(kind="tensor")
    return found


def _taker(signature: Signature, labels: Sequence[str] | None) -> TensorSpec | None:
    """Return the output that the labels are those of; None where that is not certain."""
    if labels is None:
        return None
    specs = [t for t in signature.outputs if _may_have_labels(t, signature)]
    fitting = [spec for spec in specs if _fit(spec, labels, signature)]
    if len(fitting) == 1:
        return fitting[0]
    kinds = [answer_kind(spec, signature).kind for spec in specs]
    if len(specs) == 1 and kinds == ["classes"]:
        units = (specs[0].shape or (None, None))[1] or 1
        raise CardError(
            f"the file beside the model ({', '.join(LABEL_FILES)}) has {len(labels)} labels: "
            f"expected {max(2, units)} for its output of {units} unit{'s' if units > 1 else ''}; "
            f"correct it, or name the labels in {CARD_FILE}"
        )
    return None


def _may_have_labels(spec: TensorSpec, signature: Signature) -> bool:
    """Tell whether labels could be those of an output."""
    if may_be_classes(spec, signature.meaning(spec)):
        return True
    return answer_kind(spec, signature).kind == "mask"


def _fit(spec: TensorSpec, labels: Sequence[str], signature: Signature) -> bool:
    """Tell whether an output has a number for each label, or one for two labels."""
    if answer_kind(spec, signature).kind == "mask":
        return labels_fit_mask(spec, labels)
    return labels_fit(spec, labels)


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


def _has_rows(signature: Signature, outputs: Sequence[TensorSpec]) -> bool:
    """Tell whether the first dimensions of the inputs and of these outputs count rows."""
    return signature.batchable or signature.run_rows(outputs) is not None


def _scores_one_input(signature: Signature) -> bool:
    """Whether one input of known rank gives one row of numbers, of known length, for each row."""
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        return False
    if not _has_rows(signature, signature.outputs):
        return False
    out = signature.outputs[0].shape
    return signature.inputs[0].shape is not None and bool(out and len(out) == 2 and out[1])
