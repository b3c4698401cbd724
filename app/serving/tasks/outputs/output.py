"""The base of the kinds of outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from app.serving.arrays import Array
from app.serving.signature import TensorSpec


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

    def about(self) -> dict[str, Any]:
        """Return what else people may want to know of it, for `GET /api/models/NAME`."""
        return {}
