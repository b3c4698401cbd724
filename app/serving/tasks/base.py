"""What all tasks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, Literal

from numpy.typing import NDArray

from app.errors import BadRequest, Detail, InvalidInput
from app.json_body import read_json
from app.serving.call import Call
from app.serving.card import Card
from app.serving.limits import MAX_DETAILS as MAX_DETAILS
from app.serving.limits import Limits as Limits
from app.serving.signature import PictureFeed, Signature

Array = NDArray[Any]
# Problems of a request, after which no more are looked for.
ENOUGH = 10 * MAX_DETAILS


@dataclass(frozen=True, slots=True)
class Payload:
    """What a client sent: a text (`json` or `csv`), or files (pictures).

    names: what the client calls the files, where it says so.
    """

    kind: Literal["json", "csv", "files"]
    data: bytes = b""
    files: Sequence[BinaryIO] = field(default=())
    names: Sequence[str] = field(default=())

    def close(self) -> None:
        """Close the files, which frees what they spooled."""
        for file in self.files:
            file.close()


class Question(ABC):
    """What may be asked of a model. Raises CardError from `__init__` where card and model do not
    fit."""

    accepts: ClassVar[frozenset[str]]
    # What to tell whoever sends a body that the model does not take.
    hint: str = ""

    @abstractmethod
    def input_schema(self) -> dict[str, Any]:
        """What a request must look like, for people and programs: a JSON schema of one row, or
        the picture's formats and limits."""

    @abstractmethod
    def answer_schema(self) -> dict[str, Any]:
        """What a prediction looks like: a JSON schema (2020-12) of one of them."""


class Task(Question):
    """A question that becomes rows of tensors, and an answer that is read from a model's
    outputs."""

    # Set by tasks whose model is fed with pictures.
    picture: PictureFeed | None = None

    def __init__(self, card: Card, signature: Signature, limits: Limits) -> None:
        self.card = card
        self.signature = signature
        self.limits = limits

    @abstractmethod
    def read(self, payload: Payload, call: Call | None = None) -> list[Array]:
        """The request as one array an input, first dimension the rows.

        call: whose end ends the work, of tasks that read in threads of their own.

        Raises InvalidInput with all problems at once, BadRequest where nothing can be read.
        """

    @abstractmethod
    def answer(self, outputs: Sequence[Array]) -> list[Any]:
        """The model's outputs, one array an output, as one prediction a row."""


def parse_json(data: bytes, limits: Limits, hint: str = "") -> Any:
    """The value of a JSON text. Raises BadRequest saying where it breaks off, and `hint`, or that
    it is nested too deeply."""
    if not data.strip():
        raise BadRequest("the body is empty: expected JSON")
    try:
        return read_json(data, limits.max_json_depth)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}{hint}") from None


def invalid(details: list[Detail], *, more: bool = False) -> InvalidInput:
    """One error for all problems of a request; `more`: there may be others, unread."""
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
    """4.0 is a whole number: JSON has one kind of number only."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
