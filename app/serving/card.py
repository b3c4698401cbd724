"""`model.yaml` as a typed card, and the card of a model that has none.

A card says what a tensor alone cannot: what the numbers mean, how a picture becomes a tensor and
what to call the answer. Unknown keys are refused by name, since a misspelt key that is silently
ignored costs its author an afternoon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from app.errors import CardError
from app.serving.card_yaml import load_yaml, one_line, problems
from app.serving.limits import DEFAULT_LENGTH
from app.serving.signature import Scale, Signature
from app.serving.versions import Policy

CARD_FILE = "model.yaml"
LABELS_FILE = "labels.txt"
MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What /api/NAME is for these names.
RESERVED_NAMES = {"models": "the list of models", "status": "the state of the server"}
# What a model needs whose code is to run, said whole: a file right in the models folder cannot
# have a card, and a card without a task is none.
TRUSTING_CARD = (
    f"a folder of its own with a {CARD_FILE} of the two lines 'task: tensor' (or another task) "
    "and 'trusted: true'"
)
# A model with more columns than a form can hold is better asked with plain lists.
MAX_INFERRED_FIELDS = 64

Task = Literal[
    "image-classification",
    "tabular-regression",
    "tabular-classification",
    "text-generation",
    "tensor",
]
TEXT_TASK: Task = "text-generation"
# The most general first.
TASKS = sorted(get_args(Task), key=lambda task: task != "tensor")
Value = int | float | str
Side = Annotated[int, Field(gt=0, le=4096)]


def name_problem(name: str) -> str | None:
    """Why no model can be called `name`; None where one can."""
    if name in RESERVED_NAMES:
        return f"the name is reserved: /api/{name} is {RESERVED_NAMES[name]}"
    if not NAME_PATTERN.fullmatch(name):
        return (
            "this name cannot be part of an address: use letters, digits, - _ and ., and begin "
            "with a letter or digit"
        )
    return None


def _text(value: Any) -> Any:
    """Texts may be written as bare numbers in YAML: `labels: [0, 1, 2]`, `title: 2048`."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text)]


class _Part(BaseModel):
    # Strict: `top: true` is no 1.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ImageInput(_Part):
    """How a picture becomes the model's input. `size` is [height, width], as in Keras."""

    # YAML has lists, no tuples.
    size: Annotated[tuple[Side, Side], Field(strict=False)] | None = None
    color: Literal["rgb", "grey"] | None = None
    scale: Scale = "none"
    resize: Literal["stretch", "crop", "pad"] = "stretch"


class FieldSpec(_Part):
    """One column of a tabular model.

    `choices` is a list of values, or a mapping of the value that the model gets to its label.
    """

    name: Annotated[str, Field(min_length=1), BeforeValidator(_text)]
    type: Literal["number", "integer", "text"] = "number"
    min: float | None = None
    max: float | None = None
    unit: Text | None = None
    example: Value | None = None
    help: Text | None = None
    choices: list[Value] | dict[Value, Text] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> FieldSpec:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.choices is not None and not self.choices:
            raise ValueError("choices is empty")
        limited = self.min is not None or self.max is not None
        if limited and (self.type == "text" or self.choices is not None):
            raise ValueError("min and max go with numbers only, not with texts or choices")
        said = [name for names in self._names() for name in names]
        twice = sorted({name for name in said if said.count(name) > 1})
        if twice:
            raise ValueError(f"choices: {twice[0]!r} could be more than one of them")
        return self

    def _names(self) -> Iterator[set[str]]:
        """What a client may call each choice."""
        if isinstance(self.choices, dict):
            yield from ({str(value), label} for value, label in self.choices.items())
        else:
            yield from ({str(value)} for value in self.choices or [])


class Range(_Part):
    """From what to what a client may ask, and what it gets without asking."""

    min: Annotated[float, Field(gt=0)]
    max: float
    default: float

    @model_validator(mode="after")
    def _consistent(self) -> Range:
        if not self.min <= self.default <= self.max:
            raise ValueError("expected min <= default <= max")
        return self


class TextSettings(_Part):
    """How text becomes tokens and back. `vocabulary` and `starts` are lists, or text files of the
    folder with one entry a line."""

    vocabulary: list[Text] | str = "vocabulary.txt"
    starts: list[Text] | str | None = None
    level: Literal["word", "character"] = "word"
    lower: bool = True
    # Whether signs are tokens of their own, or belong to the word that they stand at.
    punctuation: Literal["separate", "attached"] = "separate"
    unknown: Text = "<unk>"
    # Tokens that a model sees at once, where it cannot carry its state along.
    window: Annotated[int, Field(ge=1, le=4096)] = 50
    diversity: Range = Range(min=0.5, max=5, default=1)
    words: Range = Range(min=10, max=100, default=50)


class Output(_Part):
    """What to call the answer and how to write it."""

    name: Text | None = None
    unit: Text | None = None
    decimals: Annotated[int, Field(ge=0, le=12)] | None = None
    # For models whose last layer leaves it out ("from_logits"). Default: what the file says.
    activation: Literal["none", "softmax", "sigmoid"] | None = None


class Runtime(_Part):
    """How the model is run. Times in the unit that the name ends with."""

    precision: Literal["float32", "bfloat16"] = "float32"
    max_batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    max_delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 256
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    # Of every open dimension of an input but that of the batch.
    max_length: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


class Card(Policy, _Part):
    """Everything that `model.yaml` may say. Every key but `task` is optional."""

    task: Task
    title: Text | None = None
    description: Text | None = None
    file: str | None = None
    labels: list[Text] | str | None = None
    input: ImageInput = ImageInput()
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    top: Annotated[int, Field(ge=1, le=1000)] = 5
    fields: list[FieldSpec] | None = None
    output: Output = Output()
    text: TextSettings = TextSettings()
    runtime: Runtime = Runtime()
    metrics: dict[str, float | str] = {}
    trusted: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        names = [f.name for f in self.fields or []]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"fields: the name {twice[0]!r} is used twice")
        return self

    @property
    def max_length(self) -> int:
        """`runtime.max_length`; unless it is said, the window of a model of texts, or
        `DEFAULT_LENGTH`."""
        window = self.text.window if self.task == TEXT_TASK else DEFAULT_LENGTH
        return self.runtime.max_length or window

    def files(self) -> set[str]:
        """The files beside the card that are read with it, as paths below its folder; whether they
        are there or not."""
        names: list[object] = [self.labels or LABELS_FILE] if self.labels != "imagenet" else []
        if self.task == TEXT_TASK:
            names += [self.text.vocabulary, self.text.starts]
        return {str(PurePosixPath(name)) for name in names if isinstance(name, str)}


def read_card(folder: Path) -> Card | None:
    """The card in `folder`, its labels read in; None where there is no `model.yaml`.

    Raises CardError, with every problem of the card in the message.
    """
    card = parse_card(folder)
    if card is None:
        return None
    update: dict[str, Any] = {"labels": _read_labels(folder, card)}
    if card.task == TEXT_TASK:
        update["text"] = _read_texts(folder, card.text)
    return card.model_copy(update=update)


def parse_card(folder: Path) -> Card | None:
    """The card in `folder` without the files that it names. Raises CardError."""
    path = folder / CARD_FILE
    if not path.is_file():
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
        raise CardError(f"{CARD_FILE} must be a mapping with at least the key 'task'")
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        raise CardError(f"{CARD_FILE}: " + "; ".join(problems(error, TASKS))) from None


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
    if not _inside(name):
        raise CardError(f"{CARD_FILE}: text.{key}: {name!r} is not a file of this folder")
    try:
        text = (folder / name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(
            f"{CARD_FILE}: text.{key}: expected a list or a text file of this folder; {name} "
            f"cannot be read: {one_line(error)}"
        ) from None
    return text.removesuffix("\n").split("\n")


def _read_labels(folder: Path, card: Card) -> list[str] | str | None:
    if isinstance(card.labels, list) or card.labels == "imagenet":
        return card.labels
    path = folder / (card.labels or LABELS_FILE)
    if card.labels is None and not path.is_file():
        return None
    if not _inside(card.labels or LABELS_FILE):
        raise CardError(f"{CARD_FILE}: labels: {card.labels!r} is not a file of this folder")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(
            f"{CARD_FILE}: labels: expected a list, 'imagenet' or a text file of this folder "
            f"with one label a line; {path.name} cannot be read: {one_line(error)}"
        ) from None
    return [line.strip() for line in lines if line.strip()]


def _inside(name: str) -> bool:
    """Whether a card may name this file: below its folder, as written. What a link in the folder
    points to is its owner's business; Kubernetes mounts every file as a link."""
    path = PurePosixPath(name)
    return path.parts != () and not path.is_absolute() and ".." not in path.parts


def find_model(folder: Path, card: Card | None) -> Path:
    """The model in `folder`: a file, or the directory of a SavedModel. Raises CardError."""
    if card is not None and card.file is not None:
        path = folder / card.file
        if not _inside(card.file):
            raise CardError(f"{CARD_FILE}: file: {card.file!r} is outside this folder")
        if not path.exists():
            raise CardError(f"{CARD_FILE}: file: there is no {card.file!r} in this folder")
        return path
    if (folder / "saved_model.pb").is_file():
        return folder
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    found = [
        p
        for p in entries
        if (p.is_file() and p.suffix.lower() in MODEL_SUFFIXES) or (p / "saved_model.pb").is_file()
    ]
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise CardError(f"several models ({names}): name one with 'file:' in {CARD_FILE}")
    if not found:
        held = ", ".join(p.name for p in entries[:10]) or "nothing"
        raise CardError(
            "no model in this folder: expected one .keras, .h5 or .hdf5 file or a SavedModel "
            f"directory, found {held}"
        )
    return found[0]


def infer_card(signature: Signature) -> Card:
    """A card for a model that has none, from its signature alone."""
    # A SavedModel does not tell how its scores are to be read: guessing would be silently wrong.
    if _scores_one_input(signature) and signature.activation is not None:
        if may_classify_pictures(signature):
            return with_scale(Card(task="image-classification"), signature)
        first = signature.inputs[0]
        shape = first.row_shape
        columns = _last(shape)
        numbers = first.dtype.startswith(("float", "int", "uint"))
        if numbers and len(shape) == 1 and columns and columns <= MAX_INFERRED_FIELDS:
            return Card(
                task=(
                    "tabular-classification"
                    if signature.activation in ("softmax", "sigmoid")
                    else "tabular-regression"
                ),
                fields=[FieldSpec(name=f"x{i}") for i in range(columns)],
            )
    return Card(task="tensor")


def with_scale(card: Card, signature: Signature) -> Card:
    """A card of pictures that does not say how they are scaled, with what is the common case: 0..1
    unless the model rescales them itself, takes whole numbers, or is one that does not tell. It is
    a guess, which `python -m app card` writes down for the author to correct."""
    if card.task != "image-classification" or "scale" in card.input.model_fields_set:
        return card
    tells = signature.activation is not None and not signature.rescales
    floats = signature.inputs[0].dtype.startswith(("float", "bfloat"))
    scale: Scale = "0..1" if tells and floats else "none"
    return card.model_copy(update={"input": card.input.model_copy(update={"scale": scale})})


def may_classify_pictures(signature: Signature) -> bool:
    """Whether the shapes are those of a classifier of pictures."""
    if not _scores_one_input(signature):
        return False
    first = signature.inputs[0]
    shape = first.row_shape
    return len(shape) == 3 and shape[2] in (1, 3) and first.dtype in ("float32", "uint8")


def _scores_one_input(signature: Signature) -> bool:
    """Whether one input of known rank gives one row of numbers, of known length, for each row."""
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        return False
    out = signature.outputs[0].shape
    return signature.inputs[0].shape is not None and bool(out and len(out) == 2 and out[1])


def _last(shape: tuple[int | None, ...]) -> int | None:
    return shape[-1] if shape else None


def dump_card(card: Card) -> str:
    """The card as YAML, only what differs from the defaults (and always the task)."""
    data = card.model_dump(exclude_defaults=True)
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text
