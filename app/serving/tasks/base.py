"""The base of all tasks, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Literal

from app.errors import BadRequest, Detail, InvalidInput
from app.json_body import read_json
from app.serving.arrays import Array
from app.serving.call import Call
from app.serving.limits import MAX_DETAILS as MAX_DETAILS
from app.serving.limits import Limits as Limits
from app.serving.signature import Scale

# Problems of a request, after which no more are looked for.
ENOUGH = 10 * MAX_DETAILS


PictureFile = BinaryIO | bytes
PictureFiles = Sequence[PictureFile]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form. name: of its field. filename: None for a text, empty where a browser's
    field for a file was left empty. size: in bytes."""

    name: str
    filename: str | None
    file: BinaryIO
    size: int


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a request: a text (`json` or `csv`), files (pictures), or the parts of a form.

    names: what the client calls the files, where it says so. scale: to be tried in place of one
    that is a guess.
    """

    kind: Literal["json", "csv", "files", "form"]
    data: bytes = b""
    files: Sequence[BinaryIO] = field(default=())
    names: Sequence[str] = field(default=())
    parts: Sequence[Part] = field(default=())
    scale: Scale | None = None

    def at(self, scale: Scale | None) -> Payload:
        """Return a copy of which pictures are to be tried at another scale."""
        return replace(self, scale=scale)

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

    def labels(self) -> dict[str, list[str]]:
        """Return the labels that the card lists for outputs of the model, by their names."""
        return {}

    def pixels(
        self, files: Mapping[str, PictureFiles], call: Call | None = None, hint: str = ""
    ) -> dict[str, Array]:
        """Decode pictures as the model is fed with them, by its inputs; those that take no pictures
        are left out.

        Raises InvalidInput for those that cannot be read, with `hint` after what is expected of
        each, or where they are too many, and what ends `call`.
        """
        return {}


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of an object with all these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def parse_json(data: bytes, limits: Limits, hint: str = "") -> Any:
    """Parse a JSON text. Raises BadRequest saying where it breaks off, and `hint`, or that it is
    nested too deeply."""
    if not data.strip():
        raise BadRequest("the body is empty: expected JSON")
    try:
        return read_json(data, limits.max_json_depth)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}{hint}") from None


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
