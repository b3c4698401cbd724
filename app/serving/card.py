"""`model.yaml` as a typed card, and the card of a model that has none.

A card says what a tensor alone cannot: what the numbers mean, how a picture becomes a tensor and
what to call the answer. Unknown keys are refused by name, since a misspelt key that is silently
ignored costs its author an afternoon.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

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
from app.serving.signature import Scale, Signature

CARD_FILE = "model.yaml"
LABELS_FILE = "labels.txt"
MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# `/api/models` is the list of models.
RESERVED_NAMES = frozenset({"models"})
# A model with more columns than a form can hold is better asked with plain lists.
MAX_INFERRED_FIELDS = 64

Task = Literal["image-classification", "tabular-regression", "tabular-classification", "tensor"]
Value = bool | int | float | str
Side = Annotated[int, Field(gt=0, le=4096)]


def _text(value: Any) -> Any:
    """Labels may be written as bare numbers in YAML: `labels: [0, 1, 2]`."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


Label = Annotated[str, BeforeValidator(_text)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageInput(_Part):
    """How a picture becomes the model's input. `size` is [height, width], as in Keras."""

    size: tuple[Side, Side] | None = None
    color: Literal["rgb", "grey"] | None = None
    scale: Scale = "none"
    resize: Literal["stretch", "crop", "pad"] = "stretch"


class FieldSpec(_Part):
    """One column of a tabular model.

    `choices` is a list of values, or a mapping of the value that the model gets to its label.
    """

    name: Annotated[str, Field(min_length=1)]
    type: Literal["number", "integer", "text"] = "number"
    min: float | None = None
    max: float | None = None
    unit: str | None = None
    example: Value | None = None
    help: str | None = None
    choices: list[Value] | dict[Value, str] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> FieldSpec:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.choices is not None and not self.choices:
            raise ValueError("choices is empty")
        return self


class Output(_Part):
    """What to call the answer and how to write it."""

    name: str | None = None
    unit: str | None = None
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


class Card(_Part):
    """Everything that `model.yaml` may say. Every key but `task` is optional."""

    task: Task
    title: str | None = None
    description: str | None = None
    file: str | None = None
    labels: list[Label] | str | None = None
    input: ImageInput = ImageInput()
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    top: Annotated[int, Field(ge=1, le=1000)] = 5
    fields: list[FieldSpec] | None = None
    output: Output = Output()
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


def read_card(folder: Path) -> Card | None:
    """The card in `folder`, its labels read in; None where there is no `model.yaml`.

    Raises CardError, with every problem of the card in the message.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        return None
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CardError(f"{CARD_FILE} cannot be read: {_one_line(error)}") from None
    if not isinstance(raw, dict):
        raise CardError(f"{CARD_FILE} must be a mapping with at least the key 'task'")
    try:
        card = Card.model_validate(raw)
    except ValidationError as error:
        raise CardError(f"{CARD_FILE}: " + "; ".join(_problems(error))) from None
    return card.model_copy(update={"labels": _read_labels(folder, card)})


def _read_labels(folder: Path, card: Card) -> list[str] | str | None:
    if isinstance(card.labels, list) or card.labels == "imagenet":
        return card.labels
    path = folder / (card.labels or LABELS_FILE)
    if card.labels is None and not path.is_file():
        return None
    if path.resolve().parent != folder.resolve():
        raise CardError(f"{CARD_FILE}: labels: {card.labels!r} is not a file of this folder")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(
            f"{CARD_FILE}: labels: expected a list, 'imagenet' or a text file of this folder "
            f"with one label a line; {path.name} cannot be read: {_one_line(error)}"
        ) from None
    return [line.strip() for line in lines if line.strip()]


def _problems(error: ValidationError) -> list[str]:
    problems = []
    for e in error.errors():
        where = ".".join(str(p) for p in e["loc"] if p not in ("int", "list[str]", "str"))
        if e["type"] == "extra_forbidden":
            problems.append(f"unknown key {where!r}")
        elif e["type"] == "missing":
            problems.append(f"the key {where!r} is missing")
        else:
            text = e["msg"].removeprefix("Value error, ")
            problems.append(f"{where}: {text}" if where else text)
    return problems


def _one_line(error: object) -> str:
    return " ".join(str(error).split())


def find_model(folder: Path, card: Card | None) -> Path:
    """The model in `folder`: a file, or the directory of a SavedModel. Raises CardError."""
    if card is not None and card.file is not None:
        path = folder / card.file
        if not path.resolve().is_relative_to(folder.resolve()):
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
        names = " and ".join(p.name for p in found)
        raise CardError(f"{names} are both models: name one with 'file:' in {CARD_FILE}")
    if not found:
        held = ", ".join(p.name for p in entries) or "nothing"
        raise CardError(
            "no model in this folder: expected one .keras, .h5 or .hdf5 file or a SavedModel "
            f"directory, found {held}"
        )
    return found[0]


def infer_card(signature: Signature) -> Card:
    """A card for a model that has none, from its signature alone.

    Pictures are fed as 0..1 unless the model rescales them itself; both are the common case and
    a guess, which `python -m app card` writes down for the author to correct.
    """
    first, out = signature.inputs[0], signature.outputs[0]
    single = len(signature.inputs) == 1 and len(signature.outputs) == 1
    classes = _last(out.shape) if out.shape is not None and len(out.shape) == 2 else None
    if single and classes and first.shape is not None and signature.activation is not None:
        shape = first.row_shape
        if len(shape) == 3 and shape[2] in (1, 3) and first.dtype in ("float32", "uint8"):
            return Card(
                task="image-classification",
                input=ImageInput(scale="none" if signature.rescales else "0..1"),
            )
        columns = _last(shape)
        if len(shape) == 1 and columns and columns <= MAX_INFERRED_FIELDS:
            return Card(
                task=(
                    "tabular-classification"
                    if signature.activation in ("softmax", "sigmoid")
                    else "tabular-regression"
                ),
                fields=[FieldSpec(name=f"x{i}") for i in range(columns)],
            )
    return Card(task="tensor")


def _last(shape: tuple[int | None, ...]) -> int | None:
    return shape[-1] if shape else None


def dump_card(card: Card) -> str:
    """The card as YAML, only what differs from the defaults (and always the task)."""
    data = card.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text
