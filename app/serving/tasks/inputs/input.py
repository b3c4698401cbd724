"""The base of the kinds of inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from app.errors import Detail, InvalidInput
from app.serving.arrays import Array
from app.serving.cards.card import FieldSpec
from app.serving.limits import MAX_DETAILS, Limits
from app.serving.signature import PictureFeed, TensorSpec
from app.serving.tasks.base import Files, Payload, invalid
from app.serving.tasks.parts import Parts
from app.serving.tasks.tables.csv_columns import ColumnCheck

# The field of a problem, by the row that it is in.
Where = Callable[[int], str]
# The field of a form with a CSV.
FILE = "file"


@dataclass(slots=True)
class Parsed:
    """What a request holds, as far as it was read without decoding its pictures.

    arrays: by the names of the model's inputs. files: the pictures of each input that takes some,
    by its name in requests. fields: how problems call them, by their place. texts: of requests of
    one row, by the names of inputs. details: problems.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    files: dict[str, Files] = field(default_factory=dict)
    fields: dict[str, Where] = field(default_factory=dict)
    unknown: dict[str, Array] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    details: list[Detail] = field(default_factory=list)


def with_columns(checked: ColumnCheck, read: Callable[[], Parsed]) -> Parsed:
    """Read the rows of a table. Raises InvalidInput with the problems of its columns and of its
    rows."""
    if not checked.details:
        return read()
    details, more = checked.details, False
    try:
        details = details + read().details
    except InvalidInput as error:
        if not error.details:  # of the request as a whole
            raise
        details = details + error.details
        more = len(error.details) == MAX_DETAILS
    raise invalid(details, more=more)


@runtime_checkable
class Sized(Protocol):
    """An input whose rows may be much larger than what they are made of."""

    def most_bytes(self, count: int) -> int:
        """Return the most bytes that `count` rows take as the model is fed with them."""


class Input(ABC):
    """One input of requests. name: in requests with several. specs: the model's inputs that it
    fills."""

    kind: ClassVar[str]
    # The forms of bodies where it is the only input.
    accepts: frozenset[str]
    # Whether an example in a card names a file.
    takes_files: ClassVar[bool] = False
    # Whether parts of a value can be left out.
    has_parts: ClassVar[bool] = False
    # Set by inputs that take pictures.
    feed: PictureFeed | None = None
    # The columns of a table, for inputs that may come from one.
    fields: Sequence[FieldSpec] = ()
    # Whether a part of a form is the value itself, else JSON.
    plain: ClassVar[bool] = False

    def __init__(self, name: str, specs: Sequence[TensorSpec], limits: Limits) -> None:
        self.name = name
        self.specs = tuple(specs)
        self.limits = limits

    @abstractmethod
    def body(self, payload: Payload) -> Parsed:
        """Read a whole body, where this is the only input. Raises BadRequest, or InvalidInput with
        all problems at once."""

    @abstractmethod
    def values(self, values: Sequence[Any], where: Where) -> Parsed:
        """Read values of JSON, one a row. where: the field of the value in a row."""

    def cells(self, rows: Sequence[dict[str, str]]) -> Parsed:
        """Read rows of a CSV, where the input has `fields`."""
        raise NotImplementedError

    @abstractmethod
    def body_schema(self) -> dict[str, Any]:
        """Describe a body, where this is the only input: a JSON schema of a row or of all of them,
        or a picture's formats and limits."""

    @abstractmethod
    def value_schema(self) -> dict[str, Any]:
        """Describe a value: a JSON schema (2020-12)."""

    @abstractmethod
    def expected(self) -> str:
        """Describe a value in words."""

    @abstractmethod
    def about(self) -> dict[str, dict[str, Any]]:
        """Return what people may want to know, for `GET /api/models/NAME`, by the names of the
        inputs that this stands for."""

    def example(self) -> Mapping[str, Array] | None:
        """Return a row as the card shows it, by the model's inputs; None where it shows none."""
        return None

    def example_body(self, value: Any) -> Any:
        """Return the JSON body of a request with this value, where this is the only input."""
        return value

    def read_example(self, data: bytes) -> tuple[str, bytes | None]:
        """Return the media type of a file that is an example, and a small WebP of what can be seen.
        From any thread. Raises UnreadableFile for what this input cannot read."""
        raise NotImplementedError

    def parts(self, arrays: Mapping[str, Array], texts: Mapping[str, str], most: int) -> Parts:
        """Return the parts of a value that can be left out, where `has_parts`. From any thread.

        arrays: one row each, by the names of the model's inputs. texts: by the names of inputs.
        most: parts.
        """
        raise NotImplementedError
