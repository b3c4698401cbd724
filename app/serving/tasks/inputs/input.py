"""The base of the kinds of inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from app.errors import Detail
from app.serving.arrays import Array
from app.serving.limits import Limits
from app.serving.signature import PictureFeed, TensorSpec
from app.serving.tasks.base import Payload, PictureFiles

# The field of a problem, by the row that it is in.
Where = Callable[[int], str]


@dataclass(slots=True)
class Parsed:
    """What a request holds, as far as it was read without decoding its pictures.

    arrays: by the names of the model's inputs. files: the pictures of each input that takes some,
    by its name in requests. fields: how problems call them, by their place. details: problems.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    files: dict[str, PictureFiles] = field(default_factory=dict)
    fields: dict[str, Where] = field(default_factory=dict)
    details: list[Detail] = field(default_factory=list)


class Input(ABC):
    """One input of requests. name: in requests with several. specs: the model's inputs that it
    fills."""

    kind: ClassVar[str]
    # The forms of bodies where it is the only input.
    accepts: frozenset[str]
    # Set by inputs that take pictures.
    feed: PictureFeed | None = None

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
