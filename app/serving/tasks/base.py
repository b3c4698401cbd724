"""The base of all tasks, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Literal

from app.errors import BadRequest, Detail, InvalidInput
from app.json_body import ENCODED_TWICE, is_wrapped, read_json
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.limits import MAX_DETAILS as MAX_DETAILS
from app.serving.limits import Limits as Limits
from app.serving.signature import Scale

# Problems of a request, after which no more are looked for.
ENOUGH = 10 * MAX_DETAILS


# A picture or a recording, as it was sent.
File = BinaryIO | bytes
Files = Sequence[File]
# Returns the media type of a file that is an example, and a small WebP of what can be seen. Raises
# UnreadableFile.
ReadFile = Callable[[bytes], tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form. name: of its field. filename: None for a text, empty where a browser's
    field for a file was left empty. size: in bytes."""

    name: str
    filename: str | None
    file: BinaryIO
    size: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a request wants pictures that come out.

    at_model_size: masks in the model's size, not in that of the picture. as_files: bytes of PNG
    files, not data URLs.
    """

    at_model_size: bool = False
    as_files: bool = False


# In the size of the picture that came in, within JSON.
USUAL_DRAWING = Drawing()


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a request: a text (`json` or `csv`), files (pictures or recordings), or the parts
    of a form.

    names: what the client calls the files, where it says so. scale: to be tried in place of one
    that is a guess. drawing: how pictures that come out are wanted. keep_extra: whether columns of
    a CSV that the model does not have are left out, not refused.
    """

    kind: Literal["json", "csv", "files", "form"]
    data: bytes = b""
    files: Sequence[BinaryIO] = field(default=())
    names: Sequence[str] = field(default=())
    parts: Sequence[Part] = field(default=())
    scale: Scale | None = None
    drawing: Drawing = USUAL_DRAWING
    keep_extra: bool = False

    def at(self, scale: Scale | None) -> Payload:
        """Return a copy of which pictures are to be tried at another scale, if one is given."""
        return self if scale is None else replace(self, scale=scale)

    def drawn(self, drawing: Drawing) -> Payload:
        """Return a copy that wants pictures in another way."""
        return self if drawing is self.drawing else replace(self, drawing=drawing)

    def keeping_extra(self) -> Payload:
        """Return a copy whose CSV may have columns that the model does not have."""
        return replace(self, keep_extra=True)

    @property
    def size(self) -> int:
        """Bytes that may have to be read as text."""
        return len(self.data) + sum(part.size for part in self.parts)

    def close(self) -> None:
        """Close the files, which frees what they spooled."""
        for file in (*self.files, *(part.file for part in self.parts)):
            file.close()


class Task(ABC):
    """The form of requests to a model, and of its answers. Raises CardError from `__init__` where
    card and model do not fit."""

    accepts: frozenset[str]
    # Advice for clients that send a body that the model does not take.
    hint: str = ""
    # The fields of a form that hold uploads, besides those that every form may have.
    uploads: frozenset[str] = frozenset()

    @abstractmethod
    def input_schema(self) -> dict[str, Any]:
        """Describe a request, for people and programs: a JSON schema of one row, or the picture's
        formats and limits."""

    @abstractmethod
    def answer_schema(self) -> dict[str, Any]:
        """Describe a prediction: a JSON schema (2020-12) of one of them."""

    def about(self) -> dict[str, Any]:
        """Return the kinds of the inputs and outputs, where the model has some."""
        return {}

    def example_takers(self) -> Mapping[str, ReadFile | None]:
        """Return the names of the inputs that an example has a value for, with what reads the files
        of those that take some."""
        return {}

    def example_body(self, values: Mapping[str, Any]) -> Any:
        """Return the JSON body of a request with these values. values: one for each input."""
        return values

    @abstractmethod
    def check_request(self, payload: Payload) -> None:
        """Raise RequestError for a request in JSON that the task cannot read. Pictures are not
        decoded. From any thread."""

    def labels(self) -> dict[str, list[str]]:
        """Return the labels that the card lists for outputs of the model, by their names."""
        return {}

    def decoded(
        self, files: Mapping[str, Files], call: Call | None = None, hint: str = ""
    ) -> dict[str, Array]:
        """Decode files as the model is fed with them, by its inputs; those that take none are left
        out.

        Raises InvalidInput for those that cannot be read, with `hint` after what is expected of
        each, or where they are too many, and what ends `call`.
        """
        return {}

    def take_room(self, rows: Mapping[str, int], call: Call) -> None:  # noqa: B027
        """Wait for room in memory for what so many files and texts become, by the model's inputs.
        Raises Overloaded, and what ends `call`."""

    def tokens(self, texts: Mapping[str, Sequence[bytes]]) -> dict[str, Array]:
        """Return the ids that the model is fed with for texts in UTF-8, by its inputs, from any
        thread; texts that it takes as they are are left out. Raises InvalidInput with all problems
        at once."""
        return {}


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of an object with all these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def parse_json(data: bytes, limits: Limits, hint: str = "", *, texts: bool = False) -> Any:
    """Parse a JSON text. texts: whether it may be a text that holds JSON itself. Raises BadRequest
    saying where it breaks off, and `hint`, or that it is nested too deeply, or such a text."""
    if not data.strip():
        raise BadRequest("the body is empty: expected JSON")
    try:
        value = read_json(data, limits.max_json_depth)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}{hint}") from None
    if not texts and is_wrapped(value):
        raise BadRequest(f"the body is a text: {ENCODED_TWICE}")
    return value


def invalid(details: list[Detail], *, more: bool = False) -> InvalidInput:
    """Return one error for all problems of a request. more: there may be others, unread."""
    count = len(details)
    message = f"the input has {'at least ' if more else ''}{count} problems"
    if count > MAX_DETAILS:
        message += f", of which the first {MAX_DETAILS} are listed"
    elif count == 1:
        only = details[0]
        message = f"{only.field}: {only.problem}"
        if only.expected is not None:
            message += f", expected {only.expected}"
    return InvalidInput(message, details[:MAX_DETAILS])


def whole(value: Any) -> Any:
    """Return 4.0 as a whole number: JSON has one kind of number only."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
