"""The schema of `model.yaml`.

A card says what a tensor alone cannot: what the numbers mean, how a picture becomes a tensor and
what to call the answer. Unknown keys are refused by name, since a misspelt key that is silently
ignored costs its author an afternoon.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from app.serving.cards.boxes_output import BoxesOutput
from app.serving.cards.drawn_outputs import MaskOutput as MaskOutput
from app.serving.cards.drawn_outputs import PictureOutput as PictureOutput
from app.serving.cards.examples import MOST_EXAMPLES, example_texts
from app.serving.cards.part import Activation, Name, Part, Text, Threshold, check_once
from app.serving.cards.text_input import VOCABULARY_FILES, TextInput
from app.serving.cards.time_inputs import AudioInput, SeriesInput
from app.serving.cards.versions import Policy
from app.serving.limits import DEFAULT_LENGTH
from app.serving.signature import Scale

CARD_FILE = "model.yaml"
LABELS_FILE = "labels.txt"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# What /api/NAME is for these names.
RESERVED_NAMES = {"models": "the list of models", "status": "the state of the server"}
# What a model needs whose code is to run, said whole: a file right in the models folder cannot
# have a card, and what runs code should not be guessed.
TRUSTING_CARD = (
    f"a folder of its own with a {CARD_FILE} of the two lines 'task: tensor' (or another task) "
    "and 'trusted: true'"
)
TaskName = Literal[
    "image-classification",
    "tabular-regression",
    "tabular-classification",
    "text-generation",
    "tensor",
]
TEXT_TASK: TaskName = "text-generation"
# The most general first.
TASKS = sorted(get_args(TaskName), key=lambda task: task != "tensor")
Value = int | float | str
Color = Literal["rgb", "bgr", "rgba", "grey"]
Side = Annotated[int, Field(gt=0, le=4096)]
Decimals = Annotated[int, Field(ge=0, le=12)]
Top = Annotated[int, Field(ge=1, le=1000)]


def name_problem(name: str) -> str | None:
    """Why `name` is not a valid model name; None if it is."""
    if name in RESERVED_NAMES:
        return f"the name is reserved: /api/{name} is {RESERVED_NAMES[name]}"
    if not NAME_PATTERN.fullmatch(name):
        return (
            "this name cannot be part of an address: use letters, digits, - _ and ., and begin "
            "with a letter or digit"
        )
    return None


class ImageInput(Part):
    """The settings that turn a picture into the model's input. `size` is [height, width], as in
    Keras; "own": each picture's own, for a model that takes any."""

    # YAML has lists, no tuples.
    size: Annotated[tuple[Side, Side], Field(strict=False)] | Literal["own"] | None = None
    color: Color | None = None
    scale: Scale = "none"
    resize: Literal["stretch", "crop", "pad"] = "stretch"


class FieldSpec(Part):
    """One column of a tabular model.

    `choices` is a list of values, or a mapping of the value that the model gets to its label.
    """

    name: Name
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


class Range(Part):
    """The limits of a number that clients may send, and its default."""

    min: Annotated[float, Field(gt=0)]
    max: float
    default: float

    @model_validator(mode="after")
    def _consistent(self) -> Range:
        if not self.min <= self.default <= self.max:
            raise ValueError("expected min <= default <= max")
        return self


class TextSettings(Part):
    """The settings that turn text into tokens and back. `vocabulary` and `starts` are lists, or
    text files of the folder with one entry per line."""

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


class PictureInput(ImageInput):
    """An input that takes pictures. tensor: the model's own name of it, where the card's differs;
    so in all kinds."""

    kind: Literal["picture"]
    tensor: Text | None = None


class FieldsInput(Part):
    """An input that takes named values: the columns of one matrix, or an input of the model
    each."""

    kind: Literal["fields"]
    tensor: Text | None = None
    fields: Annotated[list[FieldSpec], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> FieldsInput:
        check_fields(self.fields)
        return self


class TensorInput(Part):
    """An input that takes nested lists."""

    kind: Literal["tensor"]
    tensor: Text | None = None


InputCard = Annotated[
    PictureInput | FieldsInput | TextInput | AudioInput | SeriesInput | TensorInput,
    Field(discriminator="kind"),
]


class ClassesOutput(Part):
    """An output of a number for each label. threshold: of a single unit, or of classes that hold
    independently; by default 0.5, or where the loss puts it."""

    kind: Literal["classes"]
    tensor: Text | None = None
    labels: list[Text] | str | None = None
    threshold: Threshold | None = None
    top: Top = 5
    activation: Activation | None = None


class NumberOutput(Part):
    """An output of one number, or of several that mean something each: `names` says what."""

    kind: Literal["number"]
    tensor: Text | None = None
    names: Annotated[list[Text], Field(min_length=1)] | None = None
    unit: Text | None = None
    decimals: Decimals | None = None

    @model_validator(mode="after")
    def _consistent(self) -> NumberOutput:
        check_once("names", self.names or [])
        return self


class VectorOutput(Part):
    """An output of numbers that only mean something together, such as features."""

    kind: Literal["vector"]
    tensor: Text | None = None


class TensorOutput(Part):
    """An output of any shape."""

    kind: Literal["tensor"]
    tensor: Text | None = None


OutputCard = Annotated[
    ClassesOutput
    | NumberOutput
    | MaskOutput
    | PictureOutput
    | BoxesOutput
    | VectorOutput
    | TensorOutput,
    Field(discriminator="kind"),
]


class Output(Part):
    """The name of the answer, and its format."""

    name: Text | None = None
    unit: Text | None = None
    decimals: Decimals | None = None
    # For models whose last layer leaves it out ("from_logits"). Default: what the file says.
    activation: Activation | None = None


def check_fields(fields: list[FieldSpec] | None) -> None:
    """Raise ValueError where a name is used twice."""
    check_once("fields", [field.name for field in fields or []])


Precision = Literal["float32", "bfloat16"]


class Runtime(Part):
    """The settings for running the model. Times in the unit that the name ends with."""

    precision: Precision = "float32"
    max_batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    max_delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 256
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    # The limit on every open dimension of an input except the batch dimension.
    max_length: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


KINDS: dict[int | str, tuple[str, ...]] = {
    "inputs": ("picture", "fields", "text", "audio", "series", "tensor"),
    "outputs": ("classes", "number", "mask", "picture", "boxes", "vector", "tensor"),
}
# What the short form, `task`, says of the input and of the output.
_SHORT = ("input", "fields", "labels", "threshold", "top", "output", "text")


class Card(Policy, Part):
    """Everything that `model.yaml` may say. Every key is optional: a card without `task`, `inputs`
    and `outputs` is completed as for a bare file."""

    task: TaskName | None = None
    title: Text | None = None
    description: Text | None = None
    file: str | None = None
    labels: list[Text] | str | None = None
    input: ImageInput = ImageInput()
    threshold: Threshold = 0.5
    top: Top = 5
    fields: list[FieldSpec] | None = None
    output: Output = Output()
    text: TextSettings = TextSettings()
    runtime: Runtime = Runtime()
    metrics: dict[str, float | str] = Field(default_factory=dict)
    # The kinds of the inputs say what each must be: see app/serving/tasks/examples.py.
    examples: Annotated[list[Any], Field(min_length=1, max_length=MOST_EXAMPLES)] | None = None
    # Whether requests may ask what an answer depends on, which takes tens of runs.
    explain: bool = True
    trusted: bool = False
    inputs: Annotated[dict[Name, InputCard], Field(min_length=1)] | None = None
    outputs: Annotated[dict[Name, OutputCard], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        check_fields(self.fields)
        if self.inputs is None and self.outputs is None:
            if self.task is None and "task" in self.model_fields_set:
                raise ValueError(f"task: expected one of {', '.join(TASKS)}, found null")
            return self
        if self.task is not None:
            raise ValueError("'inputs' and 'outputs' stand in the place of 'task': leave it out")
        if stated := self.short_keys():
            raise ValueError(
                f"{', '.join(stated)}: these go with 'task'; beside 'inputs' and 'outputs' they "
                f"are said of each input or output: {' and '.join(self.long_lines())}"
            )
        return self

    @property
    def is_open(self) -> bool:
        """Whether the card leaves open what the model takes and gives."""
        return self.task is None and self.inputs is None and self.outputs is None

    def short_keys(self) -> list[str]:
        """The keys that were written and go with `task`."""
        return [key for key in _SHORT if key in self.model_fields_set]

    def long_lines(self) -> list[str]:
        """The lines to write in place of these keys, where the card has kinds."""
        said, lines = self.model_fields_set, []
        if "input" in said:
            lines.append(_line("inputs", "NAME", "picture", self.input))
        if "fields" in said:
            lines.append("'inputs: {NAME: {kind: fields, fields: …}}'")
        classes = [key for key in ("labels", "threshold", "top") if key in said]
        activation = "activation" in self.output.model_fields_set
        if classes or activation:
            rest = "".join(f", {key}: …" for key in classes)
            rest += f", activation: {self.output.activation}" if activation else ""
            lines.append(f"'outputs: {{NAME: {{kind: classes{rest}}}}}'")
        elif "output" in said:
            lines.append(_line("outputs", self.output.name or "NAME", "number", self.output))
        if "text" in said:
            lines.append(f"'task: {TEXT_TASK}'")
        return lines

    @property
    def max_length(self) -> int:
        """`runtime.max_length`; if not set, the window of a model of texts, the samples of the
        longest recording for one of audio, or `DEFAULT_LENGTH`."""
        if self.runtime.max_length is not None:
            return self.runtime.max_length
        if self.task == TEXT_TASK:
            return self.text.window
        cards = (self.inputs or {}).values()
        return max([DEFAULT_LENGTH, *(each.most for each in cards if each.kind == "audio")])

    def files(self) -> set[str]:
        """The files beside the card that are read with it, as paths below its folder; whether they
        are there or not."""
        said = [self.labels]
        if self.outputs is not None:
            every = self.outputs.values()
            said = [
                each.labels
                for each in every
                if isinstance(each, ClassesOutput | MaskOutput | BoxesOutput)
            ]
        names: list[object] = [labels or LABELS_FILE for labels in said if labels != "imagenet"]
        if self.task == TEXT_TASK:
            names += [self.text.vocabulary, self.text.starts]
        names += example_texts(self.examples or ())
        if self.task is None and self.inputs is None:
            names += VOCABULARY_FILES
        for each in (self.inputs or {}).values():
            if each.kind == "text":
                names += [each.vocabulary] if each.vocabulary else VOCABULARY_FILES
        return {str(PurePosixPath(name)) for name in names if isinstance(name, str)}


def _line(side: str, name: str, kind: str, said: Part) -> str:
    """A line of the long form with what the short form said. said: `input`, or `output`."""
    values = {"kind": kind} | said.model_dump(exclude_unset=True, exclude={"name"}, mode="json")
    text = ", ".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}"
        for key, value in values.items()
    )
    return f"'{side}: {{{name}: {{{text}}}}}'"


def is_inside(name: str) -> bool:
    """Tell whether a card may name this file: below its folder, as written. What a link in the
    folder points to is its owner's business; Kubernetes mounts every file as a link."""
    path = PurePosixPath(name)
    return path.parts != () and not path.is_absolute() and ".." not in path.parts
