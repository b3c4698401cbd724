"""What a card says of the outputs that are answered as pictures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.serving.cards.part import Activation, Part, Text, Threshold
from app.serving.signature import PixelRange

# What of the input an output shows: all of it, or as many pixels in the middle as it has itself. By
# default what the file tells.
Covers = Literal["whole", "middle"]


class MaskOutput(Part):
    """An output that says of each pixel what it shows: a number for each label, the number of a
    label, or one number for two labels. threshold: of a single number, or of labels that hold
    independently; by default 0.5, or where the loss puts it."""

    kind: Literal["mask"]
    tensor: Text | None = None
    labels: Annotated[list[Text], Field(min_length=1)] | str | None = None
    threshold: Threshold | None = None
    activation: Activation | None = None
    covers: Covers | None = None


class PictureOutput(Part):
    """An output that is a picture itself. scale: what its numbers are, as of the pixels of an
    input."""

    kind: Literal["picture"]
    tensor: Text | None = None
    scale: PixelRange | None = None
    covers: Covers | None = None
