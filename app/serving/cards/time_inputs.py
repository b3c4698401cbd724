"""The settings of inputs that have a time axis: recordings of sound, and series of rows."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.serving.cards.part import Name, Part, Text, check_once

# Seconds of the longest recording for a model that takes any length and whose card names none.
LONGEST_S = 30


class AudioInput(Part):
    """An input that takes recordings. rate: samples per second that the model was trained on, which
    no file of a model tells. seconds: to which recordings are cut or padded, for a model that takes
    any length."""

    kind: Literal["audio"]
    tensor: Text | None = None
    rate: Annotated[int, Field(ge=1_000, le=192_000)]
    seconds: Annotated[float, Field(gt=0, le=3_600)] | None = None

    @property
    def samples(self) -> int | None:
        """The samples of `seconds`."""
        return None if self.seconds is None else max(1, round(self.seconds * self.rate))

    @property
    def most(self) -> int:
        """The most samples of a recording where the model takes any number."""
        return self.samples or math.ceil(LONGEST_S * self.rate)


class SeriesInput(Part):
    """An input that takes rows of numbers in time order. columns: their names, in the model's
    order. steps: how many of the last rows it is given, for a model that takes any number."""

    kind: Literal["series"]
    tensor: Text | None = None
    columns: Annotated[list[Name], Field(min_length=1)] | None = None
    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SeriesInput:
        check_once("columns", self.columns or [])
        return self
