"""Example requests for a model: those of its card, else some that are made from its description in
`GET /api/models/NAME`."""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from app.api.native.describe import model_form
from app.errors import Detail, ExampleNotFound, InvalidInput
from app.serving.cards.card import TEXT_TASK
from app.serving.models.model import Model
from app.serving.tasks.examples import Example, ExampleFile
from app.serving.tasks.files.file_kinds import PICTURES, RECORDINGS, FileKind

# Tensors with more numbers are not written out.
MAX_NUMBERS = 200
# A grey BMP of one pixel, and a WAV of 80 samples. All their bytes are ASCII, so that JSON can
# carry them as texts too.
PICTURE = (
    struct.pack("<2sIHHI", b"BM", 58, 0, 0, 54)  # bytes in all, and where the pixels begin
    + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)  # 1 x 1, of 24 bits
    + b"@@@\0"
)
RECORDING = (
    struct.pack("<4sI4s", b"RIFF", 36 + 80, b"WAVE")
    + struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)  # 8,000 bytes a second
    + struct.pack("<4sI80s", b"data", 80, b"@@@@````" * 10)
)
# A file of each kind, and its type in a data URL.
CONTENTS = {PICTURES: (PICTURE, "image/bmp"), RECORDINGS: (RECORDING, RECORDINGS.media)}
# Kinds of inputs that are sent as files.
FILES = {"picture": PICTURES, "audio": RECORDINGS}
_FORMS = {
    "image-classification": "picture",
    "tabular-regression": "fields",
    "tabular-classification": "fields",
    "tensor": "tensor",
    TEXT_TASK: "writing",
}


@dataclass(frozen=True, slots=True)
class Repeated:
    """Nested lists of `shape` that hold the same value everywhere, too long to write out."""

    value: Any
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MadeUpFile:
    """A picture or a recording, which clients send as a file."""

    kind: FileKind


def form_of(about: dict[str, Any]) -> str:
    """Return the form of a model's requests: `picture`, `fields`, `text`, `audio`, `series` or
    `tensor`; `writing` for a model that continues texts, `several` for inputs of different kinds,
    or several that are not tensors."""
    if about["task"] is not None:
        return _FORMS[about["task"]]
    kinds = [each["kind"] for each in about["inputs"].values()]
    if len(kinds) == 1 or set(kinds) == {"tensor"}:
        return str(kinds[0])
    return "several"


def example_input(about: dict[str, Any]) -> Any:
    """Return a body that the model accepts: an `MadeUpFile` for a picture or a recording, with
    `Repeated` in place of long tensors and series; an object for several inputs, with
    `MadeUpFile`s in it."""
    form = form_of(about)
    if form in FILES:
        return MadeUpFile(FILES[form])
    if form == "text":
        (name,) = about["inputs"]
        return {name: about["input"]["examples"][0]}
    if form == "writing":
        properties = about["input"]["properties"]
        return {"seed": example_seed(about), "words": int(properties["words"]["default"])}
    if form == "tensor":
        return _tensors(_specs(about))
    if form == "series":
        return _series(next(iter(about["inputs"].values())))
    if form == "fields":
        return _row(about["input"])
    return {
        name: _of_kind(each, about["input"]["properties"][name])
        for name, each in about["inputs"].items()
    }


def example_of(model: Model) -> Any:
    """Return a body as `example_input` does, with the values of the card's first example."""
    about = model_form(model)
    form = form_of(about)
    # A long tensor is a file of its own in programs.
    if not model.examples or form in FILES or (form in ("tensor", "series") and is_long(about)):
        return example_input(about)
    example = model.examples[0]
    if form != "several":
        return example.body
    values = example.values.items()
    kinds = {name: each["kind"] for name, each in about["inputs"].items()}
    return {n: MadeUpFile(FILES[kinds[n]]) if isinstance(v, ExampleFile) else v for n, v in values}


def in_json(example: Any) -> Any:
    """Return an example for people and programs as JSON, with its files in base64; None if it is
    too long to write out."""
    if isinstance(example, MadeUpFile):
        data, media = CONTENTS[example.kind]
        return {example.kind.field: f"data:{media};base64,{b64encode(data).decode()}"}
    if isinstance(example, Repeated):
        return None
    if not isinstance(example, dict):
        return example
    if any(isinstance(value, Repeated) for value in example.values()):
        return None
    return {
        name: b64encode(CONTENTS[value.kind][0]).decode()
        if isinstance(value, MadeUpFile)
        else value
        for name, value in example.items()
    }


def card_example(model: Model, number: str, field: str) -> Example:
    """Return the example of the card with this number, counted from 0. field: that holds it.

    Raises InvalidInput for what is no number, ExampleNotFound where there is none of it.
    """
    count = len(model.examples)
    expected = "none: the card of this model names no examples"
    if count:
        expected = f"a whole number from 0 to {count - 1}"
    if not (number.isascii() and number.isdecimal()):
        detail = Detail(field, "not the number of an example", number[:100], expected)
        raise InvalidInput(f"{field}: {detail.problem}, expected {expected}", [detail])
    if len(number) > 9 or int(number) >= count:
        raise ExampleNotFound(f"there is no example {number[:100]}: expected {expected}")
    return model.examples[int(number)]


def example_body(model: Model, number: str | None) -> Any:
    """Return the JSON body of a request: the example of the card with this number, or the first.
    Without examples, one of values that are made up.

    Raises what `card_example` raises, and ExampleNotFound where nothing can be made up.
    """
    if number is not None or model.examples:
        return card_example(model, "0" if number is None else number, "n").body
    body = in_json(example_input(model_form(model)))
    if body is None:
        raise ExampleNotFound(
            f"the card of the model {model.name!r} names no examples, and one of made-up values "
            f"would be too long: GET /api/models/{model.name} says what it takes"
        )
    return body


def example_seed(about: dict[str, Any]) -> str:
    """Return a beginning that the model knows at least one word of."""
    seed: str = about["input"]["properties"]["seed"]["examples"][0]
    return seed


def is_long(about: dict[str, Any]) -> bool:
    """Whether what a model of tensors, or of series, takes is too long to write out."""
    if form_of(about) == "series":
        return isinstance(example_input(about), Repeated)
    return _count(_specs(about)) > MAX_NUMBERS


def _specs(about: dict[str, Any]) -> list[dict[str, Any]]:
    """The tensors that a model of tensors takes, by the names of requests."""
    if about["task"] is not None:
        found: list[dict[str, Any]] = about["signature"]["inputs"]
        return found
    return [{"name": name, **each} for name, each in about["inputs"].items()]


def _of_kind(about: dict[str, Any], schema: dict[str, Any]) -> Any:
    """An example of one input among several."""
    if about["kind"] in FILES:
        return MadeUpFile(FILES[about["kind"]])
    if about["kind"] == "series":
        return _series(about)
    if about["kind"] == "fields":
        return _row(schema)
    if about["kind"] == "text":
        return schema["examples"][0]
    spec = {**about, "shape": about["shape"] and about["shape"][1:]}
    return _tensor(spec, _count([spec]) <= MAX_NUMBERS)


def _series(about: dict[str, Any]) -> Any:
    """An example of a series."""
    columns = about["columns"] if isinstance(about["columns"], int) else len(about["columns"])
    shape = [about["steps"] or 1, *([columns] if columns > 1 else [])]
    spec = {"dtype": about["dtype"], "shape": shape}
    return _tensor(spec, _count([spec]) <= MAX_NUMBERS)


def _row(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(each) for name, each in schema["properties"].items()}


def _value(schema: dict[str, Any]) -> Any:
    """Return the card's example of a field, else the middle of its range, else its first choice."""
    for known in ("examples", "enum"):
        if known in schema:
            return schema[known][0]
    if schema["type"] == "string":
        return "text"
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    both = math.isfinite(low) and math.isfinite(high)
    value = float(f"{low + (high - low) / 2:.6g}") if both else 0.0
    if schema["type"] == "integer":
        return int(min(max(math.floor(value), _up(low)), high))
    value = float(min(max(value, low), high))
    return int(value) if value.is_integer() else value


def _up(low: float) -> float:
    return math.ceil(low) if math.isfinite(low) else low


def _tensors(specs: list[dict[str, Any]]) -> Any:
    whole = _count(specs) <= MAX_NUMBERS
    tensors = {spec["name"]: _tensor(spec, whole) for spec in specs}
    return tensors if len(specs) != 1 else next(iter(tensors.values()))


def _tensor(spec: dict[str, Any], whole: bool) -> Any:
    value = _of_type(spec["dtype"])
    shape = _sizes(spec)
    if not whole:
        return Repeated(value, shape)
    for size in reversed(shape):
        value = [value] * size
    return value


def _count(specs: list[dict[str, Any]]) -> int:
    return sum(math.prod(_sizes(spec)) for spec in specs)


def _sizes(spec: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape, with 1 for each open size, and a plain list for an open shape."""
    shape = [None] if spec["shape"] is None else spec["shape"]
    return tuple(1 if size is None else size for size in shape)


def _of_type(dtype: str) -> Any:
    if dtype == "string":
        return "text"
    if dtype == "bool":
        return False
    return 0.5 if "float" in dtype else 1
