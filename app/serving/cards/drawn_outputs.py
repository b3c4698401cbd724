"""What a card says of the outputs that are answered as pictures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.serving.cards.part import Activation, Part, Text, Threshold
from app.serving.signature import PixelRange


class MaskOutput(Part):
    """An output that says of each pixel what it shows: a number for each label, the number of a
    label, or one number for two labels. threshold: of a single number, or of labels that hold
    independently; by default 0.5, or where the loss puts it."""

    kind: Literal["mask"]
    tensor: Text | None = None
    labels: Annotated[list[Text], Field(min_length=1)] | str | None = None
    threshold: Threshold | None = None
    activation: Activation | None = None


class PictureOutput(Part):
    """An output that is a picture itself. scale: what its numbers are, as of the pixels of an
    input."""

    kind: Literal["picture"]
    tensor: Text | None = None
    scale: PixelRange | None = None
