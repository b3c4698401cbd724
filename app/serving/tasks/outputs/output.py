"""The base of the kinds of outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from app.serving.arrays import Array
from app.serving.signature import TensorSpec
from app.serving.tasks.files.placement import Placement
from app.serving.tasks.parts import Target


class Output(ABC):
    """One output of a model. name: in answers that name it. spec: the tensor.

    wrapped: whether an answer names it also where it is the only output. row_bytes: of the longest
    value in JSON, of kinds that answer more than numbers. labels: of its units, where it has some.
    """

    kind: ClassVar[str]
    wrapped: ClassVar[bool] = True
    row_bytes: int = 0
    labels: list[str] | None = None

    def __init__(self, name: str, spec: TensorSpec) -> None:
        self.name = name
        self.spec = spec

    @abstractmethod
    def values(self, array: Array) -> list[Any]:
        """Turn the tensor into one value a row."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of a value."""

    @property
    def has_target(self) -> bool:
        """Whether an answer has one number that can be followed while its input changes."""
        return False

    def target(self, array: Array) -> Target:
        """Return the number to follow, where `has_target`. array: of one row."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """Return what else people may want to know of it, for `GET /api/models/NAME`."""
        return {}


class PlacedOutput(Output):
    """An output whose values are places in a picture, made in a native thread. picture: the input
    that takes it, by its name in requests."""

    picture: str

    @abstractmethod
    def placed_values(self, outputs: Mapping[str, Array], placed: Sequence[Placement]) -> list[Any]:
        """Return one value a row. outputs: of the model, by name. placed: where the picture of each
        row lies in the model's input. Raises NonFiniteOutput."""

    def values(self, array: Array) -> list[Any]:
        """Places need more than one tensor."""
        raise NotImplementedError
