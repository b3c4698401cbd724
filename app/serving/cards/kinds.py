"""The kinds of a model's inputs and outputs, as its card says them in the short form or the long
one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.errors import CardError
from app.serving.cards.boxes_output import BoxesOutput, BoxTensors, known_tensors
from app.serving.cards.card import (
    CARD_FILE,
    Card,
    ClassesOutput,
    FieldsInput,
    InputCard,
    NumberOutput,
    OutputCard,
    PictureInput,
    TensorInput,
    TensorOutput,
)
from app.serving.signature import SignatureDef, TensorSpec

K = TypeVar("K")
T = TypeVar("T", InputCard, OutputCard)
# The names of what the short form does not name.
PICTURE, ROW, VALUE = "image", "row", "value"
_TENSOR = "use 'task: tensor'"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a card says something of an input or output, for messages about it.

    key: of its settings, such as `input.` or `inputs.face.`; empty where they are keys of the card
    itself. what: the subject of a sentence. instead: what to do where the kind does not fit.
    """

    key: str
    what: str
    instead: str

    @property
    def long(self) -> bool:
        """Whether the card has the long form."""
        return self.key.startswith(("inputs.", "outputs."))

    def problem(self, text: str) -> CardError:
        """Return the error of a kind that does not fit the model. text: such as `needs …`."""
        return CardError(f"{self.what} {text}: {self.instead}")

    def stated(self, text: str) -> CardError:
        """Return an error of the card about this. text: a sentence."""
        return CardError(f"{CARD_FILE}: {f'{self.key[:-1]}: ' if self.long else ''}{text}")

    def wrong(self, key: str, text: str) -> CardError:
        """Return the error of a setting. key: of it, without what `self.key` has."""
        return CardError(f"{CARD_FILE}: {self.key}{key}{text}")


@dataclass(frozen=True, slots=True)
class Kind(Generic[K]):
    """An input or output of a model. specs: the tensors that it is, or fills. boxes: which of them
    is what, of boxes."""

    name: str
    card: K
    specs: tuple[TensorSpec, ...]
    place: Place
    boxes: BoxTensors | None = None


@dataclass(frozen=True, slots=True)
class Kinds:
    """All inputs and outputs, in the model's order."""

    inputs: tuple[Kind[InputCard], ...]
    outputs: tuple[Kind[OutputCard], ...]


def kinds_of(card: Card, signature: SignatureDef) -> Kinds:
    """Return what the card makes of each tensor. card: with a task of rows, or both `inputs` and
    `outputs`. Raises CardError where they cannot be those of the model."""
    if card.task is not None:
        return _of_task(card, signature)
    inputs = _inputs(card.inputs or {}, signature.inputs)
    return Kinds(inputs, _outputs(card.outputs or {}, signature.outputs))


def fixed_rows(kinds: Kinds, signature: SignatureDef) -> int | None:
    """Return the only number of rows that a run may have; None where any will do, and for tensors
    alone, of which no dimension has to count rows. Raises CardError where a kind needs rows, and
    the model has none."""
    tensors = all(kind.card.kind == "tensor" for kind in kinds.inputs)
    tensors = tensors and all(kind.card.kind == "tensor" for kind in kinds.outputs)
    if signature.batchable or tensors:
        return None
    # Boxes of one picture may come without the dimension of rows.
    written = [spec for k in kinds.outputs if k.card.kind != "boxes" for spec in k.specs]
    rows = signature.run_rows(written)
    if rows is None:
        shapes = ", ".join(f"{spec.name} {_shape(spec)}" for spec in (*signature.inputs, *written))
        raise CardError(
            f"the first dimensions of the model's inputs and outputs do not count the same rows "
            f"({shapes}), which other kinds than tensor need: {_TENSOR}"
        )
    return rows


def words(kinds: Mapping[str, InputCard] | Mapping[str, OutputCard]) -> str:
    """Name the kinds, such as `2 pictures, fields`."""
    counts: dict[str, int] = {}
    for each in kinds.values():
        counts[each.kind] = counts.get(each.kind, 0) + 1
    return ", ".join(
        kind if count == 1 or kind in ("fields", "classes", "boxes") else f"{count} {kind}s"
        for kind, count in counts.items()
    )


def in_words(card: Card) -> str:
    """Return the task, or the kinds in its place, such as `picture, fields → number`."""
    if card.task is not None:
        return card.task
    # Before the file was read, the other side is open.
    return f"{words(card.inputs or {}) or '?'} → {words(card.outputs or {}) or '?'}"


def takes_a_picture(card: Card) -> bool:
    """Tell whether a row is one picture and nothing else."""
    if card.task is not None:
        return card.task == "image-classification"
    return [each.kind for each in (card.inputs or {}).values()] == ["picture"]


def _of_task(card: Card, signature: SignatureDef) -> Kinds:
    """The kinds of a short form."""
    task, inputs, outputs = card.task, signature.inputs, signature.outputs
    assert task is not None
    if task == "tensor":
        return Kinds(
            tuple(_kind("inputs", t, TensorInput(kind="tensor")) for t in inputs),
            tuple(_kind("outputs", t, TensorOutput(kind="tensor")) for t in outputs),
        )
    taken: Kind[InputCard]
    if task == "image-classification":
        picture = PictureInput(kind="picture", **card.input.model_dump(exclude_unset=True))
        taken = Kind(PICTURE, picture, inputs, Place("input.", task, _TENSOR))
    else:
        columns = FieldsInput(kind="fields", fields=card.fields)
        taken = Kind(ROW, columns, inputs, Place("", task, _TENSOR))
    if len(outputs) != 1:
        named = ", ".join(f"{spec.name}: {{kind: …}}" for spec in outputs)
        raise CardError(
            f"{task} needs a model with one output, this one has {len(outputs)}: write 'outputs: "
            f"{{{named}}}' in the place of 'task', with classes, number, vector or tensor for each"
        )
    given: OutputCard
    if task == "tabular-regression":
        name = card.output.name or VALUE
        given = NumberOutput(kind="number", unit=card.output.unit, decimals=card.output.decimals)
        place = Place("output.", task, _TENSOR)
    else:
        name = card.output.name or outputs[0].name
        given = ClassesOutput(
            kind="classes",
            labels=card.labels,
            threshold=card.threshold if "threshold" in card.model_fields_set else None,
            top=card.top,
            activation=card.output.activation,
        )
        place = Place("", task, _TENSOR)
    return Kinds((taken,), (Kind(name, given, outputs, place),))


def _kind(side: str, spec: TensorSpec, card: T) -> Kind[T]:
    return Kind(spec.name, card, (spec,), _place(side, spec.name, card.kind))


def _place(side: str, name: str, kind: str) -> Place:
    key = f"{side}.{name}"
    return Place(f"{key}.", f"{CARD_FILE}: {key}: the kind {kind}", "use 'kind: tensor'")


def _inputs(
    cards: Mapping[str, InputCard], specs: Sequence[TensorSpec]
) -> tuple[Kind[InputCard], ...]:
    """As `_named`; fields that are called like inputs fill these."""
    left = dict(cards)
    known = {spec.name: spec for spec in specs}
    grouped: list[Kind[InputCard]] = []
    taken: set[str] = set()
    for name, card in cards.items():
        if card.kind != "fields" or card.fields is None or card.tensor or len(specs) == 1:
            continue
        names = [field.name for field in card.fields]
        if name not in known and all(each in known for each in names):
            del left[name]
            taken |= {*names}
            own = tuple(spec for spec in specs if spec.name in names)
            grouped.append(Kind(name, card, own, _place("inputs", name, card.kind)))
    named = _named("inputs", left, [spec for spec in specs if spec.name not in taken])
    order = [*cards]
    return tuple(sorted([*grouped, *named], key=lambda kind: order.index(kind.name)))


def _outputs(
    cards: Mapping[str, OutputCard], specs: Sequence[TensorSpec]
) -> tuple[Kind[OutputCard], ...]:
    """As `_named`; boxes are made of several tensors, and where there are some, other tensors need
    no name: detectors give what they made the boxes of as well."""
    left = dict(cards)
    boxes: list[Kind[OutputCard]] = []
    for name, card in cards.items():
        if card.kind == "boxes":
            del left[name]
            place = _place("outputs", name, card.kind)
            tensors = _box_tensors(name, card, specs, place)
            boxes.append(Kind(name, card, tensors.specs, place, tensors))
    if not boxes:
        return _named("outputs", cards, specs)
    taken = {spec.name for kind in boxes for spec in kind.specs}
    others = [spec for spec in specs if spec.name not in taken]
    named = _named("outputs", left, others, all_named=False) if left else ()
    order = [*cards]
    return tuple(sorted([*boxes, *named], key=lambda kind: order.index(kind.name)))


def _box_tensors(
    name: str, card: BoxesOutput, specs: Sequence[TensorSpec], place: Place
) -> BoxTensors:
    """Return the tensors that boxes are made of. Raises CardError."""
    if card.is_open and (known := known_tensors(specs)) is not None:
        return known
    by_name = {spec.name: spec for spec in specs}
    names = ", ".join(f"{spec.name} {_shape(spec)}" for spec in specs)
    wanted = card.tensor or name
    if card.tensor is None and len(specs) == 1:
        wanted = specs[0].name
    said = {"tensor": wanted, "scores": card.scores, "classes": card.classes, "count": card.count}
    wrong = [
        f"{key}: the model has no output {tensor!r}"
        for key, tensor in said.items()
        if tensor is not None and tensor not in by_name
    ]
    if wrong:
        raise place.stated(f"{'; '.join(wrong)}. The model's outputs are {names}")
    scores, classes, count = (
        None if tensor is None else by_name[tensor]
        for tensor in (card.scores, card.classes, card.count)
    )
    return BoxTensors(by_name[wanted], scores, classes, count)


def _named(
    side: str,
    cards: Mapping[str, T],
    specs: Sequence[TensorSpec],
    *,
    all_named: bool = True,
) -> tuple[Kind[T], ...]:
    """Each with the tensor of its name; one alone may be called anything. Raises CardError for
    names that are not the model's, and for tensors without one where `all_named`."""
    found = []
    left = {spec.name: spec for spec in specs}
    wrong = []
    for name, card in cards.items():
        wanted = card.tensor or name
        if card.tensor is None and len(cards) == len(specs) == 1:
            wanted = specs[0].name
        spec = left.pop(wanted, None)
        if spec is None:
            key = f"{side}.{name}" + (".tensor" if card.tensor else "")
            wrong.append(f"{key}: the model has no {side[:-1]} {wanted!r}")
        else:
            found.append(Kind(name, card, (spec,), _place(side, name, card.kind)))
    if wrong or (left and all_named):
        names = ", ".join(f"{spec.name} {_shape(spec)}" for spec in specs)
        if left and all_named:
            wrong.append(f"{side}: nothing is said of {', '.join(left)}")
        raise CardError(f"{CARD_FILE}: {'; '.join(wrong)}. The model's {side} are {names}")
    return tuple(found)


def _shape(spec: TensorSpec) -> str:
    shape = "[?]" if spec.shape is None else str([*spec.shape]).replace("None", "any")
    return f"{spec.dtype}{shape}"
